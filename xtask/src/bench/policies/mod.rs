//! Real policies on a recorded trace, to compare with Belady's optimum: exact LRU, S3-FIFO and CLOCK-Pro.
//!
//! Who calls it: `replay`. These are simulators of the published algorithms, not the kernel's own code: what the kernel
//! does is measured by running it. A new policy is a file here.

mod clock_pro;
mod lru;
mod s3_fifo;

pub(crate) use clock_pro::ClockPro;
pub(crate) use lru::Lru;
pub(crate) use s3_fifo::S3Fifo;

use super::trace::Trace;

/// A policy under simulation.
pub(crate) trait Policy {
    /// A page is accessed; says whether it was resident.
    fn access(&mut self, page: u32) -> bool;
}

/// Misses of `policy` on `trace`.
pub(crate) fn misses(policy: &mut dyn Policy, trace: &Trace) -> u64 {
    trace.accesses.iter().filter(|&&page| !policy.access(page)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::super::belady;
    use super::super::belady::tests::{random_trace, trace};
    use super::*;

    fn all(frames: usize, pages: u32) -> [Box<dyn Policy>; 3] {
        [
            Box::new(Lru::new(frames, pages)),
            Box::new(S3Fifo::new(frames, pages)),
            Box::new(ClockPro::new(frames, pages)),
        ]
    }

    /// A list, most recent last: too simple to be wrong.
    fn lru_misses_by_list(trace: &Trace, frames: usize) -> u64 {
        let mut list: Vec<u32> = Vec::new();
        let mut misses = 0;
        for &page in &trace.accesses {
            match list.iter().position(|&at| at == page) {
                Some(at) => drop(list.remove(at)),
                None => {
                    misses += 1;
                    if list.len() == frames {
                        list.remove(0);
                    }
                }
            }
            list.push(page);
        }
        misses
    }

    #[test]
    fn lru_equals_a_list() {
        for seed in 0..100 {
            let trace = random_trace(seed, 300, 12);
            for frames in 1..=12 {
                let expected = lru_misses_by_list(&trace, frames);
                assert_eq!(misses(&mut Lru::new(frames, trace.pages), &trace), expected);
            }
        }
    }

    #[test]
    fn none_is_better_than_the_optimum_and_each_finds_what_fits() {
        for seed in 0..60 {
            let trace = random_trace(seed, 2000, 30);
            for frames in [1, 2, 3, 7, 15, 29, 30, 40] {
                let least = belady::misses(&trace, frames);
                for mut policy in all(frames, trace.pages) {
                    let misses = misses(&mut *policy, &trace);
                    assert!(misses >= least, "{misses} < {least} with {frames} frames");
                    assert!(frames < 30 || misses == least, "{misses} misses though all fits");
                }
            }
        }
    }

    #[test]
    fn the_two_others_resist_a_scan_and_lru_does_not() {
        let mut accesses = Vec::new();
        let mut fresh = 100;
        for _ in 0..200 {
            // Eight pages in steady use, and between their uses a scan longer than the cache.
            for _ in 0..3 {
                accesses.extend(0..8u32);
            }
            accesses.extend(fresh..fresh + 40);
            fresh += 40;
        }
        let trace = trace(&accesses);
        let [mut lru, mut s3, mut clock] = all(20, trace.pages);
        let scan = 200 * 40;
        assert_eq!(misses(&mut *lru, &trace), scan + 200 * 8);
        assert!(misses(&mut *s3, &trace) < scan + 100);
        assert!(misses(&mut *clock, &trace) < scan + 400);
    }
}
