//! Values of extended attributes: copied from where they are, ACLs converted on the way.
//!
//! Who calls it: `xattr`. Whom it calls: `region`, `inode` and `map` for values in inodes of their own, `acl`.
//!
//! Pins: one page; `inode` and `map` pin theirs while none is held here.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::area::Value;
use super::name::Name;
use crate::checksum::crc32c;
use crate::layout::inode_flags;
use crate::node::Ext4Node;
use crate::region::Region;
use crate::{Ext4, acl};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node};
use rumpcap_vm::Reservation;

/// Length in bytes that `value` has for a user.
pub(super) fn user_len(name: Name<'_>, value: Value, owner: &Node) -> Result<usize> {
    let len = value.len() as usize;
    if !name.is_posix_acl() {
        return Ok(len);
    }
    acl::xattr_len(len).ok_or_else(|| malformed_acl(owner))
}

fn malformed_acl(owner: &Node) -> Error {
    Error::Corrupt { what: "POSIX ACL", at: owner.attributes.ino.0 }
}

/// Copies `value` of `owner`'s attribute `name` into `buf`, which is exactly [`user_len`] long.
pub(super) fn copy(
    fs: &Ext4,
    r: &Reservation<'_>,
    owner: &Node,
    name: Name<'_>,
    value: Value,
    buf: &mut [u8],
) -> Result<()> {
    let len = value.len() as usize;
    // For an ACL the device's form goes to the end, see `acl::convert`; otherwise that is all of it.
    let from = buf.len().checked_sub(len).ok_or_else(|| malformed_acl(owner))?;
    copy_raw(fs, r, owner, value, buf.get_mut(from..).unwrap_or_default())?;
    if name.is_posix_acl() {
        acl::convert(buf, len).map_err(|_| malformed_acl(owner))?;
    }
    Ok(())
}

/// Copies `value` of an attribute of `owner` as it is on the device into `buf`, which is as long as it.
pub(super) fn copy_raw(
    fs: &Ext4,
    r: &Reservation<'_>,
    owner: &Node,
    value: Value,
    buf: &mut [u8],
) -> Result<()> {
    match value {
        Value::Here(region) => region.read(fs, r, buf),
        Value::Inode { ino, .. } => copy_from_inode(fs, r, owner, ino, buf),
    }
}

/// Copies the whole content of the attribute inode `ino`, which must be `buf.len()` bytes, and verifies it.
fn copy_from_inode(fs: &Ext4, r: &Reservation<'_>, owner: &Node, ino: u32, buf: &mut [u8]) -> Result<()> {
    let at = u64::from(ino);
    let corrupt = |what| Error::Corrupt { what, at };
    let node = match fs.inode(r, InodeNo(at), 0) {
        Err(Error::NotFound) => return Err(corrupt("extended attributes: inode of a value is free")),
        node => node?,
    };
    if !node.has_flag(inode_flags::EA_INODE) || node.is_inline() || node.has_flag(inode_flags::ENCRYPT) {
        return Err(corrupt("extended attributes: inode is not one of a value"));
    }
    if node.attributes.size_bytes != buf.len() as u64 {
        return Err(corrupt("extended attributes: length of a value's inode"));
    }
    let block_size = fs.sb.block_size as usize;
    for (logical, part) in (0..).zip(buf.chunks_mut(block_size)) {
        let block = fs.map_block(r, &node, logical)?;
        let block = block.ok_or_else(|| corrupt("extended attributes: hole in a value's inode"))?;
        Region { start: fs.byte_of(block, 0)?, len: fs.sb.block_size }.read(fs, r, part)?;
    }
    // The hash of the value is where another inode has the time of its last access. Lustre's older ones have no hash,
    // and name their owner instead.
    let hash = node.attributes.atime.seconds as u32;
    let of_owner = node.attributes.mtime.seconds as u32 == owner.attributes.ino.0 as u32
        && node.attributes.generation == owner.attributes.generation;
    if hash != crc32c(fs.sb.csum_seed, buf) && !of_owner {
        return Err(Error::Checksum { what: "extended attribute inode", at });
    }
    Ok(())
}
