//! Belady's optimum: the fewest misses that any policy can have on a trace with a number of frames.
//!
//! Who calls it: `bench`, with the trace that the library recorded.
//! Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2),
//! 1966: on a miss with no free frame, evict the page whose next use is farthest away. One pass backwards finds each
//! access's next use; a set ordered by next use gives the victim in O(log frames).

use super::trace::Trace;
use std::collections::BTreeSet;

/// The next use of a page that is not used again: after every real one.
const NEVER: usize = usize::MAX;

/// Misses of the optimum on `trace` with `frames` frames.
pub(crate) fn misses(trace: &Trace, frames: usize) -> u64 {
    let next_use = next_uses(trace);
    // What is resident, by its next use: the last one is the victim. Next uses of pages that are never used again
    // would collide, so the page goes along.
    let mut resident: BTreeSet<(usize, u32)> = BTreeSet::new();
    let mut misses = 0;
    for (now, (&page, &next)) in trace.accesses.iter().zip(&next_use).enumerate() {
        // A resident page's next use is this very access.
        if !resident.remove(&(now, page)) {
            misses += 1;
            if resident.len() >= frames {
                resident.pop_last();
            }
        }
        if frames > 0 {
            resident.insert((next, page));
        }
    }
    misses
}

fn next_uses(trace: &Trace) -> Vec<usize> {
    let mut last_seen = vec![NEVER; trace.pages as usize];
    let mut next_use = vec![NEVER; trace.accesses.len()];
    for (now, &page) in trace.accesses.iter().enumerate().rev() {
        next_use[now] = last_seen[page as usize];
        last_seen[page as usize] = now;
    }
    next_use
}

#[cfg(test)]
pub(in crate::bench) mod tests {
    use super::*;

    /// A trace from its accesses.
    pub(in crate::bench) fn trace(accesses: &[u32]) -> Trace {
        let pages = accesses.iter().max().map_or(0, |&page| page + 1);
        Trace { accesses: accesses.to_vec(), pages }
    }

    /// Pseudo-random accesses to `pages` pages.
    pub(in crate::bench) fn random_trace(seed: u64, length: usize, pages: u64) -> Trace {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        trace(&(0..length).map(|_| (next() % pages) as u32).collect::<Vec<_>>())
    }

    /// Every choice of victim, the best of them.
    fn fewest_misses(accesses: &[u32], resident: &[u32], frames: usize) -> u64 {
        let Some((page, rest)) = accesses.split_first() else { return 0 };
        if resident.contains(page) {
            return fewest_misses(rest, resident, frames);
        }
        if resident.len() < frames {
            return 1 + fewest_misses(rest, &[resident, &[*page]].concat(), frames);
        }
        let with_victim = |victim: usize| {
            let mut kept = resident.to_vec();
            kept[victim] = *page;
            fewest_misses(rest, &kept, frames)
        };
        1 + (0..frames).map(with_victim).min().unwrap_or(0)
    }

    #[test]
    fn equals_brute_force_on_small_traces() {
        for seed in 0..400 {
            let trace = random_trace(seed, 11, 5);
            for frames in 1..=4 {
                let least = fewest_misses(&trace.accesses, &[], frames);
                assert_eq!(misses(&trace, frames), least, "{:?} with {frames} frames", trace.accesses);
            }
        }
    }

    #[test]
    fn the_example_of_the_textbooks() {
        let trace = trace(&[7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1]);
        assert_eq!(misses(&trace, 3), 9);
    }

    #[test]
    fn each_page_once_when_all_fit() {
        let trace = random_trace(1, 500, 20);
        assert_eq!(misses(&trace, 20), 20);
    }
}
