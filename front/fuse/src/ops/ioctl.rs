//! The controls that `lsattr`, `chattr` and `xfs_io` use: flags, project, generation.
//!
//! Source: `include/uapi/linux/fs.h` of Linux. That a client may set what it sets is checked by Linux, which asks for the flags before.

use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::received::IoctlIn;
use crate::wire::sent::IoctlOut;
use rumpcap::{Metadata, SetAttributes};
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const GETFLAGS: u32 = 0x8008_6601;
const GETFLAGS_32: u32 = 0x8004_6601;
const SETFLAGS: u32 = 0x4008_6602;
const SETFLAGS_32: u32 = 0x4004_6602;
const GETVERSION: u32 = 0x8008_7601;
const FSGETXATTR: u32 = 0x801c_581f;
const FSSETXATTR: u32 = 0x401c_5820;

/// Flags of `GETFLAGS` (left) that `FSGETXATTR` knows by other bits.
const XFLAGS: [(u32, u32); 7] = [
    (0x8, 0x20),
    (0x10, 0x8),
    (0x20, 0x10),
    (0x40, 0x80),
    (0x80, 0x40),
    (0x0200_0000, 0x8000),
    (0x2000_0000, 0x200),
];

/// `struct fsxattr`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FsXattr {
    xflags: u32,
    extent_bytes: u32,
    extents: u32,
    project: u32,
    cow_extent_bytes: u32,
    pad: [u8; 8],
}

impl FsXattr {
    fn of(m: &Metadata) -> FsXattr {
        let known = XFLAGS.iter().filter(|(flag, _)| m.flags() & flag != 0);
        let xflags = known.fold(0, |all, (_, xflag)| all | xflag);
        FsXattr { xflags, project: m.project(), ..FsXattr::default() }
    }

    /// The flags of a file that has `flags`, with those that are known here set as they are told.
    fn flags(&self, flags: u32) -> u32 {
        let set = |flags: u32, (flag, xflag): &(u32, u32)| {
            if self.xflags & xflag != 0 { flags | flag } else { flags & !flag }
        };
        XFLAGS.iter().fold(flags, set)
    }
}

impl Server {
    /// `IOCTL`.
    pub(crate) fn ioctl(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: IoctlIn = request.take()?;
        let id = self.inode(request.header.nodeid);
        let m = self.mount.metadata_id(id).map_err(errno)?;
        let set = |set: SetAttributes| self.mount.set_attributes_ino(id.ino, &set).map(drop).map_err(errno);
        match args.cmd {
            GETFLAGS | GETFLAGS_32 => answer(reply, &m.flags(), args.out_size),
            GETVERSION => answer(reply, &m.generation(), args.out_size),
            FSGETXATTR => answer(reply, &FsXattr::of(&m), args.out_size),
            SETFLAGS | SETFLAGS_32 => {
                let flags: u32 = request.take()?;
                set(SetAttributes { flags: Some(flags), ..SetAttributes::default() })?;
                answer(reply, &(), 0)
            }
            FSSETXATTR => {
                let xattr: FsXattr = request.take()?;
                let project = (xattr.project != m.project()).then_some(xattr.project);
                set(SetAttributes {
                    flags: Some(xattr.flags(m.flags())),
                    project,
                    ..SetAttributes::default()
                })?;
                answer(reply, &(), 0)
            }
            _ => Err(Errno::NOTTY),
        }
    }
}

/// Puts `value` behind the header, as many bytes of zeros behind it as the client has room for.
fn answer<T: IntoBytes + Immutable>(reply: &mut Reply<'_>, value: &T, room: u32) -> Answer<()> {
    let header = IoctlOut::default();
    let (header, value) = (header.as_bytes(), value.as_bytes());
    let len = header.len() + value.len().max(room as usize);
    let space = reply.space(len as u32);
    if value.len() > room as usize || space.len() < len {
        return Err(Errno::INVAL);
    }
    space.fill(0);
    space[..header.len()].copy_from_slice(header);
    space[header.len()..header.len() + value.len()].copy_from_slice(value);
    reply.has(len)
}
