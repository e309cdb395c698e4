//! Going through the log: a window onto its blocks, and the walk from one block that is not a copy to the next.
//!
//! Who calls it: scan, revoke, replay, tags, fast_commit. Whom it calls: the log.

use super::format::{HEADER_BYTES, Header, Kind, MAGIC, Tid};
use super::log::{Log, LogBlock};
use rumpcap_host::{Error, Result};
use zerocopy::FromBytes;

/// A view of a part of one block of the log: headers, tags and revoke records are read through it.
pub(super) struct Window<'s> {
    buf: &'s mut [u8],
    block: LogBlock,
    start: usize,
    len: usize,
}

impl<'s> Window<'s> {
    /// A window of the size of `buf`, which is at least 512 bytes: larger than every structure in the log.
    pub(super) fn new(buf: &'s mut [u8]) -> Window<'s> {
        Window { buf, block: LogBlock(0), start: 0, len: 0 }
    }

    /// `len` bytes from byte `from` of `block` on.
    ///
    /// # Errors
    /// `Corrupt` when they pass the end of the block; errors of device and map.
    pub(super) fn bytes(
        &mut self,
        log: &mut Log<'_>,
        block: LogBlock,
        from: usize,
        len: usize,
    ) -> Result<&[u8]> {
        let end = from.saturating_add(len);
        let is_inside =
            self.block == block && from >= self.start && end <= self.start.saturating_add(self.len);
        if !is_inside {
            self.load(log, block, from)?;
        }
        let within = from.saturating_sub(self.start);
        let loaded = self.buf.get(..self.len).unwrap_or_default();
        let past_end = Error::Corrupt { what: "journal: structure passes its block", at: u64::from(block.0) };
        loaded.get(within..within.saturating_add(len)).ok_or(past_end)
    }

    fn load(&mut self, log: &mut Log<'_>, block: LogBlock, from: usize) -> Result<()> {
        let n = self.buf.len().min(log.block_size().saturating_sub(from));
        self.len = 0;
        let Some(part) = self.buf.get_mut(..n) else { return Ok(()) };
        log.read(block, from, part)?;
        (self.block, self.start, self.len) = (block, from, n);
        Ok(())
    }
}

/// A walk over the log, from block to block that is not a copy.
pub(super) struct Walk {
    next: LogBlock,
    walked: u32,
}

impl Walk {
    pub(super) fn new(start: LogBlock) -> Walk {
        Walk { next: start, walked: 0 }
    }

    /// The next block and its kind, if it is one of transaction `expected`: else the log ends here.
    pub(super) fn block(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        expected: Tid,
    ) -> Result<Option<(LogBlock, Kind)>> {
        // LG-2: a transaction that is longer than the ring was never written, so it has no end either.
        if self.walked >= log.ring_blocks() {
            return Ok(None);
        }
        let block = self.next;
        let bytes = window.bytes(log, block, 0, HEADER_BYTES)?;
        let Ok(header) = Header::read_from_bytes(bytes) else { return Ok(None) };
        if header.magic.get() != MAGIC || header.sequence.get() != expected.0 {
            return Ok(None);
        }
        self.skip(log, 1);
        Ok(header.kind().map(|kind| (block, kind)))
    }

    /// The block that a copy is in, the walk then being behind it; `None` when the ring has been walked.
    pub(super) fn copy(&mut self, log: &Log<'_>) -> Option<LogBlock> {
        let block = self.next;
        if self.walked >= log.ring_blocks() {
            return None;
        }
        self.skip(log, 1);
        Some(block)
    }

    /// Passes over `n` copies.
    pub(super) fn skip(&mut self, log: &Log<'_>, n: u32) {
        self.next = log.advance(self.next, n);
        self.walked = self.walked.saturating_add(n);
    }
}
