//! A window onto another device: a partition, or what is behind a byte offset.
//!
//! Who makes one: front ends, for `image@2:` and `--offset`. Requests outside the window are refused with numbers
//! relative to the window, so that "shorter than its file system" speaks of the file system's own bytes.

use crate::BlockDevice;
use crate::device::check_range;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// A window onto another device.
///
/// ```
/// use rumpcap_block::{BlockDevice, MemoryDevice, Slice};
/// use std::{io::IoSliceMut, sync::Arc};
///
/// let disk = Arc::new(MemoryDevice::from_bytes(b"boot....root"));
/// let root = Slice::new(disk, 8, 4)?;
/// let mut bytes = [0u8; 4];
/// root.read_at(0, &mut [IoSliceMut::new(&mut bytes)])?;
/// assert_eq!(&bytes, b"root");
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub struct Slice {
    base: Arc<dyn BlockDevice>,
    offset: u64,
    len_bytes: u64,
}

impl Slice {
    /// The `len_bytes` bytes from `offset` on.
    ///
    /// # Errors
    /// `ShortDevice`, in numbers of `base`, when `base` ends before the window does.
    pub fn new(base: Arc<dyn BlockDevice>, offset: u64, len_bytes: u64) -> Result<Slice> {
        let (need, have) = (offset.saturating_add(len_bytes), base.len_bytes());
        if need > have {
            return Err(Error::ShortDevice { need, have });
        }
        Ok(Slice { base, offset, len_bytes })
    }

    /// Everything from `offset` on, but at most `len_bytes`: what is there of a partition on an image that was cut.
    ///
    /// # Errors
    /// `ShortDevice`, in numbers of `base`, when `offset` is past the end of `base`.
    pub fn clipped(base: Arc<dyn BlockDevice>, offset: u64, len_bytes: u64) -> Result<Slice> {
        let have = base.len_bytes();
        let left = have.checked_sub(offset).ok_or(Error::ShortDevice { need: offset, have })?;
        Slice::new(base, offset, left.min(len_bytes))
    }

    /// Everything from `offset` on.
    ///
    /// # Errors
    /// As [`Slice::clipped`].
    pub fn from_offset(base: Arc<dyn BlockDevice>, offset: u64) -> Result<Slice> {
        Slice::clipped(base, offset, u64::MAX)
    }

    /// Tells an error of the base in numbers of the window.
    fn relative(&self, error: Error) -> Error {
        match error {
            Error::Io { errno, at } => Error::Io { errno, at: at.saturating_sub(self.offset) },
            Error::ShortDevice { need, have } => Error::ShortDevice {
                need: need.saturating_sub(self.offset),
                have: have.saturating_sub(self.offset),
            },
            error => error,
        }
    }
}

impl BlockDevice for Slice {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(offset, bufs, self.len_bytes)?;
        self.base.read_at(self.offset + offset, bufs).map_err(|e| self.relative(e))
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        check_range(offset, bufs, self.len_bytes)?;
        self.base.write_at(self.offset + offset, bufs).map_err(|e| self.relative(e))
    }

    fn flush(&self) -> Result<()> {
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
    use crate::{Effect, Fault, FaultInjector, MemoryDevice, Operation};

    fn disk() -> Arc<MemoryDevice> {
        Arc::new(MemoryDevice::from_bytes(&(0..100).collect::<Vec<u8>>()))
    }

    #[test]
    fn reads_and_writes_are_shifted_and_bounded() {
        let disk = disk();
        let slice = Slice::new(disk.clone(), 10, 20).unwrap();
        let mut byte = [0];
        slice.read_at(19, &mut [IoSliceMut::new(&mut byte)]).unwrap();
        assert_eq!(byte, [29]);
        slice.write_at(0, &mut [IoSlice::new(&[200])]).unwrap();
        assert_eq!(disk.to_bytes()[9..12], [9, 200, 11]);
        let short = Err(Error::ShortDevice { need: 21, have: 20 });
        assert_eq!(slice.read_at(19, &mut [IoSliceMut::new(&mut [0; 2])]), short);
        assert_eq!(slice.write_at(19, &mut [IoSlice::new(&[0; 2])]), short);
        assert_eq!(disk.to_bytes()[30], 30);
    }

    #[test]
    fn windows_past_the_end() {
        let error = Slice::new(disk(), 90, 11).err();
        assert_eq!(error, Some(Error::ShortDevice { need: 101, have: 100 }));
        assert_eq!(
            Slice::new(disk(), u64::MAX, u64::MAX).err(),
            Some(Error::ShortDevice { need: u64::MAX, have: 100 })
        );
        assert_eq!(Slice::clipped(disk(), 90, 11).unwrap().len_bytes(), 10);
        assert_eq!(Slice::from_offset(disk(), 100).unwrap().len_bytes(), 0);
        assert!(Slice::from_offset(disk(), 101).is_err());
    }

    #[test]
    fn errors_speak_of_the_window() {
        let faulty = FaultInjector::new(disk());
        faulty
            .inject(Fault { operation: Operation::Read, nth: 1, effect: Effect::Fail { errno: 5 } })
            .unwrap();
        let slice = Slice::new(Arc::new(faulty), 10, 20).unwrap();
        let error = slice.read_at(4, &mut [IoSliceMut::new(&mut [0; 2])]);
        assert_eq!(error, Err(Error::Io { errno: 5, at: 4 }));
    }
}
