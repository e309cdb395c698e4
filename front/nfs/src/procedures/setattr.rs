//! SETATTR, and the rights that go when a file changes.

use super::{Caller, Done};
use crate::access::{WRITE, check, check_opened};
use crate::attributes::{changes, set, status, time};
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{
    NFS3_FHSIZE, Nfs3Option, SETATTR3res, SETATTR3resfail, SETATTR3resok, nfsstat3, sattr3, sattrguard3,
    set_atime, set_mtime, wcc_data,
};
use rumpcap::{Error, File, Metadata, SetAttributes, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// To run with the rights of the file's owner.
pub const SET_USER_ID: u32 = 0o4000;
/// To run with the rights of the file's group.
pub const SET_GROUP_ID: u32 = 0o2000;
/// Those of which one is needed to run it.
const EXECUTE_BITS: u32 = 0o111;
/// That of the group, without which set-group-ID means something else.
const GROUP_EXECUTE: u32 = 0o010;

/// The attribute by which a file runs with rights of the superuser.
const CAPABILITIES: &[u8] = b"security.capability";

/// The server's time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs().cast_signed(), nanoseconds: since.subsec_nanos() }
}

impl Caller<'_> {
    /// SETATTR.
    pub fn setattr(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let handle = args.opaque(NFS3_FHSIZE)?;
        let (new, guard): (sattr3, sattrguard3) = (args.fixed()?, args.fixed()?);
        args.end()?;
        let mut obj_wcc = wcc_data::default();
        let done = self.may_change().and_then(|()| {
            let file = self.open(handle)?;
            self.change(&file, &mut obj_wcc, |old| self.set(&file, old, &new, &guard))?;
            self.settle(&file)
        });
        let answer = match done {
            Ok(()) => SETATTR3res::Ok(SETATTR3resok { obj_wcc }),
            Err(status) => SETATTR3res::Err((status, SETATTR3resfail { obj_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    fn set(&self, file: &File, old: &Metadata, new: &sattr3, guard: &sattrguard3) -> Done<()> {
        if let Nfs3Option::Some(guard) = guard
            && *guard != time(old.changed())
        {
            return Err(nfsstat3::NFS3ERR_NOT_SYNC);
        }
        let mut wanted = changes(new, now())?;
        self.may_set(old, new, &wanted)?;
        self.restrict(old, &mut wanted);
        if let Some(len_bytes) = set(&new.size) {
            self.drop_privileges(old)?;
            file.set_len(len_bytes).map_err(status)?;
        }
        let is_given_away = wanted.uid.is_some() || wanted.gid.is_some();
        if is_given_away {
            self.drop_capabilities(old)?;
        }
        let SetAttributes { mode, atime, mtime, .. } = wanted;
        if is_given_away || mode.is_some() || atime.is_some() || mtime.is_some() {
            self.export.mount.set_attributes_ino(file.ino(), &wanted).map_err(status)?;
        }
        Ok(())
    }

    /// Whether the caller may set all of it.
    fn may_set(&self, old: &Metadata, new: &sattr3, wanted: &SetAttributes) -> Done<()> {
        if set(&new.size).is_some() {
            if old.is_dir() {
                return Err(nfsstat3::NFS3ERR_ISDIR);
            }
            if !old.is_file() {
                return Err(nfsstat3::NFS3ERR_INVAL);
            }
            check_opened(&self.export.mount, old, &self.who, WRITE)?;
        }
        if self.who.is_superuser() {
            return Ok(());
        }
        let is_owner = self.who.uid == old.uid();
        let keeps_owner = wanted.uid.is_none_or(|uid| is_owner && uid == old.uid());
        let keeps_group =
            wanted.gid.is_none_or(|gid| is_owner && (gid == old.gid() || self.who.is_in_group(gid)));
        if !keeps_owner || !keeps_group || (wanted.mode.is_some() && !is_owner) {
            return Err(nfsstat3::NFS3ERR_PERM);
        }
        if is_owner {
            return Ok(());
        }
        let says_time = matches!(new.atime, set_atime::SET_TO_CLIENT_TIME(_))
            || matches!(new.mtime, set_mtime::SET_TO_CLIENT_TIME(_));
        if says_time {
            return Err(nfsstat3::NFS3ERR_PERM);
        }
        if wanted.atime.is_some() || wanted.mtime.is_some() {
            check(&self.export.mount, old, &self.who, WRITE)?;
        }
        Ok(())
    }

    /// Takes from `wanted` the rights that nobody gives: a file that gets another owner does not run with its rights, nor one with those
    /// of a group that the caller is not in.
    fn restrict(&self, old: &Metadata, wanted: &mut SetAttributes) {
        if (wanted.uid.is_some() || wanted.gid.is_some()) && !old.is_dir() {
            let mode = wanted.mode.unwrap_or(old.mode() & crate::attributes::PERMISSIONS);
            let kept = without_privileges(mode);
            if kept != mode || wanted.mode.is_some() {
                wanted.mode = Some(kept);
            }
        }
        let group = wanted.gid.unwrap_or(old.gid());
        if !self.who.is_superuser() && !self.who.is_in_group(group) {
            wanted.mode = wanted.mode.map(|mode| mode & !SET_GROUP_ID);
        }
    }

    /// Before the content of a file changes: it does not run with more rights than those of who runs it any more.
    pub(super) fn drop_privileges(&self, file: &Metadata) -> Done<()> {
        if self.who.is_superuser() || file.mode() & EXECUTE_BITS == 0 {
            return Ok(());
        }
        self.drop_capabilities(file)?;
        let kept = without_privileges(file.mode());
        if kept != file.mode() {
            let mode = Some(kept & crate::attributes::PERMISSIONS);
            let set = SetAttributes { mode, ..SetAttributes::default() };
            self.export.mount.set_attributes_ino(file.ino(), &set).map_err(status)?;
        }
        Ok(())
    }

    fn drop_capabilities(&self, file: &Metadata) -> Done<()> {
        let mount = &self.export.mount;
        if !file.is_file() {
            return Ok(());
        }
        match mount.xattr_id(file.id(), CAPABILITIES, &mut []) {
            Ok(_) => mount.remove_xattr_ino(file.ino(), CAPABILITIES).map_err(status),
            Err(Error::NoAttribute | Error::Unsupported { .. }) => Ok(()),
            Err(error) => Err(status(error)),
        }
    }
}

/// A mode without set-user-ID, and without set-group-ID where that is to run.
fn without_privileges(mode: u32) -> u32 {
    let group = if mode & GROUP_EXECUTE != 0 { SET_GROUP_ID } else { 0 };
    mode & !(SET_USER_ID | group)
}
