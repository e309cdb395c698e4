//! Policies over the public interface: exact LRU against a naive one, S3-FIFO against a hot set and scans.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{BootOptions, BusyPages, Daemon, DeviceObject, PAGE_SIZE, PageIndex, Pager, PolicyKind, Vm};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

struct Zeros;

impl BlockDevice for Zeros {
    fn len_bytes(&self) -> u64 {
        1 << 40
    }
    fn read_at(&self, _: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        bufs.iter_mut().for_each(|buf| buf.fill(0));
        Ok(())
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

struct Run {
    vm: Arc<Vm>,
    device: DeviceObject,
}

impl Run {
    fn new(policy: PolicyKind, limit_bytes: u64) -> Run {
        let limit_bytes = Some(limit_bytes);
        let vm = Vm::boot(BootOptions { limit_bytes, policy, daemon: Daemon::Inline, trace: None }).unwrap();
        let device = DeviceObject::attach(&vm, Arc::new(Zeros)).unwrap();
        Run { vm, device }
    }

    /// Looks at page `page`; says whether it was there.
    fn look(&self, page: u64) -> bool {
        let before = self.vm.report().device_reads;
        drop(self.device.page(&self.vm.reserve(1), page * PAGE_SIZE as u64, 0).unwrap());
        self.vm.report().device_reads == before
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Hit for hit the same as a list in order of use. The device's object may own three quarters of the frames before it
    /// recycles its own oldest page, which is not LRU's business: the pages used stay below that.
    #[test]
    fn lru_is_exact(pages in proptest::collection::vec(0u64..70, 0..600)) {
        let run = Run::new(PolicyKind::Lru, 256 << 10);
        let frames = run.vm.plan().frames as usize;
        let share = run.vm.plan().object_share as usize;
        let mut model: Vec<u64> = Vec::new();
        let distinct = share as u64;
        for page in pages {
            let page = page % (distinct - 1);
            let at = model.iter().position(|p| *p == page);
            prop_assert_eq!(run.look(page), at.is_some());
            at.map(|at| model.remove(at));
            model.push(page);
            if model.len() > frames {
                model.remove(0);
            }
        }
    }

    /// Whatever is asked for, the answer is the page, memory stays within the limit, and a page just looked at is there.
    #[test]
    fn s3_fifo_keeps_what_was_just_used(pages in proptest::collection::vec(0u64..500, 0..800)) {
        let run = Run::new(PolicyKind::S3Fifo, 256 << 10);
        for page in pages {
            run.look(page);
            prop_assert!(run.look(page));
            let report = run.vm.report();
            prop_assert!(report.peak_bytes <= 256 << 10);
        }
    }
}

/// Hits in a hot set of 20 pages that is used in turn with stretches of a scan which alone would fill the memory twice.
fn hot_hits(policy: PolicyKind) -> u64 {
    let run = Run::new(policy, 256 << 10);
    let mut scan = 1000;
    // The hot set becomes known before the scan begins.
    for _ in 0..10 {
        (0..20).chain(scan..scan + 10).for_each(|page| {
            run.look(page);
        });
        scan += 10;
    }
    let mut hits = 0;
    for _ in 0..50 {
        hits += (0..20).filter(|page| run.look(*page)).count() as u64;
        for _ in 0..2 * run.vm.plan().frames {
            run.look(scan);
            scan += 1;
        }
    }
    hits
}

#[test]
fn a_scan_does_not_push_out_the_hot_set() {
    let (s3, lru) = (hot_hits(PolicyKind::S3Fifo), hot_hits(PolicyKind::Lru));
    assert!(lru < 50, "LRU keeps nothing across a scan of twice the memory, but hit {lru} of 1000");
    assert!(s3 > 900, "the hot set stays: {s3} of 1000 hits");
}

#[test]
fn an_object_over_its_share_recycles_its_own_pages() {
    for policy in [PolicyKind::Lru, PolicyKind::S3Fifo] {
        let one = Run::new(policy, 256 << 10);
        let other =
            Run { vm: one.vm.clone(), device: DeviceObject::attach(&one.vm, Arc::new(Zeros)).unwrap() };
        (0..8).for_each(|page| assert!(!other.look(page)));
        (0..1000).for_each(|page| assert!(!one.look(page)));
        assert!(
            (0..8).all(|page| other.look(page)),
            "{policy:?}: the scan of one object took another's pages"
        );
        assert!(one.vm.report().evictions_self > 0);
    }
}

/// Numbers that look random, from one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// Pages as file systems ask for them, for a memory of `frames`. (docs/bench/policies.md has the recorded ones.)
fn workloads(frames: u64) -> Vec<(&'static str, Vec<u64>)> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // A page of inodes is asked for 16 times, a directory's page comes back now and then, the root's all the time.
    let walk = (0..40 * frames)
        .flat_map(|page| {
            let directory = 1_000_000 + page / 8;
            [0, directory].into_iter().chain([page + 1; 16]).chain([directory])
        })
        .collect();
    // Squares: few pages are asked for often.
    let popular = (0..60 * frames).map(|_| random.below(100) * random.below(100) * frames / 1000).collect();
    let mut random = Random(1);
    let uniform = (0..60 * frames).map(|_| random.below(3 * frames)).collect();
    let long_loop = (0..60 * frames).map(|n| n % (frames * 3 / 2)).collect();
    let short_loop = (0..60 * frames).map(|n| n % (frames * 3 / 4)).collect();
    let scan = (0..20 * frames).collect();
    vec![
        ("walk", walk),
        ("popular", popular),
        ("uniform", uniform),
        ("long loop", long_loop),
        ("short loop", short_loop),
        ("scan", scan),
    ]
}

fn misses(policy: PolicyKind, limit_bytes: u64, pages: &[u64]) -> u64 {
    let run = Run::new(policy, limit_bytes);
    pages.iter().filter(|page| !run.look(**page)).count() as u64
}

#[test]
fn never_much_worse_than_lru() {
    for limit_bytes in [256 << 10, 512 << 10, 1 << 20] {
        let frames = u64::from(Run::new(PolicyKind::Lru, limit_bytes).vm.plan().frames);
        for (name, pages) in workloads(frames) {
            let [s3, lru] =
                [PolicyKind::S3Fifo, PolicyKind::Lru].map(|policy| misses(policy, limit_bytes, &pages));
            assert!(s3 * 100 <= lru * 102, "{name} at {limit_bytes}: {s3} misses, LRU {lru}");
        }
    }
}

/// Half of the memory in use again and again, each time after a scan of twice the memory: nobody has told which is which.
#[test]
fn a_hot_set_under_a_scan_is_found() {
    for limit_bytes in [256 << 10, 512 << 10, 1 << 20] {
        let frames = u64::from(Run::new(PolicyKind::Lru, limit_bytes).vm.plan().frames);
        let round =
            |n: u64| (0..frames / 2).chain((0..2 * frames).map(move |at| 10_000 + n * 2 * frames + at));
        let pages: Vec<u64> = (0..40).flat_map(round).collect();
        let [s3, lru] =
            [PolicyKind::S3Fifo, PolicyKind::Lru].map(|policy| misses(policy, limit_bytes, &pages));
        assert!(s3 * 100 <= lru * 90, "at {limit_bytes}: {s3} misses, LRU {lru}");
    }
}

/// Data that pass by do not erase what is remembered of metadata, however many: the second time they come in for good.
#[test]
fn a_flood_of_data_does_not_erase_the_memory_of_metadata() {
    struct Nothing;
    impl Pager for Nothing {
        fn get(&self, _: &mut BusyPages<'_>) -> Result<()> {
            Ok(())
        }
    }
    let run = Run::new(PolicyKind::S3Fifo, 256 << 10);
    let file = run.vm.create_object().unwrap();
    let mut at = 0;
    let mut flood = || {
        for _ in 0..100 * run.vm.plan().frames {
            drop(run.vm.page(&run.vm.reserve(1), file, PageIndex(at), 0, &Nothing).unwrap());
            at += 1;
        }
    };
    // As many pages of metadata as F4 leaves alone, and as many again.
    let metadata = u64::from(run.vm.plan().frames) / 2;
    for _ in 0..2 {
        (0..metadata).for_each(|page| {
            run.look(page);
        });
        flood();
    }
    let hits = (0..metadata).filter(|page| run.look(*page)).count() as u64;
    assert!(hits * 100 >= metadata * 95, "{hits} of {metadata} pages stayed");
}
