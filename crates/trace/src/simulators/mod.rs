//! Policies that the product does not have, to compare with: S3-FIFO as published and CLOCK-Pro.
//!
//! Who calls it: `curves`. These are simulators of the published algorithms on page numbers; the product's own policies are run
//! as they are (`product`). A new one is a file here and a [`crate::Contender`]. They admit every page, never read ahead, and
//! are not told when an object goes: its pages age.

mod clock_pro;
mod s3_fifo;

pub(crate) use clock_pro::ClockPro;
pub(crate) use s3_fifo::S3Fifo;

use crate::load::{Step, Trace};
use crate::wiring::Wiring;

/// A policy under simulation.
pub(crate) trait Simulator {
    /// A page is accessed; says whether it was resident.
    fn access(&mut self, page: u32) -> bool;
    /// There are `frames` frames from now on, at least one.
    fn resize(&mut self, frames: usize);
}

/// Misses of `simulator`, made for `frames` frames, on `trace`.
pub(crate) fn misses(simulator: &mut dyn Simulator, trace: &Trace, frames: u32) -> u64 {
    let mut wiring = Wiring::new(trace, frames);
    let mut misses = 0;
    for step in &trace.steps {
        if wiring.step(*step) {
            simulator.resize(wiring.for_pages());
        }
        if let Step::Access { page, .. } = *step {
            misses += u64::from(!simulator.access(page));
        }
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belady;
    use crate::belady::tests::{random_accesses, trace};

    fn all(frames: usize, pages: usize) -> [Box<dyn Simulator>; 2] {
        [Box::new(S3Fifo::new(frames, pages)), Box::new(ClockPro::new(frames, pages))]
    }

    #[test]
    fn none_is_better_than_the_optimum_and_each_finds_what_fits() {
        for seed in 0..60 {
            let trace = trace(&random_accesses(seed, 2000, 30));
            for frames in [1, 2, 3, 7, 15, 29, 30, 40] {
                let least = belady::misses(&trace, frames);
                for mut simulator in all(frames as usize, trace.pages.len()) {
                    let misses = misses(&mut *simulator, &trace, frames);
                    assert!(misses >= least, "{misses} < {least} with {frames} frames");
                    assert!(frames < 30 || misses == least, "{misses} misses though all fits");
                }
            }
        }
    }

    #[test]
    fn each_resists_a_scan() {
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
        let [mut s3, mut clock] = all(20, trace.pages.len());
        let scan = 200 * 40;
        assert!(misses(&mut *s3, &trace, 20) < scan + 100);
        assert!(misses(&mut *clock, &trace, 20) < scan + 400);
    }
}
