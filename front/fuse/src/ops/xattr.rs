//! Extended attributes, access control lists among them, by their full names.
//!
//! Who may see and set which is Linux's to say, but for one thing that it leaves to the file system: in a list, `trusted.` names are the
//! superuser's.

use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::flags::SETXATTR_ACL_KILL_SGID;
use crate::wire::received::{GetxattrIn, SetxattrIn};
use crate::wire::sent::GetxattrOut;
use core::ops::ControlFlow;
use rumpcap::{NodeId, SetAttributes, SetXattr};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

impl Server {
    /// `GETXATTR`: the value, or its length.
    pub(crate) fn getxattr(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: GetxattrIn = request.take()?;
        let name = request.name()?.as_encoded_bytes();
        let id = self.inode(request.header.nodeid);
        if args.size == 0 {
            let len = self.mount.xattr_id(id, name, &mut []).map_err(errno)?;
            return reply.put(&GetxattrOut { size: len as u32, padding: 0 });
        }
        let len = self.mount.xattr_id(id, name, reply.space(args.size)).map_err(errno)?;
        reply.has(len)
    }

    /// `LISTXATTR`: the names, or their length.
    pub(crate) fn listxattr(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: GetxattrIn = request.take()?;
        let is_superuser = request.header.uid == 0;
        let space = reply.space(args.size);
        let (mut len, mut fits) = (0, true);
        let id = self.inode(request.header.nodeid);
        let listed = self.mount.list_xattr_id(id, &mut |name, _| {
            if name.starts_with(b"trusted.") && !is_superuser {
                return ControlFlow::Continue(());
            }
            if let Some(place) = space.get_mut(len..len + name.len() + 1) {
                place[..name.len()].copy_from_slice(name);
                place[name.len()] = 0;
            } else {
                fits = false;
            }
            len += name.len() + 1;
            ControlFlow::Continue(())
        });
        listed.map_err(errno)?;
        match (args.size, fits) {
            (0, _) => reply.put(&GetxattrOut { size: len as u32, padding: 0 }),
            (_, true) => reply.has(len),
            (_, false) => Err(Errno::RANGE),
        }
    }

    /// `SETXATTR`.
    pub(crate) fn setxattr(&self, mut request: Request<'_>) -> Answer<()> {
        let args: SetxattrIn = request.take()?;
        let name = request.name()?.as_encoded_bytes();
        let value = request.data(args.size)?;
        let flags = XattrFlags::from_bits_retain(args.flags);
        let how = if flags.contains(XattrFlags::CREATE) {
            SetXattr::Create
        } else if flags.contains(XattrFlags::REPLACE) {
            SetXattr::Replace
        } else {
            SetXattr::Any
        };
        let ino = self.number(request.header.nodeid)?;
        self.mount.set_xattr_ino(ino, name, value, how).map_err(errno)?;
        if args.setxattr_flags & SETXATTR_ACL_KILL_SGID != 0 {
            self.kill_set_gid(self.inode(request.header.nodeid))?;
        }
        Ok(())
    }

    fn kill_set_gid(&self, id: NodeId) -> Answer<()> {
        const SET_GID: u32 = 0o2000;
        let mode = self.mount.metadata_id(id).map_err(errno)?.mode();
        if mode & SET_GID == 0 {
            return Ok(());
        }
        let set = SetAttributes { mode: Some(mode & 0o7777 & !SET_GID), ..SetAttributes::default() };
        self.mount.set_attributes_ino(id.ino, &set).map(drop).map_err(errno)
    }

    /// `REMOVEXATTR`.
    pub(crate) fn removexattr(&self, mut request: Request<'_>) -> Answer<()> {
        let name = request.name()?.as_encoded_bytes();
        self.mount.remove_xattr_ino(self.number(request.header.nodeid)?, name).map_err(errno)
    }
}
