//! [`Sparse`]: the content of a file in the model: pages by number, holes left out. Cheap to copy, as copies share their pages.

use crate::oracle::{Content, PageDigest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

const PAGE: usize = 4096;

/// A file's content. What is behind its end is zeros in its last page.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
    len: u64,
}

impl Sparse {
    /// Bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Pages that were written.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Writes `data` at `offset`.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let (mut at, mut left) = (offset, data);
        while !left.is_empty() {
            let within = (at % PAGE as u64) as usize;
            let (piece, rest) = left.split_at(left.len().min(PAGE - within));
            let page = self.pages.entry(at / PAGE as u64).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            left = rest;
        }
        self.len = self.len.max(at);
    }

    /// Sets the length.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len..self.len);
        }
        self.len = len;
    }

    /// Makes what of `range` is in the file zeros.
    pub fn zero(&mut self, range: Range<u64>) {
        let end = range.end.min(self.len);
        if range.start >= end {
            return;
        }
        let page = PAGE as u64;
        let numbers: Vec<u64> =
            self.pages.range(range.start / page..end.div_ceil(page)).map(|(n, _)| *n).collect();
        for number in numbers {
            let (from, to) = (range.start.max(number * page), end.min((number + 1) * page));
            if to - from == page {
                self.pages.remove(&number);
            } else if let Some(bytes) = self.pages.get_mut(&number) {
                let start = number * page;
                Arc::make_mut(bytes)[(from - start) as usize..(to - start) as usize].fill(0);
            }
        }
    }

    /// Up to `len` bytes from `offset` on; fewer at the end.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (len as u64).min(self.len.saturating_sub(offset)) as usize;
        let mut bytes = vec![0; len];
        let (mut at, mut done) = (offset, 0);
        while done < len {
            let within = (at % PAGE as u64) as usize;
            let n = (len - done).min(PAGE - within);
            if let Some(page) = self.pages.get(&(at / PAGE as u64)) {
                bytes[done..done + n].copy_from_slice(&page[within..within + n]);
            }
            (at, done) = (at + n as u64, done + n);
        }
        bytes
    }

    /// The page with this number; `None` where it is a hole.
    pub fn page(&self, number: u64) -> Option<&[u8; PAGE]> {
        self.pages.get(&number).map(|page| &**page)
    }

    /// The numbers of the pages that are no holes.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.pages.keys().copied()
    }

    /// What identifies it.
    pub fn digest(&self) -> Content {
        let mut digest = PageDigest::default();
        for (number, page) in &self.pages {
            let rest = (self.len.saturating_sub(number * PAGE as u64)).min(PAGE as u64) as usize;
            digest.add(number * PAGE as u64, &page[..rest]);
        }
        digest.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Random;

    /// Against a plain vector.
    #[test]
    fn as_a_vector() {
        let mut random = Random::new(1);
        let (mut sparse, mut plain) = (Sparse::default(), Vec::new());
        for _ in 0..2000 {
            let (offset, len) = (random.below(30_000) as usize, random.below(9000) as usize);
            match random.below(4) {
                0 => {
                    plain.resize(offset, 0);
                    sparse.set_len(offset as u64);
                }
                1 => {
                    let (from, to) = (offset.min(plain.len()), (offset + len).min(plain.len()));
                    plain[from..to].fill(0);
                    sparse.zero(offset as u64..(offset + len) as u64);
                }
                _ if len > 0 => {
                    let data = random.bytes(len);
                    plain.resize(plain.len().max(offset + len), 0);
                    plain[offset..offset + len].copy_from_slice(&data);
                    sparse.write(offset as u64, &data);
                }
                _ => {}
            }
            assert_eq!(sparse.len(), plain.len() as u64);
            assert!(sparse.read(0, 100_000) == plain);
            let mut digest = PageDigest::default();
            digest.add(0, &plain);
            assert_eq!(sparse.digest(), digest.finish());
        }
    }
}
