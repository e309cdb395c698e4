//! The log: the journal's blocks as a ring, read through the block map of the journal's inode.
//!
//! Who calls it: scan, revoke, replay, fast_commit. Whom it calls: the device and the [`JournalMap`].
//!
//! Invariants: LG-1 every block number that reaches the device is below the blocks of the file system. LG-2 a walk
//! (`walk`) passes over at most as many blocks as the ring has.
//!
//! Memory: a few words and [`MAX_RUNS`] runs; content goes through the buffers of the caller's scratch.

use super::format::{Features, Header, MAGIC, SUPER_BLOCK_BYTES, SuperBlock, Tid};
use super::{Geometry, JournalMap, Run, checksum};
use arrayvec::ArrayVec;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use zerocopy::{FromZeros, IntoBytes};

/// Runs of the journal that are remembered, to tell a target inside the journal: 1 KiB. A journal that mke2fs made has
/// one or a few; of one in more pieces the first so many are protected.
const MAX_RUNS: usize = 64;

/// Fast-commit blocks of a journal whose super block says 0.
const DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;

/// The smallest ring that fast commits leave.
const MIN_RING_BLOCKS: u32 = 1024;

/// Number of a block in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogBlock(pub(super) u32);

/// The journal, opened.
pub(super) struct Log<'a> {
    device: &'a dyn BlockDevice,
    map: &'a mut dyn JournalMap,
    geometry: Geometry,
    features: Features,
    super_block: SuperBlock,
    checksum_seed: u32,
    /// The ring is `first..last`.
    first: u32,
    last: u32,
    /// The run that was used last, and the block of the journal that it begins with.
    recent: (u32, Run),
    own_runs: ArrayVec<Run, MAX_RUNS>,
}

fn corrupt<T>(what: &'static str, at: u32) -> Result<T> {
    Err(Error::Corrupt { what, at: u64::from(at) })
}

impl<'a> Log<'a> {
    /// Reads and checks the journal's super block.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `UnknownFeature`, `Unsupported`; errors of device and map.
    pub(super) fn open(
        device: &'a dyn BlockDevice,
        map: &'a mut dyn JournalMap,
        geometry: &Geometry,
    ) -> Result<Log<'a>> {
        let no_features = SuperBlock::new_zeroed();
        let mut log = Log {
            device,
            map,
            geometry: *geometry,
            features: Features::of(&no_features)?,
            super_block: no_features,
            checksum_seed: 0,
            first: 0,
            last: 0,
            recent: (0, Run { first_block: 0, len_blocks: 0 }),
            own_runs: ArrayVec::new(),
        };
        let mut bytes = [0; SUPER_BLOCK_BYTES];
        log.read(LogBlock(0), 0, &mut bytes)?;
        log.super_block = zerocopy::transmute!(bytes);
        log.check_super_block()?;
        log.find_ring()?;
        Ok(log)
    }

    fn check_super_block(&mut self) -> Result<()> {
        let sb = &self.super_block;
        let version = sb.block_type.get();
        if sb.magic.get() != MAGIC || !matches!(version, Header::SUPER_BLOCK_V1 | Header::SUPER_BLOCK_V2) {
            return corrupt("journal super block: magic or version", version);
        }
        if sb.block_size.get() != self.geometry.block_size_bytes {
            return corrupt("journal super block: block size", sb.block_size.get());
        }
        self.features = Features::of(sb)?;
        if self.features.has_block_checksums() {
            if checksum::of_super_block(sb) != sb.checksum.get() {
                return Err(Error::Checksum { what: "journal super block", at: 0 });
            }
            self.checksum_seed = checksum::crc32c(!0, &sb.uuid);
        }
        Ok(())
    }

    /// Finds the ring, without the blocks for fast commits, and checks where the log begins.
    fn find_ring(&mut self) -> Result<()> {
        let sb = &self.super_block;
        let (max_len, first, start) = (sb.max_len.get(), sb.first.get(), sb.start.get());
        if max_len > self.geometry.journal_blocks {
            return corrupt("journal super block: longer than the journal", max_len);
        }
        let mut last = max_len;
        if self.features.has_fast_commit {
            let fast = max_len.saturating_sub(self.fast_commit_blocks());
            last = if fast >= MIN_RING_BLOCKS { fast } else { max_len };
        }
        if first == 0 || first >= last {
            return corrupt("journal super block: first block", first);
        }
        if start != 0 && !(first..last).contains(&start) {
            return corrupt("journal super block: start of the log", start);
        }
        (self.first, self.last) = (first, last);
        Ok(())
    }

    fn fast_commit_blocks(&self) -> u32 {
        match self.super_block.fast_commit_blocks.get() {
            0 => DEFAULT_FAST_COMMIT_BLOCKS,
            blocks => blocks,
        }
    }

    /// The blocks of fast commits. The one directly behind the ring is not used.
    pub(super) fn fast_commit_area(&self) -> std::ops::Range<u32> {
        if !self.features.has_fast_commit {
            return 0..0;
        }
        self.last.saturating_add(1)..self.super_block.max_len.get()
    }

    pub(super) fn device(&self) -> &dyn BlockDevice {
        self.device
    }

    pub(super) fn super_block(&self) -> &SuperBlock {
        &self.super_block
    }

    /// The ring, without the blocks of fast commits.
    pub(super) fn ring(&self) -> std::ops::Range<u32> {
        self.first..self.last
    }

    pub(super) fn features(&self) -> &Features {
        &self.features
    }

    /// Seed of all checksums of versions 2 and 3.
    pub(super) fn checksum_seed(&self) -> u32 {
        self.checksum_seed
    }

    pub(super) fn block_size(&self) -> usize {
        self.geometry.block_size_bytes as usize
    }

    /// Where the log begins, and with which transaction; `None` if it is empty.
    pub(super) fn start(&self) -> Option<(LogBlock, Tid)> {
        match self.super_block.start.get() {
            0 => None,
            start => Some((LogBlock(start), Tid(self.super_block.sequence.get()))),
        }
    }

    /// Error that a kernel noted in the journal before it stopped, 0 if none.
    pub(super) fn errno(&self) -> u32 {
        self.super_block.errno.get()
    }

    /// Blocks of the ring.
    pub(super) fn ring_blocks(&self) -> u32 {
        self.last.saturating_sub(self.first)
    }

    /// The block `n` blocks behind `block`, around the ring.
    pub(super) fn advance(&self, block: LogBlock, n: u32) -> LogBlock {
        let ring = u64::from(self.ring_blocks()).max(1);
        let from_first = u64::from(block.0.saturating_sub(self.first)).saturating_add(u64::from(n));
        let within = u32::try_from(from_first.checked_rem(ring).unwrap_or(0)).unwrap_or(0);
        LogBlock(self.first.saturating_add(within))
    }

    /// The block of the device that holds `block`, and how many blocks of the journal follow there, itself included.
    pub(super) fn locate(&mut self, block: LogBlock) -> Result<Run> {
        let (from, run) = self.recent;
        if let Some(within) = block.0.checked_sub(from).filter(|within| *within < run.len_blocks) {
            return Ok(tail_of(run, within));
        }
        if block.0 >= self.geometry.journal_blocks {
            return corrupt("journal: block behind its end", block.0);
        }
        let mut run = self.map.run(block.0)?;
        run.len_blocks = run.len_blocks.min(self.geometry.journal_blocks.saturating_sub(block.0));
        let end = run.first_block.checked_add(u64::from(run.len_blocks));
        if run.len_blocks == 0 || end.is_none_or(|end| end > self.geometry.blocks) {
            return Err(Error::Corrupt {
                what: "journal: its blocks are outside the file system",
                at: run.first_block,
            });
        }
        self.recent = (block.0, run);
        Ok(run)
    }

    /// How many blocks from `block` on lie one behind the other, on the device and in the ring; at most `max`.
    pub(super) fn contiguous(&mut self, block: LogBlock, max: u32) -> Result<u32> {
        let to_wrap = self.last.saturating_sub(block.0).max(1);
        Ok(self.locate(block)?.len_blocks.min(to_wrap).min(max))
    }

    /// Reads into `buf` from byte `within` of `block` on; may go on into blocks that are [`Log::contiguous`].
    pub(super) fn read(&mut self, block: LogBlock, within: usize, buf: &mut [u8]) -> Result<()> {
        let first_block = self.locate(block)?.first_block;
        let at = self.byte(first_block).saturating_add(within as u64);
        self.device.read_at(at, &mut [IoSliceMut::new(buf)])
    }

    fn byte(&self, block: u64) -> u64 {
        block.saturating_mul(u64::from(self.geometry.block_size_bytes))
    }

    /// Notes which blocks of the device are the journal's own.
    pub(super) fn find_own_blocks(&mut self) -> Result<()> {
        let mut block = 0;
        while block < self.geometry.journal_blocks {
            let run = self.locate(LogBlock(block))?;
            block = block.saturating_add(run.len_blocks);
            if let Some(last) = self.own_runs.last_mut().filter(|last| last.joins(run)) {
                last.len_blocks = last.len_blocks.saturating_add(run.len_blocks);
            } else if self.own_runs.try_push(run).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a block of the file system is one that a replay may write.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn check_target(&self, target: u64) -> Result<()> {
        if target >= self.geometry.blocks {
            return Err(Error::Corrupt { what: "journal: target outside the file system", at: target });
        }
        let is_own = |run: &Run| {
            target.checked_sub(run.first_block).is_some_and(|within| within < u64::from(run.len_blocks))
        };
        if self.own_runs.iter().any(is_own) {
            return Err(Error::Corrupt { what: "journal: target inside the journal", at: target });
        }
        Ok(())
    }

    /// Writes `bufs` at byte `within` of a block of the file system.
    pub(super) fn write_target(&self, target: u64, within: usize, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        self.device.write_at(self.byte(target).saturating_add(within as u64), bufs)
    }

    /// Writes the super block of an empty log that goes on with transaction `next`.
    pub(super) fn write_empty(&mut self, next: Tid) -> Result<()> {
        let first_block = self.locate(LogBlock(0))?.first_block;
        let at = self.byte(first_block);
        self.super_block.start = 0.into();
        self.super_block.sequence = next.0.into();
        if self.features.has_block_checksums() {
            self.super_block.checksum = checksum::of_super_block(&self.super_block).into();
        }
        self.device.write_at(at, &mut [IoSlice::new(self.super_block.as_bytes())])
    }
}

fn tail_of(run: Run, within: u32) -> Run {
    Run {
        first_block: run.first_block.saturating_add(u64::from(within)),
        len_blocks: run.len_blocks.saturating_sub(within),
    }
}
