//! Files that are kept in their inode: 60 bytes in `i_block`, more in the value of `system.data`, as far as that is there.
//!
//! Who calls it: `write`, `size`. Whom it calls: `xattr` to find the value, `map_change`.
//!
//! A file that does not fit any more grows out of its inode, into a block that is stored here, past the pages: nobody reads it
//! before the operation is done, and it was free before.
#![deny(clippy::indexing_slicing)]

use crate::inode_edit::Inode;
use crate::layout::{BLOCK_BYTES, RawXattrEntry, XATTR_MAGIC, inode_flags};
use crate::map_change::Fill;
use crate::transaction::Handle;
use crate::xattr::name::Name;
use crate::{inline_data, xattr};
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::PAGE_SIZE;
use std::io::IoSlice;
use zerocopy::{FromBytes, IntoBytes};

/// Writes `data` if the file then fits its inode; gives whether it does. Puts the inode.
pub(super) fn write(h: &mut Handle<'_>, inode: &mut Inode, offset: u64, data: &[u8]) -> Result<bool> {
    let end = offset.saturating_add(data.len() as u64);
    let Some(tail) = room_for(h, inode, end)? else { return Ok(false) };
    if end > inode.size_bytes() {
        h.store_size(inode, end)?;
    }
    h.touch(inode);
    change(h, inode, tail, offset as usize..end as usize, |at| data.get(at).copied().unwrap_or(0))?;
    Ok(true)
}

/// Sets the length if the file then fits its inode, zeros what is behind the old or the new end; gives whether it fits. Puts the inode.
pub(super) fn set_size(h: &mut Handle<'_>, inode: &mut Inode, size_bytes: u64) -> Result<bool> {
    let Some(tail) = room_for(h, inode, size_bytes)? else { return Ok(false) };
    let from = size_bytes.min(inode.size_bytes()) as usize;
    h.store_size(inode, size_bytes)?;
    change(h, inode, tail.clone(), from..BLOCK_BYTES + tail.len(), |_| 0)?;
    Ok(true)
}

/// Where the value of `system.data` is in the inode, if `len` bytes fit there and in `i_block`.
fn room_for(h: &Handle<'_>, inode: &Inode, len: u64) -> Result<Option<Range<usize>>> {
    let tail = xattr::inline_tail(h.fs, h.r, &h.node(inode)?)?;
    let tail = tail.map_or(0..0, |tail| {
        let start = tail.place.saturating_sub(inode.at) as usize;
        start..start + tail.len_bytes as usize
    });
    Ok((len <= (BLOCK_BYTES + tail.len()) as u64).then_some(tail))
}

/// Sets bytes `changed` of the content to what `byte` says of each, counted from the first; puts the inode.
fn change(
    h: &mut Handle<'_>,
    inode: &mut Inode,
    tail: Range<usize>,
    changed: Range<usize>,
    byte: impl Fn(usize) -> u8,
) -> Result<()> {
    for (at, to) in inode.raw.block.as_mut_bytes().iter_mut().enumerate() {
        if changed.contains(&at) {
            *to = byte(at - changed.start);
        }
    }
    let size = h.fs.sb.inode_size as usize;
    h.edit_inode_area(inode, |area| {
        let area_at = size - area.len();
        let value = area.get_mut(tail.start.saturating_sub(area_at)..tail.end.saturating_sub(area_at));
        for (at, to) in (BLOCK_BYTES..).zip(value.unwrap_or_default()) {
            if changed.contains(&at) {
                *to = byte(at - changed.start);
            }
        }
    })
}

/// Moves the content of a file out of its inode, into a block of its own. Puts the inode, which the caller goes on changing.
pub(super) fn grow_out(h: &mut Handle<'_>, inode: &mut Inode) -> Result<()> {
    let mut content = [0; PAGE_SIZE];
    let size = inode.size_bytes();
    if size > u64::from(h.fs.sb.block_size) {
        return Err(Error::Corrupt { what: "inline content: longer than a block", at: inode.ino.0 });
    }
    let node = h.node(inode)?;
    if let Some(content) = content.get_mut(..size as usize) {
        inline_data::read(h.fs, h.r, &node, 0, content)?;
    }
    inode.set_flags(0, inode_flags::INLINE_DATA);
    h.begin_map(inode);
    // Attributes begin behind the fields that the inode says to have, which may be more than are known here.
    let at = crate::layout::INODE_BASE_BYTES + usize::from(inode.raw.extra_isize.get());
    let inode_size = h.fs.sb.inode_size as usize;
    let corrupt = Error::Corrupt { what: "extended attributes: entry", at: inode.ino.0 };
    h.edit_inode_area(inode, |area| {
        let into = at.saturating_sub(inode_size - area.len());
        area.get_mut(into..).and_then(remove_value).ok_or(corrupt)
    })??;
    if size > 0 {
        let mapped = h.map_blocks(inode, 0, 1, Fill::Written)?;
        let block = content.get(..h.fs.sb.block_size as usize).unwrap_or_default();
        h.fs.device.device().write_at(mapped.first << h.fs.sb.block_log, &mut [IoSlice::new(block)])?;
    }
    h.put_inode(inode)
}

/// Takes `system.data`, if it is there, out of the attributes of an inode: its entry and its value; others' values close up. `None` if the
/// attributes are broken.
fn remove_value(area: &mut [u8]) -> Option<()> {
    const HEAD: usize = size_of::<RawXattrEntry>();
    let (magic, entries) = area.split_first_chunk_mut::<4>()?;
    if u32::from_le_bytes(*magic) != XATTR_MAGIC {
        return Some(());
    }
    let head = |entries: &[u8], at: usize| Some(RawXattrEntry::read_from_prefix(entries.get(at..)?).ok()?.0);
    let len = |entry: &RawXattrEntry| HEAD + usize::from(entry.name_len).next_multiple_of(4);
    // Values are counted from the first entry on.
    let (mut at, mut found, mut values) = (0, None, entries.len());
    let end = loop {
        if entries.get(at..at + 4)? == [0; 4] {
            break at;
        }
        let entry = head(entries, at)?;
        let name = entries.get(at + HEAD..)?.get(..usize::from(entry.name_len))?;
        if (Name { index: entry.name_index, suffix: name }) == Name::INLINE_DATA {
            found = Some((at, entry));
        }
        if entry.value_inode.get() == 0 && entry.value_len.get() > 0 {
            values = values.min(usize::from(entry.value_offset.get()));
        }
        at += len(&entry);
    };
    let Some((found_at, found)) = found else { return Some(()) };
    let gap = (found.value_len.get() as usize).next_multiple_of(4);
    let value = usize::from(found.value_offset.get());
    if gap > 0 {
        entries.get_mut(..value.checked_add(gap)?)?.copy_within(values..value, values.checked_add(gap)?);
        entries.get_mut(values..values + gap)?.fill(0);
    }
    at = 0;
    while at < end {
        let mut entry = head(entries, at)?;
        let offset = usize::from(entry.value_offset.get());
        if entry.value_inode.get() == 0 && entry.value_len.get() > 0 && offset < value {
            entry.value_offset = ((offset + gap) as u16).into();
            entries.get_mut(at..at + HEAD)?.copy_from_slice(entry.as_bytes());
        }
        at += len(&entry);
    }
    let behind = found_at + len(&found);
    entries.get_mut(..end)?.copy_within(behind.., found_at);
    entries.get_mut(end - (behind - found_at)..end)?.fill(0);
    if end == behind - found_at {
        *magic = [0; 4];
    }
    Some(())
}
