//! Content through the journal: `data=journal`.
//!
//! Who calls it: the kernel's memory and `vfs`, as the device of a mount. Whom it calls: `journal::write`.
//!
//! Whatever is written of files becomes a commit of its own, appended to the transaction that is open; what refers to it is committed
//! later, so it is never replayed without it. An overwrite is there after a power cut if and only if the transaction is. Freed
//! blocks that have a copy in the log are revoked, as metadata are (`alloc`).
//!
//! JC-1. Who cleans a page holds no lock that a commit waits for, and this takes no memory: a part of a block is joined with the rest of
//! it on the stack. Content of a block is written by one at a time: its page is in writeback, or the mount is held alone.

use crate::journal::write::{JournaledDevice, LoggedBlock};
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};
use rumpcap_block::BlockDevice;
use rumpcap_host::Result;
use rumpcap_vfs::Timestamp;
use rumpcap_vm::{PAGE_SIZE, WiredRun};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// The device of a mount whose content goes through its journal.
pub(crate) struct JournaledContent {
    journal: Arc<JournaledDevice<WiredRun>>,
    block_size: usize,
    /// The second of the last operation, for the times in the log.
    seconds: AtomicI64,
}

impl JournaledContent {
    pub(crate) fn new(journal: Arc<JournaledDevice<WiredRun>>, block_size: u32, now: Timestamp) -> Self {
        JournaledContent { journal, block_size: block_size as usize, seconds: AtomicI64::new(now.seconds) }
    }

    /// An operation is done at `now`.
    pub(crate) fn note_time(&self, now: Timestamp) {
        self.seconds.store(now.seconds, Relaxed);
    }

    fn log(&self, home: u64, bytes: &[u8]) -> Result<()> {
        let now = Timestamp { seconds: self.seconds.load(Relaxed), nanoseconds: 0 };
        let block = core::iter::once(LoggedBlock { home, bytes });
        self.journal.commit(block, &[], now).map(drop)
    }
}

impl BlockDevice for JournaledContent {
    fn len_bytes(&self) -> u64 {
        self.journal.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.journal.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let size = self.block_size;
        let mut joined = [0; PAGE_SIZE];
        let block = joined.get_mut(..size).unwrap_or_default();
        let mut at = offset;
        let mut filled = (at % size as u64) as usize;
        let mut begun = false;
        for mut rest in bufs.iter().map(|buf| &**buf) {
            while !rest.is_empty() {
                let home = at / size as u64;
                if !begun && filled == 0 && rest.len() >= size {
                    let (whole, behind) = rest.split_at(size);
                    self.log(home, whole)?;
                    (rest, at) = (behind, at.saturating_add(size as u64));
                    continue;
                }
                if !begun {
                    self.journal.read_at(home.saturating_mul(size as u64), &mut [IoSliceMut::new(block)])?;
                    begun = true;
                }
                let (now, behind) = rest.split_at(rest.len().min(size.saturating_sub(filled)));
                if let Some(to) = block.get_mut(filled..).and_then(|to| to.get_mut(..now.len())) {
                    to.copy_from_slice(now);
                }
                (rest, filled, at) =
                    (behind, filled.saturating_add(now.len()), at.saturating_add(now.len() as u64));
                if filled == size {
                    self.log(home, block)?;
                    (begun, filled) = (false, 0);
                }
            }
        }
        if begun { self.log(at / size as u64, block) } else { Ok(()) }
    }

    fn flush(&self) -> Result<()> {
        self.journal.flush()
    }

    fn is_cached_by_host(&self) -> bool {
        self.journal.is_cached_by_host()
    }

    fn alignment_bytes(&self) -> usize {
        self.journal.alignment_bytes()
    }
}
