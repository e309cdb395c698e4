//! The state of the writer: what it knows of the log, the journal's super block, flushes, and errors that stick.
//!
//! Who calls it: `device`, under the lock. `compound` and `checkpoint` are the rest of the same type.
//!
//! Transactions by their ids: `durable <= recorded < running`. `running` is the compound that is open, or will be.

use super::super::format::{ChecksumVersion, Features, Header, SuperBlock, Tid};
use super::super::log::{Log, LogBlock};
use super::super::{Geometry, JournalMap, RecoveryMark, Run, checksum};
use super::background::Homeward;
use super::device::Memory;
use super::encode::{Codec, Descriptor};
use super::log_map::LogMap;
use super::placement::Placement;
use super::{INTERVAL_NS, MIN_MAP_ENTRIES};
use rumpcap_block::BlockDevice;
use rumpcap_host::clock::Moment;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Timestamp;
use std::io::IoSlice;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Checksums in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// None: for a file system without `metadata_csum`.
    None,
    /// CRC-32C, 16 bits of it for each copy.
    V2,
    /// CRC-32C: what Linux takes with `metadata_csum`.
    V3,
}

/// Width of block numbers in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockNumbers {
    /// For a file system without the feature `64bit`.
    Bits32,
    /// For one with it.
    Bits64,
}

/// How the log is to be written. An empty log may change its form at any mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Checksums.
    pub checksums: Checksums,
    /// Block numbers.
    pub block_numbers: BlockNumbers,
}

impl Form {
    fn features(self, has_fast_commit: bool) -> Features {
        let checksum = match self.checksums {
            Checksums::None => ChecksumVersion::None,
            Checksums::V2 => ChecksumVersion::V2,
            Checksums::V3 => ChecksumVersion::V3,
        };
        let is_64bit = self.block_numbers == BlockNumbers::Bits64;
        Features { checksum, is_64bit, has_async_commit: false, has_fast_commit }
    }
}

/// What the super block says of the log's begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// The log begins at the head.
    AtHead,
    /// It begins at this block, with this transaction.
    At(LogBlock, Tid),
    /// The log is empty, and the file system is going to be unmounted.
    Empty,
}

/// The writer.
pub(super) struct Writer<M> {
    pub(super) base: Arc<dyn BlockDevice>,
    pub(super) geometry: Geometry,
    pub(super) codec: Codec,
    pub(super) buffer: M,
    pub(super) placement: Placement,
    /// The descriptor in the buffer, and its place.
    pub(super) descriptor: Option<(LogBlock, Descriptor)>,
    pub(super) running: Tid,
    pub(super) recorded: Tid,
    pub(super) durable: Tid,
    /// When the first commit went into the running compound; `None` when none is open.
    pub(super) since: Option<Moment>,
    /// Times of commit blocks never go back, which would look like blocks of an earlier time.
    pub(super) last_time: Timestamp,
    /// What stopped the journal.
    pub(super) stopped: Option<Error>,
    super_block: SuperBlock,
    /// Byte of the device of the journal's super block.
    super_block_at: u64,
    pub(super) checkpoints: u64,
    /// One that is under way in the background, and those that were done.
    pub(super) homeward: Option<Homeward>,
    pub(super) background_checkpoints: u64,
    /// Who had such a ticket when the last flush of theirs began is served: see `JournaledDevice::make_durable`.
    pub(super) served: u64,
    /// The age at which a compound is recorded.
    pub(super) interval_ns: u64,
}

impl<M: Memory> Writer<M> {
    /// Opens the empty log of a journal and begins it, with `mark` set before. Also gives the empty map.
    ///
    /// # Errors
    /// See [`JournaledDevice::open`](super::JournaledDevice::open).
    pub(super) fn open(
        base: Arc<dyn BlockDevice>,
        runs: &mut dyn JournalMap,
        geometry: &Geometry,
        form: Form,
        [map, buffer]: [M; 2],
        mark: &mut dyn RecoveryMark,
    ) -> Result<(Writer<M>, LogMap<M>)> {
        let device = Arc::clone(&base);
        let mut log = Log::open(&*device, runs, geometry)?;
        check_can_be_written(&log)?;
        let map = map_of(&mut log, geometry, map)?;
        check_memory(&map, &buffer, geometry)?;
        let sb = SuperBlock::read_from_bytes(log.super_block().as_bytes());
        let super_block = sb.map_err(|_| Error::Corrupt { what: "journal super block: size", at: 0 })?;
        let features = form.features(log.features().has_fast_commit);
        let codec = Codec {
            features,
            checksum_seed: checksum::crc32c(!0, &super_block.uuid),
            uuid: super_block.uuid,
            block_size: log.block_size(),
        };
        // As Linux does: the id in the super block of an empty log may have been used.
        let running = Tid(super_block.sequence.get()).next();
        let before = Tid(super_block.sequence.get());
        let at = map.locate(LogBlock(0))?.first_block;
        let mut writer = Writer {
            base,
            geometry: *geometry,
            codec,
            buffer,
            placement: Placement::new(&log.ring(), codec.tags_per_descriptor()),
            descriptor: None,
            running,
            recorded: before,
            durable: before,
            since: None,
            last_time: Timestamp::default(),
            stopped: None,
            super_block,
            super_block_at: at.saturating_mul(u64::from(geometry.block_size_bytes)),
            checkpoints: 0,
            homeward: None,
            background_checkpoints: 0,
            served: 0,
            interval_ns: INTERVAL_NS,
        };
        writer.begin(mark)?;
        Ok((writer, map))
    }

    /// Sets the mark, and only then lets the log begin: no tool ever sees a log without it.
    fn begin(&mut self, mark: &mut dyn RecoveryMark) -> Result<()> {
        mark.set(self.super_block.errno.get())?;
        self.base.flush()?;
        self.super_block.errno = 0.into();
        self.codec.features.store(&mut self.super_block);
        self.write_super_block(Tail::AtHead)
    }

    /// Puts the begin of the log and the id of the running transaction into the super block, and writes it. Its fields
    /// are all in one sector.
    pub(super) fn write_super_block(&mut self, tail: Tail) -> Result<()> {
        let (start, first) = match tail {
            Tail::AtHead => (self.placement.head().0, self.running),
            Tail::At(block, first) => (block.0, first),
            Tail::Empty => (0, self.running),
        };
        self.super_block.start = start.into();
        self.super_block.sequence = first.0.into();
        self.store_super_block()
    }

    fn store_super_block(&mut self) -> Result<()> {
        if self.codec.features.has_block_checksums() {
            self.super_block.checksum = checksum::of_super_block(&self.super_block).into();
        }
        self.base.write_at(self.super_block_at, &mut [IoSlice::new(self.super_block.as_bytes())])
    }

    /// Makes durable all that was written, and takes note of what that means.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.base.flush()?;
        self.durable = self.recorded;
        self.placement.reclaim();
        Ok(())
    }

    /// Returns the error that stopped the journal.
    pub(super) fn check_running(&self) -> Result<()> {
        self.stopped.map_or(Ok(()), Err)
    }

    /// Aborts the journal if `result` is an error; notes it in the super block, if that still can be written.
    pub(super) fn or_abort<T>(&mut self, result: Result<T>) -> Result<T> {
        if let (Err(error), None) = (&result, self.stopped) {
            self.stopped = Some(*error);
            // Begin and id in memory are those that were written last, so this is no more than a note.
            self.super_block.errno = error.errno().wrapping_neg().cast_unsigned().into();
            // The error that counts is the first, so whether this works does not matter.
            let _ = self.store_super_block().and_then(|()| self.base.flush());
        }
        result
    }

    /// The block in the buffer.
    pub(super) fn block(&mut self) -> &mut [u8] {
        let size = self.codec.block_size;
        self.buffer.get_mut(..size).unwrap_or_default()
    }

    /// Writes the block in the buffer to a block of the log.
    pub(super) fn write_block(&mut self, map: &LogMap<M>, place: LogBlock) -> Result<()> {
        let at = self.byte(map.locate(place)?.first_block);
        let block = self.buffer.get(..self.codec.block_size).unwrap_or_default();
        self.base.write_at(at, &mut [IoSlice::new(block)])
    }

    /// Byte of the device of a block.
    pub(super) fn byte(&self, block: u64) -> u64 {
        block.saturating_mul(u64::from(self.geometry.block_size_bytes))
    }
}

fn check_can_be_written(log: &Log<'_>) -> Result<()> {
    if log.start().is_some() {
        return Err(Error::InvalidInput { what: "journal to write: it was not recovered" });
    }
    if log.super_block().block_type.get() == Header::SUPER_BLOCK_V1 {
        return Err(Error::Unsupported { what: "writing a journal of version 1" });
    }
    Ok(())
}

fn map_of<M: Memory>(log: &mut Log<'_>, geometry: &Geometry, memory: M) -> Result<LogMap<M>> {
    let mut map = LogMap::new(memory);
    let mut piece: Option<(LogBlock, Run)> = None;
    let mut next = 0u32;
    while next < geometry.journal_blocks {
        let run = log.locate(LogBlock(next))?;
        match &mut piece {
            Some((_, last)) if last.joins(run) => {
                last.len_blocks = last.len_blocks.saturating_add(run.len_blocks);
            }
            last => {
                if let Some((first, run)) = last.replace((LogBlock(next), run)) {
                    map.add_piece(first, run)?;
                }
            }
        }
        next = next.saturating_add(run.len_blocks);
    }
    if let Some((first, run)) = piece {
        map.add_piece(first, run)?;
    }
    Ok(map)
}

fn check_memory<M: Memory>(map: &LogMap<M>, buffer: &M, geometry: &Geometry) -> Result<()> {
    if buffer.len() < geometry.block_size_bytes as usize {
        return Err(Error::InvalidInput { what: "buffer of a journal: smaller than a block" });
    }
    if map.capacity() < MIN_MAP_ENTRIES {
        return Err(Error::InvalidInput { what: "map of a journal: too small" });
    }
    Ok(())
}
