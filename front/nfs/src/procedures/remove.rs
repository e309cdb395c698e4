//! REMOVE, RMDIR, RENAME, LINK.

use super::names::Name;
use super::{Caller, Done};
use crate::access::WRITE;
use crate::attributes::{option, status};
use crate::procedures::directory::Directory;
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{
    LINK3res, LINK3resfail, LINK3resok, NFS3_FHSIZE, REMOVE3res, REMOVE3resfail, REMOVE3resok, RENAME3res,
    RENAME3resfail, RENAME3resok, RMDIR3res, RMDIR3resfail, RMDIR3resok, nfsstat3, post_op_attr, wcc_data,
};
use rumpcap::{Error, Rename};
use std::ffi::OsStr;

impl Caller<'_> {
    /// REMOVE.
    pub fn remove(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        args.end()?;
        let mut dir_wcc = wcc_data::default();
        let done = self.change_directory(handle, &mut dir_wcc, |dir| {
            let name = Name::plain(name, nfsstat3::NFS3ERR_ISDIR)?;
            self.may_take_name(dir, name)?;
            self.export.mount.remove_file_at(dir.file.ino(), name).map_err(status)
        });
        let answer = match done {
            Ok(()) => REMOVE3res::Ok(REMOVE3resok { dir_wcc }),
            Err(status) => REMOVE3res::Err((status, REMOVE3resfail { dir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    /// RMDIR.
    pub fn rmdir(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        args.end()?;
        let mut dir_wcc = wcc_data::default();
        let done = self.change_directory(handle, &mut dir_wcc, |dir| {
            let name = match Name::of(name)? {
                Name::Plain(name) => name,
                Name::Dot => return Err(nfsstat3::NFS3ERR_INVAL),
                Name::DotDot => return Err(nfsstat3::NFS3ERR_EXIST),
            };
            self.may_take_name(dir, name)?;
            self.export.mount.remove_dir_at(dir.file.ino(), name).map_err(status)
        });
        let answer = match done {
            Ok(()) => RMDIR3res::Ok(RMDIR3resok { dir_wcc }),
            Err(status) => RMDIR3res::Err((status, RMDIR3resfail { dir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    /// As `may_take`, for a name.
    fn may_take_name(&self, dir: &Directory, name: &OsStr) -> Done<()> {
        let entry = self.export.mount.metadata_at(dir.file.ino(), name).map_err(status)?;
        self.may_take(dir, &entry)
    }

    /// RENAME.
    pub fn rename(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (from_handle, from_name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        let (to_handle, to_name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        args.end()?;
        let (mut fromdir_wcc, mut todir_wcc) = (wcc_data::default(), wcc_data::default());
        let wcc = [&mut fromdir_wcc, &mut todir_wcc];
        let done = self.change_two([from_handle, to_handle], wcc, |[from, to]| {
            let from_name = Name::plain(from_name, nfsstat3::NFS3ERR_INVAL)?;
            let to_name = Name::plain(to_name, nfsstat3::NFS3ERR_INVAL)?;
            self.may_rename(from, from_name, to, to_name)?;
            let (from, to) = (from.file.ino(), to.file.ino());
            self.export.mount.rename_at(from, from_name, to, to_name, Rename::Replace).map_err(status)
        });
        let answer = match done {
            Ok(()) => RENAME3res::Ok(RENAME3resok { fromdir_wcc, todir_wcc }),
            Err(status) => RENAME3res::Err((status, RENAME3resfail { fromdir_wcc, todir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    fn may_rename(&self, from: &Directory, from_name: &OsStr, to: &Directory, to_name: &OsStr) -> Done<()> {
        let moved = self.export.mount.metadata_at(from.file.ino(), from_name).map_err(status)?;
        self.may_take(from, &moved)?;
        // Its entry for the directory above changes.
        if moved.is_dir() && from.file.ino() != to.file.ino() {
            self.check(&moved, WRITE)?;
        }
        match self.export.mount.metadata_at(to.file.ino(), to_name) {
            Ok(replaced) => self.may_take(to, &replaced),
            Err(Error::NotFound) => Ok(()),
            Err(error) => Err(status(error)),
        }
    }

    /// LINK.
    pub fn link(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let file_handle = args.opaque(NFS3_FHSIZE)?;
        let (dir_handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        args.end()?;
        let (mut file_attributes, mut linkdir_wcc) = (post_op_attr::None, wcc_data::default());
        let done = self.change_directory(dir_handle, &mut linkdir_wcc, |dir| {
            let name = Name::plain(name, nfsstat3::NFS3ERR_EXIST)?;
            let file = self.open(file_handle)?;
            let linked = self.export.mount.hard_link_at(file.ino(), dir.file.ino(), name);
            file_attributes = option(file.metadata().ok().map(|metadata| self.attributes(&metadata)));
            linked.map(drop).map_err(status)
        });
        let answer = match done {
            Ok(()) => LINK3res::Ok(LINK3resok { file_attributes, linkdir_wcc }),
            Err(status) => LINK3res::Err((status, LINK3resfail { file_attributes, linkdir_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }
}
