//! Real policies on a recorded trace, to compare with Belady's optimum: exact LRU, S3-FIFO and CLOCK-Pro.
//!
//! Who calls it: `bench`. These are simulators of the published algorithms, not the kernel's own code: what the kernel
//! does is measured by running it.
//! Sources: J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; S. Jiang, F. Chen, X. Zhang,
//! "CLOCK-Pro: an effective improvement of the CLOCK replacement", USENIX ATC 2005.

use super::trace::Trace;
use std::collections::{BTreeMap, VecDeque};

/// A policy under simulation.
pub(crate) trait Policy {
    /// A page is accessed; says whether it was resident.
    fn access(&mut self, page: u32) -> bool;
}

/// Misses of `policy` on `trace`.
pub(crate) fn misses(policy: &mut dyn Policy, trace: &Trace) -> u64 {
    trace.accesses.iter().filter(|&&page| !policy.access(page)).count() as u64
}

/// Exact least recently used.
pub(crate) struct Lru {
    frames: usize,
    now: u64,
    /// Last access of each page, 0 if it is not resident.
    last: Vec<u64>,
    by_age: BTreeMap<u64, u32>,
}

impl Lru {
    pub(crate) fn new(frames: usize, pages: u32) -> Lru {
        Lru { frames, now: 0, last: vec![0; pages as usize], by_age: BTreeMap::new() }
    }
}

impl Policy for Lru {
    fn access(&mut self, page: u32) -> bool {
        self.now += 1;
        let hit = self.by_age.remove(&self.last[page as usize]).is_some();
        let is_full = self.by_age.len() >= self.frames;
        if let Some((_, victim)) = if !hit && is_full { self.by_age.pop_first() } else { None } {
            self.last[victim as usize] = 0;
        }
        self.last[page as usize] = self.now;
        self.by_age.insert(self.now, page);
        hit
    }
}

/// Where S3-FIFO has a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Nowhere,
    Small,
    Main,
    Ghost,
}

/// Uses that S3-FIFO counts at most.
const S3_MOST_USES: u8 = 3;

/// S3-FIFO: a small queue for what is new, a main one for what was used again, a ghost queue of what the small one let go.
pub(crate) struct S3Fifo {
    small_frames: usize,
    frames: usize,
    place: Vec<(Queue, u8)>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    /// Pages that left the ghost queue early stay in it as stale entries and are skipped.
    ghost: VecDeque<u32>,
    ghosts: usize,
}

impl S3Fifo {
    pub(crate) fn new(frames: usize, pages: u32) -> S3Fifo {
        let (small, main, ghost) = Default::default();
        let place = vec![(Queue::Nowhere, 0); pages as usize];
        S3Fifo { small_frames: (frames / 10).max(1), frames, place, small, main, ghost, ghosts: 0 }
    }

    fn evict(&mut self) {
        if self.small.len() >= self.small_frames && self.evict_from_small() {
            return;
        }
        if !self.evict_from_main() {
            self.evict_from_small();
        }
    }

    /// Moves what was used again to the main queue until a page that was not can go.
    fn evict_from_small(&mut self) -> bool {
        while let Some(page) = self.small.pop_front() {
            let place = &mut self.place[page as usize];
            if place.1 > 1 {
                *place = (Queue::Main, 0);
                self.main.push_back(page);
            } else {
                *place = (Queue::Ghost, 0);
                self.remember(page);
                return true;
            }
        }
        false
    }

    fn evict_from_main(&mut self) -> bool {
        while let Some(page) = self.main.pop_front() {
            let place = &mut self.place[page as usize];
            if place.1 == 0 {
                *place = (Queue::Nowhere, 0);
                return true;
            }
            place.1 -= 1;
            self.main.push_back(page);
        }
        false
    }

    fn remember(&mut self, page: u32) {
        self.ghost.push_back(page);
        self.ghosts += 1;
        while self.ghosts > self.frames {
            let Some(old) = self.ghost.pop_front() else { return };
            if self.place[old as usize].0 == Queue::Ghost {
                self.place[old as usize].0 = Queue::Nowhere;
                self.ghosts -= 1;
            }
        }
    }
}

impl Policy for S3Fifo {
    fn access(&mut self, page: u32) -> bool {
        let (queue, uses) = self.place[page as usize];
        if matches!(queue, Queue::Small | Queue::Main) {
            self.place[page as usize].1 = (uses + 1).min(S3_MOST_USES);
            return true;
        }
        let was_ghost = queue == Queue::Ghost;
        if was_ghost {
            self.place[page as usize].0 = Queue::Nowhere;
            self.ghosts -= 1;
        }
        if self.small.len() + self.main.len() >= self.frames {
            self.evict();
        }
        let (queue, list) =
            if was_ghost { (Queue::Main, &mut self.main) } else { (Queue::Small, &mut self.small) };
        self.place[page as usize] = (queue, 0);
        list.push_back(page);
        false
    }
}

/// What CLOCK-Pro knows of a page on its clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Absent,
    Hot,
    Cold,
    /// Not resident, still remembered.
    Test,
}

/// CLOCK-Pro: one clock of hot pages, cold pages and pages that have gone but are remembered; three hands. The share of cold
/// pages grows when a remembered page comes back and shrinks when one is forgotten.
pub(crate) struct ClockPro {
    frames: usize,
    cold_target: usize,
    kind: Vec<Kind>,
    used: Vec<bool>,
    next: Vec<u32>,
    previous: Vec<u32>,
    on_clock: usize,
    hot_hand: u32,
    cold_hand: u32,
    test_hand: u32,
    hot: usize,
    cold: usize,
    test: usize,
}

impl ClockPro {
    pub(crate) fn new(frames: usize, pages: u32) -> ClockPro {
        let size = pages as usize;
        ClockPro {
            frames,
            cold_target: frames,
            kind: vec![Kind::Absent; size],
            used: vec![false; size],
            next: vec![0; size],
            previous: vec![0; size],
            on_clock: 0,
            hot_hand: 0,
            cold_hand: 0,
            test_hand: 0,
            hot: 0,
            cold: 0,
            test: 0,
        }
    }

    /// Puts a page behind the hot hand: the newest place of the clock.
    fn link(&mut self, page: u32) {
        if self.on_clock == 0 {
            (self.hot_hand, self.cold_hand, self.test_hand) = (page, page, page);
            (self.next[page as usize], self.previous[page as usize]) = (page, page);
        } else {
            let after = self.hot_hand;
            let before = self.previous[after as usize];
            (self.next[before as usize], self.previous[page as usize]) = (page, before);
            (self.next[page as usize], self.previous[after as usize]) = (after, page);
        }
        self.on_clock += 1;
    }

    fn unlink(&mut self, page: u32) {
        let (before, after) = (self.previous[page as usize], self.next[page as usize]);
        for hand in [&mut self.hot_hand, &mut self.cold_hand, &mut self.test_hand] {
            if *hand == page {
                *hand = after;
            }
        }
        (self.next[before as usize], self.previous[after as usize]) = (after, before);
        self.on_clock -= 1;
    }

    fn make_room(&mut self) {
        while self.hot + self.cold >= self.frames {
            if self.cold == 0 {
                self.run_hot_hand();
            } else {
                self.run_cold_hand();
            }
        }
    }

    /// One step of the cold hand: a cold page that was used becomes hot, another is let go and remembered.
    fn run_cold_hand(&mut self) {
        let page = self.cold_hand;
        self.cold_hand = self.next[page as usize];
        if self.kind[page as usize] != Kind::Cold {
            return;
        }
        self.cold -= 1;
        if std::mem::take(&mut self.used[page as usize]) {
            self.kind[page as usize] = Kind::Hot;
            self.hot += 1;
        } else {
            self.kind[page as usize] = Kind::Test;
            self.test += 1;
            while self.test > self.frames {
                self.run_test_hand();
            }
        }
        while self.hot > self.frames - self.cold_target {
            self.run_hot_hand();
        }
    }

    /// One step of the hot hand: a hot page that was not used becomes cold.
    fn run_hot_hand(&mut self) {
        let page = self.hot_hand;
        self.hot_hand = self.next[page as usize];
        if self.kind[page as usize] != Kind::Hot {
            return;
        }
        if !std::mem::take(&mut self.used[page as usize]) {
            self.kind[page as usize] = Kind::Cold;
            self.hot -= 1;
            self.cold += 1;
        }
    }

    /// One step of the test hand: a remembered page is forgotten.
    fn run_test_hand(&mut self) {
        let page = self.test_hand;
        self.test_hand = self.next[page as usize];
        if self.kind[page as usize] == Kind::Test {
            self.kind[page as usize] = Kind::Absent;
            self.unlink(page);
            self.test -= 1;
            self.cold_target = (self.cold_target - 1).max(1);
        }
    }
}

impl Policy for ClockPro {
    fn access(&mut self, page: u32) -> bool {
        let remembered = match self.kind[page as usize] {
            Kind::Hot | Kind::Cold => {
                self.used[page as usize] = true;
                return true;
            }
            Kind::Test => true,
            Kind::Absent => false,
        };
        if remembered {
            self.cold_target = (self.cold_target + 1).min(self.frames);
            self.unlink(page);
            self.kind[page as usize] = Kind::Absent;
            self.test -= 1;
        }
        self.make_room();
        self.link(page);
        (self.kind[page as usize], self.used[page as usize]) = (Kind::Cold, false);
        self.cold += 1;
        if remembered {
            self.kind[page as usize] = Kind::Hot;
            self.cold -= 1;
            self.hot += 1;
        }
        false
    }
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

    #[test]
    fn clock_pro_never_holds_more_than_its_frames() {
        let trace = random_trace(5, 5000, 60);
        let mut clock = ClockPro::new(16, trace.pages);
        for &page in &trace.accesses {
            clock.access(page);
            assert!(clock.hot + clock.cold <= 16 && clock.test <= 16);
            let count = |kind| clock.kind.iter().filter(|&&k| k == kind).count();
            assert_eq!(
                (count(Kind::Hot), count(Kind::Cold), count(Kind::Test)),
                (clock.hot, clock.cold, clock.test)
            );
        }
    }
}
