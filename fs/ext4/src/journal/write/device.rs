//! [`JournaledDevice`]: the device as its transactions left it, and the calls of its owner.
//!
//! Who calls it: the mount that writes. Whom it calls: `writer`, `log_map`, the device below.

use super::super::format::{MAGIC_BYTES, Tid};
use super::super::mount_state::MountState;
use super::super::{Geometry, JournalMap, RecoveryMark, check_device};
use super::background::Background;
use super::compound::LoggedBlock;
use super::log_map::{LogMap, Logged};
use super::writer::{Form, Tail, Writer};
use core::ops::DerefMut;
use core::sync::atomic::Ordering::SeqCst;
use rumpcap_block::{BlockDevice, ReadCursor};
use rumpcap_host::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use rumpcap_host::sync::{Mutex, RwLock};
use rumpcap_host::{Error, Result, thread};
use rumpcap_vfs::Timestamp;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// Memory that the owner hands in for good: wired frames, or anything else that is bytes.
pub trait Memory: DerefMut<Target = [u8]> + Send + Sync {}

impl<T: DerefMut<Target = [u8]> + Send + Sync> Memory for T {}

/// A device whose metadata go through a journal.
///
/// Reads see the newest committed version of every block. Writes and flushes pass through: they are for data, which is
/// in no transaction.
pub struct JournaledDevice<M: Memory> {
    base: Arc<dyn BlockDevice>,
    block_size: u64,
    map: RwLock<LogMap<M>>,
    writer: Mutex<Writer<M>>,
    /// Drawn by who wants its data durable: see [`JournaledDevice::make_durable`].
    tickets: AtomicU64,
    /// Who waits to commit.
    waiting: AtomicU32,
    /// See [`JournaledDevice::wants_background`].
    is_half_full: AtomicBool,
}

/// Times that the processor is offered to those who wait to commit, before a portion in the background.
const MOST_YIELDS: u32 = 1000;

/// How full the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Blocks of the log between its tail and its head.
    pub log_blocks: u32,
    /// Blocks that have a copy in the log or a record that they were revoked.
    pub map_entries: usize,
    /// Room for such.
    pub map_capacity: usize,
    /// Checkpoints since the journal was opened that somebody waited for.
    pub checkpoints: u64,
    /// Those that were made in the background.
    pub background_checkpoints: u64,
}

impl<M: Memory> JournaledDevice<M> {
    /// Opens the journal of the file system on `base` for writing; `runs` tells where the journal's blocks are, and is
    /// not needed after. `memory` is that of the map and that of the buffer, a block or more: more makes larger
    /// writes at a checkpoint.
    ///
    /// # Errors
    /// `InvalidInput` when the journal was not recovered, or memory is too small; `Unsupported` for a journal that can be
    /// read and not written; what opening it for recovery gives; `Io`.
    pub fn open(
        base: Arc<dyn BlockDevice>,
        runs: &mut dyn JournalMap,
        geometry: &Geometry,
        form: Form,
        memory: [M; 2],
        mark: &mut dyn RecoveryMark,
    ) -> Result<JournaledDevice<M>> {
        check_device(&*base, geometry)?;
        // Of this only that the journal is inside.
        MountState::read(&*base)?;
        let (writer, map) = Writer::open(Arc::clone(&base), runs, geometry, form, memory, mark)?;
        let block_size = u64::from(geometry.block_size_bytes);
        let (map, writer) = (RwLock::new(map), Mutex::new(writer));
        let (tickets, waiting, is_half_full) = Default::default();
        Ok(JournaledDevice { base, block_size, map, writer, tickets, waiting, is_half_full })
    }

    /// Commits: `blocks`, each once, have new content, and the blocks `revoked`, none of them among the first, are
    /// free. Readers see all of it when this returns; it survives a power cut when the transaction whose id this gives
    /// [is durable](JournaledDevice::is_durable), and then with all commits before it.
    ///
    /// # Errors
    /// `InvalidInput`, and nothing changed, for blocks that no commit may have or more than
    /// [`JournaledDevice::max_commit_blocks`]. Else the error that aborted the journal, now or before.
    pub fn commit<'b>(
        &self,
        blocks: impl ExactSizeIterator<Item = LoggedBlock<'b>> + Clone,
        revoked: &[u64],
        now: Timestamp,
    ) -> Result<Tid> {
        let mut writer = self.writer.try_lock().unwrap_or_else(|| {
            self.waiting.fetch_add(1, SeqCst);
            let writer = self.writer.lock();
            self.waiting.fetch_sub(1, SeqCst);
            writer
        });
        let committed = writer.commit(&self.map, blocks, revoked, now);
        self.is_half_full.store(writer.is_half_full(&self.map.read()), SeqCst);
        committed
    }

    /// Whether log or map were half full behind the last commit: [`JournaledDevice::background`] has something to do.
    pub fn wants_background(&self) -> bool {
        self.is_half_full.load(SeqCst)
    }

    /// Does a portion of a checkpoint, if the log is half full or one is under way: for a thread that nobody waits for. Lets those who
    /// commit go first.
    ///
    /// # Errors
    /// The error that aborted the journal.
    pub fn background(&self, now: Timestamp) -> Result<Background> {
        for _ in 0..MOST_YIELDS {
            if self.waiting.load(SeqCst) == 0 {
                break;
            }
            thread::yield_now();
        }
        let mut writer = self.writer.lock();
        let done = writer.background(&self.map, now)?;
        self.is_half_full.store(done == Background::More, SeqCst);
        Ok(done)
    }

    /// The most blocks that one commit may have.
    pub fn max_commit_blocks(&self) -> usize {
        self.writer.lock().max_commit_blocks(&self.map.read())
    }

    /// Closes the open transaction if it is older than the interval ([`INTERVAL_NS`](super::INTERVAL_NS)). For a timer;
    /// `commit` does it too.
    ///
    /// # Errors
    /// The error that aborted the journal.
    pub fn record_if_due(&self, now: Timestamp) -> Result<()> {
        let mut writer = self.writer.lock();
        writer.check_running()?;
        writer.record_if_due(&self.map, now)
    }

    /// Makes all commits durable, and all data that was written before.
    ///
    /// # Errors
    /// The error that aborted the journal.
    pub fn sync(&self, now: Timestamp) -> Result<()> {
        self.writer.lock().sync(&self.map, now)
    }

    /// Makes the transaction `tid`, if one is given, and all data that was written before the call durable. Who waits meanwhile for the
    /// same has nothing left to do.
    ///
    /// # Errors
    /// The error that aborted the journal.
    pub fn make_durable(&self, tid: Option<Tid>, now: Timestamp) -> Result<()> {
        let ticket = self.tickets.fetch_add(1, SeqCst).saturating_add(1);
        let mut writer = self.writer.lock();
        writer.check_running()?;
        let served = self.tickets.load(SeqCst);
        if tid.is_some_and(|tid| !writer.recorded.is_at_least(tid)) {
            writer.record(&self.map, now)?;
        }
        let is_durable = tid.is_none_or(|tid| writer.durable.is_at_least(tid));
        // A flush that began when this ticket was drawn has taken the data along.
        if is_durable && writer.served >= ticket {
            return Ok(());
        }
        let flushed = writer.flush();
        writer.or_abort(flushed)?;
        writer.served = served;
        Ok(())
    }

    /// Has transactions closed at an age of `interval_ns` instead of [`INTERVAL_NS`](super::INTERVAL_NS): 0 with each commit,
    /// `u64::MAX` never for their age.
    pub fn set_interval_ns(&self, interval_ns: u64) {
        self.writer.lock().interval_ns = interval_ns;
    }

    /// Closes the open transaction, if there is one. It is durable with the next flush.
    ///
    /// # Errors
    /// The error that aborted the journal.
    pub fn record(&self, now: Timestamp) -> Result<()> {
        self.writer.lock().record(&self.map, now)
    }

    /// Makes all commits durable and brings all blocks home.
    ///
    /// # Errors
    /// The error that aborted the journal.
    pub fn checkpoint(&self, now: Timestamp) -> Result<()> {
        let mut writer = self.writer.lock();
        writer.sync(&self.map, now)?;
        writer.checkpoint(&self.map, Tail::AtHead)
    }

    /// Leaves the file system as one that needs no recovery. No commit is taken after.
    ///
    /// # Errors
    /// The error that aborted the journal, now or before: the file system then needs recovery.
    pub fn close(&self, now: Timestamp, mark: &mut dyn RecoveryMark) -> Result<()> {
        let mut writer = self.writer.lock();
        writer.sync(&self.map, now)?;
        writer.checkpoint(&self.map, Tail::Empty)?;
        let closed = writer.flush().and_then(|()| mark.clear()).and_then(|()| writer.flush());
        writer.or_abort(closed)?;
        writer.stopped = Some(Error::ReadOnly);
        Ok(())
    }

    /// Whether the transaction `tid` survives a power cut.
    pub fn is_durable(&self, tid: Tid) -> bool {
        self.writer.lock().durable.is_at_least(tid)
    }

    /// The first of `blocks` that has a copy in the log.
    pub fn first_copy(&self, blocks: core::ops::Range<u64>) -> Option<u64> {
        self.map.read().first_in(blocks).map(|logged| logged.home)
    }

    /// Calls `found` with each run of blocks that are the journal's own, which needs nothing of the device.
    ///
    /// # Errors
    /// Those of `found`.
    pub fn own_blocks(&self, found: &mut dyn FnMut(core::ops::Range<u64>) -> Result<()>) -> Result<()> {
        self.map.read().own_runs().try_for_each(found)
    }

    /// The error that aborted the journal; `ReadOnly` when it was closed.
    pub fn stopped(&self) -> Option<Error> {
        self.writer.lock().stopped
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let writer = self.writer.lock();
        let map = self.map.read();
        Usage {
            log_blocks: writer.placement.live(),
            map_entries: map.len(),
            map_capacity: map.capacity(),
            checkpoints: writer.checkpoints,
            background_checkpoints: writer.background_checkpoints,
        }
    }
}

/// Where the next bytes of a read come from.
enum Source {
    Device {
        at: u64,
        len: u64,
    },
    /// The begin of a block that is escaped in the log.
    Magic {
        within: usize,
    },
}

impl<M: Memory> JournaledDevice<M> {
    /// Where bytes of the range `at..end` come from, from `at` on.
    fn source(&self, map: &LogMap<M>, at: u64, end: u64) -> Result<Source> {
        let block = at.checked_div(self.block_size).unwrap_or(0);
        let within = at.saturating_sub(block.saturating_mul(self.block_size));
        let end_block = end.div_ceil(self.block_size);
        let Some(logged) = map.first_in(block..end_block) else {
            return Ok(Source::Device { at, len: end.saturating_sub(at) });
        };
        if logged.home > block {
            let next = logged.home.saturating_mul(self.block_size);
            return Ok(Source::Device { at, len: next.saturating_sub(at) });
        }
        let magic = MAGIC_BYTES.len() as u64;
        if logged.is_escaped && within < magic {
            return Ok(Source::Magic { within: within as usize });
        }
        let run = map.locate(logged.place)?;
        let blocks = self.together(map, logged, run.len_blocks.into(), end_block);
        let from = run.first_block.saturating_mul(self.block_size).saturating_add(within);
        let len = blocks.saturating_mul(self.block_size).saturating_sub(within);
        Ok(Source::Device { at: from, len: len.min(end.saturating_sub(at)) })
    }

    /// How many blocks from `first` on lie one behind the other in the log too, at most `max`, and are not escaped.
    fn together(&self, map: &LogMap<M>, first: Logged, max: u64, end_block: u64) -> u64 {
        let mut blocks = 1u64;
        while blocks < max && first.home.saturating_add(blocks) < end_block {
            let home = first.home.saturating_add(blocks);
            let place = u64::from(first.place.0).saturating_add(blocks);
            let next = map.first_in(home..home.saturating_add(1));
            if !next.is_some_and(|next| u64::from(next.place.0) == place && !next.is_escaped) {
                break;
            }
            blocks = blocks.saturating_add(1);
        }
        blocks
    }

    fn read_through(
        &self,
        map: &LogMap<M>,
        offset: u64,
        end: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<()> {
        let mut cursor = ReadCursor::new(bufs);
        let mut at = offset;
        while at < end {
            let taken = match self.source(map, at, end)? {
                Source::Magic { within } => fill(&mut cursor, MAGIC_BYTES.get(within..).unwrap_or_default()),
                Source::Device { at, len } => {
                    let (mut pieces, n) = cursor.take(usize::try_from(len).unwrap_or(usize::MAX));
                    self.base.read_at(at, &mut pieces)?;
                    n
                }
            };
            at = at.saturating_add(taken as u64);
        }
        Ok(())
    }
}

/// Fills the next bytes with `bytes`, or as many as there are; how many.
fn fill(cursor: &mut ReadCursor<'_, '_>, bytes: &[u8]) -> usize {
    let (pieces, n) = cursor.take(bytes.len());
    let mut rest = bytes;
    for mut piece in pieces {
        let (now, later) = rest.split_at(piece.len().min(rest.len()));
        piece.copy_from_slice(now);
        rest = later;
    }
    n
}

impl<M: Memory> BlockDevice for JournaledDevice<M> {
    fn len_bytes(&self) -> u64 {
        self.base.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let end = bufs.iter().fold(offset, |end, buf| end.saturating_add(buf.len() as u64));
        let blocks = offset.checked_div(self.block_size).unwrap_or(0)..end.div_ceil(self.block_size);
        let map = self.map.read();
        if end > self.len_bytes() || map.first_in(blocks).is_none() {
            drop(map);
            return self.base.read_at(offset, bufs);
        }
        self.read_through(&map, offset, end, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        debug_assert!(
            {
                let end = bufs.iter().fold(offset, |end, buf| end.saturating_add(buf.len() as u64));
                let blocks = offset.checked_div(self.block_size).unwrap_or(0)..end.div_ceil(self.block_size);
                self.map.read().first_in(blocks).is_none()
            },
            "a block with a copy in the log is written in place"
        );
        self.base.write_at(offset, bufs)
    }

    fn flush(&self) -> Result<()> {
        self.base.flush()
    }

    fn is_cached_by_host(&self) -> bool {
        self.base.is_cached_by_host()
    }

    fn alignment_bytes(&self) -> usize {
        self.base.alignment_bytes()
    }
}
