//! Finds the end of the log: the last transaction that was committed whole.
//!
//! The log ends at the first block that is none of the transaction expected there: other magic, other id, unknown kind.
//! What lies behind is of an earlier time around the ring, or of a commit that was interrupted. A checksum that does
//! not match is either of these or damage; the cases are told apart as the Linux kernel does:
//!
//! | mismatch in | and the commit block of the transaction | means |
//! |---|---|---|
//! | descriptor, revoke block | is missing | interrupted: the log ends before |
//! | descriptor, revoke block, commit | is older than the commit before it | left from an earlier time: the log ends before |
//! | descriptor, revoke block | is not older | damage: error |
//! | commit, or the sum in it (version 1) | is not older, no async_commit | damage: error |
//! | the same | async_commit, no commit follows | interrupted: the log ends before |
//! | the same | async_commit, a commit follows | version 1: error; versions 2, 3: the log ends before |
//!
//! "Error" is where a kernel refuses to mount. Checksums of copies are verified by replay, which also fails.

use super::copies::Copies;
use super::format::{ChecksumVersion, CommitBlock, Kind, Tid};
use super::log::{Log, LogBlock};
use super::tags::Tags;
use super::walk::{Walk, Window};
use super::{checksum, revoke};
use crc::Digest;
use rumpcap_host::{Error, Result};
use zerocopy::FromBytes;

/// The transactions to replay: `first..end`, and where the first begins.
pub(super) struct Extent {
    pub(super) start: LogBlock,
    pub(super) first: Tid,
    pub(super) end: Tid,
    /// Records in the revoke blocks of all of them.
    pub(super) revoke_records: u64,
}

impl Extent {
    pub(super) fn transactions(&self) -> u32 {
        self.end.since(self.first)
    }
}

/// Whether a scan goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    End,
}

struct Scan {
    next: Tid,
    /// Set when the log ends before the transaction that is being scanned, and only damage is still looked for.
    end: Option<Tid>,
    /// A checksum of this transaction did not match; its commit block will tell what that means.
    is_suspect: bool,
    last_commit_seconds: u64,
    version1: Digest<'static, u32>,
    revoke_records: u64,
    /// Those of the transaction that is not committed yet.
    revoke_records_pending: u64,
}

/// Scans the log from its start.
///
/// # Errors
/// `Checksum` for damage; `Corrupt`; errors of device and map.
pub(super) fn scan(
    log: &mut Log<'_>,
    window: &mut Window<'_>,
    copies: &mut Copies<'_>,
    start: LogBlock,
    first: Tid,
) -> Result<Extent> {
    let mut scan = Scan {
        next: first,
        end: None,
        is_suspect: false,
        last_commit_seconds: 0,
        version1: checksum::version1(),
        revoke_records: 0,
        revoke_records_pending: 0,
    };
    let mut walk = Walk::new(start);
    while let Some((block, kind)) = walk.block(log, window, scan.next)? {
        let next = match kind {
            Kind::Descriptor => scan.descriptor(log, window, copies, &mut walk, block)?,
            Kind::Revoke => scan.revoke(log, window, copies, block)?,
            Kind::Commit => scan.commit(log, window, copies, block)?,
        };
        if next == Next::End {
            break;
        }
    }
    let end = scan.end.unwrap_or(scan.next);
    Ok(Extent { start, first, end, revoke_records: scan.revoke_records })
}

impl Scan {
    fn descriptor(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        copies: &mut Copies<'_>,
        walk: &mut Walk,
        block: LogBlock,
    ) -> Result<Next> {
        let features = *log.features();
        if features.has_block_checksums() && !copies.has_good_tail(log, block)? {
            self.is_suspect = true;
        }
        let tags = Tags::count(log, window, block)?;
        if features.checksum != ChecksumVersion::V1 || self.end.is_some() {
            walk.skip(log, tags);
            return Ok(Next::Continue);
        }
        self.sum(log, copies, block)?;
        for _ in 0..tags {
            let Some(copy) = walk.copy(log) else { return Ok(Next::End) };
            self.sum(log, copies, copy)?;
        }
        Ok(Next::Continue)
    }

    fn sum(&mut self, log: &mut Log<'_>, copies: &mut Copies<'_>, block: LogBlock) -> Result<()> {
        copies.pieces(log, block, |_, _, piece| {
            self.version1.update(piece);
            Ok(())
        })
    }

    fn revoke(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        copies: &mut Copies<'_>,
        block: LogBlock,
    ) -> Result<Next> {
        if log.features().has_block_checksums() && !copies.has_good_tail(log, block)? {
            self.is_suspect = true;
        } else {
            let records = revoke::count(log, window, block)?;
            self.revoke_records_pending = self.revoke_records_pending.saturating_add(records);
        }
        Ok(Next::Continue)
    }

    fn commit(
        &mut self,
        log: &mut Log<'_>,
        window: &mut Window<'_>,
        copies: &mut Copies<'_>,
        block: LogBlock,
    ) -> Result<Next> {
        let bytes = window.bytes(log, block, 0, size_of::<CommitBlock>())?;
        let Ok(commit) = CommitBlock::ref_from_bytes(bytes) else { return Ok(Next::End) };
        let seconds = commit.seconds.get();
        if self.is_suspect {
            return self.mismatch_at(seconds, "descriptor or revoke block of a journal's transaction");
        }
        let is_good = match log.features().checksum {
            ChecksumVersion::None => true,
            ChecksumVersion::V1 if self.end.is_some() => return self.damage("journal's transaction"),
            ChecksumVersion::V1 => self.matches_version1(commit),
            ChecksumVersion::V2 | ChecksumVersion::V3 => {
                let stored = commit.checksum[0].get();
                copies.commit_checksums(log, block)?.contains(&stored)
            }
        };
        if !is_good {
            if seconds < self.last_commit_seconds {
                return Ok(Next::End);
            }
            self.end.get_or_insert(self.next);
            if !log.features().has_async_commit {
                return self.damage("commit of a journal's transaction");
            }
        }
        self.committed(seconds);
        Ok(Next::Continue)
    }

    /// Goes on to the next transaction.
    fn committed(&mut self, seconds: u64) {
        self.last_commit_seconds = seconds;
        self.version1 = checksum::version1();
        self.next = self.next.next();
        if self.end.is_none() {
            self.revoke_records = self.revoke_records.saturating_add(self.revoke_records_pending);
        }
        self.revoke_records_pending = 0;
    }

    /// The sum of the transaction, or none: kernels that did not sum left the fields zero.
    fn matches_version1(&self, commit: &CommitBlock) -> bool {
        let stored = commit.checksum[0].get();
        let form = (commit.checksum_type, commit.checksum_bytes);
        let sum = self.version1.clone().finalize();
        form == (CommitBlock::CRC32, 4) && stored == sum || form == (0, 0) && stored == 0
    }

    fn mismatch_at(&self, seconds: u64, what: &'static str) -> Result<Next> {
        if seconds < self.last_commit_seconds { Ok(Next::End) } else { self.damage(what) }
    }

    fn damage(&self, what: &'static str) -> Result<Next> {
        Err(Error::Checksum { what, at: u64::from(self.end.unwrap_or(self.next).0) })
    }
}
