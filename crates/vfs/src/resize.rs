//! Lengths and holes of files.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: [`crate::Change`], in its steps.
//!
//! What is cut off or freed has no pages any more when a step ends, and before the step ends nobody takes its blocks, so nothing is written to
//! them later. What is left of blocks at both ends is zeroed on the device, behind the first step, which says so, and has no page
//! either: pages that hold other bytes too are written first.
//!
//! Between two steps the mount is given back ([`Steps`]): others read, also this file, and change everything but its content and length.
//!
//! RS-1. An error of the first step leaves the content as it was: pages are forgotten behind it, or were written before. RS-2. What one
//! reads of a file between steps is what it was before or will be, byte by byte; its length is what it will be.
//!
//! Memory: none. Failure: steps before the error are done.

use crate::change::{Allocate, SetAttributes, Step};
use crate::data::require_regular;
use crate::file_system::Extent;
use crate::mount::Mount;
use crate::node::{InodeNo, Node, Timestamp};
use crate::open_file::OpenFile;
use crate::write::ZEROS;
use crate::writing::{Aging, Changing};
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{PAGE_SIZE, PageIndex};
use std::io::IoSlice;

/// `FS_IMMUTABLE_FL` and `FS_APPEND_FL`: files that are not cut.
const KEEP_FLAGS: u32 = 0x10 | 0x20;

/// Pages of zeros in one request: 128 KiB, as other requests have.
const ZERO_PAGES: usize = 32;

/// Most bytes that are overwritten with zeros in one step: as large a piece as others write at once.
const OVERWRITTEN_BYTES: u64 = 1 << 20;

/// A file that is changed in steps.
struct Steps<'m> {
    mount: &'m Mount,
    ino: InodeNo,
    now: Timestamp,
    /// While it is inside.
    inside: Option<(Aging<'m>, Changing<'m>)>,
}

impl<'m> Steps<'m> {
    /// Enters alone.
    fn begin(mount: &'m Mount, open: &OpenFile, now: Timestamp) -> Result<Steps<'m>> {
        let ino = open.ino();
        let change = mount.change_file(ino)?;
        Ok(Steps { mount, ino, now, inside: mount.aging(ino).map(|aging| (aging, change)) })
    }

    fn change(&self) -> Result<&Changing<'m>> {
        self.inside.as_ref().map(|(_, change)| change).ok_or(Error::ReadOnly)
    }

    fn node(&self) -> Result<Node> {
        let node = self.mount.node(self.change()?, self.ino)?;
        require_regular(&node)?;
        Ok(node)
    }

    /// Does one step.
    fn step(&self, step: impl FnOnce(&Changing<'m>) -> Result<Step>) -> Result<Step> {
        let step = step(self.change()?);
        self.mount.changed(self.ino, step.as_ref().ok().map(|step| &step.node));
        step
    }

    /// Does all the steps behind `first`.
    fn others(&mut self, first: Step, next: impl Fn(&Changing<'m>) -> Result<Step>) -> Result<()> {
        let mut step = first;
        while !step.is_done {
            self.let_others_in()?;
            step = self.step(&next)?;
        }
        Ok(())
    }

    /// Leaves, and enters again.
    fn let_others_in(&mut self) -> Result<()> {
        let (_, writing) = self.mount.writable()?;
        if !writing.opens.set_changing(self.ino, true) {
            return Ok(());
        }
        self.inside = None;
        self.mount.let_others_in();
        let change = self.mount.change()?;
        self.inside = self.mount.aging(self.ino).map(|aging| (aging, change));
        Ok(())
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        if let Some(writing) = self.mount.writing.as_deref() {
            writing.opens.set_changing(self.ino, false);
        }
    }
}

impl Mount {
    /// Sets the length of a file.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::set_size`].
    pub fn set_len(&self, open: &OpenFile, len_bytes: u64, now: Timestamp) -> Result<()> {
        let (mut steps, ino) = (Steps::begin(self, open, now)?, open.ino());
        let node = steps.node()?;
        let cuts = len_bytes < node.attributes.size_bytes;
        if cuts && node.attributes.flags & KEEP_FLAGS != 0 {
            return Err(Error::NotPermitted);
        }
        self.clear_behind_end(steps.change()?, &node, len_bytes)?;
        if cuts && !len_bytes.is_multiple_of(PAGE_SIZE as u64) {
            self.write_dirty_pages_of(ino);
        }
        let cut = |change: &Changing<'_>| change.fs.set_size(change, ino, len_bytes, now);
        let first = steps.step(cut)?;
        if cuts {
            let change = steps.change()?;
            let block_end = len_bytes.next_multiple_of(change.fs.block_bytes());
            self.forget_pages(ino, len_bytes..u64::MAX);
            self.zero_stored(change, &first.node, len_bytes..block_end)?;
        }
        steps.others(first, cut)
    }

    /// Makes `range` a hole; the length stays.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidInput` for an empty range; those of [`crate::Change::punch`].
    pub fn punch_hole(&self, open: &OpenFile, range: Range<u64>, now: Timestamp) -> Result<()> {
        self.punch(&mut Steps::begin(self, open, now)?, &range)
    }

    /// Makes `range` zeros; the length stays. Allocates it, where there is space that reads as zeros.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidInput` for an empty range; those of [`crate::Change::punch`] and [`crate::Change::allocate`].
    pub fn zero_range(&self, open: &OpenFile, range: Range<u64>, now: Timestamp) -> Result<()> {
        let (mut steps, ino) = (Steps::begin(self, open, now)?, open.ino());
        match self.punch(&mut steps, &range) {
            Err(Error::Unsupported { .. }) => return self.overwrite(&mut steps, range),
            other => other?,
        }
        let allocate =
            |change: &Changing<'_>| change.fs.allocate(change, ino, range.clone(), Allocate::KeepSize, now);
        match steps.step(allocate) {
            Err(Error::Unsupported { .. }) => Ok(()),
            first => steps.others(first?, allocate),
        }
    }

    /// Allocates what is not yet allocated of `range`.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidInput` for an empty range; those of [`crate::Change::allocate`].
    pub fn allocate(&self, open: &OpenFile, range: Range<u64>, how: Allocate, now: Timestamp) -> Result<()> {
        require_some(&range)?;
        let (mut steps, ino) = (Steps::begin(self, open, now)?, open.ino());
        let node = steps.node()?;
        if how == Allocate::Extend {
            self.clear_behind_end(steps.change()?, &node, range.end)?;
        }
        let allocate = |change: &Changing<'_>| change.fs.allocate(change, ino, range.clone(), how, now);
        let first = steps.step(allocate)?;
        steps.others(first, allocate)
    }

    fn punch(&self, steps: &mut Steps<'_>, range: &Range<u64>) -> Result<()> {
        require_some(range)?;
        let (ino, now, node) = (steps.ino, steps.now, steps.node()?);
        let change = steps.change()?;
        if matches!(self.fs.map(change, &node, 0)?, Extent::Inline) {
            return self.zero_inline(change, &node, range, now);
        }
        self.write_dirty_pages_of(ino);
        // Whoever reads between two steps brings pages back of what is freed by the next.
        let punch = |change: &Changing<'_>| {
            self.forget_pages(ino, range.clone());
            change.fs.punch(change, ino, range.clone(), now)
        };
        let first = steps.step(punch)?;
        let change = steps.change()?;
        let block = change.fs.block_bytes();
        let (from, end) = (range.start.next_multiple_of(block), range.end / block * block);
        for edge in [range.start..from.min(range.end), end.max(range.start)..range.end] {
            self.zero_stored(change, &first.node, edge)?;
        }
        steps.others(first, punch)
    }

    /// Writes zeros over what is stored of `range`, where the file system's files have no holes that are made later.
    fn overwrite(&self, steps: &mut Steps<'_>, range: Range<u64>) -> Result<()> {
        let (ino, now) = (steps.ino, steps.now);
        let end = range.end.min(steps.node()?.attributes.size_bytes);
        let mut at = range.start;
        while at < end {
            let next = end.min(at.saturating_add(OVERWRITTEN_BYTES));
            self.forget_pages(ino, at..next);
            self.zero_stored(steps.change()?, &steps.node()?, at..next)?;
            at = next;
            if at < end {
                steps.let_others_in()?;
            }
        }
        let change = steps.change()?;
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
}

fn require_some(range: &Range<u64>) -> Result<()> {
    if range.is_empty() || range.end > i64::MAX as u64 {
        return Err(Error::InvalidInput { what: "range" });
    }
    Ok(())
}
