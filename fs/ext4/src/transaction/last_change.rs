//! [`LastChange`]: which transaction was the last to change a file, so that a sync of one file commits only what concerns it.
//!
//! Who calls it: `vnops_change` and `content` note changes, `commit` numbers transactions, `sync_file` asks.
//!
//! Transactions are numbered from 1, in the order of their commits. A file's numbers are two: of any change, and of one that its content
//! cannot be read without (length, places; not times).
//!
//! LC-1. Files share numbers, by their inode: one may seem to have been changed later than it was, never earlier. LC-2. A change is noted
//! behind the last transaction that it is part of, with the mount's lock held alone, and before the caller hears that it is done.
//! LC-3. All transactions up to `durable` are.
//!
//! Locks: none, so that who has nothing to commit waits for nobody. Memory: fixed.

use core::array::from_fn;
use core::sync::atomic::Ordering::SeqCst;
use rumpcap_host::sync::atomic::AtomicU64;
use rumpcap_vfs::{InodeNo, SyncFile};

/// Numbers of each kind: with more, fewer files are committed for the changes of others.
const SLOTS: usize = 64;

/// The numbers.
pub(crate) struct LastChange {
    any: [AtomicU64; SLOTS],
    content: [AtomicU64; SLOTS],
    running: AtomicU64,
    durable: AtomicU64,
}

fn slot(ino: InodeNo) -> usize {
    (ino.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SLOTS
}

impl LastChange {
    /// Of a mount that begins.
    pub(super) fn new() -> LastChange {
        let zeros = || from_fn(|_| AtomicU64::new(0));
        LastChange { any: zeros(), content: zeros(), running: AtomicU64::new(1), durable: AtomicU64::new(0) }
    }

    fn of(&self, ino: InodeNo, what: SyncFile) -> Option<&AtomicU64> {
        let all = match what {
            SyncFile::All => &self.any,
            SyncFile::Content => &self.content,
        };
        all.get(slot(ino))
    }

    /// A file was changed: its content or what that takes, or anything else of it.
    pub(crate) fn note(&self, ino: InodeNo, what: SyncFile) {
        let running = self.running.load(SeqCst);
        for number in [self.of(ino, SyncFile::All), self.of(ino, what)].into_iter().flatten() {
            number.store(running, SeqCst);
        }
    }

    /// The transaction that changed it last; 0 if none has.
    pub(super) fn transaction(&self, ino: InodeNo, what: SyncFile) -> u64 {
        self.of(ino, what).map_or(u64::MAX, |number| number.load(SeqCst))
    }

    /// The transaction that runs.
    pub(super) fn running(&self) -> u64 {
        self.running.load(SeqCst)
    }

    /// The running transaction is committed, or empty: another one begins.
    pub(super) fn begin_next(&self) {
        self.running.fetch_add(1, SeqCst);
    }

    /// Transactions up to `number` are durable.
    pub(super) fn note_durable(&self, number: u64) {
        self.durable.fetch_max(number, SeqCst);
    }

    /// Whether transaction `number` is known to be durable.
    pub(super) fn is_durable(&self, number: u64) -> bool {
        number <= self.durable.load(SeqCst)
    }
}
