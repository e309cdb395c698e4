//! [`BlockDevice`]: the five methods that every backend, partition, overlay and fault injector implements.

use rumpcap_host::Result;
use std::io::{IoSlice, IoSliceMut};

/// A device of bytes at positions, read and written in vectors.
///
/// Methods take `&self` and may be called by any number of threads at once. They may block in the host; they
/// never allocate on the heap and never wait for memory of a kernel (F3).
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

    /// The power of two, in bytes, that offsets, lengths and addresses of requests must be multiples of; 1 when
    /// there is no such rule. At most 4096.
    fn alignment_bytes(&self) -> usize {
        1
    }
}
