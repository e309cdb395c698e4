//! CLOCK-Pro.
//!
//! Source: S. Jiang, F. Chen, X. Zhang, "CLOCK-Pro: an effective improvement of the CLOCK replacement", USENIX ATC 2005.

use super::Simulator;

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
    pub(crate) fn new(frames: usize, pages: usize) -> ClockPro {
        ClockPro {
            frames,
            cold_target: frames,
            kind: vec![Kind::Absent; pages],
            used: vec![false; pages],
            next: vec![0; pages],
            previous: vec![0; pages],
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

impl Simulator for ClockPro {
    fn resize(&mut self, frames: usize) {
        self.frames = frames;
        self.cold_target = self.cold_target.min(frames);
        while self.hot + self.cold > frames {
            if self.cold == 0 { self.run_hot_hand() } else { self.run_cold_hand() }
        }
        while self.test > frames {
            self.run_test_hand();
        }
    }

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
    use super::*;
    use crate::belady::tests::random_accesses;

    #[test]
    fn clock_pro_never_holds_more_than_its_frames() {
        let mut clock = ClockPro::new(16, 60);
        let mut frames = 16;
        for (now, page) in random_accesses(5, 5000, 60).into_iter().enumerate() {
            if now % 500 == 499 {
                frames = if frames == 16 { 7 } else { 16 };
                clock.resize(frames);
            }
            clock.access(page);
            assert!(clock.hot + clock.cold <= frames && clock.test <= frames);
            let count = |kind| clock.kind.iter().filter(|&&k| k == kind).count();
            assert_eq!(
                (count(Kind::Hot), count(Kind::Cold), count(Kind::Test)),
                (clock.hot, clock.cold, clock.test)
            );
        }
    }
}
