//! Lengths and holes of files.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: [`crate::Change`], in its steps, all in one change.
//!
//! What is cut off or freed has no pages any more when the change ends, and before it ends nobody takes its blocks, so nothing is written to
//! them later. What is left of blocks at both ends is zeroed on the device, behind the step that says so, and has no page
//! either: pages that hold other bytes too are written first.
//!
//! RS-1. An error of the first step leaves the content as it was: pages are forgotten behind it, or were written before.
//!
//! Memory: none. Failure: steps before the error are done.

use crate::change::{Allocate, SetAttributes, Step};
use crate::data::require_regular;
use crate::file_system::Extent;
use crate::mount::Mount;
use crate::node::{InodeNo, Node, Timestamp};
use crate::open_file::OpenFile;
use crate::write::ZEROS;
use crate::writing::Changing;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{PAGE_SIZE, PageIndex};
use std::io::IoSlice;

/// `FS_IMMUTABLE_FL` and `FS_APPEND_FL`: files that are not cut.
const KEEP_FLAGS: u32 = 0x10 | 0x20;

/// Pages of zeros in one request: 128 KiB, as other requests have.
const ZERO_PAGES: usize = 32;

impl Mount {
    /// Sets the length of a file.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::set_size`].
    pub fn set_len(&self, open: &OpenFile, len_bytes: u64, now: Timestamp) -> Result<()> {
        let (change, ino) = (self.change()?, open.ino());
        let node = self.node(&change, ino)?;
        require_regular(&node)?;
        let cuts = len_bytes < node.attributes.size_bytes;
        if cuts && node.attributes.flags & KEEP_FLAGS != 0 {
            return Err(Error::NotPermitted);
        }
        let _aging = self.aging(ino);
        self.clear_behind_end(&change, &node, len_bytes)?;
        if cuts && !len_bytes.is_multiple_of(PAGE_SIZE as u64) {
            self.write_dirty_pages_of(ino);
        }
        let node = self.first_step(ino, change.fs.set_size(&change, ino, len_bytes, now))?;
        let block_end = len_bytes.next_multiple_of(change.fs.block_bytes());
        if cuts {
            self.forget_pages(ino, len_bytes..u64::MAX);
            self.zero_stored(&change, &node.node, len_bytes..block_end)?;
        }
        self.other_steps(ino, node, || change.fs.set_size(&change, ino, len_bytes, now))
    }

    /// Makes `range` a hole; the length stays.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidInput` for an empty range; those of [`crate::Change::punch`].
    pub fn punch_hole(&self, open: &OpenFile, range: Range<u64>, now: Timestamp) -> Result<()> {
        let change = self.change()?;
        self.punch(&change, open.ino(), &range, now)
    }

    /// Makes `range` zeros; the length stays. Allocates it, where there is space that reads as zeros.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidInput` for an empty range; those of [`crate::Change::punch`] and [`crate::Change::allocate`].
    pub fn zero_range(&self, open: &OpenFile, range: Range<u64>, now: Timestamp) -> Result<()> {
        let (change, ino) = (self.change()?, open.ino());
        match self.punch(&change, ino, &range, now) {
            Err(Error::Unsupported { .. }) => return self.overwrite(&change, ino, range, now),
            other => other?,
        }
        let allocate = || change.fs.allocate(&change, ino, range.clone(), Allocate::KeepSize, now);
        match self.first_step(ino, allocate()) {
            Err(Error::Unsupported { .. }) => Ok(()),
            step => self.other_steps(ino, step?, allocate),
        }
    }

    /// Allocates what is not yet allocated of `range`.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidInput` for an empty range; those of [`crate::Change::allocate`].
    pub fn allocate(&self, open: &OpenFile, range: Range<u64>, how: Allocate, now: Timestamp) -> Result<()> {
        require_some(&range)?;
        let (change, ino) = (self.change()?, open.ino());
        let node = self.node(&change, ino)?;
        require_regular(&node)?;
        let _aging = self.aging(ino);
        if how == Allocate::Extend {
            self.clear_behind_end(&change, &node, range.end)?;
        }
        let allocate = || change.fs.allocate(&change, ino, range.clone(), how, now);
        let step = self.first_step(ino, allocate())?;
        self.other_steps(ino, step, allocate)
    }

    fn punch(&self, change: &Changing<'_>, ino: InodeNo, range: &Range<u64>, now: Timestamp) -> Result<()> {
        require_some(range)?;
        let node = self.node(change, ino)?;
        require_regular(&node)?;
        let _aging = self.aging(ino);
        if matches!(self.fs.map(change, &node, 0)?, Extent::Inline) {
            return self.zero_inline(change, &node, range, now);
        }
        self.write_dirty_pages_of(ino);
        self.forget_pages(ino, range.clone());
        let punch = || change.fs.punch(change, ino, range.clone(), now);
        let step = self.first_step(ino, punch())?;
        let block = change.fs.block_bytes();
        let (first, last) = (range.start.next_multiple_of(block), range.end / block * block);
        for edge in [range.start..first.min(range.end), last.max(range.start)..range.end] {
            self.zero_stored(change, &step.node, edge)?;
        }
        self.other_steps(ino, step, punch)
    }

    /// Writes zeros over what is stored of `range`, where the file system's files have no holes that are made later.
    fn overwrite(
        &self,
        change: &Changing<'_>,
        ino: InodeNo,
        range: Range<u64>,
        now: Timestamp,
    ) -> Result<()> {
        let node = self.node(change, ino)?;
        let _aging = self.aging(ino);
        let end = range.end.min(node.attributes.size_bytes);
        self.zero_stored(change, &node, range.start..end)?;
        let set = SetAttributes { mtime: Some(now), ..SetAttributes::default() };
        let node = change.fs.set_attributes(change, ino, &set, now);
        self.changed(ino, node.as_ref().ok());
        node.map(drop)
    }

    /// Writes zeros into a file that is in its inode (WT-4).
    fn zero_inline(
        &self,
        change: &Changing<'_>,
        node: &Node,
        range: &Range<u64>,
        now: Timestamp,
    ) -> Result<()> {
        let (ino, end) = (node.attributes.ino, range.end.min(node.attributes.size_bytes));
        let mut at = range.start;
        while at < end {
            let len = (end - at).min(PAGE_SIZE as u64) as usize;
            let written = change.fs.write(change, ino, at, &ZEROS[..len], now, &mut |placed| {
                self.zero_device(placed.offset, placed.len_bytes as u64)
            });
            self.changed(ino, written.as_ref().ok().map(|written| &written.node));
            at += written?.len_bytes as u64;
        }
        Ok(())
    }

    /// A file is about to grow so that byte `end` is not behind it, and nobody writes what is between: sees to it that its last block has
    /// zeros there. Ours have (WT-5); who else wrote the file may have left anything.
    ///
    /// # Errors
    /// As [`Mount::read_at`]; those of the device.
    pub(crate) fn clear_behind_end(&self, change: &Changing<'_>, node: &Node, end: u64) -> Result<()> {
        let (ino, size) = (node.attributes.ino, node.attributes.size_bytes);
        let tail = size..size.next_multiple_of(change.fs.block_bytes());
        if end <= size
            || tail.is_empty()
            || !matches!(self.fs.map(change, node, size)?, Extent::Device { .. })
        {
            return Ok(());
        }
        if self.is_zeros(change, node, &tail)? {
            return Ok(());
        }
        self.write_dirty_pages_of(ino);
        self.forget_pages(ino, tail.clone());
        self.zero_stored(change, node, tail)
    }

    /// Whether `range`, which is in one page, is known to be zeros.
    fn is_zeros(&self, change: &Changing<'_>, node: &Node, range: &Range<u64>) -> Result<bool> {
        let Some(vnode) = self.vnode_to_write(node) else { return Ok(false) };
        let index = PageIndex::of(range.start);
        let page = match self.vfs.vm.resident_page(change, vnode.object(), index) {
            Some(page) => page,
            None => self.data_page(change, node, &vnode, index, 0)?.0,
        };
        let start = (range.start % PAGE_SIZE as u64) as usize;
        let bytes = page.get(start..start + (range.end - range.start) as usize).unwrap_or_default();
        Ok(bytes.iter().all(|&byte| byte == 0))
    }

    /// Forgets the pages of `range`, and those that are partly in it, which are not dirty.
    fn forget_pages(&self, ino: InodeNo, range: Range<u64>) {
        if let Some(vnode) = self.vfs.vnodes.with_pages(self.number, ino) {
            let end = PageIndex(range.end.div_ceil(PAGE_SIZE as u64));
            self.vfs.vm.discard_range(vnode.object(), PageIndex::of(range.start)..end);
        }
    }

    /// Zeros on the device what is stored of `range`, which has no pages.
    fn zero_stored(&self, change: &Changing<'_>, node: &Node, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let left = range.end - at;
            at = at.saturating_add(match self.fs.map(change, node, at)? {
                Extent::Device { offset, len_bytes } => {
                    self.zero_device(offset, len_bytes.min(left))?;
                    len_bytes
                }
                Extent::Hole { len_bytes } => len_bytes,
                Extent::Inline => return Ok(()),
            });
        }
        Ok(())
    }

    fn zero_device(&self, offset: u64, len_bytes: u64) -> Result<()> {
        let mut done = 0;
        while done < len_bytes {
            let mut left = len_bytes - done;
            let mut zeros = core::array::from_fn::<_, ZERO_PAGES, _>(|_| {
                let len = left.min(PAGE_SIZE as u64);
                left -= len;
                IoSlice::new(&ZEROS[..len as usize])
            });
            let len = len_bytes - done - left;
            let used = len.div_ceil(PAGE_SIZE as u64) as usize;
            self.fs.device().write_direct(offset + done, &mut zeros[..used])?;
            done += len;
        }
        Ok(())
    }

    fn first_step(&self, ino: InodeNo, step: Result<Step>) -> Result<Step> {
        self.changed(ino, step.as_ref().ok().map(|step| &step.node));
        step
    }

    fn other_steps(&self, ino: InodeNo, first: Step, next: impl Fn() -> Result<Step>) -> Result<()> {
        let mut step = first;
        while !step.is_done {
            step = self.first_step(ino, next())?;
        }
        Ok(())
    }
}

fn require_some(range: &Range<u64>) -> Result<()> {
    if range.is_empty() || range.end > i64::MAX as u64 {
        return Err(Error::InvalidInput { what: "range" });
    }
    Ok(())
}
