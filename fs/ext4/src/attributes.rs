//! Attributes of an inode: mode, owner, times, flags.
//!
//! Who calls it: `vnops_change`. Whom it calls: `inode_edit`; `xattr` and `acl` for the access control list that goes with a mode.
//!
//! AT-1. Of an inode that is immutable or append only, and stays so, nothing is set but the flags of the latter. AT-2. Flags that
//! say how an inode is stored are never set here.

use crate::inode_edit::Inode;
use crate::layout::{RawInode, inode_flags};
use crate::transaction::Handle;
use crate::xattr::name::Name;
use crate::xattr::{AclBytes, Stored, Wanted};
use crate::{Ext4, acl, xattr};
use core::mem::offset_of;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Node, SetAttributes, SetXattr, Timestamp};
use rumpcap_vm::Reservation;

/// Permission bits.
const MODE_BITS: u32 = 0o7777;

/// Flags that only directories can have: synchronous names, top of a hierarchy, project of new files, names without case.
const OF_DIRECTORIES: u32 = 0x1_0000 | 0x2_0000 | 0x2000_0000 | inode_flags::CASEFOLD;
/// Flags that anything can have: not dumped, no time of access.
const OF_ALL: u32 = 0x40 | 0x80;

/// See `Change::set_attributes`.
pub(crate) fn set(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    set: &SetAttributes,
    now: Timestamp,
) -> Result<Node> {
    check(set)?;
    let list = match set.mode {
        Some(mode) => fs.change(r, now, |h| h.list_with_mode(ino, mode))?,
        None => None,
    };
    xattr::store(fs, r, ino, list.as_deref(), now, &mut |h, content| {
        let mut inode = h.inode_even_nameless(ino)?;
        h.set_fields(&mut inode, set)?;
        let mut stored = Stored::Done { orphan: None };
        if let Some(content) = content {
            let wanted = Wanted::Value(content);
            stored = h.store_attribute(&mut inode, Name::ACCESS_ACL, wanted, SetXattr::Replace)?;
        }
        if stored != Stored::NeedsInode {
            inode.set_ctime(&h.fs.sb, set.ctime.unwrap_or(now));
            h.put_inode(&inode)?;
        }
        Ok((stored, h.node(&inode)?))
    })
}

fn check(set: &SetAttributes) -> Result<()> {
    let times = [set.atime, set.mtime, set.ctime];
    if times.iter().flatten().any(|time| time.nanoseconds >= 1_000_000_000) {
        return Err(Error::InvalidInput { what: "nanoseconds" });
    }
    Ok(())
}

impl Handle<'_> {
    /// The access control list of an inode as it is with other permission bits; `None` if it has none.
    fn list_with_mode(&mut self, ino: InodeNo, mode: u32) -> Result<Option<AclBytes>> {
        let inode = self.inode_even_nameless(ino)?;
        if inode.kind() == FileKind::Symlink {
            return Ok(None);
        }
        let list = self.acl_bytes(&self.node(&inode)?, Name::ACCESS_ACL)?;
        let Some(mut list) = list.filter(|list| !acl::mode::is_empty(list)) else { return Ok(None) };
        acl::mode::set_mode(&mut list, mode).map_err(|_| Error::Corrupt { what: "POSIX ACL", at: ino.0 })?;
        Ok(Some(list))
    }

    /// Sets the fields of `inode`, which is not put.
    fn set_fields(&mut self, inode: &mut Inode, set: &SetAttributes) -> Result<()> {
        check_permitted(inode, set)?;
        if let Some(mode) = set.mode {
            let kind = u32::from(inode.raw.mode.get()) & !MODE_BITS;
            inode.raw.mode = ((kind | mode & MODE_BITS) as u16).into();
        }
        if let Some(uid) = set.uid {
            (inode.raw.uid_lo, inode.raw.uid_hi) = halves(uid);
        }
        if let Some(gid) = set.gid {
            (inode.raw.gid_lo, inode.raw.gid_hi) = halves(gid);
        }
        if let Some(time) = set.atime {
            inode.set_atime(time);
        }
        if let Some(time) = set.mtime {
            inode.set_mtime(time);
        }
        if let Some(project) = set.project {
            self.set_project(inode, project)?;
        }
        set.flags.map_or(Ok(()), |flags| self.set_visible_flags(inode, flags))
    }

    fn set_project(&self, inode: &mut Inode, project: u32) -> Result<()> {
        let has_field = self.fs.sb.features.has_project() && inode.has_field(offset_of!(RawInode, project));
        if has_field {
            inode.raw.project = project.into();
        } else if project != 0 {
            return Err(Error::Unsupported { what: "project" });
        }
        Ok(())
    }

    fn set_visible_flags(&mut self, inode: &mut Inode, flags: u32) -> Result<()> {
        let allowed = match inode.kind() {
            FileKind::Directory => inode_flags::SETTABLE,
            FileKind::Regular => inode_flags::SETTABLE & !OF_DIRECTORIES,
            _ => OF_ALL,
        };
        let wanted = flags & inode_flags::SETTABLE;
        let changed = (inode.raw.flags.get() ^ wanted) & inode_flags::SETTABLE;
        if wanted & !allowed != 0 {
            return Err(Error::InvalidInput { what: "flags that such a file cannot have" });
        }
        if changed & inode_flags::CASEFOLD != 0 {
            if !self.fs.sb.features.has_casefold() {
                return Err(Error::InvalidInput { what: "flags: the file system has no casefold" });
            }
            if !self.is_empty_dir(inode)? {
                return Err(Error::NotEmpty);
            }
        }
        inode.set_flags(wanted, inode_flags::SETTABLE);
        Ok(())
    }
}

/// AT-1.
fn check_permitted(inode: &Inode, set: &SetAttributes) -> Result<()> {
    let now = inode.raw.flags.get();
    if now & inode_flags::EA_INODE != 0 {
        return Err(Error::NotPermitted);
    }
    let stays = now & set.flags.unwrap_or(now);
    let others = set.mode.is_some()
        || set.uid.is_some()
        || set.gid.is_some()
        || set.atime.is_some()
        || set.mtime.is_some()
        || set.ctime.is_some();
    let flags_change = set.flags.is_some_and(|flags| (flags ^ now) & inode_flags::SETTABLE != 0);
    let is_refused = if stays & inode_flags::IMMUTABLE != 0 {
        others || flags_change || set.project.is_some()
    } else {
        stays & inode_flags::APPEND != 0 && others
    };
    if is_refused { Err(Error::NotPermitted) } else { Ok(()) }
}

fn halves<T: From<u16>>(id: u32) -> (T, T) {
    ((id as u16).into(), ((id >> 16) as u16).into())
}
