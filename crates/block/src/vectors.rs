//! Cursors over the segments of a request, that give it out in parts.
//!
//! Who calls it: devices that serve one request from several places, here and in file systems. Memory: [`MAX_PIECES`] segments on the stack,
//! whatever the number of segments of the request; what does not fit is given by the next `take`.

use arrayvec::ArrayVec;
use std::io::{IoSlice, IoSliceMut};

/// Segments in one part: 512 bytes of stack. A kernel's own requests have no more.
pub const MAX_PIECES: usize = 32;

/// Gives out the buffers of a read in parts.
pub struct ReadCursor<'a, 'b> {
    rest: std::slice::IterMut<'a, IoSliceMut<'b>>,
    current: &'a mut [u8],
}

impl<'a, 'b> ReadCursor<'a, 'b> {
    /// From the first byte on.
    pub fn new(bufs: &'a mut [IoSliceMut<'b>]) -> Self {
        ReadCursor { rest: bufs.iter_mut(), current: &mut [] }
    }

    /// The next bytes, at most `max_bytes`, and how many; 0 at the end or if none were asked for.
    pub fn take(&mut self, max_bytes: usize) -> (ArrayVec<IoSliceMut<'a>, MAX_PIECES>, usize) {
        let mut pieces = ArrayVec::new();
        let mut taken = 0;
        while taken < max_bytes && !pieces.is_full() {
            if self.current.is_empty() {
                let Some(next) = self.rest.next() else { break };
                self.current = &mut next[..];
                continue;
            }
            let n = self.current.len().min(max_bytes - taken);
            let (piece, rest) = std::mem::take(&mut self.current).split_at_mut(n);
            self.current = rest;
            pieces.push(IoSliceMut::new(piece));
            taken += n;
        }
        (pieces, taken)
    }
}

/// Gives out the buffers of a write in parts.
pub(crate) struct WriteCursor<'a> {
    rest: std::slice::Iter<'a, IoSlice<'a>>,
    current: &'a [u8],
}

impl<'a> WriteCursor<'a> {
    /// From the first byte on.
    pub(crate) fn new(bufs: &'a [IoSlice<'a>]) -> Self {
        WriteCursor { rest: bufs.iter(), current: &[] }
    }

    /// As [`ReadCursor::take`].
    pub(crate) fn take(&mut self, max_bytes: usize) -> (ArrayVec<IoSlice<'a>, MAX_PIECES>, usize) {
        let mut pieces = ArrayVec::new();
        let mut taken = 0;
        while taken < max_bytes && !pieces.is_full() {
            if self.current.is_empty() {
                let Some(next) = self.rest.next() else { break };
                self.current = next;
                continue;
            }
            let (piece, rest) = self.current.split_at(self.current.len().min(max_bytes - taken));
            self.current = rest;
            pieces.push(IoSlice::new(piece));
            taken += piece.len();
        }
        (pieces, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_size_are_the_whole() {
        let bytes: Vec<u8> = (0..200).collect();
        for part in [1, 7, 64, 1000] {
            let bufs: Vec<IoSlice<'_>> = bytes.chunks(3).map(IoSlice::new).collect();
            let mut cursor = WriteCursor::new(&bufs);
            let mut seen = Vec::new();
            while let (pieces, 1..) = cursor.take(part) {
                assert!(pieces.iter().map(|p| p.len()).sum::<usize>() <= part);
                pieces.iter().for_each(|piece| seen.extend_from_slice(piece));
            }
            assert_eq!(seen, bytes);
        }
    }

    #[test]
    fn empty_segments_are_passed_over() {
        let (mut a, mut b) = ([0u8; 2], [0u8; 2]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut []), IoSliceMut::new(&mut b)];
        let mut cursor = ReadCursor::new(&mut bufs);
        let (pieces, n) = cursor.take(3);
        assert_eq!((pieces.len(), n), (2, 3));
        let (pieces, n) = cursor.take(3);
        assert_eq!((pieces.len(), n), (1, 1));
        assert_eq!(cursor.take(3).1, 0);
    }
}
