//! [`Handle`]: one atomic change of the file system, within the running transaction.
//!
//! Who calls it: everything that changes metadata. Whom it calls: `vm` for pages, `undo`, `freed`.
//!
//! What a handle changes is seen at once by whoever reads through the same device: the mount's lock keeps readers out until
//! the operation is done. Any error may be returned at any point with `?`: the operation is then taken back whole.
//!
//! HA-1. Metadata are changed by [`Handle::edit`] and [`Handle::create_block`] and in no other way. HA-2. A closure changes only what it said
//! that it would, and asks for no page (MO-1 of `vm`).

use super::Transaction;
use crate::Ext4;
use crate::alloc::Hints;
use crate::block::within_page;
use crate::layout::{RawSuperBlock, SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::super_block::seal_super_block;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Timestamp;
use rumpcap_vm::{BusyPages, HeldAs, PAGE_SIZE, PageRef, Pager, Reservation, UNIT_BYTES};
use zerocopy::FromBytes;

/// One operation.
pub(crate) struct Handle<'a> {
    /// The file system; what was read from it before a change may be old behind it.
    pub fs: &'a Ext4,
    /// Its right to pages.
    pub r: &'a Reservation<'a>,
    /// The time of the operation.
    pub now: Timestamp,
    pub(super) tx: &'a mut Transaction,
}

/// Fills a page whose content does not matter.
struct Zeros;

impl Pager for Zeros {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        (0..pages.len()).for_each(|page| pages.page_mut(page).fill(0));
        Ok(())
    }
}

impl Handle<'_> {
    /// Changes the bytes `changed` of block `block`; `change` gets the whole block and touches nothing else of it (HA-2). A
    /// checksum of the block is among what is changed. Gives what `change` gives.
    ///
    /// # Errors
    /// `Corrupt` for a block that does not exist; `Io`, `ShortDevice`; the operation's end when the transaction is full.
    pub fn edit<T>(
        &mut self,
        block: u64,
        changed: &[Range<usize>],
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T> {
        let fs = self.fs;
        let page = fs.block_page(self.r, block, 0)?;
        let at = fs.byte_of(block, 0)?;
        self.tx.save(&page, at, changed)?;
        Ok(self.tx.change(page, at, fs.sb.block_size as usize, HeldAs::Changed, change))
    }

    /// Gives a block that was allocated as metadata in this operation its first content: zeros, then what `fill` makes of them.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub fn create_block<T>(&mut self, block: u64, fill: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        let fs = self.fs;
        let at = fs.byte_of(block, 0)?;
        let size = fs.sb.block_size as usize;
        let page = whole_page(fs, self.r, at, size)?;
        let all = 0..size;
        self.tx.save(&page, at, &[all])?;
        self.tx.unrevoke(block);
        Ok(self.tx.change(page, at, size, HeldAs::Created, |bytes| {
            bytes.fill(0);
            fill(bytes)
        }))
    }

    /// A block of metadata is free from now on: what the journal has of it is not to be replayed.
    ///
    /// # Errors
    /// The operation's end when there are too many such.
    pub fn revoke(&mut self, block: u64) -> Result<()> {
        self.tx.revoke(block)
    }

    /// Content is free from now on: what of it went through the journal is revoked.
    ///
    /// # Errors
    /// As [`Handle::revoke`].
    pub fn revoke_content(&mut self, blocks: Range<u64>) -> Result<()> {
        let fs = self.fs;
        let writer = fs.writer()?;
        let Some(journal) = writer.journal.as_ref().filter(|_| writer.in_journal.is_some()) else {
            return Ok(());
        };
        let mut at = blocks.start;
        while let Some(block) = journal.first_copy(at..blocks.end) {
            self.tx.revoke(block)?;
            at = block.saturating_add(1);
        }
        Ok(())
    }

    /// Blocks are freed now: they are not used again before that is durable.
    pub fn note_freed(&mut self, first: u64, count: u64) {
        self.tx.freed.add(first, count);
    }

    /// The run of blocks freed and not durable that has one of `blocks`, if there is one: they cannot be used yet.
    pub fn freed_in_the_way(&self, blocks: Range<u64>) -> Option<Range<u64>> {
        self.tx.freed.in_the_way(blocks)
    }

    /// What the super block counts: it is written with the next commit.
    pub fn counts(&mut self) -> &mut super::Counts {
        &mut self.tx.state.counts
    }

    /// What allocation remembers between operations; taken back with an operation.
    pub fn hints(&mut self) -> &mut Hints {
        &mut self.tx.state.hints
    }

    /// Changes the super block; free counts are not changed here.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub fn edit_super<T>(&mut self, change: impl FnOnce(&mut RawSuperBlock) -> T) -> Result<T> {
        let fs = self.fs;
        let block = SUPER_BLOCK_OFFSET >> fs.sb.block_log;
        let start = (SUPER_BLOCK_OFFSET & u64::from(fs.sb.block_size - 1)) as usize;
        let changed = start..start + SUPER_BLOCK_BYTES;
        let range = changed.clone();
        self.edit(block, &[changed], |bytes| {
            let raw = bytes.get_mut(range).and_then(|bytes| RawSuperBlock::mut_from_bytes(bytes).ok());
            let raw = raw.ok_or(Error::Corrupt { what: "super block", at: SUPER_BLOCK_OFFSET })?;
            let value = change(raw);
            seal_super_block(raw);
            Ok(value)
        })?
    }

    /// The super block as it is now.
    ///
    /// # Errors
    /// `Io`.
    pub fn super_block(&self) -> Result<RawSuperBlock> {
        let mut bytes = [0; SUPER_BLOCK_BYTES];
        self.fs.device.copy(self.r, SUPER_BLOCK_OFFSET, &mut bytes)?;
        RawSuperBlock::read_from_bytes(&bytes)
            .map_err(|_| Error::Corrupt { what: "super block", at: SUPER_BLOCK_OFFSET })
    }
}

/// The page of a block whose content is going to be replaced: not read if the block is all of it.
fn whole_page<'r>(fs: &'r Ext4, r: &'r Reservation<'_>, at: u64, size: usize) -> Result<PageRef<'r>> {
    if size == PAGE_SIZE { fs.device.page_for_overwrite(r, at, &Zeros) } else { fs.device.page(r, at, 0) }
}

impl Transaction {
    /// Sees to it that the bytes `changed` of the block at byte `at`, which is in `page`, can be restored.
    fn save(&mut self, page: &PageRef<'_>, at: u64, changed: &[Range<usize>]) -> Result<()> {
        match page.held_by() {
            None if self.held.room() <= super::KEPT_FOR_COMMIT => return Err(self.full()),
            None => return Ok(()),
            Some(operation) if operation == self.operation => return Ok(()),
            Some(_) => {}
        }
        // The units that it counts as changed are taken back too, whatever it changes. (An empty range may be at the end of the block, where
        // the next page begins.)
        let units = page.held_units();
        if !self.undo.save(at, &[], units) {
            return Err(self.full());
        }
        for range in changed.iter().filter(|range| !range.is_empty()) {
            let from = within_page(at).saturating_add(range.start);
            let bytes = page.get(from..from.saturating_add(range.len())).unwrap_or_default();
            if !self.undo.save(at.saturating_add(range.start as u64), bytes, units) {
                return Err(self.full());
            }
        }
        Ok(())
    }

    /// Changes `len` bytes at byte `at` of the device, which are in `page`, and holds it.
    pub(super) fn change<T>(
        &mut self,
        page: PageRef<'_>,
        at: u64,
        len: usize,
        how: HeldAs,
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> T {
        let start = within_page(at);
        let mut page = page.modify();
        let value = change(page.get_mut(start..start.saturating_add(len)).unwrap_or_default());
        let units = start / UNIT_BYTES..start.saturating_add(len).div_ceil(UNIT_BYTES);
        self.held.hold(page, units, how, self.operation);
        value
    }

    /// Notes that the operation is to be tried again, in an empty transaction; what it returns.
    fn full(&mut self) -> Error {
        self.is_full = true;
        Error::NoMemory { what: "a transaction", need: 1, have: 0 }
    }

    fn revoke(&mut self, block: u64) -> Result<()> {
        if self.revoked.push(block) { Ok(()) } else { Err(self.full()) }
    }

    fn unrevoke(&mut self, block: u64) {
        debug_assert!(
            !self.revoked.contains(block),
            "a block is used again in the transaction that freed it"
        );
    }
}
