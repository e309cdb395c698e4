//! What a file must hold: its length and the blocks that are not zeros, each with the number of the write that it is from.

use std::collections::BTreeMap;

/// A file.
#[derive(Clone, Default)]
pub struct Model {
    pub size: u64,
    /// Bytes that are not zeros, in pieces that do not overlap: where each begins, its end and the tag of its bytes.
    pieces: BTreeMap<u64, (u64, u64)>,
}

/// The byte at `at` of a file that write number `tag` put there.
pub fn byte(tag: u64, at: u64) -> u8 {
    let mixed = (at ^ tag.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed >> 56) as u8 | 1
}

impl Model {
    pub fn write(&mut self, offset: u64, len: u64, tag: u64) {
        self.zero(offset, offset + len);
        self.pieces.insert(offset, (offset + len, tag));
        self.size = self.size.max(offset + len);
    }

    pub fn zero(&mut self, from: u64, to: u64) {
        let hit: Vec<_> = self.pieces.range(..to).filter(|(_, (end, _))| *end > from).collect();
        let hit: Vec<_> = hit.into_iter().map(|(&start, &(end, tag))| (start, end, tag)).collect();
        for (start, end, tag) in hit {
            self.pieces.remove(&start);
            if start < from {
                self.pieces.insert(start, (from, tag));
            }
            if end > to {
                self.pieces.insert(to, (end, tag));
            }
        }
    }

    pub fn set_size(&mut self, size: u64) {
        self.zero(size, u64::MAX);
        self.size = size;
    }

    /// The pieces, and where they lie.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.pieces.iter().map(|(&start, &(end, tag))| (start, end, tag))
    }

    /// The first byte in which `content`, which begins at byte `from`, differs.
    pub fn differs(&self, from: u64, content: &[u8]) -> Option<u64> {
        let end = from + content.len() as u64;
        let mut at = from;
        let check = |at: u64, to: u64, want: &dyn Fn(u64) -> u8| {
            (at..to).find(|&byte| content[(byte - from) as usize] != want(byte))
        };
        for (start, stop, tag) in self.pieces().filter(|&(start, stop, _)| stop > from && start < end) {
            let found = check(at, start.max(at), &|_| 0)
                .or_else(|| check(start.max(from), stop.min(end), &|at| byte(tag, at)));
            if found.is_some() {
                return found;
            }
            at = stop.min(end);
        }
        check(at, end, &|_| 0)
    }
}
