//! A device in memory: for tests, and for images that are in memory anyway.
//!
//! Locks: one per chunk of 64 KiB, so that readers of different places do not wait for each other; never two at
//! once. A request over several chunks is therefore not atomic against another, as on a real device.

use crate::BlockDevice;
use crate::device::check_range;
use rumpcap_host::Result;
use rumpcap_host::sync::Mutex;
use std::io::{IoSlice, IoSliceMut};

const CHUNK_BYTES: usize = 64 * 1024;

/// A device in memory, readable and writable.
pub struct MemoryDevice {
    chunks: Box<[Mutex<Box<[u8]>>]>,
    len_bytes: u64,
}

impl MemoryDevice {
    /// A device of zeros.
    pub fn new(len_bytes: usize) -> MemoryDevice {
        let whole = (0..len_bytes / CHUNK_BYTES).map(|_| CHUNK_BYTES);
        let rest = [len_bytes % CHUNK_BYTES].into_iter().filter(|rest| *rest > 0);
        let chunks = whole.chain(rest).map(|len| Mutex::new(vec![0; len].into_boxed_slice())).collect();
        MemoryDevice { chunks, len_bytes: len_bytes as u64 }
    }

    /// A device that holds `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> MemoryDevice {
        let chunks = bytes.chunks(CHUNK_BYTES).map(|chunk| Mutex::new(Box::from(chunk))).collect();
        MemoryDevice { chunks, len_bytes: bytes.len() as u64 }
    }

    /// All of its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.lock().to_vec()).collect()
    }

    /// Calls `copy` with each piece of a chunk that the `len` bytes from `offset` on touch, in order, and its place
    /// among them. The range has been checked.
    fn for_each_piece(&self, offset: u64, len: usize, mut copy: impl FnMut(usize, &mut [u8])) {
        let mut done = 0;
        while done < len {
            let at = usize::try_from(offset).expect("below the length, which is a usize") + done;
            let mut chunk = self.chunks[at / CHUNK_BYTES].lock();
            let within = at % CHUNK_BYTES;
            let n = (chunk.len() - within).min(len - done);
            copy(done, &mut chunk[within..within + n]);
            done += n;
        }
    }
}

impl BlockDevice for MemoryDevice {
    fn is_cached_by_host(&self) -> bool {
        true
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(offset, bufs, self.len_bytes)?;
        for buf in bufs {
            let len = buf.len();
            self.for_each_piece(offset, len, |done, piece| {
                buf[done..done + piece.len()].copy_from_slice(piece);
            });
            offset += len as u64;
        }
        Ok(())
    }

    fn write_at(&self, mut offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        check_range(offset, bufs, self.len_bytes)?;
        for buf in bufs {
            self.for_each_piece(offset, buf.len(), |done, piece| {
                piece.copy_from_slice(&buf[done..done + piece.len()]);
            });
            offset += buf.len() as u64;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_host::Error;

    #[test]
    fn pieces_across_chunks() {
        let device = MemoryDevice::new(2 * CHUNK_BYTES + 10);
        let bytes: Vec<u8> = (0..CHUNK_BYTES + 8).map(|i| (i % 253) as u8).collect();
        let offset = CHUNK_BYTES as u64 - 3;
        let (a, b) = bytes.split_at(7);
        device.write_at(offset, &mut [IoSlice::new(a), IoSlice::new(b)]).unwrap();
        let mut read = vec![0; bytes.len()];
        device.read_at(offset, &mut [IoSliceMut::new(&mut read)]).unwrap();
        assert_eq!(read, bytes);
        let all = device.to_bytes();
        assert_eq!(all.len(), 2 * CHUNK_BYTES + 10);
        assert_eq!(&all[CHUNK_BYTES - 3..2 * CHUNK_BYTES + 5], &bytes[..]);
        assert_eq!(MemoryDevice::from_bytes(&all).to_bytes(), all);
    }

    #[test]
    fn the_end() {
        let device = MemoryDevice::new(100);
        device.read_at(100, &mut []).unwrap();
        let short = Err(Error::ShortDevice { need: 101, have: 100 });
        assert_eq!(device.read_at(99, &mut [IoSliceMut::new(&mut [0; 2])]), short);
        assert_eq!(device.write_at(99, &mut [IoSlice::new(&[0; 2])]), short);
        let far = device.read_at(u64::MAX, &mut [IoSliceMut::new(&mut [0; 2])]);
        assert_eq!(far, Err(Error::ShortDevice { need: u64::MAX, have: 100 }));
    }
}
