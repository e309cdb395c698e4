//! Targets of symbolic links: in `i_block` (fast), in a block (slow), or inline.
//!
//! Who calls it: `vnops`. Memory: one page pinned at a time.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::layout::{BLOCK_BYTES, inode_flags};
use crate::node::Ext4Node;
use crate::{Ext4, inline_data};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, Node};
use rumpcap_vm::Reservation;

/// Copies the target of symbolic link `node`; gives its length.
///
/// # Errors
/// `WrongType` when it is none; `Range` when `buf` is too short; `Corrupt` for an empty target or one that is longer
/// than a block; `Encrypted`.
pub(crate) fn read(fs: &Ext4, r: &Reservation<'_>, node: &Node, buf: &mut [u8]) -> Result<usize> {
    if node.kind() != FileKind::Symlink {
        return Err(Error::WrongType);
    }
    if node.has_flag(inode_flags::ENCRYPT) {
        return Err(Error::Encrypted);
    }
    let size = node.attributes.size_bytes;
    let corrupt = |what| Error::Corrupt { what, at: node.attributes.ino.0 };
    if size == 0 || size > u64::from(fs.sb.block_size) {
        return Err(corrupt("symbolic link: length of the target"));
    }
    let buf = buf.get_mut(..size as usize).ok_or(Error::Range { need: size })?;
    if node.is_inline() {
        inline_data::read(fs, r, node, 0, buf)?;
    } else if is_fast(fs, node) {
        let bytes = node.block_bytes();
        // A byte is left for the NUL that ends the target there.
        let bytes = bytes.get(..BLOCK_BYTES - 1).and_then(|bytes| bytes.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or_else(|| corrupt("symbolic link: length of the target"))?);
    } else {
        let block = fs.map_block(r, node, 0)?.ok_or_else(|| corrupt("symbolic link: no block"))?;
        fs.device.copy(r, fs.byte_of(block, 0)?, buf)?;
    }
    // The kernel ends a target at a NUL too.
    let len = buf.iter().position(|&byte| byte == 0).unwrap_or(buf.len());
    if len == 0 { Err(corrupt("symbolic link: empty target")) } else { Ok(len) }
}

/// Whether the target is in `i_block`. Values of attributes in inodes of their own count as blocks of this one, so with
/// ea_inode only the length decides; else that no block but that of the attributes is taken.
pub(crate) fn is_fast(fs: &Ext4, node: &Node) -> bool {
    if fs.sb.features.has_ea_inode() {
        return node.attributes.size_bytes < BLOCK_BYTES as u64;
    }
    let cluster_log = fs.sb.block_log.saturating_add(fs.sb.cluster_log).saturating_sub(9);
    let attributes = if node.file_acl() == 0 { 0 } else { 1 << cluster_log };
    node.attributes.blocks_512 == attributes
}
