//! Transactions: what operations have changed since the last commit, and how it gets to the device.
//!
//! Who calls it: `vnops_change` begins an operation with [`Ext4::change`]; `mount_write` makes and ends it. Whom it calls: `vm` (held
//! pages), `journal::write`.
//!
//! By file: `handle` one operation, the only way to change metadata · `undo` and `freed` what it needs to be taken back, and what it
//! freed · `commit` to the log, or to the blocks' places without one · `error` what the
//! super block is told · `last_change` and `sync_file` one file made durable.
//!
//! TX-1. An operation is whole or not there: it fails, and the transaction is as before (`Ext4::take_back`); or it is done,
//! and is committed with all operations before it.
//! TX-2. An operation that finds the transaction full is taken back, the transaction committed, and the operation done in the empty
//! one, where nothing but its own size can fail it. So no credits are counted beforehand (F5 holds by construction).
//! TX-3. A commit runs between operations, and takes no memory. It may run inside the gate: it waits for the device alone.
//! TX-4. Behind an error of a commit nothing is changed any more: every operation returns that error, and what is in memory can be
//! read until the mount ends.
//! TX-5. The same holds behind an operation that has no end, since it panicked or could not be taken back: nobody commits a part of it.
//!
//! Memory: wired at mount, by shares of the limit ([`Sizes`]); nothing grows. Locks: one, of [`Writer`]; the mount's lock is held alone
//! around it, so nobody waits for it.

mod commit;
mod error;
mod freed;
mod handle;
mod last_change;
mod sync_file;
#[cfg(test)]
mod tests;
mod undo;

use crate::alloc::Hints;
use crate::journal::format::Tid;
use crate::journal::write::JournaledDevice;
use crate::journaled_content::JournaledContent;
use crate::{Ext4, Options, SuperBlock};
use error::Damage;
use freed::FreedBlocks;
pub(crate) use handle::Handle;
use last_change::LastChange;
use rumpcap_host::clock::{self, Moment};
use rumpcap_host::sync::{Mutex, MutexGuard};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{DataMode, Timestamp};
use rumpcap_vm::{DirtyDevice, HeldPages, Reservation, Vm, WiredRun, Writeback};
use std::sync::Arc;
use undo::Undo;
use zerocopy::FromBytes;

/// Pages of a transaction that operations leave for its commit: that of the super block.
const KEPT_FOR_COMMIT: u32 = 1;

/// Most pages of a transaction: references to all of them are on the stack at a commit.
const MAX_HELD: usize = 256;

/// How often an operation is tried: as it comes; in an empty transaction; when all that was freed is durable.
const TRIES: u32 = 3;

/// Frames of everything that a writable mount keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Pages of a transaction.
    pub held: u32,
    /// Old bytes.
    pub undo: u32,
    /// Runs of freed blocks.
    pub freed: u32,
    /// Numbers of revoked blocks.
    pub revoked: u32,
    /// The log's map.
    pub log_map: u32,
    /// Blocks on their way home.
    pub log_buffer: u32,
}

impl Sizes {
    /// Under a limit of `frames`: less than half of them in all, a third for the transaction. Of what is counted here an operation
    /// changes at most 19 pages, and one that changes more than there are is refused whole: two directories with a split of their leaf and one index block each (6), their inodes and that which
    /// moves or goes (4), allocation of three blocks (bitmap and descriptor each: 6), the super block, `..`, an orphan before (3).
    pub fn of(frames: u32) -> Sizes {
        let small = (frames / 128).clamp(1, 8);
        Sizes {
            held: (frames / 3).clamp(20, MAX_HELD as u32),
            // The split of a leaf saves a block of 4 KiB and a little more.
            undo: small + 1,
            freed: small,
            revoked: 1,
            log_map: (frames / 20).clamp(2, 48),
            log_buffer: (frames / 20).clamp(1, 64),
        }
    }
}

/// The counts of the super block, as of the last operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Free blocks (not clusters).
    pub blocks_free: u64,
    /// Free inodes.
    pub inodes_free: u32,
}

/// What is taken back with an operation besides bytes of blocks.
#[derive(Clone, Copy)]
struct State {
    counts: Counts,
    hints: Hints,
}

/// Numbers of revoked blocks.
struct Revoked {
    memory: WiredRun,
    len: usize,
    sealed: usize,
}

impl Revoked {
    fn all(&self) -> &[u64] {
        let all = <[u64]>::ref_from_bytes(&self.memory).unwrap_or_default();
        all.get(..self.len).unwrap_or_default()
    }

    fn contains(&self, block: u64) -> bool {
        self.all().contains(&block)
    }

    #[must_use]
    fn push(&mut self, block: u64) -> bool {
        let all = <[u64]>::mut_from_bytes(&mut self.memory).unwrap_or_default();
        let Some(free) = all.get_mut(self.len) else { return false };
        *free = block;
        self.len += 1;
        true
    }
}

/// The running transaction.
pub(crate) struct Transaction {
    held: HeldPages,
    undo: Undo,
    freed: FreedBlocks,
    revoked: Revoked,
    state: State,
    /// The state when the operation began.
    before: State,
    /// Pages that were held when it began.
    held_before: u32,
    /// Its number, from 1.
    operation: u64,
    /// The operation found no room, or could not save what it needs to be taken back.
    is_full: bool,
    /// When the first operation of the transaction was done.
    since: Option<Moment>,
    /// The journal's transaction that the last commit went into.
    committed: Option<Tid>,
    /// What stopped writing (TX-4), and while an operation is under way (TX-5).
    stopped: Option<Error>,
    /// What was damaged, if that stopped it: all that was done before is durable.
    damage: Option<Damage>,
}

/// What transactions and content go to.
pub(crate) struct Below {
    /// The log, if there is one.
    pub journal: Option<Arc<JournaledDevice<WiredRun>>>,
    /// The device, where content goes through the log too.
    pub in_journal: Option<Arc<JournaledContent>>,
    /// The device, for dirty pages.
    pub writeback: Arc<dyn Writeback>,
}

/// What a writable mount has besides one that is read.
pub(crate) struct Writer {
    tx: Mutex<Transaction>,
    last_change: LastChange,
    /// The age at which a transaction is committed.
    interval_ns: u64,
    pub(crate) journal: Option<Arc<JournaledDevice<WiredRun>>>,
    pub(crate) dirty: DirtyDevice,
    pub(crate) data: DataMode,
    /// The device, where content goes through the journal.
    pub(crate) in_journal: Option<Arc<JournaledContent>>,
    /// Kept for `dirty`.
    _writeback: Arc<dyn Writeback>,
}

impl Writer {
    /// Over wired memory of `sizes`, which the journal's own is not part of.
    ///
    /// # Errors
    /// `NoMemory` when it cannot be wired.
    pub(crate) fn new(
        vm: &Arc<Vm>,
        sb: &SuperBlock,
        sizes: &Sizes,
        counts: Counts,
        below: Below,
        options: &Options,
    ) -> Result<Writer> {
        let wired = |frames| WiredRun::buffer(vm, frames, "a transaction");
        let state = State { counts, hints: Hints::default() };
        let tx = Transaction {
            held: HeldPages::new(vm, sizes.held)?,
            undo: Undo::new(wired(sizes.undo)?),
            freed: FreedBlocks::new(wired(sizes.freed)?, sb),
            revoked: Revoked { memory: wired(sizes.revoked)?, len: 0, sealed: 0 },
            state,
            before: state,
            held_before: 0,
            operation: 0,
            is_full: false,
            since: None,
            committed: None,
            stopped: None,
            damage: None,
        };
        let Below { journal, in_journal, writeback } = below;
        let dirty = vm.add_dirty_device(&writeback)?;
        let (tx, last_change) = (Mutex::new(tx), LastChange::new());
        let interval_ns = options.commit_interval_ns();
        if let Some(journal) = &journal {
            journal.set_interval_ns(interval_ns);
        }
        let data = options.data;
        Ok(Writer { tx, last_change, interval_ns, journal, dirty, data, in_journal, _writeback: writeback })
    }
}

impl Ext4 {
    /// What a writable mount has.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn writer(&self) -> Result<&Writer> {
        self.writer.as_deref().ok_or(Error::ReadOnly)
    }

    /// Does one operation, whole or not at all (TX-1). `operate` may be called several times, each time with everything as it was
    /// before.
    ///
    /// # Errors
    /// Those of `operate`; `ReadOnly`, or the error that stopped writing; `NoMemory` when the operation changes more pages than a whole
    /// transaction may.
    pub(crate) fn change<T>(
        &self,
        r: &Reservation<'_>,
        now: Timestamp,
        mut operate: impl FnMut(&mut Handle<'_>) -> Result<T>,
    ) -> Result<T> {
        let writer = self.writer()?;
        let mut tx = writer.tx.lock();
        tx.stopped.map_or(Ok(()), Err)?;
        if let Some(content) = &writer.in_journal {
            content.note_time(now);
        }
        let mut error = Error::ReadOnly;
        for _ in 0..TRIES {
            self.forget_durable(writer, &mut tx);
            tx.begin();
            tx.stopped = Some(Error::ReadOnly); // Until it has an end (TX-5).
            match operate(&mut Handle { fs: self, r, now, tx: &mut tx }) {
                Ok(value) => {
                    tx.stopped = None;
                    tx.done();
                    return Ok(value);
                }
                Err(why) => error = why,
            }
            self.take_back(r, &mut tx)?;
            tx.stopped = None;
            if !self.make_room(r, writer, &mut tx, error, now)? {
                break;
            }
        }
        self.note_error(r, writer, &mut tx, error, now);
        Err(error)
    }

    /// What the super block counts, as of the last operation.
    pub(crate) fn counts_now(&self) -> Option<Counts> {
        self.writer.as_ref().map(|writer| writer.tx.lock().state.counts)
    }

    /// Nothing is changed any more, for `why`.
    pub(crate) fn stop_writing(&self, why: Error) {
        if let Some(writer) = &self.writer {
            writer.tx.lock().stopped.get_or_insert(why);
        }
    }

    /// Takes back what the operation has done (TX-1).
    fn take_back(&self, r: &Reservation<'_>, tx: &mut Transaction) -> Result<()> {
        tx.held.abandon_behind(tx.held_before);
        tx.freed.take_back();
        tx.revoked.len = tx.revoked.sealed;
        tx.state = tx.before;
        while let Some((at, units, old)) = tx.undo.pop() {
            // A held page is in memory, so this cannot fail.
            let page = self.device.page(r, at, 0)?;
            page.restore_held_units(units);
            let mut page = page.modify();
            let start = crate::block::within_page(at);
            if let Some(bytes) = page.get_mut(start..start.saturating_add(old.len())) {
                bytes.copy_from_slice(old);
            }
        }
        debug_assert!(tx.undo.is_empty());
        Ok(())
    }

    /// Whether there may be room now for an operation that failed: the transaction is committed, or what was freed durable (TX-2).
    fn make_room(
        &self,
        r: &Reservation<'_>,
        writer: &Writer,
        tx: &mut MutexGuard<'_, Transaction>,
        error: Error,
        now: Timestamp,
    ) -> Result<bool> {
        match error {
            _ if tx.is_full && tx.held.len() > 0 => self.commit_transaction(r, writer, tx, now)?,
            // Alone it has too many blocks to revoke: none, when all are at home.
            _ if tx.is_full && writer.in_journal.is_some() => {
                let done = writer.journal.as_ref().map_or(Ok(()), |journal| journal.checkpoint(now));
                tx.or_stop(done)?;
            }
            Error::NoSpace { .. } if !tx.freed.is_empty() => self.sync_transaction(r, writer, tx, now)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Transaction {
    fn begin(&mut self) {
        self.undo.clear();
        self.is_full = false;
        self.operation += 1;
        self.held_before = self.held.len();
        self.before = self.state;
        self.freed.seal();
        self.revoked.sealed = self.revoked.len;
    }

    fn done(&mut self) {
        self.undo.clear();
        self.freed.seal();
        self.revoked.sealed = self.revoked.len;
        if self.held.len() > 0 {
            self.since.get_or_insert_with(clock::now);
        }
    }
}
