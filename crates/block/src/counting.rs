//! Counts what goes through: requests and bytes, for reports and benchmarks.

use crate::BlockDevice;
use rumpcap_host::Result;
use rumpcap_host::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// A device that counts the requests to another.
///
/// ```
/// use rumpcap_block::{BlockDevice, Counting, MemoryDevice};
/// use std::{io::IoSliceMut, sync::Arc};
///
/// let device = Counting::new(Arc::new(MemoryDevice::new(4096)));
/// device.read_at(0, &mut [IoSliceMut::new(&mut [0; 1024])])?;
/// assert_eq!((device.counts().reads, device.counts().read_bytes), (1, 1024));
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub struct Counting {
    base: Arc<dyn BlockDevice>,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    write_bytes: AtomicU64,
    flushes: AtomicU64,
}

/// Requests and bytes since the device was made, failed requests included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read requests.
    pub reads: u64,
    /// Bytes asked for by them.
    pub read_bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes given with them.
    pub write_bytes: u64,
    /// Flushes.
    pub flushes: u64,
}

impl Counting {
    /// Counts what goes to `base`.
    pub fn new(base: Arc<dyn BlockDevice>) -> Counting {
        Counting {
            base,
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            write_bytes: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
        }
    }

    /// What has gone through so far. Taken one by one: exact when no request is in flight.
    pub fn counts(&self) -> Counts {
        Counts {
            reads: self.reads.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            writes: self.writes.load(Relaxed),
            write_bytes: self.write_bytes.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
        }
    }
}

impl BlockDevice for Counting {
    fn len_bytes(&self) -> u64 {
        self.base.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bufs.iter().map(|b| b.len() as u64).sum(), Relaxed);
        self.base.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        self.writes.fetch_add(1, Relaxed);
        self.write_bytes.fetch_add(bufs.iter().map(|b| b.len() as u64).sum(), Relaxed);
        self.base.write_at(offset, bufs)
    }

    fn flush(&self) -> Result<()> {
        self.flushes.fetch_add(1, Relaxed);
        self.base.flush()
    }

    fn is_cached_by_host(&self) -> bool {
        self.base.is_cached_by_host()
    }

    fn alignment_bytes(&self) -> usize {
        self.base.alignment_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDevice;

    #[test]
    fn counts_segments_together_and_failures_too() {
        let device = Counting::new(Arc::new(MemoryDevice::new(10)));
        let (a, b) = ([1, 2], [3]);
        device.write_at(0, &mut [IoSlice::new(&a), IoSlice::new(&b)]).unwrap();
        device.read_at(9, &mut [IoSliceMut::new(&mut [0; 2])]).unwrap_err();
        device.flush().unwrap();
        let counts = Counts { reads: 1, read_bytes: 2, writes: 1, write_bytes: 3, flushes: 1 };
        assert_eq!(device.counts(), counts);
    }
}
