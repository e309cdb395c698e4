//! [`BlockDevice`]: the five methods that every backend, partition, overlay and fault injector implements.

use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::ops::Deref;

/// A device of bytes at positions, read and written in vectors.
///
/// Methods take `&self` and may be called by any number of threads at once. They may block in the host; they
/// never allocate on the heap and never wait for memory of a kernel (F3).
///
/// ```
/// use rumpcap_block::{BlockDevice, MemoryDevice};
/// use std::io::IoSliceMut;
///
/// let device = MemoryDevice::from_bytes(b"hello, device");
/// let (mut head, mut tail) = ([0u8; 5], [0u8; 6]);
/// device.read_at(0, &mut [IoSliceMut::new(&mut head)])?;
/// device.read_at(7, &mut [IoSliceMut::new(&mut tail)])?;
/// assert_eq!((&head, &tail), (b"hello", b"device"));
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub trait BlockDevice: Send + Sync {
    /// Length in bytes; fixed while the device is open.
    fn len_bytes(&self) -> u64;

    /// Fills all of `bufs` from byte `offset` on.
    ///
    /// # Errors
    /// `ShortDevice` when the range passes the end, `Io` when the host fails. Buffers are then undefined.
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()>;

    /// Writes all of `bufs` from byte `offset` on.
    ///
    /// # Errors
    /// `ReadOnly` unless the device was opened for writing; `ShortDevice` past the end; `Io`.
    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()>;

    /// Makes durable what was written before.
    ///
    /// # Errors
    /// `Io`.
    fn flush(&self) -> Result<()>;

    /// Whether the host keeps what was read in a cache of its own, so that reading it again costs a system call and a
    /// copy, and no access to a medium.
    fn is_cached_by_host(&self) -> bool {
        false
    }

    /// The power of two, in bytes, that offsets, lengths and addresses of requests must be multiples of; 1 when
    /// there is no such rule, as with every device of this crate. At most 4096.
    fn alignment_bytes(&self) -> usize {
        1
    }
}

/// The end of a request of all of `bufs` at `offset`, checked against the device's length.
///
/// # Errors
/// `ShortDevice`.
pub(crate) fn check_range<B: Deref<Target = [u8]>>(offset: u64, bufs: &[B], len_bytes: u64) -> Result<u64> {
    let total = bufs.iter().fold(0u64, |sum, buf| sum.saturating_add(buf.len() as u64));
    let need = offset.saturating_add(total);
    if need > len_bytes { Err(Error::ShortDevice { need, have: len_bytes }) } else { Ok(need) }
}
