//! Files that are kept in their inode: 60 bytes in `i_block`, the rest in the value of `system.data`.
//!
//! Who calls it: `write`, `size`. Whom it calls: `xattr` for the value, `map_change`.
//!
//! A file that does not fit any more grows out of its inode, into a block that is stored here, past the pages: nobody reads it
//! before the operation is done, and it was free before.
//!
//! Memory: a page of content on the stack. Failure: as of the operation, which is taken back.
#![deny(clippy::indexing_slicing)]

use crate::inline_data;
use crate::inode_edit::Inode;
use crate::layout::{BLOCK_BYTES, inode_flags};
use crate::map_change::Fill;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::PAGE_SIZE;
use std::io::IoSlice;
use zerocopy::IntoBytes;

/// Writes `data` if the file then fits its inode; gives whether it does. Puts the inode.
pub(super) fn write(h: &mut Handle<'_>, inode: &mut Inode, offset: u64, data: &[u8]) -> Result<bool> {
    let end = offset.saturating_add(data.len() as u64);
    if !fits(h, inode, end)? {
        return Ok(false);
    }
    h.touch(inode);
    let size = end.max(inode.size_bytes());
    // What others left behind the end is not content.
    let from = offset.min(inode.size_bytes()) as usize;
    let gap = (offset as usize).saturating_sub(from);
    let byte = |at: usize| at.checked_sub(gap).and_then(|at| data.get(at)).copied().unwrap_or(0);
    change(h, inode, size, from..end as usize, byte)?;
    Ok(true)
}

/// Sets the length if the file then fits its inode; what is behind the old or the new end becomes zeros. Gives whether it fits. Puts
/// the inode.
pub(super) fn set_size(h: &mut Handle<'_>, inode: &mut Inode, size_bytes: u64) -> Result<bool> {
    if !fits(h, inode, size_bytes)? {
        return Ok(false);
    }
    let from = size_bytes.min(inode.size_bytes()) as usize;
    change(h, inode, size_bytes, from..usize::MAX, |_| 0)?;
    Ok(true)
}

/// Whether `len` bytes fit `i_block` and what the attributes leave room for.
fn fits(h: &Handle<'_>, inode: &Inode, len: u64) -> Result<bool> {
    let room = h.inline_space(inode)?;
    Ok(room.is_some_and(|room| len <= (BLOCK_BYTES + room) as u64))
}

/// Makes the content `size` bytes long, and its bytes `changed` what `byte` says of each, counted from the first; puts the inode.
fn change(
    h: &mut Handle<'_>,
    inode: &mut Inode,
    size: u64,
    changed: Range<usize>,
    byte: impl Fn(usize) -> u8,
) -> Result<()> {
    let store = |first: usize, part: &mut [u8]| {
        for (at, to) in (first..).zip(part).filter(|(at, _)| changed.contains(at)) {
            *to = byte(at - changed.start);
        }
    };
    h.store_size(inode, size)?;
    store(0, inode.raw.block.as_mut_bytes());
    let behind = size.saturating_sub(BLOCK_BYTES as u64) as usize;
    h.set_inline_attribute(inode, behind, |value| store(BLOCK_BYTES, value))
}

/// Moves the content of a file out of its inode, into a block of its own. Puts the inode, which the caller goes on changing.
pub(super) fn grow_out(h: &mut Handle<'_>, inode: &mut Inode) -> Result<()> {
    let mut content = [0; PAGE_SIZE];
    let (size, log) = (inode.size_bytes(), h.fs.sb.block_log);
    if size > u64::from(h.fs.sb.block_size) {
        return Err(Error::Corrupt { what: "inline content: longer than a block", at: inode.ino.0 });
    }
    let node = h.node(inode)?;
    if let Some(content) = content.get_mut(..size as usize) {
        inline_data::read(h.fs, h.r, &node, 0, content)?;
    }
    h.remove_inline_attribute(inode)?;
    inode.set_flags(0, inode_flags::INLINE_DATA);
    h.begin_map(inode);
    if size > 0 {
        let mapped = h.map_blocks(inode, 0, 1, Fill::Written)?;
        let block = content.get(..1 << log).unwrap_or_default();
        h.fs.device.device().write_at(mapped.first << log, &mut [IoSlice::new(block)])?;
    }
    h.put_inode(inode)
}
