//! [`MemoryReport`]: one picture of a kernel's memory, all its counters included.
//!
//! Who calls it: anybody, at any time. The resident lock is held for a copy of some twenty numbers; pages are looked at
//! without it. So nobody is stopped: each figure is right, two of them may be of neighbouring moments.

use crate::boot::Vm;
use crate::page::{FrameNo, PAGE_SIZE};
use crate::plan::BOOT_CHARGE_BYTES;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

/// Pools that a report names: vnodes and names, and room for others.
pub(crate) const POOLS_MAX: usize = 4;

/// The most frames that [`Vm::sample`] looks at, to count pinned pages: 16 MiB, twice what the command boots with.
const SAMPLE_FRAMES_MAX: u32 = 4096;

/// What a pool has wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolBytes {
    /// What it holds; empty for an entry that is not used.
    pub name: &'static str,
    /// Bytes of its slabs and hash, free items included.
    pub bytes: u64,
}

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
    /// The same, by pool.
    pub pools: [PoolBytes; POOLS_MAX],
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
    /// Whether these were counted: a sample of a large kernel takes them for clean ones.
    pub pinned_counted: bool,
    /// Pages, in whatever state, that hold metadata: blocks of a device. The others hold files' data.
    pub pages_metadata: u64,
    /// Pages in the policy's small queue, where new ones enter; 0 for LRU.
    pub queue_small: u64,
    /// Pages in the policy's main queue; LRU has no other.
    pub queue_main: u64,
    /// Pages that have gone and that the policy remembers, at most: it forgets one early when two meet in its table.
    pub queue_ghosts: u64,
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
    /// Of these, pages of an object because it was over its share.
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
    /// Operations that wait at the gate now.
    pub gate_waiting: u64,
    /// Waits inside the gate for I/O to free a frame.
    pub frame_waits: u64,
    /// The longest of these, in nanoseconds.
    pub frame_longest_wait_ns: u64,
    /// Waits for a busy page.
    pub busy_waits: u64,
    /// Rounds that freed nothing while somebody waited (F6): 0 in a kernel that works.
    pub stuck: u64,
}

impl Vm {
    /// A picture of this memory. Looks at every page.
    pub fn report(&self) -> MemoryReport {
        self.picture(u32::MAX)
    }

    /// As [`Vm::report`], in constant time: pinned pages are counted only where there are few to look at.
    pub fn sample(&self) -> MemoryReport {
        self.picture(SAMPLE_FRAMES_MAX)
    }

    fn picture(&self, frames_max: u32) -> MemoryReport {
        let (c, hits) = (&self.counters, self.table.copies.hits());
        let mut report = MemoryReport {
            limit_bytes: self.plan.limit_bytes as u64,
            limited: self.limited,
            tables_bytes: (BOOT_CHARGE_BYTES + self.plan.tables_bytes()) as u64,
            frames: self.plan.frames.into(),
            pages_busy: self.in_flight.load(Relaxed).into(),
            lookups: c.misses.load(Relaxed) + hits,
            hits,
            device_reads: c.device_reads.load(Relaxed),
            device_read_bytes: c.device_read_bytes.load(Relaxed),
            direct_read_bytes: c.direct_read_bytes.load(Relaxed),
            device_writes: c.device_writes.load(Relaxed),
            device_write_bytes: c.device_write_bytes.load(Relaxed),
            write_errors: c.write_errors.load(Relaxed),
            daemon_rounds: c.daemon_rounds.load(Relaxed),
            daemon_freed_caches: c.daemon_freed_caches.load(Relaxed),
            daemon_freed_pages: c.daemon_freed_pages.load(Relaxed),
            daemon_freed_callbacks: c.daemon_freed_callbacks.load(Relaxed),
            daemon_freed_pools: c.daemon_freed_pools.load(Relaxed),
            gate_entries: self.gate.entries.load(Relaxed),
            gate_waits: self.gate.waits.load(Relaxed),
            gate_longest_wait_ns: self.gate.longest_wait.get(),
            gate_waiting: self.gate.waiting().into(),
            frame_waits: c.frame_waits.load(Relaxed),
            frame_longest_wait_ns: c.frame_longest_wait.get(),
            busy_waits: c.busy_waits.load(Relaxed),
            stuck: c.stuck.load(Relaxed),
            ..MemoryReport::default()
        };
        let (pages, touched) = self.report_resident(&mut report);
        report.pinned_counted = touched.iter().map(|range| range.len() as u32).sum::<u32>() <= frames_max;
        if report.pinned_counted {
            let is_pinned = |frame: &u32| self.table.page(FrameNo(*frame)).is_pinned();
            report.pages_pinned = touched.into_iter().flatten().filter(is_pinned).count() as u64;
        }
        let held = report.pages_busy + report.pages_pinned + report.pages_held;
        report.pages_clean = pages.saturating_sub(held + report.pages_dirty);
        report.wired_bytes =
            report.tables_bytes + report.pools_bytes + report.buffers_bytes + held * PAGE_SIZE as u64;
        report
    }

    /// What the resident lock guards. Gives how many pages there are, and in which frames.
    fn report_resident(&self, report: &mut MemoryReport) -> (u64, [Range<u32>; 2]) {
        let bytes = |frames: u32| u64::from(frames) * PAGE_SIZE as u64;
        let resident = self.resident.lock();
        report.in_use_bytes = report.tables_bytes + bytes(resident.used);
        report.peak_bytes = report.tables_bytes + bytes(resident.most_used);
        report.frames_free = report.frames - u64::from(resident.used);
        report.buffers_bytes = bytes(resident.wired.buffers);
        for (of, (name, frames)) in report.pools.iter_mut().zip(&resident.wired.pools) {
            *of = PoolBytes { name, bytes: bytes(*frames) };
            report.pools_bytes += of.bytes;
        }
        report.pages_metadata = resident.metadata_pages.into();
        (report.pages_dirty, report.pages_held) = (resident.dirty.len().into(), resident.held_pages.into());
        let queues = resident.queues();
        (report.queue_small, report.queue_main) = (queues.small.into(), queues.main.into());
        report.queue_ghosts = queues.ghosts.into();
        report.read_ahead_pages = resident.read_ahead;
        report.evictions = resident.evictions;
        report.evictions_self = resident.evictions_self;
        report.evictions_direct = resident.evictions - resident.evictions_self - resident.evictions_daemon;
        (resident.pages.into(), resident.touched())
    }
}

#[cfg(test)]
mod tests {
    use crate::{BootOptions, Daemon, DeviceObject, Pool, Vm, WiredRun};
    use rumpcap_block::MemoryDevice;

    const PAGE: u64 = 4096;

    #[test]
    fn every_frame_is_counted_once_and_under_its_name() {
        let vm = Vm::boot(BootOptions {
            limit_bytes: Some(512 << 10),
            daemon: Daemon::Inline,
            ..Default::default()
        })
        .unwrap();
        let device = DeviceObject::attach(&vm, std::sync::Arc::new(MemoryDevice::new(1 << 20))).unwrap();
        let r = vm.reserve(4);
        let held = device.page(&r, 0, 0).unwrap();
        for page in 1..9 {
            drop(device.page(&r, page * PAGE, 0).unwrap());
        }
        let mut pool = Pool::<[u64; 8]>::new(200);
        pool.add(WiredRun::slab(&vm, pool.slab_frames(), "things").unwrap());
        let buffer = WiredRun::buffer(&vm, 3, "a test").unwrap();
        let report = vm.report();
        assert_eq!(report, vm.sample());
        assert_eq!((report.pages_clean, report.pages_pinned, report.pages_busy), (8, 1, 0));
        assert_eq!((report.pages_metadata, report.queue_small + report.queue_main), (9, 9));
        assert_eq!((report.pools[0].name, report.pools[0].bytes), ("things", report.pools_bytes));
        assert_eq!((report.pools[1].name, report.buffers_bytes), ("", 3 * PAGE));
        let pages = report.pages_clean + report.pages_pinned + report.pages_busy + report.pages_dirty;
        assert_eq!(
            report.tables_bytes + report.pools_bytes + report.buffers_bytes + pages * PAGE,
            report.in_use_bytes
        );
        drop((held, buffer, pool));
        let report = vm.report();
        assert_eq!((report.pages_pinned, report.pools_bytes, report.buffers_bytes), (0, 0, 0));
    }

    #[test]
    fn more_pools_than_names_share_the_last() {
        let vm = Vm::boot(BootOptions {
            limit_bytes: Some(512 << 10),
            daemon: Daemon::Inline,
            ..Default::default()
        })
        .unwrap();
        let names = ["a", "b", "c", "d", "e", "f"];
        let runs: Vec<_> = names.into_iter().map(|name| WiredRun::slab(&vm, 1, name).unwrap()).collect();
        let report = vm.report();
        assert_eq!(report.pools.map(|pool| pool.bytes / PAGE), [1, 1, 1, 3]);
        assert_eq!(report.pools_bytes, 6 * PAGE);
        drop(runs);
        assert_eq!(vm.report().pools_bytes, 0);
    }
}
