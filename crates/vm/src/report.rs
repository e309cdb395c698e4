//! [`MemoryReport`]: one picture of a kernel's memory, all its counters included.
//!
//! Taken without stopping anybody: each figure is right, two of them may be of neighbouring moments.

/// A picture of a kernel's memory. Frames are of 4,096 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// The limit in bytes; for a kernel without limit, what the host allows.
    pub limit_bytes: u64,
    /// Whether the user gave the limit.
    pub limited: bool,
    /// Bytes in use now: tables, pools, pages and reserves; never above the limit.
    pub in_use_bytes: u64,
    /// The most bytes that were ever in use.
    pub peak_bytes: u64,
    /// Bytes of tables that exist from boot to shutdown (page table, hash, queues).
    pub tables_bytes: u64,
    /// Bytes of pools (vnodes, names), constructed and free items included.
    pub pools_bytes: u64,
    /// Bytes of buffers that an operation wired for as long as it lasts (walk, journal).
    pub buffers_bytes: u64,
    /// Bytes that cannot be reclaimed now: tables, pools in use, buffers, pinned and busy pages.
    pub wired_bytes: u64,
    /// All frames of the limit that can hold pages.
    pub frames: u64,
    /// Frames that hold nothing.
    pub frames_free: u64,
    /// Pages that are clean and not pinned: reclaimable at once.
    pub pages_clean: u64,
    /// Pages that must be written before they can be reclaimed.
    pub pages_dirty: u64,
    /// Pages that a transaction has changed and not committed.
    pub pages_held: u64,
    /// Pages under I/O.
    pub pages_busy: u64,
    /// Pages that an operation holds.
    pub pages_pinned: u64,
    /// Page look-ups.
    pub lookups: u64,
    /// Look-ups that found their page.
    pub hits: u64,
    /// Read requests to devices.
    pub device_reads: u64,
    /// Bytes read from devices.
    pub device_read_bytes: u64,
    /// Pages read ahead of a look-up.
    pub read_ahead_pages: u64,
    /// Bytes read from devices straight into the callers' buffers.
    pub direct_read_bytes: u64,
    /// Write requests to devices.
    pub device_writes: u64,
    /// Bytes given with them.
    pub device_write_bytes: u64,
    /// Of the requests, those that failed.
    pub write_errors: u64,
    /// Pages evicted.
    pub evictions: u64,
    /// Of these, by the thread that wanted the frame.
    pub evictions_direct: u64,
    /// Of these, by an object over its share, of its own pages.
    pub evictions_self: u64,
    /// Rounds of the pagedaemon.
    pub daemon_rounds: u64,
    /// Frames that its step 1 gave back: empty slabs of pool caches.
    pub daemon_freed_caches: u64,
    /// Frames that its step 2 gave back: pages from the queue.
    pub daemon_freed_pages: u64,
    /// Items that its step 3 gave back: reclaim callbacks.
    pub daemon_freed_callbacks: u64,
    /// Frames that its step 4 gave back: drained pools.
    pub daemon_freed_pools: u64,
    /// Operations that entered the gate.
    pub gate_entries: u64,
    /// Operations that had to wait at the gate.
    pub gate_waits: u64,
    /// The longest wait at the gate, in nanoseconds.
    pub gate_longest_wait_ns: u64,
    /// Waits inside the gate for I/O to free a frame.
    pub frame_waits: u64,
    /// The longest of these, in nanoseconds.
    pub frame_longest_wait_ns: u64,
    /// Waits for a busy page.
    pub busy_waits: u64,
    /// Rounds that freed nothing while somebody waited (F6): 0 in a kernel that works.
    pub stuck: u64,
}
