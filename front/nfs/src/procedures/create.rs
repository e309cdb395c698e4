//! CREATE, MKDIR, SYMLINK, MKNOD.
//!
//! CR-1. An exclusive create that is sent again, even to a server that was started again, finds its verifier in the file's times (in 31 bits
//! of each one's seconds, which every format of inodes has) until the client sets them.

use super::directory::Directory;
use super::names::Name;
use super::{Caller, Done};
use crate::access::{WRITE, check_opened};
use crate::attributes::{PERMISSIONS, changes, option, set, status};
use crate::procedures::setattr::{SET_GROUP_ID, now};
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{
    CREATE3res, CREATE3resfail, CREATE3resok, MKDIR3res, MKDIR3resfail, MKDIR3resok, MKNOD3res,
    MKNOD3resfail, MKNOD3resok, NFS3_FHSIZE, Nfs3Option, SYMLINK3res, SYMLINK3resfail, SYMLINK3resok,
    createverf3, ftype3, nfsstat3, post_op_attr, post_op_fh3, sattr3, specdata3, wcc_data,
};
use rumpcap::{Error, FileKind, Metadata, Owner, SetAttributes, Timestamp};
use std::ffi::OsStr;

/// Bits of a directory that a client sets when it makes it; set-group-ID comes from the directory above.
const DIRECTORY_BITS: u32 = 0o1777;

/// Bits of a verifier that are kept in each time.
const KEPT_BITS: u32 = 0x7fff_ffff;

/// What CREATE does where the name is there.
enum How {
    Unchecked(sattr3),
    Guarded(sattr3),
    Exclusive(createverf3),
}

impl Caller<'_> {
    /// CREATE.
    pub fn create(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        let how = match args.u32()? {
            0 => How::Unchecked(args.fixed()?),
            1 => How::Guarded(args.fixed()?),
            2 => How::Exclusive(args.fixed()?),
            _ => return Err(Garbage),
        };
        args.end()?;
        let mut dir_wcc = wcc_data::default();
        let done = self.change_directory(handle, &mut dir_wcc, |dir| {
            let name = Name::plain(name, nfsstat3::NFS3ERR_EXIST)?;
            match &how {
                How::Unchecked(new) => match self.make_file(dir, name, new) {
                    Err(nfsstat3::NFS3ERR_EXIST) => self.existing(dir, name, new),
                    done => done,
                },
                How::Guarded(new) => self.make_file(dir, name, new),
                How::Exclusive(verifier) => self.make_exclusively(dir, name, *verifier),
            }
        });
        let answer = match done {
            Ok(made) => {
                let (obj, obj_attributes) = self.made(&made);
                CREATE3res::Ok(CREATE3resok { obj, obj_attributes, dir_wcc })
            }
            Err(status) => CREATE3res::Err((status, CREATE3resfail { dir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    /// Handle and attributes of what was made.
    fn made(&self, made: &Metadata) -> (post_op_fh3, post_op_attr) {
        (Nfs3Option::Some(self.export.handles.answer(made.id())), option(Some(self.attributes(made))))
    }

    fn make_file(&self, dir: &Directory, name: &OsStr, new: &sattr3) -> Done<Metadata> {
        let owner = self.owner(dir, new, PERMISSIONS);
        let file = self.export.mount.create_at(dir.file.ino(), name, &owner).map_err(status)?;
        if let Some(len_bytes) = set(&new.size).filter(|len| *len > 0) {
            file.set_len(len_bytes).map_err(status)?;
        }
        self.complete(file.metadata().map_err(status)?, new)
    }

    /// A file that was to be made and is there: of what the client wants set, it may be cut to nothing.
    fn existing(&self, dir: &Directory, name: &OsStr, new: &sattr3) -> Done<Metadata> {
        let mount = &self.export.mount;
        let found = mount.metadata_at(dir.file.ino(), name).map_err(status)?;
        if !found.is_file() || set(&new.size) != Some(0) {
            return Ok(found);
        }
        check_opened(mount, &found, &self.who, WRITE)?;
        let file = mount.open_id(found.id()).map_err(status)?;
        self.drop_privileges(&found)?;
        file.set_len(0).map_err(status)?;
        file.metadata().map_err(status)
    }

    fn make_exclusively(&self, dir: &Directory, name: &OsStr, verifier: createverf3) -> Done<Metadata> {
        let mount = &self.export.mount;
        let [a, b] = kept(verifier).map(|seconds| Timestamp { seconds, nanoseconds: 0 });
        match mount.create_at(dir.file.ino(), name, &self.owner(dir, &sattr3::default(), PERMISSIONS)) {
            Ok(file) => {
                let times = SetAttributes { atime: Some(a), mtime: Some(b), ..SetAttributes::default() };
                mount.set_attributes_ino(file.ino(), &times).map_err(status)
            }
            Err(Error::Exists) => {
                let found = mount.metadata_at(dir.file.ino(), name).map_err(status)?;
                let is_same = found.is_file()
                    && found.len() == 0
                    && [found.accessed().seconds, found.modified().seconds] == [a.seconds, b.seconds];
                if is_same { Ok(found) } else { Err(nfsstat3::NFS3ERR_EXIST) }
            }
            Err(error) => Err(status(error)),
        }
    }

    /// Whose a new file is. Nobody gives a file to run with the rights of a group that they are not in.
    fn owner(&self, dir: &Directory, new: &sattr3, bits: u32) -> Owner {
        let mut mode = set(&new.mode).unwrap_or(0) & bits;
        let group = if dir.metadata.mode() & SET_GROUP_ID != 0 { dir.metadata.gid() } else { self.who.gid };
        if !self.who.is_superuser() && !self.who.is_in_group(group) {
            mode &= !SET_GROUP_ID;
        }
        Owner { mode, uid: self.who.uid, gid: self.who.gid }
    }

    /// Sets what a client wants a new file to have and that is not set by making it. Owners are the superuser's to give.
    fn complete(&self, made: Metadata, new: &sattr3) -> Done<Metadata> {
        let mut rest = SetAttributes { mode: None, ..changes(new, now())? };
        if !self.who.is_superuser() {
            (rest.uid, rest.gid) = (None, None);
        }
        if rest.uid.is_none() && rest.gid.is_none() && rest.atime.is_none() && rest.mtime.is_none() {
            return Ok(made);
        }
        self.export.mount.set_attributes_ino(made.ino(), &rest).map_err(status)
    }

    /// MKDIR.
    pub fn mkdir(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        let new: sattr3 = args.fixed()?;
        args.end()?;
        let mut dir_wcc = wcc_data::default();
        let done = self.change_directory(handle, &mut dir_wcc, |dir| {
            let name = Name::plain(name, nfsstat3::NFS3ERR_EXIST)?;
            let owner = self.owner(dir, &new, DIRECTORY_BITS);
            let made = self.export.mount.create_dir_at(dir.file.ino(), name, &owner).map_err(status)?;
            self.complete(made, &new)
        });
        let answer = match done {
            Ok(made) => {
                let (obj, obj_attributes) = self.made(&made);
                MKDIR3res::Ok(MKDIR3resok { obj, obj_attributes, dir_wcc })
            }
            Err(status) => MKDIR3res::Err((status, MKDIR3resfail { dir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    /// SYMLINK.
    pub fn symlink(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        let new: sattr3 = args.fixed()?;
        let target = super::names::os(args.opaque(usize::MAX)?);
        args.end()?;
        let mut dir_wcc = wcc_data::default();
        let done = self.change_directory(handle, &mut dir_wcc, |dir| {
            let name = Name::plain(name, nfsstat3::NFS3ERR_EXIST)?;
            let owner = self.owner(dir, &new, PERMISSIONS);
            let made = self.export.mount.symlink_at(target, dir.file.ino(), name, &owner).map_err(status)?;
            self.complete(made, &new)
        });
        let answer = match done {
            Ok(made) => {
                let (obj, obj_attributes) = self.made(&made);
                SYMLINK3res::Ok(SYMLINK3resok { obj, obj_attributes, dir_wcc })
            }
            Err(status) => SYMLINK3res::Err((status, SYMLINK3resfail { dir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    /// MKNOD.
    pub fn mknod(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        let wanted = read_node(&mut args)?;
        let mut dir_wcc = wcc_data::default();
        let done = match wanted {
            None => Err(nfsstat3::NFS3ERR_BADTYPE),
            Some((kind, new, device)) => self.change_directory(handle, &mut dir_wcc, |dir| {
                let name = Name::plain(name, nfsstat3::NFS3ERR_EXIST)?;
                let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
                if is_device && !self.who.is_superuser() {
                    return Err(nfsstat3::NFS3ERR_PERM);
                }
                let (owner, rdev) =
                    (self.owner(dir, &new, PERMISSIONS), (device.specdata1, device.specdata2));
                let made = self.export.mount.create_node_at(dir.file.ino(), name, kind, rdev, &owner);
                self.complete(made.map_err(status)?, &new)
            }),
        };
        let answer = match done {
            Ok(made) => {
                let (obj, obj_attributes) = self.made(&made);
                MKNOD3res::Ok(MKNOD3resok { obj, obj_attributes, dir_wcc })
            }
            Err(status) => MKNOD3res::Err((status, MKNOD3resfail { dir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }
}

/// What MKNOD is to make; `None` for a type that it does not make.
fn read_node(args: &mut Reader<'_>) -> Result<Option<(FileKind, sattr3, specdata3)>, Garbage> {
    let kind = match args.u32()? {
        kind if kind == ftype3::NF3CHR as u32 => FileKind::CharDevice,
        kind if kind == ftype3::NF3BLK as u32 => FileKind::BlockDevice,
        kind if kind == ftype3::NF3SOCK as u32 => FileKind::Socket,
        kind if kind == ftype3::NF3FIFO as u32 => FileKind::Fifo,
        _ => return Ok(None),
    };
    let new = args.fixed()?;
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let device = if is_device { args.fixed()? } else { specdata3::default() };
    args.end()?;
    Ok(Some((kind, new, device)))
}

/// What of a verifier is kept, as two times.
fn kept(verifier: createverf3) -> [i64; 2] {
    let [a, b, c, d, e, f, g, h] = verifier.0;
    [[a, b, c, d], [e, f, g, h]].map(|half| i64::from(u32::from_be_bytes(half) & KEPT_BITS))
}
