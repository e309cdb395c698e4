//! [`FailingDevice`]: a device whose Nth read fails.

use rumpcap::block::BlockDevice;
use rumpcap::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The errno of the failures that are made here: none that the host would give by itself for a regular file.
pub const ERRNO: i32 = 121;

/// A device whose Nth read fails, once.
pub struct FailingDevice<D> {
    inner: D,
    reads: AtomicU64,
    fail_at: AtomicU64,
    failures: AtomicU64,
}

impl<D: BlockDevice> FailingDevice<D> {
    /// A device over `inner` that does not fail yet.
    pub fn new(inner: D) -> FailingDevice<D> {
        FailingDevice {
            inner,
            reads: AtomicU64::new(0),
            fail_at: AtomicU64::new(u64::MAX),
            failures: AtomicU64::new(0),
        }
    }

    /// Lets the `n`th read from now on, the first being 0, fail.
    pub fn fail_nth(&self, n: u64) {
        self.fail_at.store(self.reads.load(Relaxed) + n, Relaxed);
    }

    /// How many reads there were.
    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    /// How many of them failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }
}

impl<D: BlockDevice> BlockDevice for FailingDevice<D> {
    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        if self.reads.fetch_add(1, Relaxed) == self.fail_at.load(Relaxed) {
            self.failures.fetch_add(1, Relaxed);
            return Err(Error::Io { errno: ERRNO, at: offset });
        }
        self.inner.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        self.inner.write_at(offset, bufs)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }
}
