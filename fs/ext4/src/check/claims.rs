//! [`Claims`]: which blocks of a window are in use, as the structures themselves say.
//!
//! Who calls it: `pass1` for everything that takes blocks, `bitmaps` to compare. Pure memory.
//!
//! A window is a number of whole groups. There are two bits for each cluster: claimed, and claimed as a block of
//! attributes, which several inodes may share. How often such a block may be claimed again is in a small table, filled
//! as the blocks are met; a block that is not shared has no place in it.
//!
//! Invariant CL-1: clusters outside of the window are not looked at: another walk has them.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bitmaps of a window.
pub(super) const BITMAPS: usize = 2;

/// A shared block of attributes, or an inode that holds a value: how many references are missing yet.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Share {
    /// What it is, not 0; 0 for a free place.
    key: u64,
    left: i64,
}

/// References to things that may have several, by number.
pub(super) struct Shares<'w> {
    places: &'w mut [Share],
    taken: usize,
    pub has_overflowed: bool,
}

impl<'w> Shares<'w> {
    pub fn new(memory: &'w mut [u8]) -> Shares<'w> {
        memory.fill(0);
        let places = <[Share]>::mut_from_bytes(memory).unwrap_or_default();
        Shares { places, taken: 0, has_overflowed: false }
    }

    pub fn clear(&mut self) {
        self.places.as_mut_bytes().fill(0);
        self.taken = 0;
    }

    /// Adds `by` to what is left of `key`, which begins with 0.
    pub fn add(&mut self, key: u64, by: i64) {
        let len = self.places.len();
        // A quarter stays free, so that a search ends soon.
        let is_full = self.taken >= len.saturating_sub(len / 4);
        let start = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        for step in 0..len as u64 {
            let at = start.wrapping_add(step).checked_rem(len as u64).unwrap_or(0) as usize;
            let Some(place) = self.places.get_mut(at) else { return };
            if place.key == 0 && is_full {
                break;
            }
            if place.key == 0 {
                *place = Share { key, left: 0 };
                self.taken = self.taken.saturating_add(1);
            }
            if place.key == key {
                place.left = place.left.saturating_add(by);
                return;
            }
        }
        self.has_overflowed = true;
    }

    /// Those that have references left, or too many.
    pub fn unbalanced(&self) -> impl Iterator<Item = (u64, i64)> {
        self.places.iter().filter(|place| place.key != 0 && place.left != 0).map(|p| (p.key, p.left))
    }
}

/// The blocks of a window.
pub(super) struct Claims<'w> {
    claimed: &'w mut [u8],
    attributes: &'w mut [u8],
    /// First cluster of the window.
    first: u64,
    /// The cluster behind the last.
    end: u64,
}

impl<'w> Claims<'w> {
    /// Groups that `bytes` of memory hold the bitmaps of.
    pub fn groups_in(bytes: usize, clusters_per_group: u32) -> u32 {
        let clusters = (bytes / BITMAPS).saturating_mul(8) as u64;
        u32::try_from(clusters.checked_div(clusters_per_group.into()).unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// The clusters from `first` to before `end`, none of which is claimed.
    pub fn new(memory: &'w mut [u8], first: u64, end: u64) -> Claims<'w> {
        let bytes = end.saturating_sub(first).div_ceil(8) as usize;
        let memory = memory.get_mut(..bytes.saturating_mul(BITMAPS)).unwrap_or_default();
        memory.fill(0);
        let (claimed, attributes) = memory.split_at_mut(memory.len() / BITMAPS);
        Claims { claimed, attributes, first, end }
    }

    /// Whether `cluster` is in the window.
    pub fn holds(&self, cluster: u64) -> bool {
        (self.first..self.end).contains(&cluster)
    }

    /// Claims the clusters from `first` to before `end`; hands those that were claimed before to `twice`, in runs.
    pub fn claim(&mut self, first: u64, end: u64, twice: &mut dyn FnMut(u64, u64)) {
        let (mut at, end) = (first.max(self.first), end.min(self.end));
        let mut run: Option<u64> = None;
        while at < end {
            let index = at.saturating_sub(self.first);
            let Some(byte) = self.claimed.get_mut((index >> 3) as usize) else { break };
            if index & 7 == 0 && *byte == 0 && end.saturating_sub(at) >= 8 && run.is_none() {
                *byte = u8::MAX;
                at = at.saturating_add(8);
                continue;
            }
            let bit = 1 << (index & 7);
            match (*byte & bit != 0, run) {
                (true, None) => run = Some(at),
                (false, Some(from)) => {
                    twice(from, at.saturating_sub(from));
                    run = None;
                }
                _ => {}
            }
            *byte |= bit;
            at = at.saturating_add(1);
        }
        if let Some(from) = run {
            twice(from, end.saturating_sub(from));
        }
    }

    /// Notes that `cluster` holds attributes; tells whether that was known.
    pub fn mark_attributes(&mut self, cluster: u64) -> bool {
        let index = cluster.wrapping_sub(self.first);
        let Some(byte) = self.attributes.get_mut((index >> 3) as usize) else { return false };
        let bit = 1 << (index & 7);
        let was = *byte & bit != 0;
        *byte |= bit;
        was
    }

    /// The bits of the eight clusters from `cluster` on, which is in the window and a multiple of eight from its first.
    pub fn byte(&self, cluster: u64) -> u8 {
        let index = cluster.saturating_sub(self.first);
        self.claimed.get((index >> 3) as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn claims_are_those_of_a_set(first in 0..40_u64, runs in proptest::collection::vec((0..300_u64, 0..60_u64), 0..20)) {
            let (first, end) = (first * 8, first * 8 + 200);
            let mut memory = vec![0xAA; 100];
            let mut claims = Claims::new(&mut memory, first, end);
            let mut model = std::collections::BTreeSet::new();
            for (from, len) in runs {
                let mut twice = Vec::new();
                claims.claim(from, from + len, &mut |from, count| twice.extend(from..from + count));
                let expected: Vec<u64> = (from..from + len).filter(|c| model.contains(c)).collect();
                prop_assert_eq!(twice, expected);
                model.extend((from..from + len).filter(|c| (first..end).contains(c)));
            }
            for cluster in first..end {
                let byte = claims.byte(cluster - (cluster - first) % 8);
                prop_assert_eq!(byte >> ((cluster - first) % 8) & 1 != 0, model.contains(&cluster));
            }
        }

        #[test]
        fn shares_are_those_of_a_map(steps in proptest::collection::vec((1..50_u64, -3..3_i64), 0..200)) {
            let mut memory = vec![0_u64; 200];
            let mut shares = Shares::new(memory.as_mut_bytes());
            let mut model = std::collections::BTreeMap::new();
            for (key, by) in steps {
                shares.add(key, by);
                *model.entry(key).or_insert(0) += by;
            }
            prop_assert!(!shares.has_overflowed);
            let mut found: Vec<_> = shares.unbalanced().collect();
            found.sort_unstable();
            prop_assert_eq!(found, model.into_iter().filter(|(_, left)| *left != 0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_full_table_says_so() {
        let mut memory = [0_u64; 16];
        let mut shares = Shares::new(memory.as_mut_bytes());
        (1..=7).for_each(|key| shares.add(key, 1));
        assert!(shares.has_overflowed);
    }
}
