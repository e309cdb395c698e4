//! Setting and removing extended attributes.
//!
//! Who calls it: `vnops_change`; `attributes` for the list that goes with a mode. Whom it calls: `place`, `value_inode`, `acl`.
//!
//! A value that must have an inode of its own takes several operations: the inode is made and filled first, an orphan until the one
//! operation that sets the attribute. An inode that lost its last reference is deleted behind that.
#![deny(clippy::indexing_slicing)]

use super::draft::Content;
use super::inherit::{ACL_BYTES_MAX, AclBytes};
use super::name::Name;
use super::place::{Stored, Wanted};
use super::value_inode;
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use crate::{Ext4, acl};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Node, SetXattr, Timestamp};
use rumpcap_vm::Reservation;

/// Longest value, as Linux has it.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Longest name, with its prefix, as Linux has it: the device would hold some longer ones, which nobody could read there.
const NAME_BYTES_MAX: usize = 255;

/// See `Change::set_xattr`.
pub(crate) fn set(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    name: &[u8],
    value: Option<&[u8]>,
    how: SetXattr,
    now: Timestamp,
) -> Result<Node> {
    let name = parse(name)?;
    let list;
    let mut stored = value;
    let mut permissions = None;
    if let Some(value) = value.filter(|_| name.is_posix_acl()) {
        list = to_device(value)?;
        stored = Some(list.as_slice()).filter(|list| !acl::mode::is_empty(list));
    }
    if let (Name::ACCESS_ACL, Some(list)) = (name, stored) {
        let (bits, meaning) = acl::mode::mode_of(list).map_err(|_| MALFORMED)?;
        permissions = Some(bits);
        // What a mode can say is kept in the mode.
        stored = (meaning == acl::mode::Meaning::More).then_some(list);
    }
    if stored.is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
        return Err(Error::InvalidInput { what: "an extended attribute of more than 64 KiB" });
    }
    let is_removed = value.is_none();
    store(fs, r, ino, stored, now, &mut |h, content| {
        let mut inode = h.inode_even_nameless(ino)?;
        check_kind(&inode, name, value.is_some())?;
        if let Some(bits) = permissions {
            inode.raw.mode = (inode.raw.mode.get() & !0o777 | bits as u16).into();
        }
        let wanted = match content {
            Some(content) => Wanted::Value(content),
            None if is_removed => Wanted::Removed,
            None => Wanted::Absent,
        };
        let stored = h.store_attribute(&mut inode, name, wanted, how)?;
        Ok((stored, h.node(&inode)?))
    })
}

/// What [`store`] runs: sets an attribute of its to the content that it gets.
pub(crate) type Operation<'a> =
    dyn FnMut(&mut Handle<'_>, Option<Content<'_>>) -> Result<(Stored, Node)> + 'a;

/// Has `operate` set `value` as (part of) one operation on inode `owner`. Where that says that the value must have an inode of its own,
/// makes that before.
///
/// # Errors
/// Those of `operate`; `NoSpace`, `Corrupt`, `Io`.
pub(crate) fn store(
    fs: &Ext4,
    r: &Reservation<'_>,
    owner: InodeNo,
    value: Option<&[u8]>,
    now: Timestamp,
    operate: &mut Operation<'_>,
) -> Result<Node> {
    let first = fs.change(r, now, |h| operate(h, value.map(Content::Bytes)))?;
    let (stored, node) = match (first, value) {
        ((Stored::NeedsInode, _), Some(value)) => store_by_inode(fs, r, owner, value, now, operate)?,
        (first, _) => first,
    };
    if let Stored::Done { orphan: Some(orphan) } = stored {
        value_inode::delete(fs, r, orphan, now);
    }
    Ok(node)
}

fn store_by_inode(
    fs: &Ext4,
    r: &Reservation<'_>,
    owner: InodeNo,
    value: &[u8],
    now: Timestamp,
    operate: &mut Operation<'_>,
) -> Result<(Stored, Node)> {
    let made = value_inode::create(fs, r, owner, value, now)?;
    let content = Content::Inode { ino: made.ino.0 as u32, len: value.len() as u32, hash: made.hash };
    let stored = fs.change(r, now, |h| {
        h.begin_value_reference(made.ino)?;
        operate(h, Some(content))
    });
    if stored.is_err() {
        value_inode::delete(fs, r, made.ino, now);
    }
    stored
}

const MALFORMED: Error = Error::InvalidInput { what: "access control list" };

fn parse(full: &[u8]) -> Result<Name<'_>> {
    let name = Name::parse(full).ok_or(Error::Unsupported { what: "namespace of an extended attribute" })?;
    if name.suffix.contains(&0) {
        return Err(Error::InvalidInput { what: "name of an extended attribute" });
    }
    if full.len() > NAME_BYTES_MAX {
        return Err(Error::Range { need: full.len() as u64 });
    }
    Ok(name)
}

/// The device's form of an access control list.
fn to_device(value: &[u8]) -> Result<AclBytes> {
    let len = acl::device_len(value).map_err(|_| MALFORMED)?;
    let mut list = AclBytes::new();
    if len > ACL_BYTES_MAX {
        return Err(Error::NoSpace { what: "bytes for an access control list" });
    }
    list.extend(core::iter::repeat_n(0, len));
    acl::to_device(value, &mut list).map_err(|_| MALFORMED)?;
    if !acl::mode::is_empty(&list) {
        acl::mode::check(&list).map_err(|_| MALFORMED)?;
    }
    Ok(list)
}

/// Whether an inode may have such an attribute, and it be set.
fn check_kind(inode: &Inode, name: Name<'_>, is_set: bool) -> Result<()> {
    let kind = inode.kind();
    let flags = inode.raw.flags.get();
    if flags & (inode_flags::IMMUTABLE | inode_flags::APPEND | inode_flags::EA_INODE) != 0 {
        return Err(Error::NotPermitted);
    }
    if name.is_users() && !matches!(kind, FileKind::Regular | FileKind::Directory) {
        return Err(Error::NotPermitted);
    }
    if name.is_posix_acl() && kind == FileKind::Symlink {
        return Err(Error::Unsupported { what: "access control list of a symbolic link" });
    }
    if name == Name::DEFAULT_ACL && is_set && kind != FileKind::Directory {
        return Err(Error::InvalidInput { what: "default access control list of a file" });
    }
    Ok(())
}
