//! [`Reply`]: the answer to one request, built in its place of the worker's buffer and sent in one call.
//!
//! Who calls it: `dispatch` and `ops` build, `worker` sends.

use crate::errno::Answer;
use crate::wire::sent::OutHeader;
use rustix::fd::AsFd;
use rustix::io::Errno;
use zerocopy::{Immutable, IntoBytes};

const HEADER_BYTES: usize = size_of::<OutHeader>();

/// A reply in the making.
pub(crate) struct Reply<'b> {
    bytes: &'b mut [u8],
    /// Bytes behind the header.
    len: usize,
}

impl<'b> Reply<'b> {
    /// An empty reply, to be built in `bytes`.
    pub(crate) fn new(bytes: &'b mut [u8]) -> Reply<'b> {
        Reply { bytes, len: 0 }
    }

    /// Where data go; at most `most` bytes.
    pub(crate) fn space(&mut self, most: u32) -> &mut [u8] {
        let end = self.bytes.len().min(HEADER_BYTES + most as usize);
        &mut self.bytes[HEADER_BYTES..end]
    }

    /// `len` bytes of the space are the answer.
    pub(crate) fn has(&mut self, len: usize) -> Answer<()> {
        self.len = len;
        Ok(())
    }

    /// The answer is `value`.
    pub(crate) fn put<T: IntoBytes + Immutable>(&mut self, value: &T) -> Answer<()> {
        self.put_bytes(value.as_bytes())
    }

    /// The answer is `bytes`.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) -> Answer<()> {
        let place = self.bytes.get_mut(HEADER_BYTES..HEADER_BYTES + bytes.len()).ok_or(Errno::OVERFLOW)?;
        place.copy_from_slice(bytes);
        self.has(bytes.len())
    }

    /// Sends the answer, or the errno.
    ///
    /// # Errors
    /// The device's: `NOENT` when the client waits no more, `NODEV` when all is over.
    pub(crate) fn send(self, device: impl AsFd, unique: u64, end: Answer<()>) -> Answer<()> {
        let (error, len) = match end {
            Ok(()) => (0, self.len),
            Err(errno) => (-errno.raw_os_error(), 0),
        };
        let whole = HEADER_BYTES + len;
        let header = OutHeader { len: whole as u32, error, unique };
        self.bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        rustix::io::retry_on_intr(|| rustix::io::write(&device, &self.bytes[..whole])).map(drop)
    }
}
