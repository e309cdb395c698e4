//! Policies over the public interface: exact LRU against a naive one, S3-FIFO against a hot set and scans.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{BootOptions, Daemon, DeviceObject, PAGE_SIZE, PolicyKind, Vm};
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
