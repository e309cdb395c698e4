//! [`Buffer`]: the memory of one worker: a request and its reply.
//!
//! Who calls it: `worker`. One allocation for each worker, made at its start, of the size that [`Buffer::bytes`] says and the
//! documents count; the host commits pages of it when they are first used.
//!
//! ```text
//! page 0                               page 1            page 2
//! | small replies ........... | request: 80 bytes | rest of the request ...
//!                                                  | ... header 16 | a large reply's data ...
//! ```
//! BU-1. A request begins 80 bytes before page 1: the data of a write, behind 80 bytes of headers, begin with a page.
//! BU-2. So do the data of a large reply, behind its header: those requests that have one are short (`large_reply`).

use crate::wire::received::{InHeader, WriteIn};
use crate::wire::sent::OutHeader;
use memmap2::MmapMut;

const PAGE_BYTES: usize = 4096;
const REPLY_HEADER_BYTES: usize = size_of::<OutHeader>();
/// BU-1.
const REQUEST_AT: usize = PAGE_BYTES - size_of::<InHeader>() - size_of::<WriteIn>();
/// BU-2.
const LARGE_REPLY_AT: usize = 2 * PAGE_BYTES - REPLY_HEADER_BYTES;

/// A worker's memory.
pub(crate) struct Buffer {
    /// Begins with a page, and is committed by the host when it is touched.
    pages: MmapMut,
}

/// A buffer with a request in it.
pub(crate) struct Filled<'b> {
    /// The request.
    pub(crate) request: &'b [u8],
    /// Where its reply goes, with room for the header in front.
    pub(crate) reply: &'b mut [u8],
}

impl Buffer {
    /// Bytes of a buffer for reads and writes of up to `most` bytes.
    pub(crate) const fn bytes(most: usize) -> usize {
        2 * PAGE_BYTES + most.next_multiple_of(PAGE_BYTES)
    }

    /// A buffer for reads and writes of up to `most` bytes; `None` if the host has no memory.
    pub(crate) fn new(most: usize) -> Option<Buffer> {
        MmapMut::map_anon(Buffer::bytes(most)).ok().map(|pages| Buffer { pages })
    }

    /// Where a request is received.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.pages[REQUEST_AT..]
    }

    /// The request of `len` bytes that was received, and the place for a small reply; or for a large one.
    pub(crate) fn received(&mut self, len: usize, large_reply: bool) -> Filled<'_> {
        let (small, rest) = self.pages.split_at_mut(REQUEST_AT);
        if !large_reply {
            return Filled { request: &rest[..len.min(rest.len())], reply: small };
        }
        let (request, large) = rest.split_at_mut(LARGE_REPLY_AT - REQUEST_AT);
        Filled { request: &request[..len.min(request.len())], reply: large }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_writes_and_of_large_replies_begin_with_a_page() {
        let most = 128 << 10;
        let mut buffer = Buffer::new(most).unwrap();
        let start = buffer.room().as_ptr().addr();
        assert_eq!((start + 80) % PAGE_BYTES, 0, "BU-1");
        assert!(buffer.room().len() >= 80 + most);
        let filled = buffer.received(48, true);
        assert_eq!(filled.request.as_ptr().addr(), start);
        assert_eq!((filled.reply.as_ptr().addr() + REPLY_HEADER_BYTES) % PAGE_BYTES, 0, "BU-2");
        assert_eq!(filled.reply.len(), REPLY_HEADER_BYTES + most);
        let filled = buffer.received(80 + most, false);
        assert_eq!(filled.request.len(), 80 + most);
        assert!(filled.reply.len() > 1024);
    }
}
