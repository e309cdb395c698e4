//! [`Overlay`]: writes to a device that must not be written to.
//!
//! Who makes one: a file system that has a journal to replay into an image it may only read. Two nameless temporary files
//! of the host take what is written: one the data, at the offset that they have on the device, one a bitmap of
//! the granules of 4 KiB that are there ([`presence`]). Both are sparse, and gone when the overlay is dropped or the
//! process dies.
//!
//! Invariants:
//! - OV-1 The base is never written.
//! - OV-2 A granule that is marked present is whole in the data file: it is marked after its bytes are written.
//! - OV-3 Once present, always present. So a reader that saw "absent" reads the base, which never changes, and
//!   one that saw "present" reads a whole granule; no reader takes a lock.
//! - OV-4 A granule that is absent is filled by one writer at a time, else two that each write a part of it would
//!   each complete it from the base and the later would undo the earlier.
//!
//! Locks: `copying` (OV-4), then the lock inside [`presence`]. Both are held during I/O of the host, never while
//! waiting for memory. A write to granules that are all present takes only the inner one.
//!
//! Memory: [`Overlay::MEMORY_BYTES`], from the heap, when it is made, which is at mount; none later.
//!
//! Failure: after a failed write the granules that were absent still show the base; those that were present may hold
//! a part of the write, as with any device.

mod presence;

use crate::BlockDevice;
use crate::device::check_range;
use crate::vectors::ReadCursor;
use presence::{Granule, Presence};
use rumpcap_host::file::HostFile;
use rumpcap_host::sync::Mutex;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a granule: the unit that is copied, a page of most hosts and a block of most file systems.
const GRANULE_BYTES: u64 = 4096;

/// A copy-on-write view of a device: reads as the device until written, and never writes to it.
///
/// ```
/// use rumpcap_block::{BlockDevice, MemoryDevice, Overlay};
/// use std::{io::{IoSlice, IoSliceMut}, sync::Arc};
///
/// let image = Arc::new(MemoryDevice::from_bytes(b"as it was on the device"));
/// let overlay = Overlay::new(image.clone(), &std::env::temp_dir())?;
/// overlay.write_at(6, &mut [IoSlice::new(b"is ")])?;
///
/// let mut bytes = [0; 9];
/// overlay.read_at(0, &mut [IoSliceMut::new(&mut bytes)])?;
/// assert_eq!(&bytes, b"as it is ");
/// assert_eq!(image.to_bytes(), b"as it was on the device");
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub struct Overlay {
    base: Arc<dyn BlockDevice>,
    data: HostFile,
    presence: Presence,
    copying: Mutex<Box<[u8]>>,
}

impl Overlay {
    /// Heap that an overlay takes, whatever the size of the device and however much is written: one granule and
    /// the fixed tables of the bitmap.
    pub const MEMORY_BYTES: usize = GRANULE_BYTES as usize + Presence::MEMORY_BYTES;

    /// Puts an overlay on `base` with its temporary files in `temporary_directory`.
    ///
    /// # Errors
    /// `NotFound` or `Host` when the directory takes no file; `InvalidInput` for a device that only takes
    /// aligned requests.
    pub fn new(base: Arc<dyn BlockDevice>, temporary_directory: &Path) -> Result<Overlay> {
        if base.alignment_bytes() != 1 {
            return Err(Error::InvalidInput { what: "base of an overlay: takes only aligned requests" });
        }
        let data = HostFile::temporary(temporary_directory)?;
        let bitmap = HostFile::temporary(temporary_directory)?;
        let granules = base.len_bytes().div_ceil(GRANULE_BYTES);
        let presence = Presence::new(granules, bitmap)?;
        let copying = Mutex::new(vec![0; GRANULE_BYTES as usize].into_boxed_slice());
        Ok(Overlay { base, data, presence, copying })
    }

    /// Bytes of the temporary file in use, in whole granules: what has been written, rounded.
    pub fn written_bytes(&self) -> u64 {
        self.presence.present_granules().saturating_mul(GRANULE_BYTES)
    }

    /// Reads `cursor`'s next bytes from `at` to `end` from one place.
    fn read_run(
        &self,
        is_present: bool,
        mut at: u64,
        end: u64,
        cursor: &mut ReadCursor<'_, '_>,
    ) -> Result<()> {
        while at < end {
            let (mut pieces, n) = cursor.take(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.read_from(is_present, at, &mut pieces)?;
            at += n as u64;
            assert!(n > 0, "the range was checked against the buffers");
        }
        Ok(())
    }

    fn read_from(&self, is_present: bool, at: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        if is_present { self.data.read_exact_at(bufs, at) } else { self.base.read_at(at, bufs) }
    }

    /// Writes the granules of `from..end`, of which at least one is absent.
    fn write_absent(&self, from: u64, end: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let mut copy = self.copying.lock();
        let (first, last) = (from / GRANULE_BYTES, (end - 1) / GRANULE_BYTES);
        if !from.is_multiple_of(GRANULE_BYTES) {
            self.copy_up(first, &mut copy)?;
        }
        // A last granule that the device's end cuts is whole when it is written to that end.
        let is_cut = !end.is_multiple_of(GRANULE_BYTES) && end != self.len_bytes();
        if is_cut && (last != first || from.is_multiple_of(GRANULE_BYTES)) {
            self.copy_up(last, &mut copy)?;
        }
        self.data.write_all_at(bufs, from)?;
        self.presence.insert(Granule(first), Granule(last + 1))
    }

    /// Fills a granule from the base if it is absent, without marking it present: the write that follows does.
    fn copy_up(&self, granule: u64, copy: &mut [u8]) -> Result<()> {
        if self.presence.run(Granule(granule), Granule(granule + 1))?.is_present {
            return Ok(());
        }
        let at = granule * GRANULE_BYTES;
        let len = GRANULE_BYTES.min(self.len_bytes() - at) as usize;
        self.base.read_at(at, &mut [IoSliceMut::new(&mut copy[..len])])?;
        self.data.write_all_at(&mut [IoSlice::new(&copy[..len])], at)
    }
}

impl BlockDevice for Overlay {
    fn is_cached_by_host(&self) -> bool {
        self.base.is_cached_by_host()
    }

    fn len_bytes(&self) -> u64 {
        self.base.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let end = check_range(offset, bufs, self.len_bytes())?;
        if end == offset {
            return Ok(());
        }
        let end_granule = Granule(end.div_ceil(GRANULE_BYTES));
        let mut run = self.presence.run(Granule(offset / GRANULE_BYTES), end_granule)?;
        if run.end == end_granule {
            return self.read_from(run.is_present, offset, bufs);
        }
        let mut cursor = ReadCursor::new(bufs);
        let mut at = offset;
        loop {
            let run_end = end.min(run.end.0.saturating_mul(GRANULE_BYTES));
            self.read_run(run.is_present, at, run_end, &mut cursor)?;
            if run_end == end {
                return Ok(());
            }
            at = run_end;
            run = self.presence.run(run.end, end_granule)?;
        }
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let end = check_range(offset, bufs, self.len_bytes())?;
        if end == offset {
            return Ok(());
        }
        let end_granule = Granule(end.div_ceil(GRANULE_BYTES));
        let run = self.presence.run(Granule(offset / GRANULE_BYTES), end_granule)?;
        if run.is_present && run.end == end_granule {
            return self.data.write_all_at(bufs, offset);
        }
        self.write_absent(offset, end, bufs)
    }

    /// Nothing to do: what is in the overlay is gone with it anyway.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
