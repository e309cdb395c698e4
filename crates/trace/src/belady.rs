//! Belady's optimum: the fewest misses that any policy can have on a trace, without read-ahead, with the frames of a limit.
//!
//! Who calls it: `curves`. A page that the product may read past the frames may be its own victim here too, so that the optimum
//! is a bound for such accesses as well; any other page gets a frame.
//!
//! Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2),
//! 1966: evict the page whose next use is farthest away. One pass backwards finds each access's next use; a set ordered by
//! next use gives the victim in O(log frames).

use crate::load::{Step, Trace};
use crate::wiring::Wiring;
use std::collections::BTreeSet;

/// The next use of a page that is not used again: after every real one.
const NEVER: u32 = u32::MAX;

/// Misses of the optimum on `trace` with `frames` frames.
pub(crate) fn misses(trace: &Trace, frames: u32) -> u64 {
    let next_use = next_uses(trace);
    let mut wiring = Wiring::new(trace, frames);
    // What is resident, by its next use: the last one is the victim. Next uses of pages that are never used again
    // would collide, so the page goes along.
    let mut resident: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut misses = 0;
    for (now, (step, &next)) in trace.steps.iter().zip(&next_use).enumerate() {
        wiring.step(*step);
        let room = wiring.for_pages();
        if let Step::Access { page, .. } = *step {
            // A resident page's next use is this very access.
            if !resident.remove(&(now as u32, page)) {
                misses += 1;
                let is_own_victim = trace.may_pass[page as usize];
                shrink(&mut resident, if is_own_victim { room } else { room - 1 });
            }
            resident.insert((next, page));
        }
        shrink(&mut resident, room);
    }
    misses
}

fn shrink(resident: &mut BTreeSet<(u32, u32)>, room: usize) {
    while resident.len() > room {
        resident.pop_last();
    }
}

/// The step of the next access to the page of each access. Steps fit `u32`: see `load`.
fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut last_seen = vec![NEVER; trace.pages.len()];
    let mut next_use = vec![NEVER; trace.steps.len()];
    for (now, step) in trace.steps.iter().enumerate().rev() {
        if let Step::Access { page, .. } = *step {
            next_use[now] = last_seen[page as usize];
            last_seen[page as usize] = now as u32;
        }
    }
    next_use
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::Header;
    use rumpcap_vm::{PolicyKind, TraceEvent};

    /// A trace of one object from the pages of its accesses; nothing is wired.
    pub(crate) fn trace(accesses: &[u32]) -> Trace {
        let header = Header { limit_bytes: None, policy: PolicyKind::S3Fifo, label: String::new() };
        let read = |&page: &u32| TraceEvent::Read { object: 1, page: page.into(), ahead: 0 };
        Trace::from_events(header, accesses.iter().map(read)).unwrap()
    }

    /// Pseudo-random accesses to `pages` pages.
    pub(crate) fn random_accesses(seed: u64, length: usize, pages: u64) -> Vec<u32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..length).map(|_| (next() % pages) as u32).collect()
    }

    /// Every choice of victim, the best of them.
    fn fewest_misses(accesses: &[u32], resident: &[u32], frames: usize, may_pass: bool) -> u64 {
        let Some((page, rest)) = accesses.split_first() else { return 0 };
        if resident.contains(page) {
            return fewest_misses(rest, resident, frames, may_pass);
        }
        let passed = may_pass.then(|| fewest_misses(rest, resident, frames, may_pass));
        let admitted = if resident.len() < frames {
            fewest_misses(rest, &[resident, &[*page]].concat(), frames, may_pass)
        } else {
            let with_victim = |victim: usize| {
                let mut kept = resident.to_vec();
                kept[victim] = *page;
                fewest_misses(rest, &kept, frames, may_pass)
            };
            (0..frames).map(with_victim).min().unwrap_or(0)
        };
        1 + passed.map_or(admitted, |passed| passed.min(admitted))
    }

    #[test]
    fn equals_brute_force_on_small_traces() {
        for seed in 0..200 {
            let accesses = random_accesses(seed, 10, 5);
            let mut trace = trace(&accesses);
            for frames in 1..=4 {
                for may_pass in [false, true] {
                    trace.may_pass.fill(may_pass);
                    let least = fewest_misses(&accesses, &[], frames, may_pass);
                    assert_eq!(misses(&trace, frames as u32), least, "{accesses:?} with {frames} frames");
                }
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
        assert_eq!(misses(&trace(&random_accesses(1, 500, 20)), 20), 20);
    }
}
