//! [`Recorder`]: a device in memory that remembers the writes and flushes to it.

use rumpcap::Result;
use rumpcap::block::{BlockDevice, MemoryDevice};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Mutex;

/// A request that changes the device, or says what must have reached it.
#[derive(Clone, Debug)]
pub enum Request {
    /// Bytes, and where.
    Write(u64, Vec<u8>),
    /// All before is to be durable.
    Flush,
}

/// A device that remembers.
pub struct Recorder {
    device: MemoryDevice,
    requests: Mutex<Vec<Request>>,
}

impl Recorder {
    /// Begins with `bytes`.
    pub fn new(bytes: &[u8]) -> Recorder {
        Recorder { device: MemoryDevice::from_bytes(bytes), requests: Mutex::default() }
    }

    /// Requests until now.
    ///
    /// # Panics
    /// When a thread that wrote has panicked.
    pub fn count(&self) -> usize {
        self.requests.lock().expect("nobody panics with it").len()
    }

    /// The requests, which are forgotten.
    ///
    /// # Panics
    /// As [`Recorder::count`].
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().expect("nobody panics with it"))
    }

    /// What the device holds now.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.device.to_bytes()
    }
}

impl BlockDevice for Recorder {
    fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.device.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let bytes = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        let mut requests = self.requests.lock().expect("nobody panics with it");
        self.device.write_at(offset, bufs)?;
        requests.push(Request::Write(offset, bytes));
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.requests.lock().expect("nobody panics with it").push(Request::Flush);
        Ok(())
    }
}
