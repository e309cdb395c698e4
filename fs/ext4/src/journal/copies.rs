//! Whole blocks of the log: their checksums, and their way to where they belong.
//!
//! With a buffer of one block or more, blocks are read once, several together where they lie together; with a smaller
//! one they go through in pieces, and are read twice where their checksum must be known before they are written.

use super::checksum::{self, BlockChecksum};
use super::format::{ChecksumVersion, CommitBlock, MAGIC_BYTES, TAIL_BYTES, Tag, Tid};
use super::log::{Log, LogBlock};
use rumpcap_host::{Error, Result};
use std::io::IoSlice;
use zerocopy::{FromBytes, big_endian::U32};

/// A buffer for the content of blocks of the log.
pub(super) struct Copies<'s> {
    buf: &'s mut [u8],
    /// Whole blocks in the buffer: the first, and how many.
    first: LogBlock,
    blocks: u32,
    /// Whether reading blocks ahead of the one asked for pays.
    reads_ahead: bool,
}

impl<'s> Copies<'s> {
    /// A buffer of the size of `buf`, a multiple of 512 bytes.
    pub(super) fn new(buf: &'s mut [u8]) -> Copies<'s> {
        Copies { buf, first: LogBlock(0), blocks: 0, reads_ahead: true }
    }

    /// From now on most blocks will not be asked for: read each alone.
    pub(super) fn stop_reading_ahead(&mut self) {
        self.reads_ahead = false;
    }

    /// Gives all of `block` to `take`, in order, in pieces with their offsets.
    pub(super) fn pieces(
        &mut self,
        log: &mut Log<'_>,
        block: LogBlock,
        mut take: impl FnMut(&Log<'_>, usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        if self.buf.len() >= log.block_size() {
            let whole = self.whole(log, block)?;
            return take(log, 0, whole);
        }
        let mut at = 0;
        while at < log.block_size() {
            let n = self.buf.len().min(log.block_size().saturating_sub(at));
            let Some(piece) = self.buf.get_mut(..n).filter(|piece| !piece.is_empty()) else { break };
            log.read(block, at, piece)?;
            take(log, at, piece)?;
            at = at.saturating_add(n);
        }
        Ok(())
    }

    /// All of `block`, from the buffer or read, with those behind it that fit.
    fn whole(&mut self, log: &mut Log<'_>, block: LogBlock) -> Result<&[u8]> {
        let size = log.block_size();
        let is_here = block.0.checked_sub(self.first.0).is_some_and(|within| within < self.blocks);
        if !is_here {
            let room = self.buf.len().checked_div(size).unwrap_or(1);
            let max = if self.reads_ahead { u32::try_from(room).unwrap_or(1) } else { 1 };
            let n = log.contiguous(block, max)?;
            self.blocks = 0;
            let Some(part) = self.buf.get_mut(..size.saturating_mul(n as usize)) else { return Ok(&[]) };
            log.read(block, 0, part)?;
            (self.first, self.blocks) = (block, n);
        }
        let from = size.saturating_mul(block.0.saturating_sub(self.first.0) as usize);
        Ok(self.buf.get(from..from.saturating_add(size)).unwrap_or_default())
    }

    /// Whether a descriptor or revoke block has the checksum that stands at its end.
    pub(super) fn has_good_tail(&mut self, log: &mut Log<'_>, block: LogBlock) -> Result<bool> {
        let field = log.block_size().saturating_sub(TAIL_BYTES);
        let mut sum = BlockChecksum::new(log.checksum_seed(), field);
        let mut stored = None;
        self.pieces(log, block, |_, at, piece| {
            sum.update(piece);
            let tail = field.checked_sub(at).and_then(|within| piece.get(within..));
            stored = tail.and_then(|tail| U32::read_from_bytes(tail).ok()).or(stored);
            Ok(())
        })?;
        Ok(stored.map(U32::get) == Some(sum.finish()))
    }

    /// CRC-32C of a commit block with its checksum as zero: as it is, and as if all behind its fields were zero, which
    /// is what is there when only its first sector was written.
    pub(super) fn commit_checksums(&mut self, log: &mut Log<'_>, block: LogBlock) -> Result<[u32; 2]> {
        let mut whole = BlockChecksum::new(log.checksum_seed(), CommitBlock::CHECKSUM_OFFSET);
        let mut partial = BlockChecksum::new(log.checksum_seed(), CommitBlock::CHECKSUM_OFFSET);
        self.pieces(log, block, |_, at, piece| {
            whole.update(piece);
            let written = CommitBlock::FIELD_BYTES.saturating_sub(at).min(piece.len());
            partial.update(piece.get(..written).unwrap_or_default());
            let mut zeros = piece.len().saturating_sub(written);
            while zeros > 0 {
                let some = zeros.min(ZEROS.len());
                partial.update(ZEROS.get(..some).unwrap_or_default());
                zeros = zeros.saturating_sub(some);
            }
            Ok(())
        })?;
        Ok([whole.finish(), partial.finish()])
    }

    /// Whether the copy in `block` has the checksum that its tag says; true where tags have none.
    pub(super) fn matches_tag(
        &mut self,
        log: &mut Log<'_>,
        block: LogBlock,
        tag: &Tag,
        tid: Tid,
    ) -> Result<bool> {
        if !log.features().has_block_checksums() {
            return Ok(true);
        }
        let mut crc = checksum::crc32c(log.checksum_seed(), &tid.0.to_be_bytes());
        self.pieces(log, block, |_, _, piece| {
            crc = checksum::crc32c(crc, piece);
            Ok(())
        })?;
        let is_short = log.features().checksum == ChecksumVersion::V2;
        Ok(tag.checksum == if is_short { crc & 0xFFFF } else { crc })
    }

    /// Writes the copy in `block` where its tag says.
    ///
    /// # Errors
    /// `Corrupt` for a target that no replay may write; errors of the device.
    pub(super) fn replay(&mut self, log: &mut Log<'_>, block: LogBlock, tag: &Tag) -> Result<()> {
        log.check_target(tag.target)?;
        self.pieces(log, block, |log, at, piece| match piece.split_at_checked(MAGIC_BYTES.len()) {
            Some((_, rest)) if tag.is_escaped && at == 0 => {
                log.write_target(tag.target, 0, &mut [IoSlice::new(&MAGIC_BYTES), IoSlice::new(rest)])
            }
            _ => log.write_target(tag.target, at, &mut [IoSlice::new(piece)]),
        })
    }
}

static ZEROS: [u8; 512] = [0; 512];

/// The error of a copy whose checksum is not its tag's.
pub(super) fn bad_copy(tag: &Tag) -> Error {
    Error::Checksum { what: "block in the journal, by its place in the file system", at: tag.target }
}
