//! Pages under I/O, those who wait for them, and the gate before them.

use crate::support::{Fails, Numbers, assert_idle, boot, boot_with, check, read, threads};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{BootOptions, Daemon, DeviceObject, PAGE_SIZE, PolicyKind, Vm};
use shuttle::rand::Rng;
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn more_threads_than_reservations_all_pass_the_gate() {
    check(|| {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, Fails::None);
        assert!(small.wired.len() > 8);
        // Twelve frames are left to reserve: two of these four may be inside at a time.
        assert_eq!(threads(&small, 4, 6), 0);
        assert_idle(&small);
    });
}

#[test]
fn threads_that_want_the_same_pages_all_get_them() {
    check(|| {
        let small = boot(PolicyKind::Lru, Daemon::Inline, Fails::None);
        let all: Vec<_> = (0..4)
            .map(|_| {
                let small = small.clone();
                thread::spawn(move || read(&small, [3, 4, 3, 9, 4].into_iter(), 2))
            })
            .collect();
        assert_eq!(all.into_iter().map(|t| t.join().unwrap()).sum::<u32>(), 0);
        assert_idle(&small);
    });
}

#[test]
fn sleepers_for_a_page_whose_read_fails_wake_with_an_error_or_the_page() {
    // A failed request for several pages is tried again for the wanted one alone, so not every schedule meets an error.
    let errors = Arc::new(AtomicU64::new(0));
    let met = errors.clone();
    check(move || {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, Fails::EveryNth(3));
        met.fetch_add(threads(&small, 3, 3).into(), Ordering::Relaxed);
        assert_idle(&small);
    });
    assert!(errors.load(Ordering::Relaxed) > 0);
}

#[test]
fn the_daemon_s_thread_wakes_those_that_wait_and_ends_with_the_kernel() {
    check(|| {
        let small = boot(PolicyKind::S3Fifo, Daemon::Thread, Fails::None);
        assert_eq!(threads(&small, 3, 12), 0);
        assert_idle(&small);
    });
}

/// Two operations hold five pages each of fourteen frames; the rest is taken by one's read-ahead, and the other has to
/// wait for that to end.
#[test]
fn a_thread_that_finds_every_frame_pinned_or_busy_waits_for_the_io() {
    let waits = Arc::new(AtomicU64::new(0));
    let met = waits.clone();
    check(move || {
        let small = boot_with(512 << 10, PolicyKind::S3Fifo, Daemon::Inline, Fails::None);
        let all: Vec<_> = (0..2)
            .map(|t| {
                let small = small.clone();
                thread::spawn(move || {
                    let r = small.vm.reserve(6);
                    let page = |n: u64, ahead| {
                        small.device.page(&r, (t * 32 + n) * PAGE_SIZE as u64, ahead).unwrap()
                    };
                    let held: Vec<_> = (0..5).map(|n| page(2 * n, 0)).collect();
                    let last = page(20, 7);
                    assert_eq!(last[..8], (t * 32 + 20).to_le_bytes());
                    drop((held, last));
                })
            })
            .collect();
        all.into_iter().for_each(|t| t.join().unwrap());
        met.fetch_add(small.vm.report().frame_waits, Ordering::Relaxed);
        assert_idle(&small);
    });
    assert!(waits.load(Ordering::Relaxed) > 0, "no schedule came to a wait for a frame");
}

/// The page is asked for by all at once; the first reads of it fail, as many as the schedule says. Each failure is one
/// thread's, and the page is read once more than it failed.
#[test]
fn of_many_sleepers_for_one_page_each_failed_read_costs_one() {
    const SLEEPERS: u64 = 6;
    check(|| {
        let fail = shuttle::rand::thread_rng().gen_range(0..=SLEEPERS);
        let limit_bytes = Some(Plan::smallest_limit_bytes());
        let options = BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() };
        let vm = Vm::boot(options).unwrap();
        let numbers = Numbers::new(Fails::First(fail));
        let device = Arc::new(DeviceObject::attach(&vm, numbers.clone()).unwrap());
        let sleepers: Vec<_> = (0..SLEEPERS)
            .map(|_| {
                let (vm, device) = (vm.clone(), device.clone());
                thread::spawn(move || {
                    let r = vm.reserve(1);
                    match device.page(&r, 7 * PAGE_SIZE as u64, 0) {
                        Ok(page) => assert_eq!(page[..8], 7u64.to_le_bytes()),
                        Err(_) => return 1,
                    }
                    0
                })
            })
            .collect();
        assert_eq!(sleepers.into_iter().map(|t| t.join().unwrap()).sum::<u64>(), fail);
        assert_eq!(numbers.reads(), SLEEPERS.min(fail + 1));
        let report = vm.report();
        assert_eq!((report.stuck, report.pages_pinned, report.pages_busy), (0, 0, 0));
    });
}
