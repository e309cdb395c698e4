//! Commits: content first, then the held blocks into the log; without a log to their places.
//!
//! Who calls it: `mod` for room, `vnops_change` for sync, `mount_write` at the end.
//!
//! CO-1. Content that is dirty in blocks that are new, or behind the end that a file had, is written before the commit of what refers to
//! it (ordered mode), so that no power cut shows what was in the blocks before. What overwrites is written in its own time. CO-2. Without a journal, blocks that were created are written and flushed before those that refer to them.

use super::error::Damage;
use super::{KEPT_FOR_COMMIT, MAX_HELD, Transaction, Writer};
use crate::Ext4;
use crate::journal::write::{Background, LoggedBlock, Usage};
use crate::layout::{RawSuperBlock, SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::super_block::seal_super_block;
use arrayvec::ArrayVec;
use rumpcap_block::MAX_PIECES;
use rumpcap_host::Result;
use rumpcap_vfs::{Commit, DataMode, Timestamp};
use rumpcap_vm::{Dirty, HeldAs, HeldPage, HeldRef, PAGE_SIZE, Reservation, UNIT_BYTES};
use std::io::IoSlice;
use zerocopy::FromBytes;

impl Ext4 {
    /// Commits what was changed, now or if it is due.
    ///
    /// # Errors
    /// `ReadOnly`; the error that stopped writing.
    pub(crate) fn commit_now(&self, r: &Reservation<'_>, when: Commit, now: Timestamp) -> Result<()> {
        let writer = self.writer()?;
        let mut tx = writer.tx.lock();
        tx.stopped.map_or(Ok(()), Err)?;
        let is_due = tx.since.is_some_and(|since| since.elapsed_ns() >= writer.interval_ns);
        if when == Commit::Now || is_due {
            self.commit_transaction(r, writer, &mut tx, now)?;
        }
        let due = writer.journal.as_ref().map_or(Ok(()), |journal| journal.record_if_due(now));
        tx.or_stop(due)
    }

    /// Whether the log wants to be brought home in the background. Not where nothing is done for its age: what is done beside the changes
    /// makes the log another one each time.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        let writer = self.writer.as_ref().filter(|writer| writer.interval_ns != u64::MAX);
        writer.and_then(|writer| writer.journal.as_ref()).is_some_and(|journal| journal.wants_background())
    }

    /// Does a portion of that; gives whether there is more.
    ///
    /// # Errors
    /// The error that stops writing.
    pub(crate) fn checkpoint_some(&self, now: Timestamp) -> Result<bool> {
        let Some(journal) = self.writer()?.journal.as_ref().filter(|_| self.wants_checkpoint()) else {
            return Ok(false);
        };
        let done = journal.background(now);
        if let Err(error) = done {
            self.stop_writing(error);
        }
        done.map(|done| done == Background::More)
    }

    /// How full the log is, and what was done about it; `None` without one.
    pub(crate) fn log_usage(&self) -> Option<Usage> {
        Some(self.writer.as_ref()?.journal.as_ref()?.usage())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// `ReadOnly`; the error that stopped writing; the first of a write of content.
    pub(crate) fn sync_now(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
        let writer = self.writer()?;
        let mut tx = writer.tx.lock();
        self.device.vm().write_back(Dirty::For(writer.dirty));
        if tx.damage.is_some() {
            // Content that was dirty then is all that is left to be flushed.
            self.device.device().flush()?;
            let lost = self.device.vm().loss_on(writer.dirty);
            return tx.damage.as_mut().map_or(Ok(()), Damage::tell).and(lost);
        }
        tx.stopped.map_or(Ok(()), Err)?;
        self.sync_transaction(r, writer, &mut tx, now)?;
        self.device.vm().loss_on(writer.dirty)
    }

    /// Forgets freed blocks that have become usable meanwhile.
    pub(super) fn forget_durable(&self, writer: &Writer, tx: &mut Transaction) {
        if let (Some(tid), Some(journal)) = (tx.freed.waits_for(), &writer.journal)
            && journal.is_durable(tid)
        {
            tx.freed.forget_committed();
        }
    }

    /// Commits the transaction, which is empty then.
    pub(super) fn commit_transaction(
        &self,
        r: &Reservation<'_>,
        writer: &Writer,
        tx: &mut Transaction,
        now: Timestamp,
    ) -> Result<()> {
        if tx.held.len() == 0 {
            return Ok(());
        }
        if writer.data != DataMode::Writeback {
            self.device.vm().write_back(Dirty::Due(writer.dirty));
        }
        let committed = self.store_counts(r, tx, now).and_then(|()| self.write_transaction(writer, tx, now));
        tx.or_stop(committed)?;
        tx.held.release();
        (tx.revoked.len, tx.revoked.sealed) = (0, 0);
        tx.since = None;
        writer.last_change.begin_next();
        Ok(())
    }

    /// Commits the transaction, and makes it and all before it durable.
    pub(super) fn sync_transaction(
        &self,
        r: &Reservation<'_>,
        writer: &Writer,
        tx: &mut Transaction,
        now: Timestamp,
    ) -> Result<()> {
        self.commit_transaction(r, writer, tx, now)?;
        let synced = match &writer.journal {
            Some(journal) => journal.sync(now),
            None => self.device.device().flush(),
        };
        tx.or_stop(synced)?;
        tx.freed.forget_all();
        writer.last_change.note_durable(writer.last_change.running().saturating_sub(1));
        Ok(())
    }

    /// Puts the counts into the super block.
    fn store_counts(&self, r: &Reservation<'_>, tx: &mut Transaction, now: Timestamp) -> Result<()> {
        let counts = tx.state.counts;
        let page = self.device.page(r, SUPER_BLOCK_OFFSET, 0)?;
        tx.change(page, SUPER_BLOCK_OFFSET, SUPER_BLOCK_BYTES, HeldAs::Changed, |bytes| {
            if let Ok(raw) = RawSuperBlock::mut_from_bytes(bytes) {
                raw.free_blocks_lo = (counts.blocks_free as u32).into();
                raw.free_blocks_hi = ((counts.blocks_free >> 32) as u32).into();
                raw.free_inodes = counts.inodes_free.into();
                raw.write_time = (now.seconds as u32).into();
                raw.write_time_hi = (now.seconds >> 32) as u8;
                seal_super_block(raw);
            }
        });
        Ok(())
    }

    fn write_transaction(&self, writer: &Writer, tx: &mut Transaction, now: Timestamp) -> Result<()> {
        let mut pages: ArrayVec<HeldBlocks<'_>, MAX_HELD> = ArrayVec::new();
        let mut at = tx.held.next(None);
        while let Some(page) = at {
            pages.push(self.held_blocks(tx, page));
            at = tx.held.next(Some(page));
        }
        let tid = match &writer.journal {
            Some(journal) => {
                let blocks = Blocks::new(&pages, self.sb.block_size as usize, |page| page.changed);
                Some(journal.commit(blocks, tx.revoked.all(), now)?)
            }
            None => {
                self.write_in_place(&pages)?;
                None
            }
        };
        drop(pages);
        tx.freed.committed(tid);
        tx.committed = tid;
        Ok(())
    }

    /// Which blocks of a held page are to be written.
    fn held_blocks<'t>(&self, tx: &'t Transaction, page: HeldPage) -> HeldBlocks<'t> {
        let block_log = self.sb.block_log;
        let first = tx.held.identity(page).1.offset() >> block_log;
        let (changed, created) = tx.held.units(page);
        let mut held = HeldBlocks { first, changed: 0, created: 0, bytes: tx.held.pin(page) };
        let units_log = block_log.saturating_sub(UNIT_BYTES.trailing_zeros());
        // A part of a block may have been changed, as that of the super block; who creates a block makes all of it.
        let units_of_block = (1u16 << (1 << units_log)).wrapping_sub(1) as u8;
        for index in 0..(PAGE_SIZE >> block_log).max(1) {
            let unit = index << units_log;
            let is_freed = tx.revoked.contains(first.saturating_add(index as u64));
            if changed >> unit & units_of_block != 0 && !is_freed {
                held.changed |= 1 << index;
                held.created |= (created >> unit & 1) << index;
            }
        }
        held
    }

    /// Writes the blocks to their places: first those that nothing refers to yet (CO-2).
    fn write_in_place(&self, pages: &[HeldBlocks<'_>]) -> Result<()> {
        let block_size = self.sb.block_size as usize;
        let created = Blocks::new(pages, block_size, |page| page.created);
        if created.len() > 0 {
            self.write_blocks(created)?;
            self.device.device().flush()?;
        }
        self.write_blocks(Blocks::new(pages, block_size, |page| page.changed & !page.created))
    }

    /// Writes blocks, those that lie in a row with one request.
    fn write_blocks<'b>(&self, blocks: impl Iterator<Item = LoggedBlock<'b>>) -> Result<()> {
        let mut run: ArrayVec<IoSlice<'b>, MAX_PIECES> = ArrayVec::new();
        let (mut first, mut next) = (0, 0);
        for block in blocks {
            if block.home != next || run.is_full() {
                self.write_run(first, &mut run)?;
                first = block.home;
            }
            next = block.home.saturating_add(1);
            run.push(IoSlice::new(block.bytes));
        }
        self.write_run(first, &mut run)
    }

    fn write_run(&self, first: u64, run: &mut ArrayVec<IoSlice<'_>, MAX_PIECES>) -> Result<()> {
        if !run.is_empty() {
            self.device.device().write_at(first << self.sb.block_log, run)?;
            run.clear();
        }
        Ok(())
    }
}

impl Transaction {
    /// Stops all writing if `result` is an error (TX-4).
    pub(super) fn or_stop(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = result {
            self.stopped.get_or_insert(error);
        }
        result
    }
}

/// Blocks of a held page that are to be written.
struct HeldBlocks<'a> {
    /// The page's first block.
    first: u64,
    /// A bit for each block that was changed.
    changed: u8,
    /// Of these, the ones that are new.
    created: u8,
    bytes: HeldRef<'a>,
}

/// Blocks that are to be written, in the order in which their pages were held.
#[derive(Clone)]
struct Blocks<'a> {
    pages: core::slice::Iter<'a, HeldBlocks<'a>>,
    which: fn(&HeldBlocks<'_>) -> u8,
    now: Option<&'a HeldBlocks<'a>>,
    /// Blocks of `now` that are left.
    mask: u8,
    block_size: usize,
    left: usize,
}

impl<'a> Blocks<'a> {
    /// The blocks of `pages` that `which` has a bit for.
    fn new(pages: &'a [HeldBlocks<'a>], block_size: usize, which: fn(&HeldBlocks<'_>) -> u8) -> Blocks<'a> {
        let left = pages.iter().map(|page| which(page).count_ones() as usize).sum();
        Blocks { pages: pages.iter(), which, now: None, mask: 0, block_size, left }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = LoggedBlock<'a>;

    fn next(&mut self) -> Option<LoggedBlock<'a>> {
        while self.mask == 0 {
            let page = self.pages.next()?;
            (self.now, self.mask) = (Some(page), (self.which)(page));
        }
        let page = self.now?;
        let index = self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        self.left -= 1;
        let bytes = page.bytes.get(index * self.block_size..)?.get(..self.block_size)?;
        Some(LoggedBlock { home: page.first + index as u64, bytes })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Blocks<'_> {}

const _: () = assert!(KEPT_FOR_COMMIT == 1, "the page of the super block");
