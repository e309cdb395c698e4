//! [`CountingAllocator`]: the system's allocator, with counters. A test binary makes it its global allocator to show that
//! a kernel does not touch the heap, or how much of it a front end uses.
//!
//! Counters are of the whole process, so that the kernel's own threads are seen too: such a test binary runs one
//! measurement at a time ([`measure`] takes a lock).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The system's allocator, with counters.
pub struct CountingAllocator;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);
static PEAK_BYTES: AtomicU64 = AtomicU64::new(0);

/// What the heap was asked for during a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Calls that asked for memory.
    pub allocations: u64,
    /// Bytes that they asked for.
    pub bytes: u64,
    /// The most bytes that were live at once, beyond those that were live before.
    pub peak_bytes: u64,
}

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes as u64, Relaxed);
    let live = LIVE_BYTES.fetch_add(bytes as u64, Relaxed) + bytes as u64;
    PEAK_BYTES.fetch_max(live, Relaxed);
}

fn uncount(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes as u64, Relaxed);
}

// SAFETY: every method hands its arguments unchanged to the system's allocator, which keeps the contract; the counters
// are atomics and allocate nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller of this method promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller of this method promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        uncount(layout.size());
        // SAFETY: as the caller of this method promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        uncount(layout.size());
        count(new_size);
        // SAFETY: as the caller of this method promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Runs `work` and gives its result and what the heap of the whole process was asked for meanwhile.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Heap) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (allocations, bytes, live) =
        (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed), LIVE_BYTES.load(Relaxed));
    PEAK_BYTES.store(live, Relaxed);
    let result = work();
    let heap = Heap {
        allocations: ALLOCATIONS.load(Relaxed) - allocations,
        bytes: BYTES.load(Relaxed) - bytes,
        peak_bytes: PEAK_BYTES.load(Relaxed).saturating_sub(live),
    };
    (result, heap)
}

/// Bytes of the heap that are in use now.
pub fn live_bytes() -> u64 {
    LIVE_BYTES.load(Relaxed)
}

/// Whether the counting allocator is the global one: what measures without it measures nothing.
pub fn is_installed() -> bool {
    let before = ALLOCATIONS.load(Relaxed);
    drop(std::hint::black_box(Box::new(1_u8)));
    ALLOCATIONS.load(Relaxed) != before
}
