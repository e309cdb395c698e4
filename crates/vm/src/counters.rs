//! Counters of a kernel's memory, for [`crate::MemoryReport`]. Relaxed atomics: each is right, none orders anything.

use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::sync::atomic::AtomicU64;

/// All counters that are not kept by the part that they count.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) misses: AtomicU64,
    pub(crate) device_reads: AtomicU64,
    pub(crate) device_read_bytes: AtomicU64,
    pub(crate) direct_read_bytes: AtomicU64,
    pub(crate) device_writes: AtomicU64,
    pub(crate) device_write_bytes: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    pub(crate) frame_waits: AtomicU64,
    pub(crate) frame_longest_wait: Longest,
    pub(crate) busy_waits: AtomicU64,
    pub(crate) daemon_rounds: AtomicU64,
    pub(crate) daemon_freed_caches: AtomicU64,
    pub(crate) daemon_freed_pages: AtomicU64,
    pub(crate) daemon_freed_callbacks: AtomicU64,
    pub(crate) daemon_freed_pools: AtomicU64,
    pub(crate) stuck: AtomicU64,
}

impl Counters {
    pub(crate) fn count_read(&self, bytes: u64) {
        self.device_reads.fetch_add(1, Relaxed);
        self.device_read_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn count_write(&self, bytes: u64) {
        self.device_writes.fetch_add(1, Relaxed);
        self.device_write_bytes.fetch_add(bytes, Relaxed);
    }
}

/// The longest of the waits recorded, in nanoseconds.
#[derive(Default)]
pub(crate) struct Longest(AtomicU64);

impl Longest {
    pub(crate) fn record(&self, ns: u64) {
        self.0.fetch_max(ns, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
