//! S3-FIFO: three queues, all first in first out. New pages enter a small one; from its front a page goes out unless it
//! was referenced again, in which case it moves to the main one; pages that went out of the small queue are remembered
//! by name for a while (the ghosts) and enter the main queue when they come back. From the front of the main queue a page
//! goes out when its references are used up.
//!
//! One change for file systems: sixteen inodes share a page and a directory block is read entry by entry, so a page is
//! referenced many times within moments of its arrival and then never again. References within the first half of the
//! small queue's time are therefore taken as one with the first, as 2Q does.
//!
//! Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; Johnson and Shasha, "2Q", VLDB
//! 1994. Memory: 8 bytes a ghost, one for each bucket of the page hash. Locks: the resident lock.

use super::{Queues, View};
use crate::list::{Linked, List};
use crate::object::ObjectId;
use crate::page::FrameNo;
use crate::page_queue::{ByQueue, Place};
use crate::region::Table;
use core::sync::atomic::Ordering::Relaxed;

/// The small queue's share: a quarter. (The paper's tenth is for caches of millions of objects; at 100 frames ten
/// pages would be one request's read-ahead.)
const SMALL_SHARE: u32 = 4;

/// Pages that come in while further references to a new one count as one with the first, among `resident` pages.
pub(super) fn correlated_pages(resident: u32) -> u32 {
    resident / SMALL_SHARE / 2
}

/// One page that went out of the small queue. Zeroed: none.
#[derive(Clone, Copy, zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct GhostEntry {
    /// The upper half of the key, its lowest two bits replaced by why it is remembered.
    name: u32,
    /// When it went, in pages that went out of the small queue.
    when: u32,
}

/// Takes a reference from a page; true if it had none and could be evicted.
fn use_up(view: &View<'_>, frame: u32) -> bool {
    let references = view.page(frame).references.load(Relaxed);
    view.page(frame).references.store(references.saturating_sub(1), Relaxed);
    references == 0 && view.table.try_evict(FrameNo(frame))
}

/// Why a page is remembered: the lowest two bits of a ghost's name, not 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ghost {
    /// It was here, and went out of the small queue: more memory would have kept it.
    Left = 1,
    /// It was asked for, and not let in.
    Asked = 2,
}

pub(crate) struct S3Fifo {
    small: List,
    main: List,
    ghosts: Table<GhostEntry>,
    /// Pages that went out of the small queue.
    departures: u32,
    /// Departures for which a ghost is remembered: as many as the main queue can have pages.
    memory: u32,
}

impl S3Fifo {
    pub(super) fn new(frames: u32, ghosts: Table<GhostEntry>) -> S3Fifo {
        assert!(ghosts.len().is_power_of_two());
        let (small, main) = (List::default(), List::default());
        S3Fifo { small, main, ghosts, departures: 0, memory: frames - frames / SMALL_SHARE }
    }

    pub(super) fn queues(&self) -> Queues {
        let ghosts = self.departures.min(self.memory);
        Queues { small: self.small.len(), main: self.main.len(), ghosts }
    }

    pub(super) fn insert(&mut self, view: &mut View<'_>, frame: u32, key: u64) {
        let place = if self.recall(key).is_some() { Place::Main } else { Place::Small };
        self.push(view, frame, place);
    }

    fn push(&mut self, view: &mut View<'_>, frame: u32, place: Place) {
        let queue = if place == Place::Main { &mut self.main } else { &mut self.small };
        queue.push_back(&mut ByQueue(view.links), frame);
        view.links[frame as usize].set_place(place);
    }

    pub(super) fn remove(&mut self, view: &mut View<'_>, frame: u32) {
        let in_main = view.links[frame as usize].place() == Place::Main;
        let queue = if in_main { &mut self.main } else { &mut self.small };
        queue.remove(&mut ByQueue(view.links), frame);
    }

    pub(super) fn victim(&mut self, view: &mut View<'_>) -> Option<u32> {
        let small_target = (self.small.len() + self.main.len()) / SMALL_SHARE;
        if self.small.len() > small_target || self.main.len() == 0 {
            self.victim_of_small(view).or_else(|| self.victim_of_main(view))
        } else {
            self.victim_of_main(view).or_else(|| self.victim_of_small(view))
        }
    }

    /// The page of `object` to go, if one is found within `looks` looks: in the same order, the others' pages passed over.
    pub(super) fn victim_of(&mut self, view: &mut View<'_>, object: ObjectId, looks: u32) -> Option<u32> {
        let small_target = (self.small.len() + self.main.len()) / SMALL_SHARE;
        let (first, second) = if self.small.len() > small_target {
            (&self.small, &self.main)
        } else {
            (&self.main, &self.small)
        };
        let own = |view: &mut View<'_>, frame: u32| view.is_of(frame, object) && use_up(view, frame);
        let frame = view.find(first, looks, own).or_else(|| view.find(second, looks, own))?;
        if view.links[frame as usize].place() == Place::Small {
            self.remember(view, frame);
        }
        self.remove(view, frame);
        Some(frame)
    }

    /// Looks at each page of the small queue once.
    fn victim_of_small(&mut self, view: &mut View<'_>) -> Option<u32> {
        let mut at = self.small.front();
        while let Some(frame) = at {
            at = ByQueue(view.links).next(frame);
            if view.page(frame).references.load(Relaxed) > 0 {
                view.page(frame).references.store(0, Relaxed);
                self.small.remove(&mut ByQueue(view.links), frame);
                self.push(view, frame, Place::Main);
            } else if view.table.try_evict(FrameNo(frame)) {
                self.small.remove(&mut ByQueue(view.links), frame);
                self.remember(view, frame);
                return Some(frame);
            }
        }
        None
    }

    /// Looks at each page of the main queue once for each reference that it can have, and once more.
    fn victim_of_main(&mut self, view: &mut View<'_>) -> Option<u32> {
        for _ in 0..self.main.len() * (u32::from(super::MOST_REFERENCES) + 1) {
            let frame = self.main.pop_front(&mut ByQueue(view.links))?;
            if use_up(view, frame) {
                return Some(frame);
            }
            self.main.push_back(&mut ByQueue(view.links), frame);
        }
        None
    }

    fn ghost(&mut self, key: u64) -> (&mut GhostEntry, u32) {
        let at = key as usize & (self.ghosts.len() - 1);
        (&mut self.ghosts[at], (key >> 32) as u32 & !3)
    }

    fn remember(&mut self, view: &View<'_>, frame: u32) {
        let (object, index) = view.page(frame).identity();
        self.note(view.table.mix(object, index), Ghost::Left);
    }

    fn note(&mut self, key: u64, why: Ghost) {
        self.departures = self.departures.wrapping_add(1);
        let when = self.departures;
        let (ghost, name) = self.ghost(key);
        *ghost = GhostEntry { name: name | why as u32, when };
    }

    /// A page that is not let in at its first request is remembered as if it had passed through the small queue.
    pub(super) fn asked_lately(&mut self, key: u64) -> bool {
        let asked = self.recall(key).is_some();
        if !asked {
            self.note(key, Ghost::Asked);
        }
        asked
    }

    /// Whether and why the page is remembered.
    pub(super) fn recall(&mut self, key: u64) -> Option<Ghost> {
        let (now, memory) = (self.departures, self.memory);
        let (ghost, name) = self.ghost(key);
        let is_young = now.wrapping_sub(ghost.when) <= memory;
        [Ghost::Left, Ghost::Asked].into_iter().find(|why| is_young && ghost.name == name | *why as u32)
    }
}
