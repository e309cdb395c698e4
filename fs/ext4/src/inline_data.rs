//! Content that is kept in the inode: 60 bytes in `i_block`, the rest in the value of `system.data`.
//!
//! Who calls it: `vnops` for files, `symlink`. (Directories kept inline have a form of their own, see `dir`.)
//! Memory: one page pinned at a time.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::layout::{BLOCK_BYTES, inode_flags};
use crate::node::Ext4Node;
use crate::xattr;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;
use rumpcap_vm::Reservation;

/// Copies inline content from byte `offset` on; zeros where the inode keeps less than the file's size. Gives the
/// number of bytes copied: 0 at the end of the file.
///
/// # Errors
/// `Encrypted`; `WrongType` when the content is not in the inode; as `xattr::inline_tail`.
pub(crate) fn read(
    fs: &Ext4,
    r: &Reservation<'_>,
    node: &Node,
    offset: u64,
    buf: &mut [u8],
) -> Result<usize> {
    if node.has_flag(inode_flags::ENCRYPT) {
        return Err(Error::Encrypted);
    }
    if !node.is_inline() {
        return Err(Error::WrongType);
    }
    let left = node.attributes.size_bytes.saturating_sub(offset);
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else { return Ok(0) };
    buf.fill(0);
    let bytes = node.block_bytes();
    let head = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    for (to, from) in buf.iter_mut().zip(head) {
        *to = *from;
    }
    let head = head.len().min(len);
    if let Some(rest) = buf.get_mut(head..).filter(|rest| !rest.is_empty()) {
        let into = offset.saturating_add(head as u64).saturating_sub(BLOCK_BYTES as u64);
        read_tail(fs, r, node, into, rest)?;
    }
    Ok(len)
}

/// Copies the value of `system.data` from byte `into` on, as far as it goes.
fn read_tail(fs: &Ext4, r: &Reservation<'_>, node: &Node, into: u64, buf: &mut [u8]) -> Result<()> {
    let Some(tail) = xattr::inline_tail(fs, r, node)? else { return Ok(()) };
    let left = u64::from(tail.len_bytes).saturating_sub(into);
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    match buf.get_mut(..len) {
        Some(part) if !part.is_empty() => fs.device.copy(r, tail.place.saturating_add(into), part),
        _ => Ok(()),
    }
}
