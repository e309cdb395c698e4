//! Fast commits: small records behind the ring, of what changed since the last transaction. Found, not replayed.
//!
//! Each is a chain of records (kind, length, value), little-endian, that a tail closes with the CRC-32C of it all and the
//! id of the transaction that it is on top of. Records do not cross blocks.
//!
//! Source: the Linux kernel's documentation, `filesystems/ext4/journal`, "Fast commits".

use super::checksum::crc32c;
use super::format::Tid;
use super::log::{Log, LogBlock};
use super::walk::Window;
use rumpcap_host::Result;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const TAIL: u16 = 8;
const HEAD: u16 = 9;
/// Record kinds that are known: 1 to [`HEAD`].
const KNOWN: std::ops::RangeInclusive<u16> = 1..=HEAD;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Record {
    kind: U16,
    len: U16,
}

/// The value of a head (features, id) or of a tail (id, checksum).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Pair {
    first: U32,
    second: U32,
}

const RECORD_BYTES: usize = size_of::<Record>();
const PAIR_BYTES: usize = size_of::<Pair>();

/// How many whole fast commits there are on top of the transactions before `end`.
///
/// # Errors
/// Errors of device and map. What is not whole or not of this time is not counted.
pub(super) fn count(log: &mut Log<'_>, window: &mut Window<'_>, end: Tid) -> Result<u32> {
    let mut chain = Chain { end, crc: 0, commits: 0 };
    for (index, block) in log.fast_commit_area().enumerate() {
        if !chain.block(log, window, LogBlock(block), index == 0)? {
            break;
        }
    }
    Ok(chain.commits)
}

struct Chain {
    end: Tid,
    crc: u32,
    commits: u32,
}

impl Chain {
    /// Follows the chain through one block; whether it goes on behind. It must begin with a head.
    fn block(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        block: LogBlock,
        is_first: bool,
    ) -> Result<bool> {
        let mut at = 0usize;
        while at.saturating_add(RECORD_BYTES) <= log.block_size() {
            let Ok(record) = Record::read_from_bytes(window.bytes(log, block, at, RECORD_BYTES)?) else {
                return Ok(false);
            };
            let (kind, len) = (record.kind.get(), usize::from(record.len.get()));
            let next = at.saturating_add(RECORD_BYTES).saturating_add(len);
            let is_expected = !(is_first && at == 0) || kind == HEAD;
            if !is_expected || !KNOWN.contains(&kind) || next > log.block_size() {
                return Ok(false);
            }
            if !self.record(log, window, block, at, kind, len)? {
                return Ok(false);
            }
            at = next;
        }
        Ok(true)
    }

    /// Takes one record; whether the chain is whole so far.
    fn record(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        block: LogBlock,
        at: usize,
        kind: u16,
        len: usize,
    ) -> Result<bool> {
        if kind != HEAD && kind != TAIL {
            self.sum(log, window, block, at, RECORD_BYTES.saturating_add(len))?;
            return Ok(true);
        }
        if len < PAIR_BYTES {
            return Ok(false);
        }
        let value = window.bytes(log, block, at.saturating_add(RECORD_BYTES), PAIR_BYTES)?;
        let Ok(pair) = Pair::read_from_bytes(value) else { return Ok(false) };
        if kind == HEAD {
            self.sum(log, window, block, at, RECORD_BYTES.saturating_add(len))?;
            return Ok(pair.first.get() == 0 && pair.second.get() == self.end.0);
        }
        // The sum goes as far as the tail's own id.
        self.sum(log, window, block, at, RECORD_BYTES.saturating_add(4))?;
        let is_whole = pair.first.get() == self.end.0 && pair.second.get() == self.crc;
        self.commits = self.commits.saturating_add(u32::from(is_whole));
        self.crc = 0;
        Ok(is_whole)
    }

    fn sum(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        block: LogBlock,
        at: usize,
        len: usize,
    ) -> Result<()> {
        let end = at.saturating_add(len);
        let mut at = at;
        while at < end {
            let n = end.saturating_sub(at).min(256);
            self.crc = crc32c(self.crc, window.bytes(log, block, at, n)?);
            at = at.saturating_add(n);
        }
        Ok(())
    }
}
