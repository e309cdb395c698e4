//! Lengths, holes, and space that is allocated in advance: in steps.
//!
//! Who calls it: `content`. Whom it calls: `map_change`, `orphan`, `inline`.
//!
//! States of a file that is cut: as long as it was → (first step) as long as it is to be, all blocks behind free: done; or some left: an
//! orphan, which each step brings nearer to → no orphan, done.

use super::inline;
use crate::Ext4;
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::map_change::{Fill, Was};
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Allocate, InodeNo, Step, Timestamp};
use rumpcap_vm::Reservation;

/// Most runs that one step of allocating in advance takes: each may be in a group of its own.
const RUNS: u32 = 3;

/// See `Change::set_size`.
pub(crate) fn set_size(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    size_bytes: u64,
    now: Timestamp,
) -> Result<Step> {
    fs.change(r, now, |h| {
        let mut inode = h.content_inode(ino)?;
        if inode.has_flag(inode_flags::APPEND) {
            return Err(Error::NotPermitted);
        }
        h.touch(&mut inode);
        if inode.has_flag(inode_flags::INLINE_DATA) {
            if inline::set_size(h, &mut inode, size_bytes)? {
                return done(h, &inode);
            }
            inline::grow_out(h, &mut inode)?;
        }
        h.check_size(&inode, size_bytes)?;
        let old = inode.size_bytes();
        h.store_size(&mut inode, size_bytes)?;
        if size_bytes > old {
            h.put_inode(&inode)?;
            return done(h, &inode);
        }
        let is_begun = size_bytes == old;
        cut(h, &mut inode, is_begun)
    })
}

/// One more step of cutting a file to its length, whatever its flags: an operation before has begun it.
pub(crate) fn cut_on(fs: &Ext4, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<Step> {
    fs.change(r, now, |h| {
        let mut inode = h.inode_even_nameless(ino)?;
        cut(h, &mut inode, true)
    })
}

/// Frees blocks behind the end of a file; `is_begun` if an operation before may have made it an orphan for that.
fn cut(h: &mut Handle<'_>, inode: &mut Inode, is_begun: bool) -> Result<Step> {
    let is_done = h.unmap_behind_end(inode)?;
    h.put_inode(inode)?;
    // One without names stays an orphan in any case.
    if inode.raw.links.get() > 0 {
        if !is_done {
            h.add_orphan(inode)?;
        } else if is_begun {
            h.remove_orphan(inode)?;
        }
    }
    Ok(Step { node: h.node(inode)?, is_done })
}

impl Handle<'_> {
    /// Frees blocks behind the end of a file, as many as fit into a step; gives whether none is left. Does not put the inode.
    ///
    /// # Errors
    /// As [`Handle::unmap_blocks`].
    pub(crate) fn unmap_behind_end(&mut self, inode: &mut Inode) -> Result<bool> {
        if inode.has_flag(inode_flags::INLINE_DATA) {
            return Ok(true);
        }
        let first = inode.size_bytes().div_ceil(1 << self.fs.sb.block_log);
        let of = self.use_of(inode);
        Ok(self.unmap_blocks(inode, first..u64::MAX, of)? <= first)
    }
}

fn done(h: &Handle<'_>, inode: &Inode) -> Result<Step> {
    Ok(Step { node: h.node(inode)?, is_done: true })
}

/// See `Change::punch`.
pub(crate) fn punch(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    range: Range<u64>,
    now: Timestamp,
) -> Result<Step> {
    let log = fs.sb.block_log;
    fs.change(r, now, |h| {
        let mut inode = h.content_inode(ino)?;
        if inode.has_flag(inode_flags::APPEND) {
            return Err(Error::NotPermitted);
        }
        h.touch(&mut inode);
        let mut is_done = true;
        let blocks = range.start.div_ceil(1 << log)..range.end >> log;
        if !inode.has_flag(inode_flags::INLINE_DATA) && !blocks.is_empty() {
            let of = h.use_of(&inode);
            is_done = h.unmap_blocks(&mut inode, blocks.clone(), of)? <= blocks.start;
        }
        h.put_inode(&inode)?;
        Ok(Step { node: h.node(&inode)?, is_done })
    })
}

/// See `Change::allocate`.
pub(crate) fn allocate(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    range: Range<u64>,
    how: Allocate,
    now: Timestamp,
) -> Result<Step> {
    if range.is_empty() {
        return Err(Error::InvalidInput { what: "an empty range to allocate" });
    }
    let log = fs.sb.block_log;
    fs.change(r, now, |h| {
        let mut inode = h.content_inode(ino)?;
        if inode.has_flag(inode_flags::APPEND) && how == Allocate::KeepSize {
            return Err(Error::NotPermitted);
        }
        if inode.has_flag(inode_flags::INLINE_DATA) {
            inline::grow_out(h, &mut inode)?;
        }
        if !inode.has_flag(inode_flags::EXTENTS) {
            return Err(Error::Unsupported { what: "space that is not written, in a file without extents" });
        }
        h.check_size(&inode, range.end)?;
        let blocks = range.start >> log..range.end.div_ceil(1 << log);
        let stop = allocate_some(h, &mut inode, blocks.clone())?;
        let size = range.end.min(stop << log);
        inode.set_ctime(&h.fs.sb, h.now);
        if how == Allocate::Extend && size > inode.size_bytes() {
            h.store_size(&mut inode, size)?;
            inode.set_mtime(h.now);
        }
        h.put_inode(&inode)?;
        Ok(Step { node: h.node(&inode)?, is_done: stop >= blocks.end })
    })
}

/// Allocates from the beginning of `blocks` on; gives where it stopped.
fn allocate_some(h: &mut Handle<'_>, inode: &mut Inode, blocks: Range<u64>) -> Result<u64> {
    let (mut at, mut runs) = (blocks.start, 0);
    while at < blocks.end && runs < RUNS {
        let logical = u32::try_from(at).map_err(|_| Error::FileTooLarge)?;
        let most = (blocks.end - at).min(u64::from(u32::MAX)) as u32;
        let mapped = h.map_blocks(inode, logical, most, Fill::Unwritten)?;
        runs += u32::from(mapped.was == Was::Hole);
        at += u64::from(mapped.count);
    }
    Ok(at)
}
