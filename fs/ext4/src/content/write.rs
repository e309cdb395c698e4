//! Writing: where bytes go.
//!
//! Who calls it: `content`. Whom it calls: `map_change`, `inline`.

use super::inline;
use crate::Ext4;
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::map_change::Fill;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Placed, Store, SyncFile, Timestamp, Written};
use rumpcap_vm::Reservation;
use zerocopy::IntoBytes;

/// See `Change::write`.
pub(crate) fn write(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    offset: u64,
    data: &[u8],
    now: Timestamp,
    store: &mut Store<'_>,
) -> Result<Written> {
    if data.is_empty() {
        return Err(Error::InvalidInput { what: "no bytes to write" });
    }
    fs.change(r, now, |h| {
        let mut inode = h.content_inode(ino)?;
        if inode.has_flag(inode_flags::APPEND) && offset != inode.size_bytes() {
            return Err(Error::NotPermitted);
        }
        if inode.has_flag(inode_flags::INLINE_DATA) {
            fs.note_changed(ino, SyncFile::Content);
            if inline::write(h, &mut inode, offset, data)? {
                return Ok(Written { len_bytes: data.len(), node: h.node(&inode)? });
            }
            inline::grow_out(h, &mut inode)?;
        }
        write_mapped(h, &mut inode, offset, data.len(), store)
    })
}

/// Maps from the block of `offset` on, as much as lies in a row, and has it stored.
fn write_mapped(
    h: &mut Handle<'_>,
    inode: &mut Inode,
    offset: u64,
    len_bytes: usize,
    store: &mut Store<'_>,
) -> Result<Written> {
    let log = h.fs.sb.block_log;
    let end = offset.checked_add(len_bytes as u64).ok_or(Error::FileTooLarge)?;
    let first = offset >> log;
    let logical = u32::try_from(first).map_err(|_| Error::FileTooLarge)?;
    let wanted = (end.div_ceil(1 << log) - first).min(u64::from(u32::MAX)) as u32;
    let before = inode.raw;
    let mapped = h.map_blocks(inode, logical, wanted, Fill::Written)?;
    // What the map cannot hold ends the write before, so nothing is placed behind the longest length.
    let stop = end.min((first + u64::from(mapped.count)) << log);
    h.check_size(inode, stop)?;
    if stop > inode.size_bytes() {
        h.store_size(inode, stop)?;
    }
    // New blocks change the map, which may be outside of the inode.
    if mapped.is_new() || inode.raw.as_bytes() != before.as_bytes() {
        h.fs.note_changed(inode.ino, SyncFile::Content);
    }
    h.touch(inode);
    if inode.raw.as_bytes() != before.as_bytes() {
        h.put_inode(inode)?;
    }
    let node = h.node(inode)?;
    let within = offset - (first << log);
    let len_bytes = (stop - offset) as usize;
    store(Placed { offset: (mapped.first << log) + within, len_bytes, is_new: mapped.is_new() })?;
    Ok(Written { len_bytes, node })
}
