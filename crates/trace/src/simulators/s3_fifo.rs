//! S3-FIFO.
//!
//! Source: J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.

use super::Simulator;
use std::collections::VecDeque;

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
    pub(crate) fn new(frames: usize, pages: usize) -> S3Fifo {
        let (small, main, ghost) = Default::default();
        let place = vec![(Queue::Nowhere, 0); pages];
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

impl Simulator for S3Fifo {
    fn resize(&mut self, frames: usize) {
        (self.frames, self.small_frames) = (frames, (frames / 10).max(1));
        while self.small.len() + self.main.len() > frames {
            self.evict();
        }
    }

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
