//! S3-FIFO: three queues, all first in first out. New pages enter a small one; from its front a page goes out unless it
//! was referenced again, in which case it moves to the main one; pages that went out of the small queue are remembered
//! by name for a while (the ghosts) and enter the main queue when they come back. From the front of the main queue a page
//! goes out when its references are used up.
//!
//! Changes for file systems. Sixteen inodes share a page and a directory block is read entry by entry, so a page is
//! referenced many times within moments of its arrival and then never again: references within the first half of the
//! small queue's time are therefore taken as one with the first, as 2Q does. Metadata and data have ghosts apart, so that
//! a copy does not erase the memory of the directory that is being walked. Ghosts last longer than the main queue is, and of the pages
//! that come back so late only some enter it: see [`LATE_COMERS`]. docs/decisions/page-replacement.md has what each is worth.
//!
//! Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; Johnson and Shasha, "2Q", VLDB
//! 1994. Memory: 8 bytes a ghost, four for each bucket of the page hash. Locks: the resident lock.

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

/// Ghosts are remembered for as many departures of their kind as this many memories have pages: a page of a hot set comes back
/// although a scan of twice the memory has passed.
const REMEMBERED_MEMORIES: u32 = 2;

/// Of the pages that come back after more departures than the main queue can have pages, one in two enters it. A loop
/// that is longer than the memory would otherwise send all its pages there, and each would push out one that is about to be used.
const LATE_COMERS: u32 = 2;

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

/// What a page is remembered by.
#[derive(Clone, Copy)]
pub(crate) struct GhostName {
    /// Object and index, mixed: the lower bits choose a ghost, the upper ones name the page.
    pub(crate) key: u64,
    /// Metadata and data have a half of the ghosts each.
    pub(crate) is_metadata: bool,
}

pub(crate) struct S3Fifo {
    small: List,
    main: List,
    /// First those of data, then those of metadata.
    ghosts: Table<GhostEntry>,
    /// Pages of data and of metadata that went out of the small queue.
    departures: [u32; 2],
    /// As many as the main queue can have pages: a ghost of fewer departures is recent.
    recent: u32,
    /// Departures for which a ghost is remembered.
    memory: u32,
    /// Pages that came back later than that.
    late_comers: u32,
}

impl S3Fifo {
    pub(super) fn new(frames: u32, ghosts: Table<GhostEntry>) -> S3Fifo {
        assert!(ghosts.len().is_power_of_two());
        S3Fifo {
            small: List::default(),
            main: List::default(),
            ghosts,
            departures: [0; 2],
            recent: frames - frames / SMALL_SHARE,
            memory: frames * REMEMBERED_MEMORIES,
            late_comers: 0,
        }
    }

    pub(super) fn queues(&self) -> Queues {
        let ghosts = self.departures.iter().map(|departures| departures.min(&self.memory)).sum();
        Queues { small: self.small.len(), main: self.main.len(), ghosts }
    }

    pub(super) fn insert(&mut self, view: &mut View<'_>, frame: u32, name: GhostName) {
        let place = if self.comes_again(name) { Place::Main } else { Place::Small };
        self.push(view, frame, place);
    }

    /// Whether a page that comes in is remembered well enough for the main queue.
    fn comes_again(&mut self, name: GhostName) -> bool {
        let Some((_, age)) = self.recall(name) else { return false };
        if age <= self.recent {
            return true;
        }
        self.late_comers = self.late_comers.wrapping_add(1);
        self.late_comers.is_multiple_of(LATE_COMERS)
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

    fn ghost(&mut self, name: GhostName) -> (&mut GhostEntry, u32) {
        let half = self.ghosts.len() / 2;
        let at = (name.key as usize & (half - 1)) + if name.is_metadata { half } else { 0 };
        (&mut self.ghosts[at], (name.key >> 32) as u32 & !3)
    }

    fn remember(&mut self, view: &View<'_>, frame: u32) {
        let (object, index) = view.page(frame).identity();
        let is_metadata = view.links[frame as usize].is_metadata();
        self.note(GhostName { key: view.table.ghost_key(object, index), is_metadata }, Ghost::Left);
    }

    fn note(&mut self, name: GhostName, why: Ghost) {
        let departures = &mut self.departures[usize::from(name.is_metadata)];
        *departures = departures.wrapping_add(1);
        let when = *departures;
        let (ghost, upper) = self.ghost(name);
        *ghost = GhostEntry { name: upper | why as u32, when };
    }

    /// A page that is not let in at its first request is remembered as if it had passed through the small queue.
    pub(super) fn asked_lately(&mut self, name: GhostName) -> bool {
        let asked = self.recall(name).is_some();
        if !asked {
            self.note(name, Ghost::Asked);
        }
        asked
    }

    /// Whether the page was here and is remembered.
    pub(super) fn remembers(&mut self, name: GhostName) -> bool {
        self.recall(name).is_some_and(|(why, _)| why == Ghost::Left)
    }

    /// Why the page is remembered, if it is, and how many of its kind have gone since.
    fn recall(&mut self, name: GhostName) -> Option<(Ghost, u32)> {
        let (now, memory) = (self.departures[usize::from(name.is_metadata)], self.memory);
        let (ghost, upper) = self.ghost(name);
        let age = now.wrapping_sub(ghost.when);
        let why = [Ghost::Left, Ghost::Asked].into_iter().find(|why| ghost.name == upper | *why as u32)?;
        (age <= memory).then_some((why, age))
    }
}
