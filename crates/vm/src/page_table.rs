//! The page table and the page hash: from (object, index) to a frame, without a lock.
//!
//! Who calls it: `fault` to look up, `resident` to change, under its lock.
//!
//! A look-up reads the chains while another thread changes them. It may then miss a page that is there (the caller
//! looks again under the lock before it believes a miss) and never takes a wrong one: pinning compares the identity
//! (PG-4). Pages are never freed, only reused, so every link leads to a page of this table.
//!
//! PT-1. Chains change only under the resident lock. PT-2. A look-up without it follows at most [`LONGEST_CHASE`] links.

use crate::copying::Copies;
use crate::list::Link;
use crate::page::{FrameNo, Page, PageIndex, Pin};
use crate::region::Table;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use rumpcap_host::sync::atomic::AtomicU32;

/// Links followed before a look-up without the lock gives up: chains average below one; a chase that long has been led
/// astray by a page that changed its chain.
const LONGEST_CHASE: usize = 64;

pub(crate) struct PageTable {
    pages: Table<Page>,
    buckets: Table<AtomicU32>,
    /// Runs of 2^`run_bits` pages have neighbouring buckets.
    run_bits: u32,
    /// Pages that are being copied from without a pin.
    pub(crate) copies: Copies,
}

/// What a look-up met.
pub(crate) enum Found {
    Pinned(FrameNo),
    Busy(FrameNo),
    Nothing,
}

/// The largest run of neighbouring buckets: a host page of them, 1,024 of 4 bytes.
const RUN_BITS_MAX: u32 = 10;

impl PageTable {
    pub(crate) fn new(pages: Table<Page>, buckets: Table<AtomicU32>) -> PageTable {
        assert!(buckets.len().is_power_of_two());
        let run_bits = buckets.len().ilog2().saturating_sub(4).min(RUN_BITS_MAX);
        PageTable { pages, buckets, run_bits, copies: Copies::new() }
    }

    /// What a page is remembered by when it has gone: the lower bits choose a place among the ghosts, the upper ones name it. Which
    /// places meet depends on the indices alone, not on the numbers that objects happen to have; so a replay meets the same.
    pub(crate) fn ghost_key(&self, object: u32, index: PageIndex) -> u64 {
        let run = (index.0 >> self.run_bits) ^ (u64::from(object) << 40);
        let mixed = run.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let within = index.0 & ((1 << self.run_bits) - 1);
        ((mixed ^ (mixed >> 29)) << self.run_bits).wrapping_add(within)
    }

    /// Mixes object and index; the lower bits choose a bucket.
    ///
    /// Runs of pages keep neighbouring buckets, so that a scan touches one cache line of the hash for 16 pages, and a
    /// file of a few megabytes one or two host pages of it: a sparse use of a large table commits little. A run may begin anywhere.
    pub(crate) fn mix(&self, object: u32, index: PageIndex) -> u64 {
        // Both halves of both factors reach the lower bits, which a table of any size takes: the first pages of many small files are
        // told apart by their objects alone.
        let run = (index.0 >> self.run_bits) ^ u64::from(object).rotate_right(24);
        let mixed = (run ^ (run >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let within = index.0 & ((1 << self.run_bits) - 1);
        (mixed ^ (mixed >> 32)).wrapping_add(within)
    }

    pub(crate) fn page(&self, frame: FrameNo) -> &Page {
        &self.pages[frame.slot()]
    }

    fn bucket(&self, object: u32, index: PageIndex) -> &AtomicU32 {
        &self.buckets[self.mix(object, index) as usize & (self.buckets.len() - 1)]
    }

    /// Looks for a page and pins it. `Nothing` is a guess: look again with [`PageTable::find_locked`].
    pub(crate) fn find(&self, object: u32, index: PageIndex) -> Found {
        self.chase(object, index, LONGEST_CHASE)
    }

    /// Looks for a page and pins it, under the resident lock: then chains do not change, and `Nothing` is the truth.
    pub(crate) fn find_locked(&self, object: u32, index: PageIndex) -> Found {
        self.chase(object, index, self.pages.len())
    }

    /// The frame that holds, or held a moment ago, a page. `None` is a guess.
    pub(crate) fn peek(&self, object: u32, index: PageIndex) -> Option<FrameNo> {
        self.peek_within(object, index, LONGEST_CHASE)
    }

    /// The frame that holds a page, under the resident lock: then `None` is the truth.
    pub(crate) fn peek_locked(&self, object: u32, index: PageIndex) -> Option<FrameNo> {
        self.peek_within(object, index, self.pages.len())
    }

    fn peek_within(&self, object: u32, index: PageIndex, most_links: usize) -> Option<FrameNo> {
        let mut link = Link::from_raw(self.bucket(object, index).load(Acquire));
        for _ in 0..most_links {
            let at = link.get()?;
            let page = &self.pages[at as usize];
            if page.is(object, index) {
                return Some(FrameNo(at));
            }
            link = Link::from_raw(page.chain.load(Acquire));
        }
        None
    }

    /// VALID to FREE if nobody holds the page or copies from it (PG-3). The caller holds the resident lock.
    pub(crate) fn try_evict(&self, frame: FrameNo) -> bool {
        let page = self.page(frame);
        if !page.try_evict() {
            return false;
        }
        if self.copies.is_announced(frame) {
            page.unevict();
            return false;
        }
        true
    }

    /// DIRTY to FREE if nobody holds the page or copies from it. The caller holds the resident lock.
    pub(crate) fn try_discard(&self, frame: FrameNo) -> bool {
        let page = self.page(frame);
        if !page.try_discard() {
            return false;
        }
        if self.copies.is_announced(frame) {
            page.undiscard();
            return false;
        }
        true
    }

    fn chase(&self, object: u32, index: PageIndex, most_links: usize) -> Found {
        let mut link = Link::from_raw(self.bucket(object, index).load(Acquire));
        for _ in 0..most_links {
            let Some(at) = link.get() else { return Found::Nothing };
            let page = &self.pages[at as usize];
            if page.is(object, index) {
                match page.pin(object, index) {
                    Pin::Done => return Found::Pinned(FrameNo(at)),
                    Pin::Busy => return Found::Busy(FrameNo(at)),
                    Pin::Gone => {}
                }
            }
            link = Link::from_raw(page.chain.load(Acquire));
        }
        Found::Nothing
    }

    /// Whether the page is in a chain, busy or not. Under the resident lock.
    pub(crate) fn contains(&self, object: u32, index: PageIndex) -> bool {
        self.peek_locked(object, index).is_some()
    }

    /// Puts a page that has its identity into its chain (PT-1).
    pub(crate) fn insert(&self, frame: FrameNo) {
        let page = self.page(frame);
        let (object, index) = page.identity();
        let bucket = self.bucket(object, index);
        page.chain.store(bucket.load(Relaxed), Relaxed);
        bucket.store(Link::to(frame.0).raw(), Release);
    }

    /// Takes a page out of its chain (PT-1).
    pub(crate) fn remove(&self, frame: FrameNo) {
        let page = self.page(frame);
        let (object, index) = page.identity();
        let mut slot = self.bucket(object, index);
        loop {
            let at = Link::from_raw(slot.load(Relaxed)).get().expect("PT-1: a resident page is in its chain");
            if at == frame.0 {
                slot.store(page.chain.load(Relaxed), Release);
                return;
            }
            slot = &self.pages[at as usize].chain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Cutter;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Files of one page each, and one file of many: in both cases chains stay short.
    #[test]
    fn pages_spread_over_the_buckets() {
        for frames in [128usize, 4096, 65_536] {
            let mut cutter = Cutter::new((frames * 64).next_multiple_of(crate::PAGE_SIZE)).unwrap();
            let table = PageTable::new(cutter.table(frames), cutter.table(frames));
            let longest = |pages: &mut dyn Iterator<Item = (u32, u64)>| {
                let mut chains = HashMap::new();
                for (object, index) in pages {
                    let bucket = table.mix(object, PageIndex(index)) as usize & (frames - 1);
                    *chains.entry(bucket).or_insert(0) += 1;
                }
                chains.into_values().max()
            };
            let all = frames as u32;
            assert!(longest(&mut (0..all).map(|object| (object, 0))) < Some(24));
            assert!(longest(&mut (0..all).map(|object| (7 << 17 | object, 0))) < Some(24));
            assert!(longest(&mut (0..u64::from(all)).map(|index| (5, index))) < Some(24));
            assert!(longest(&mut (0..u64::from(all)).map(|index| (5, index << 12))) < Some(24));
        }
    }

    const FRAMES: usize = 24;

    fn table() -> PageTable {
        let mut cutter = Cutter::new(64 << 10).unwrap();
        // Few buckets, so that chains are long.
        PageTable::new(cutter.table(FRAMES), cutter.table(8))
    }

    proptest! {
        /// Against a map: pages are found by identity while they are in the hash, and never another.
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((0u8..3, 0u32..3, 0u64..40), 0..300)) {
            let table = table();
            let mut model: HashMap<(u32, u64), u32> = HashMap::new();
            for (step, object, index) in steps {
                let (key, place) = ((object, index), PageIndex(index));
                let free = (0..FRAMES as u32).find(|frame| !model.values().any(|used| used == frame));
                match (step, model.get(&key).copied(), free) {
                    (0, None, Some(frame)) => {
                        table.page(FrameNo(frame)).begin(object, place);
                        table.insert(FrameNo(frame));
                        prop_assert!(matches!(table.find(object, place), Found::Busy(FrameNo(f)) if f == frame));
                        table.page(FrameNo(frame)).finish(0);
                        model.insert(key, frame);
                    }
                    (1, Some(frame), _) => {
                        prop_assert!(table.page(FrameNo(frame)).try_evict());
                        table.remove(FrameNo(frame));
                        model.remove(&key);
                    }
                    _ => {}
                }
                for object in 0..3 {
                    let expected = model.get(&(object, index)).copied();
                    let found = match table.find_locked(object, place) {
                        Found::Pinned(frame) => {
                            table.page(frame).unpin();
                            Some(frame.0)
                        }
                        _ => None,
                    };
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(table.contains(object, place), expected.is_some());
                }
            }
        }
    }
}
