//! Copies in progress: pages that are being copied from without a pin, announced by processor.
//!
//! Who calls it: `hit` announces; `page_table` asks before it lets a page be evicted.
//!
//! A pin is a write to the page's own state word. Threads that hit the same pages would hand its cache line to and fro, which
//! cost more than half of a copy of 4 KiB (docs/bench/hits.md). So a hit writes to a slot of the processor's own instead
//! ("I copy from frame f"), and whoever evicts looks at all slots: an eviction reads 14 lines more, a hit shares nothing.
//!
//! CO-1. A page that a slot names, and that was VALID after it did, is not evicted. Each side writes, then reads: the hit
//! its slot, then the page's state; an eviction the state, then the slots. All four are sequentially consistent, so one of the two
//! sees the other; if both do, the hit gives way.
//! CO-2. A slot has one owner at a time, whose thread copies at most a page and waits for nothing.
//!
//! Source: hazard pointers, Michael, IEEE TPDS 2004; here by processor, with pins to fall back on. Memory: 2 KiB, in `Vm`.

use crate::page::FrameNo;
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use rumpcap_host::sync::atomic::{AtomicU32, AtomicU64};
use rumpcap_host::thread;

/// Slots, as many as `Vm` has room for within its charge: one for each processor of a small host. With more, some share
/// one, and who finds it taken pins the page.
const SLOTS: usize = 14;

/// No frame.
const NONE: u32 = u32::MAX;

/// What one processor is copying. Two lines, because processors fetch lines in pairs.
#[repr(align(128))]
struct Slot {
    frame: AtomicU32,
    /// Copies that were announced here. Only the owner writes it, so it needs no addition that locks the line.
    copied: AtomicU64,
    /// Other hits of threads on this processor.
    pinned: AtomicU64,
}

/// All slots of a kernel.
pub(crate) struct Copies {
    slots: [Slot; SLOTS],
    /// Evictions that gave way to a copy. Changes under the resident lock.
    gave_way: AtomicU64,
}

/// The slot of this processor, owned (CO-2).
pub(crate) struct Announced<'a>(&'a Slot);

impl Copies {
    pub(crate) fn new() -> Copies {
        let slot =
            |_| Slot { frame: AtomicU32::new(NONE), copied: AtomicU64::new(0), pinned: AtomicU64::new(0) };
        Copies { slots: core::array::from_fn(slot), gave_way: AtomicU64::new(0) }
    }

    fn slot(&self) -> &Slot {
        &self.slots[thread::processor() % SLOTS]
    }

    /// Announces a copy from `frame`; `None` if the slot is taken: by a thread that lost its processor, or on another one.
    pub(crate) fn announce(&self, frame: FrameNo) -> Option<Announced<'_>> {
        let slot = self.slot();
        slot.frame.compare_exchange(NONE, frame.0, SeqCst, Relaxed).is_ok().then_some(Announced(slot))
    }

    /// Whether a copy from `frame`, which its caller is about to evict, may be in progress (CO-1): then the eviction gives way.
    /// The caller holds the resident lock.
    pub(crate) fn is_announced(&self, frame: FrameNo) -> bool {
        let announced = self.is_being_copied(frame);
        if announced {
            self.gave_way.store(self.gave_way() + 1, Relaxed);
        }
        announced
    }

    /// Whether a copy from `frame`, which is BUSY now, is still in progress.
    pub(crate) fn is_being_copied(&self, frame: FrameNo) -> bool {
        self.slots.iter().any(|slot| slot.frame.load(SeqCst) == frame.0)
    }

    /// Evictions that gave way to a copy. If it is another number behind an attempt to evict than before it, the attempt may
    /// succeed in a moment: no wake-up tells when.
    pub(crate) fn gave_way(&self) -> u64 {
        self.gave_way.load(Relaxed)
    }

    /// Counts hits on pages that were pinned.
    pub(crate) fn count_hits(&self, hits: u64) {
        self.slot().pinned.fetch_add(hits, Relaxed);
    }

    /// All hits.
    pub(crate) fn hits(&self) -> u64 {
        self.slots.iter().map(|slot| slot.copied.load(Relaxed) + slot.pinned.load(Relaxed)).sum()
    }
}

impl Announced<'_> {
    /// Counts the copy as a hit.
    pub(crate) fn count(&self) {
        self.0.copied.store(self.0.copied.load(Relaxed) + 1, Relaxed);
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.frame.store(NONE, Release);
    }
}
