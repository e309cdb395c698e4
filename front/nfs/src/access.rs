//! Who may do what: permission bits and access control lists (POSIX 1003.1e draft 17, 23.1.5), checked here because the clients'
//! kernels are not trusted with it.
//!
//! Who calls it: `procedures`. Whom it calls: the mount, for the list of an inode, where the bits alone do not decide.
#![deny(clippy::indexing_slicing)]

use crate::attributes::status;
use crate::credentials::Credentials;
use nfs3_types::nfs3::nfsstat3;
use rumpcap::{Error, Metadata, Mount};

/// To read; to list.
pub const READ: u32 = 4;
/// To write; to make and remove names.
pub const WRITE: u32 = 2;
/// To execute; to search.
pub const EXECUTE: u32 = 1;

/// The name under which an inode's list is kept.
const LIST: &[u8] = b"system.posix_acl_access";

/// The most bytes of an attribute's value.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Bytes of lists that need no heap: of some 30 entries.
const USUAL_BYTES: usize = 256;

/// The version of the host's binary form of a list.
const LIST_VERSION: u32 = 2;

/// Tags of a list's entries.
mod tag {
    pub const USER: u16 = 2;
    pub const GROUP_OBJECT: u16 = 4;
    pub const GROUP: u16 = 8;
    pub const MASK: u16 = 0x10;
}

/// An entry of a list.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    permissions: u32,
    id: u32,
}

/// Whether `wanted` (a sum of [`READ`], [`WRITE`], [`EXECUTE`]) is permitted.
///
/// # Errors
/// `ACCES`; what reading a list may give.
pub fn check(mount: &Mount, file: &Metadata, who: &Credentials, wanted: u32) -> Result<(), nfsstat3> {
    if permits(mount, file, who, wanted)? { Ok(()) } else { Err(nfsstat3::NFS3ERR_ACCES) }
}

/// As [`check`], of a file that the client may have opened before its permissions were changed: its owner may read and write it.
///
/// # Errors
/// As [`check`].
pub fn check_opened(mount: &Mount, file: &Metadata, who: &Credentials, wanted: u32) -> Result<(), nfsstat3> {
    if who.uid == file.uid() { Ok(()) } else { check(mount, file, who, wanted) }
}

/// Whether `wanted` is permitted.
///
/// # Errors
/// What reading a list may give.
pub fn permits(mount: &Mount, file: &Metadata, who: &Credentials, wanted: u32) -> Result<bool, nfsstat3> {
    let mode = file.mode();
    if who.is_superuser() {
        return Ok(wanted & EXECUTE == 0 || file.is_dir() || mode & 0o111 != 0);
    }
    if who.uid == file.uid() {
        return Ok((mode >> 6) & wanted == wanted);
    }
    // Links have none, and their permissions are not looked at.
    if !file.is_symlink()
        && let Some(decided) = by_list(mount, file, who, wanted)?
    {
        return Ok(decided);
    }
    let shift = if who.is_in_group(file.gid()) { 3 } else { 0 };
    Ok((mode >> shift) & wanted == wanted)
}

/// What the list of an inode says to somebody who is neither owner nor superuser; `None` without a list.
fn by_list(mount: &Mount, file: &Metadata, who: &Credentials, wanted: u32) -> Result<Option<bool>, nfsstat3> {
    let mut usual = [0; USUAL_BYTES];
    let mut long;
    let value = match mount.xattr_id(file.id(), LIST, &mut usual) {
        Ok(len) => usual.get(..len),
        Err(Error::NoAttribute | Error::Unsupported { .. }) => return Ok(None),
        Err(Error::Range { .. }) => {
            long = vec![0; VALUE_BYTES_MAX];
            let len = mount.xattr_id(file.id(), LIST, &mut long).map_err(status)?;
            long.get(..len)
        }
        Err(error) => return Err(status(error)),
    };
    let value = value.ok_or(nfsstat3::NFS3ERR_IO)?;
    decide(value, file, who, wanted).map(Some).ok_or(nfsstat3::NFS3ERR_IO)
}

/// What a list says; `None` if it is none.
fn decide(value: &[u8], file: &Metadata, who: &Credentials, wanted: u32) -> Option<bool> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != LIST_VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let entries = || entries.as_chunks::<8>().0.iter().map(|bytes| Entry::read(*bytes));
    let mask = entries().find(|entry| entry.tag == tag::MASK).map_or(7, |entry| entry.permissions);
    if let Some(user) = entries().find(|entry| entry.tag == tag::USER && entry.id == who.uid) {
        return Some(user.permissions & mask & wanted == wanted);
    }
    // One of the groups must grant all; if none does, others' permissions do not count.
    let is_mine = |entry: &Entry| match entry.tag {
        tag::GROUP_OBJECT => who.is_in_group(file.gid()),
        tag::GROUP => who.is_in_group(entry.id),
        _ => false,
    };
    let mut mine = entries().filter(is_mine).peekable();
    if mine.peek().is_some() {
        return Some(mine.any(|entry| entry.permissions & mask & wanted == wanted));
    }
    Some(file.mode() & wanted == wanted)
}

impl Entry {
    fn read([tag0, tag1, bits0, bits1, id @ ..]: [u8; 8]) -> Entry {
        Entry {
            tag: u16::from_le_bytes([tag0, tag1]),
            permissions: u32::from(u16::from_le_bytes([bits0, bits1])),
            id: u32::from_le_bytes(id),
        }
    }
}
