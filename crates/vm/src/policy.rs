//! Policies: which clean page goes when a frame is needed.
//!
//! Who calls it: `resident`, under its lock, for everything but [`Touch::hit`], which `fault` calls on every hit. A
//! policy is one file; it keeps its pages in lists of the frames' own links.
//!
//! PO-1. Every resident page is in exactly one list of the policy. PO-2. `victim` returns a page that was VALID and
//! unpinned and is FREE now, out of the lists; it looks at each page at most a fixed number of times.
//!
//! S3-FIFO is the default: a hit costs no lock, and a page seen once leaves before one seen again. LRU is exact, takes the
//! lock on every hit, and is there to compare with. See docs/decisions/page-replacement.md.

mod lru;
mod s3_fifo;

pub(crate) use s3_fifo::GhostEntry;

use crate::list::{Linked, List};
use crate::object::ObjectId;
use crate::page::{FrameNo, Page};
use crate::page_queue::{ByQueue, PageLinks};
use crate::page_table::PageTable;
use crate::region::Table;
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::sync::atomic::{AtomicU16, AtomicU32};

/// The choice of a policy, at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// Scan-resistant; hits take no lock.
    #[default]
    S3Fifo,
    /// Exactly the least recently used page goes first; every hit takes the lock.
    Lru,
}

/// What a policy sees: the links that it orders and the pages that it asks.
pub(crate) struct View<'a> {
    pub(crate) links: &'a mut [PageLinks],
    pub(crate) table: &'a PageTable,
}

impl View<'_> {
    fn page(&self, frame: u32) -> &Page {
        self.table.page(FrameNo(frame))
    }

    fn is_of(&self, frame: u32, object: ObjectId) -> bool {
        self.page(frame).identity().0 == object.number()
    }

    /// The first page of a queue that `goes`, among its first `looks`.
    fn find(&mut self, queue: &List, looks: u32, goes: impl Fn(&mut Self, u32) -> bool) -> Option<u32> {
        let mut at = queue.front();
        for _ in 0..looks {
            let frame = at?;
            if goes(self, frame) {
                return Some(frame);
            }
            at = ByQueue(self.links).next(frame);
        }
        None
    }
}

/// How long a policy's queues are, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queues {
    pub(crate) small: u32,
    pub(crate) main: u32,
    pub(crate) ghosts: u32,
}

/// A policy at work.
pub(crate) enum Policy {
    Lru(lru::Lru),
    S3Fifo(s3_fifo::S3Fifo),
}

impl Policy {
    pub(crate) fn new(kind: PolicyKind, frames: u32, ghosts: Table<GhostEntry>) -> Policy {
        match kind {
            PolicyKind::Lru => Policy::Lru(lru::Lru::default()),
            PolicyKind::S3Fifo => Policy::S3Fifo(s3_fifo::S3Fifo::new(frames, ghosts)),
        }
    }

    /// How long its queues are.
    pub(crate) fn queues(&self) -> Queues {
        match self {
            Policy::Lru(lru) => lru.queues(),
            Policy::S3Fifo(s3) => s3.queues(),
        }
    }

    /// A page has come in, as the one identified by `key`.
    pub(crate) fn insert(&mut self, view: &mut View<'_>, frame: u32, key: u64) {
        match self {
            Policy::Lru(lru) => lru.insert(view, frame),
            Policy::S3Fifo(s3) => s3.insert(view, frame, key),
        }
    }

    /// A page goes for another reason than being the victim.
    pub(crate) fn remove(&mut self, view: &mut View<'_>, frame: u32) {
        match self {
            Policy::Lru(lru) => lru.remove(view, frame),
            Policy::S3Fifo(s3) => s3.remove(view, frame),
        }
    }

    /// The page to go (PO-2); `None` if every page is pinned or busy.
    pub(crate) fn victim(&mut self, view: &mut View<'_>) -> Option<u32> {
        match self {
            Policy::Lru(lru) => lru.victim(view),
            Policy::S3Fifo(s3) => s3.victim(view),
        }
    }

    /// Whether the page identified by `key` was here not long ago, so that more memory would have kept it.
    pub(crate) fn remembers(&mut self, key: u64) -> bool {
        match self {
            Policy::Lru(_) => true,
            Policy::S3Fifo(s3) => s3.recall(key) == Some(s3_fifo::Ghost::Left),
        }
    }

    /// Whether the page identified by `key` was asked for, or here, lately. Notes that it was asked for now.
    pub(crate) fn asked_lately(&mut self, key: u64) -> bool {
        match self {
            Policy::Lru(_) => true,
            Policy::S3Fifo(s3) => s3.asked_lately(key),
        }
    }

    /// The page of `object` to go, if one is found within `looks` looks (PO-2).
    pub(crate) fn victim_of(&mut self, view: &mut View<'_>, object: ObjectId, looks: u32) -> Option<u32> {
        match self {
            Policy::Lru(lru) => lru.victim_of(view, object, looks),
            Policy::S3Fifo(s3) => s3.victim_of(view, object, looks),
        }
    }

    /// A page was hit; only for policies whose [`Touch`] says that they must be told.
    pub(crate) fn hit(&mut self, view: &mut View<'_>, frame: u32) {
        if let Policy::Lru(lru) = self {
            lru.hit(view, frame);
        }
    }
}

/// References after which more are not counted: two bits, as S3-FIFO has them.
const MOST_REFERENCES: u8 = 3;

/// The part of a policy that every hit runs, without the lock.
pub(crate) struct Touch {
    kind: PolicyKind,
    /// Counts pages that came in; the low 16 bits after `shift` are the policy's clock.
    arrivals: AtomicU32,
    /// Arrivals in a tick of the clock, as a power of two, so that the age of a page in the smaller queue fits 16 bits.
    shift: u32,
    /// Ticks within which further references to a new page belong to the first: see `s3_fifo`.
    correlated_ticks: AtomicU16,
}

impl Touch {
    pub(crate) fn new(kind: PolicyKind, frames: u32) -> Touch {
        let shift = frames.ilog2().saturating_sub(12);
        Touch { kind, arrivals: AtomicU32::new(0), shift, correlated_ticks: AtomicU16::new(0) }
    }

    fn clock(&self) -> u16 {
        (self.arrivals.load(Relaxed) >> self.shift) as u16
    }

    /// A page comes in, to `resident` others. Under the resident lock.
    pub(crate) fn arrive(&self, page: &Page, resident: u32) {
        self.arrivals.store(self.arrivals.load(Relaxed).wrapping_add(1), Relaxed);
        let correlated = s3_fifo::correlated_pages(resident) >> self.shift;
        self.correlated_ticks.store(correlated as u16, Relaxed);
        page.born.store(self.clock(), Relaxed);
    }

    /// A page was hit. True if the policy must be told under the lock.
    pub(crate) fn hit(&self, page: &Page) -> bool {
        if self.kind == PolicyKind::Lru {
            return true;
        }
        let references = page.references.load(Relaxed);
        let age = self.clock().wrapping_sub(page.born.load(Relaxed));
        if references < MOST_REFERENCES && age >= self.correlated_ticks.load(Relaxed) {
            page.references.store(references + 1, Relaxed);
        }
        false
    }
}
