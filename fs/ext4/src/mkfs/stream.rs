//! [`Stream`]: writes that follow one another on the device, gathered into large requests.
//!
//! Who calls it: `Maker`, one for blocks and one for the inode table. Space is taken in ascending order, so nearly all writes
//! follow one another; one that does not sends away what was gathered.
//!
//! - ST-1 What was put is on the device after [`Stream::flush`], in any case before anything else is put at the same place:
//!   overlapping puts never meet in the buffer.

use rumpcap_block::BlockDevice;
use rumpcap_host::Result;
use std::io::IoSlice;

/// Bytes gathered at most.
pub const STREAM_BYTES: usize = 64 * 1024;

/// Gathered writes.
pub(super) struct Stream {
    buffer: Box<[u8]>,
    at: u64,
    len: usize,
}

impl Stream {
    pub(super) fn new(capacity: usize) -> Stream {
        Stream { buffer: vec![0; capacity].into_boxed_slice(), at: 0, len: 0 }
    }

    /// Puts `bytes` at byte `at` of the device.
    pub(super) fn put(&mut self, device: &dyn BlockDevice, at: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if at != self.at + self.len as u64 || bytes.len() > self.buffer.len() - self.len {
            self.flush(device)?;
            self.at = at;
        }
        if bytes.len() >= self.buffer.len() {
            self.at = at + bytes.len() as u64;
            return device.write_at(at, &mut [IoSlice::new(bytes)]);
        }
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    /// Sends away what was gathered.
    pub(super) fn flush(&mut self, device: &dyn BlockDevice) -> Result<()> {
        if self.len > 0 {
            device.write_at(self.at, &mut [IoSlice::new(&self.buffer[..self.len])])?;
        }
        self.at += self.len as u64;
        self.len = 0;
        Ok(())
    }
}
