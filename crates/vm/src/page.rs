//! One page: its identity and its state word.
//!
//! Who uses it: `page_table` (find, pin, evict), `resident` (insert), `fault` (busy, done), `frames` (unpin), `modify`, `dirty`
//! and `held` (changes).
//!
//! States of a frame, each transition with its function:
//! ```text
//!            resident::insert_busy            fault::BusyPages::finish
//!   FREE ───────────────────────────► BUSY ───────────────────────────► VALID (pins ≥ 0)
//!    ▲                                 │ fault::BusyPages::drop (failed)   │ ▲ pin / unpin
//!    ├─────────────────────────────────┘                                  │ │
//!    └────────────────────────────────────────────────────────────────────┘
//!              page_table::try_evict (pins = 0, no copy in progress, no flag)
//!
//!   VALID (pins = 1: the changer's) ── try_modify ──► BUSY ── end_modify ──► VALID (pins = 1), flags as before
//!
//!   flags of VALID:  DIRTY      dirty::make_dirty ... begin_writeback, discard
//!                    WRITEBACK  begin_writeback ... end_writeback
//!                    HELD       held::hold ... held::release
//! ```
//! PG-1. Identity (`object`, `index`) changes only under the resident lock and only in FREE.
//! PG-2. Content changes only in BUSY, by the one thread that made it so; in VALID it is immutable.
//! PG-3. VALID with pins > 0 is left only by unpinning: nobody evicts a pinned page, or one that is copied (CO-1).
//! PG-4. A pin is only ever added to a VALID page, by compare-and-swap; identity is compared again behind it.
//! PG-5. A page in WRITEBACK becomes neither BUSY nor FREE before it ends. A page with a flag is not evicted.
//!
//! Locks: the state word is atomic; see each field. Memory: 24 bytes a frame, in the page table.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use rumpcap_host::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a frame and of a page.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// A page's place in its object, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageIndex(pub u64);

impl PageIndex {
    /// The page that holds byte `offset`.
    pub const fn of(offset: u64) -> PageIndex {
        PageIndex(offset >> PAGE_SHIFT)
    }

    /// Byte offset of the page's first byte; saturates past the largest offset.
    pub const fn offset(self) -> u64 {
        self.0.saturating_mul(PAGE_SIZE as u64)
    }
}

/// Number of a frame; the page table, the links and the hash are indexed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameNo(pub u32);

impl FrameNo {
    pub(crate) fn slot(self) -> usize {
        self.0 as usize
    }
}

/// Content is there and immutable.
const VALID: u32 = 1 << 31;
/// I/O in flight.
const BUSY: u32 = 1 << 30;
/// Somebody sleeps until it is no longer busy.
const WANTED: u32 = 1 << 29;
/// Newer than the device.
const DIRTY: u32 = 1 << 28;
/// Being written to the device.
const WRITEBACK: u32 = 1 << 27;
/// Changed by a transaction that has not been committed.
const HELD: u32 = 1 << 26;
/// What a change of the page keeps.
const KEPT: u32 = DIRTY | HELD;
/// The low bits count pins. 2^26 pins are more than a process has threads × pages per reservation.
const PINS: u32 = HELD - 1;

/// What an attempt to pin a page met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Pinned.
    Done,
    /// Under I/O: wait, then look again.
    Busy,
    /// Not there, or another page by now.
    Gone,
}

/// The part of a page that is read without a lock.
#[derive(zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct Page {
    /// VALID, BUSY, WANTED, pins.
    state: AtomicU32,
    /// Object of the identity; written under the resident lock (PG-1).
    object: AtomicU32,
    /// Index of the identity; written under the resident lock (PG-1).
    index: AtomicU64,
    /// Next in the hash chain, a link; written under the resident lock, read by anybody.
    pub(crate) chain: AtomicU32,
    /// Units of 1 KiB whose checksum a caller has verified.
    checked: AtomicU8,
    /// References since it came in, as the policy counts them.
    pub(crate) references: AtomicU8,
    /// When it came in, on the policy's clock.
    pub(crate) born: AtomicU16,
}

impl Page {
    pub(crate) fn is(&self, object: u32, index: PageIndex) -> bool {
        self.object.load(Relaxed) == object && self.index.load(Relaxed) == index.0
    }

    pub(crate) fn identity(&self) -> (u32, PageIndex) {
        (self.object.load(Relaxed), PageIndex(self.index.load(Relaxed)))
    }

    /// Pins the page if it is `object`'s page `index` (PG-4).
    pub(crate) fn pin(&self, object: u32, index: PageIndex) -> Pin {
        let mut state = self.state.load(Acquire);
        loop {
            if !self.is(object, index) {
                return Pin::Gone;
            }
            if state & BUSY != 0 {
                return Pin::Busy;
            }
            if state & VALID == 0 {
                return Pin::Gone;
            }
            match self.state.compare_exchange_weak(state, state + 1, Acquire, Acquire) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if self.is(object, index) {
            return Pin::Done;
        }
        self.unpin();
        Pin::Gone
    }

    /// One more pin of a page that the caller has pinned already.
    pub(crate) fn pin_again(&self) {
        let before = self.state.fetch_add(1, Relaxed);
        assert!(before & PINS != 0 && before & VALID != 0, "PG-3: pinned again what was not pinned");
    }

    /// Takes a pin away; says whether somebody sleeps until the page is unshared. The order is sequentially consistent with
    /// the count of threads that wait for frames.
    pub(crate) fn unpin(&self) -> bool {
        let before = self.state.fetch_sub(1, SeqCst);
        assert!(before & PINS != 0 && before & VALID != 0, "PG-3: unpin of a page that is not pinned");
        before & WANTED != 0
    }

    /// VALID, pinned by the caller alone, to BUSY, with its flags; false if others hold it or it is being written.
    pub(crate) fn try_modify(&self) -> bool {
        let mut state = self.state.load(Acquire);
        while state & (VALID | BUSY | WRITEBACK | PINS) == VALID | 1 {
            match self.state.compare_exchange_weak(state, BUSY | state & (KEPT | WANTED), SeqCst, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// BUSY to VALID, pinned by the caller, with its flags; says whether somebody sleeps for it.
    pub(crate) fn end_modify(&self) -> bool {
        let kept = self.state.load(Relaxed) & KEPT;
        let before = self.state.swap(VALID | kept | 1, AcqRel);
        assert!(before & BUSY != 0, "PG-2: ended a change that had not begun");
        before & WANTED != 0
    }

    /// Asks to be woken when the page, pinned by the caller, may be unshared; false if it is now.
    pub(crate) fn want_unshared(&self) -> bool {
        let mut state = self.state.load(Acquire);
        while state & (BUSY | WRITEBACK) != 0 || state & PINS > 1 {
            match self.state.compare_exchange_weak(state, state | WANTED, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        self.state.fetch_and(!WANTED, AcqRel);
        false
    }

    /// Asks to be woken when the page is neither being changed nor being written; false if it is neither now.
    pub(crate) fn want_written(&self) -> bool {
        let mut state = self.state.load(Acquire);
        while state & (BUSY | WRITEBACK) != 0 {
            match self.state.compare_exchange_weak(state, state | WANTED, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Newer than the device; the caller has made the page BUSY.
    pub(crate) fn set_dirty(&self) {
        self.state.fetch_or(DIRTY, AcqRel);
    }

    /// A transaction's; the caller has made the page BUSY.
    pub(crate) fn set_held(&self) {
        self.state.fetch_or(HELD, AcqRel);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state.load(Acquire) & HELD != 0
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.state.load(Acquire) & (DIRTY | WRITEBACK) != 0
    }

    /// HELD no more. Nobody changes it at the time.
    pub(crate) fn release(&self) {
        let before = self.state.fetch_and(!HELD, SeqCst);
        assert!(before & HELD != 0, "PG-5: released a page that was not held");
    }

    /// VALID and DIRTY to VALID and WRITEBACK; false if it is being changed. The caller holds the resident lock.
    pub(crate) fn try_begin_writeback(&self) -> bool {
        let mut state = self.state.load(Acquire);
        while state & (VALID | DIRTY | WRITEBACK) == VALID | DIRTY {
            match self.state.compare_exchange_weak(state, state & !DIRTY | WRITEBACK, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// WRITEBACK ends; says whether somebody sleeps for it.
    pub(crate) fn end_writeback(&self) -> bool {
        let before = self.state.fetch_and(!(WRITEBACK | WANTED), SeqCst);
        assert!(before & WRITEBACK != 0, "PG-5: ended a write that had not begun");
        before & WANTED != 0
    }

    /// DIRTY to FREE, for content that nobody wants any more; false if somebody holds it or it is being written. The caller holds
    /// the resident lock.
    pub(crate) fn try_discard(&self) -> bool {
        self.state.compare_exchange(VALID | DIRTY, 0, SeqCst, Relaxed).is_ok()
    }

    /// FREE to DIRTY again: a copy is in progress. The caller has just discarded it, and still holds the resident lock.
    pub(crate) fn undiscard(&self) {
        let before = self.state.swap(VALID | DIRTY, SeqCst);
        assert!(before == 0, "PG-1: somebody took a page that was about to go");
    }

    /// FREE to BUSY, with a new identity. The caller holds the resident lock and owns the frame.
    pub(crate) fn begin(&self, object: u32, index: PageIndex) {
        self.object.store(object, Relaxed);
        self.index.store(index.0, Relaxed);
        self.checked.store(0, Relaxed);
        self.references.store(0, Relaxed);
        let before = self.state.swap(BUSY, Release);
        assert!(before == 0, "PG-1: a frame in use was given out");
    }

    /// BUSY to VALID with `pins`; says whether somebody sleeps for it.
    pub(crate) fn finish(&self, pins: u32) -> bool {
        let before = self.state.swap(VALID | pins, AcqRel);
        assert!(before & BUSY != 0, "PG-2: finished a page that was not busy");
        before & WANTED != 0
    }

    /// BUSY to FREE; says whether somebody sleeps for it. The caller holds the resident lock.
    pub(crate) fn abandon(&self) -> bool {
        let before = self.state.swap(0, AcqRel);
        assert!(before & BUSY != 0, "PG-2: abandoned a page that was not busy");
        before & WANTED != 0
    }

    /// VALID to FREE if nobody holds it (PG-3). The caller holds the resident lock, and looks for copies in progress
    /// behind it (CO-1).
    pub(crate) fn try_evict(&self) -> bool {
        self.state.compare_exchange(VALID, 0, SeqCst, SeqCst).is_ok()
    }

    /// FREE to VALID again: a copy is in progress. The caller has just evicted it, and still holds the resident lock.
    pub(crate) fn unevict(&self) {
        let before = self.state.swap(VALID, SeqCst);
        assert!(before == 0, "PG-1: somebody took a page that was about to go");
    }

    /// Whether it is `object`'s page `index` and its content is there. The caller has announced a copy from it (CO-1).
    pub(crate) fn is_valid(&self, object: u32, index: PageIndex) -> bool {
        self.state.load(SeqCst) & VALID != 0 && self.is(object, index)
    }

    /// Asks to be woken when the page is no longer busy; false if it is not busy now.
    pub(crate) fn want(&self) -> bool {
        let mut state = self.state.load(Acquire);
        while state & BUSY != 0 {
            match self.state.compare_exchange_weak(state, state | WANTED, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.state.load(Acquire) & BUSY != 0
    }

    /// Whether nothing but pins keeps it.
    pub(crate) fn is_pinned(&self) -> bool {
        let state = self.state.load(Relaxed);
        state & PINS != 0 && state & (KEPT | WRITEBACK) == 0
    }

    pub(crate) fn is_checked(&self, unit: u32) -> bool {
        self.checked.load(Relaxed) & (1 << (unit & 7)) != 0
    }

    pub(crate) fn set_checked(&self, unit: u32) {
        self.checked.fetch_or(1 << (unit & 7), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn a_page_is_pinned_only_when_valid_and_evicted_only_when_unpinned() {
        let page = Page::new_zeroed();
        assert_eq!(page.pin(0, PageIndex(0)), Pin::Gone);
        page.begin(7, PageIndex(9));
        assert_eq!(page.pin(7, PageIndex(9)), Pin::Busy);
        assert!(!page.try_evict());
        assert!(page.want());
        assert!(page.finish(0), "the sleeper is reported");
        assert_eq!(page.pin(7, PageIndex(8)), Pin::Gone);
        assert_eq!(page.pin(7, PageIndex(9)), Pin::Done);
        assert!(!page.try_evict());
        page.unpin();
        assert!(page.try_evict());
        assert_eq!(page.pin(7, PageIndex(9)), Pin::Gone);
    }

    #[test]
    fn a_check_is_forgotten_with_the_identity() {
        let page = Page::new_zeroed();
        page.begin(1, PageIndex(1));
        page.finish(0);
        page.set_checked(2);
        assert!(page.is_checked(2) && !page.is_checked(1));
        assert!(page.try_evict());
        page.begin(1, PageIndex(1));
        assert!(!page.is_checked(2));
    }
}
