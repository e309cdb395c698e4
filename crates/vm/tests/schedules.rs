//! The real gate, page allocation, busy and wanted pages, and pagedaemon under many schedules.
//!
//! `cargo test -p rumpcap-vm --features shuttle --test schedules`; the number of schedules of each test is in the variable
//! RUMPCAP_SCHEDULES, 300 without it. A deadlock, a lost wake-up or a broken assertion fails with the schedule to replay.
#![allow(clippy::unwrap_used)]

use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{
    BootOptions, BusyPages, Daemon, DeviceObject, ObjectId, PAGE_SIZE, PageIndex, Pager, PolicyKind, Reclaim,
    Reservation, Vm, WiredRun,
};
use shuttle::thread;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A device whose every page begins with its number, and which switches threads in the middle of a request.
struct Numbers {
    pages: u64,
    reads: AtomicU64,
    fail_every: u64,
}

impl BlockDevice for Numbers {
    fn len_bytes(&self) -> u64 {
        self.pages * PAGE_SIZE as u64
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        thread::yield_now();
        let nth = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fail_every != 0 && nth.is_multiple_of(self.fail_every) {
            return Err(Error::Io { errno: 5, at: offset });
        }
        let mut page = offset / PAGE_SIZE as u64;
        for buf in bufs {
            for chunk in buf.chunks_mut(PAGE_SIZE) {
                chunk[..8].copy_from_slice(&page.to_le_bytes());
                page += 1;
            }
        }
        Ok(())
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// A small kernel in which everything that can be wired is, so that a few pages are all that there is.
struct Small {
    vm: Arc<Vm>,
    device: DeviceObject,
    wired: Vec<WiredRun>,
}

fn boot(policy: PolicyKind, daemon: Daemon, fail_every: u64) -> Arc<Small> {
    boot_with(Plan::smallest_limit_bytes(), policy, daemon, fail_every)
}

fn boot_with(limit_bytes: u64, policy: PolicyKind, daemon: Daemon, fail_every: u64) -> Arc<Small> {
    let limit_bytes = Some(limit_bytes);
    let vm = Vm::boot(BootOptions { limit_bytes, policy, daemon, trace: None }).unwrap();
    let device = Arc::new(Numbers { pages: 64, reads: AtomicU64::new(0), fail_every });
    let device = DeviceObject::attach(&vm, device).unwrap();
    let wired = std::iter::from_fn(|| WiredRun::buffer(&vm, 1, "a test").ok()).collect();
    Arc::new(Small { vm, device, wired })
}

/// Reads pages `places` with `pins` held at once; gives the errors met.
fn read(small: &Small, places: impl Iterator<Item = u64>, pins: usize) -> u32 {
    let places: Vec<u64> = places.collect();
    let mut errors = 0;
    for group in places.chunks(pins) {
        let r = small.vm.reserve(pins as u32);
        let mut held = Vec::new();
        for place in group {
            match small.device.page(&r, place * PAGE_SIZE as u64, 2) {
                Ok(page) => {
                    assert_eq!(page[..8], place.to_le_bytes(), "another page's content");
                    held.push(page);
                }
                Err(_) => errors += 1,
            }
        }
    }
    errors
}

fn schedules() -> usize {
    std::env::var("RUMPCAP_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// Half of the schedules at random, half by priorities (PCT), which find rarer orders.
fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(body.clone(), schedules() / 2);
    shuttle::check_pct(body, schedules() / 2, 3);
}

fn threads(small: &Arc<Small>, count: u64, pins: usize) -> u32 {
    let all: Vec<_> = (0..count)
        .map(|t| {
            let small = small.clone();
            thread::spawn(move || read(&small, (0..6).map(move |n| (t * 7 + n * 11) % 40), pins))
        })
        .collect();
    all.into_iter().map(|t| t.join().unwrap()).sum()
}

fn assert_idle(small: &Small) {
    let report = small.vm.report();
    assert_eq!(report.stuck, 0);
    assert_eq!((report.pages_pinned, report.pages_busy), (0, 0));
    assert!(report.peak_bytes <= report.limit_bytes);
}

#[test]
fn more_threads_than_reservations_all_pass_the_gate() {
    check(|| {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, 0);
        assert!(small.wired.len() > 8);
        // Twelve frames are left to reserve: two of these four may be inside at a time.
        assert_eq!(threads(&small, 4, 6), 0);
        assert_idle(&small);
    });
}

#[test]
fn threads_that_want_the_same_pages_all_get_them() {
    check(|| {
        let small = boot(PolicyKind::Lru, Daemon::Inline, 0);
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
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, 3);
        met.fetch_add(threads(&small, 3, 3).into(), Ordering::Relaxed);
        assert_idle(&small);
    });
    assert!(errors.load(Ordering::Relaxed) > 0);
}

#[test]
fn the_daemon_s_thread_wakes_those_that_wait_and_ends_with_the_kernel() {
    check(|| {
        let small = boot(PolicyKind::S3Fifo, Daemon::Thread, 0);
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
        let small = boot_with(512 << 10, PolicyKind::S3Fifo, Daemon::Inline, 0);
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

/// A cache that keeps all wired memory that it can get, and gives it up when asked.
struct Hoard(shuttle::sync::Mutex<Vec<WiredRun>>);

impl Reclaim for Hoard {
    fn give_back_empty(&self) -> u64 {
        0
    }
    fn reclaim(&self) -> u64 {
        self.0.try_lock().map_or(0, |mut runs| u64::from(runs.pop().is_some()))
    }
}

#[test]
fn memory_that_is_wired_and_given_back_meanwhile_starves_nobody() {
    check(|| {
        let limit_bytes = Some(Plan::smallest_limit_bytes());
        let daemon = Daemon::Inline;
        let vm = Vm::boot(BootOptions { limit_bytes, daemon, ..Default::default() }).unwrap();
        let device = Arc::new(Numbers { pages: 64, reads: AtomicU64::new(0), fail_every: 0 });
        let device = DeviceObject::attach(&vm, device).unwrap();
        let small = Arc::new(Small { vm, device, wired: Vec::new() });
        let hoard = Arc::new(Hoard(shuttle::sync::Mutex::new(Vec::new())));
        let as_reclaim: Arc<dyn Reclaim> = hoard.clone();
        small.vm.register_reclaim(Arc::downgrade(&as_reclaim));
        let (hoarder, hoarded) = (small.clone(), hoard.clone());
        let wirer = thread::spawn(move || {
            for _ in 0..12 {
                let run = WiredRun::buffer(&hoarder.vm, 1, "a test");
                hoarded.0.lock().unwrap().extend(run);
            }
        });
        assert_eq!(threads(&small, 3, 12), 0);
        wirer.join().unwrap();
        assert_idle(&small);
    });
}

/// Fills pages with the object's number and their own.
struct Named(ObjectId);

fn name(object: ObjectId, index: u64) -> [u8; 16] {
    (u128::from(object.number()) << 64 | u128::from(index)).to_le_bytes()
}

impl Pager for Named {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        thread::yield_now();
        for at in 0..pages.len() {
            let name = name(self.0, pages.first().0 + at as u64);
            pages.page_mut(at)[..16].copy_from_slice(&name);
        }
        Ok(())
    }
}

/// Copies need no pin: what they copy from must neither be evicted nor be destroyed nor become another's meanwhile.
#[test]
fn a_copy_without_a_pin_is_of_the_page_that_was_meant() {
    let copied = Arc::new(AtomicU64::new(0));
    let met = copied.clone();
    check(move || {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, 0);
        let objects = [(); 2].map(|()| small.vm.create_object().unwrap());
        let hints = objects.map(|object| small.vm.hint(object));
        let page_in = |small: &Small, object: ObjectId, index: u64| {
            let r = small.vm.reserve(1);
            let page = small.vm.page(&r, object, PageIndex(index), 3, &Named(object)).unwrap();
            assert_eq!(page[..16], name(object, index));
        };
        objects.iter().for_each(|object| page_in(&small, *object, 0));
        let copiers: Vec<_> = (0..3)
            .map(|t| {
                let small = small.clone();
                thread::spawn(move || {
                    let mut copied = 0;
                    for index in (0..4).map(|n| (n + t) % 3) {
                        for (object, hint) in objects.iter().zip(hints) {
                            let mut out = [0; 16];
                            if small.vm.copy_resident(hint, PageIndex(index), 0, &mut out) {
                                assert_eq!(out, name(*object, index), "another page's content");
                                copied += 1;
                            }
                        }
                    }
                    copied
                })
            })
            .collect();
        // One thread evicts by reading much, and destroys an object and makes another in its place.
        (0..16).for_each(|index| page_in(&small, objects[1], index));
        small.vm.destroy_object(objects[0]);
        let other = small.vm.create_object().unwrap();
        (0..16).for_each(|index| page_in(&small, other, index));
        met.fetch_add(copiers.into_iter().map(|t| t.join().unwrap()).sum(), Ordering::Relaxed);
        assert_idle(&small);
    });
    assert!(copied.load(Ordering::Relaxed) > 0);
}

/// Fourteen frames: three hold pages that three threads copy from, each its own, again and again; a fourth thread pins eleven
/// and needs one of the three. A copy wakes nobody at its end, and what it copies from must not go before.
#[test]
fn a_thread_that_finds_every_other_page_being_copied_waits_for_the_copies() {
    let waits = Arc::new(AtomicU64::new(0));
    let met = waits.clone();
    let body = move || {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, 0);
        let [copied_from, pinned] = [(); 2].map(|()| small.vm.create_object().unwrap());
        let page = |r: &Reservation<'_>, object: ObjectId, index: u64| {
            let page = small.vm.page(r, object, PageIndex(index), 0, &Named(object)).unwrap();
            assert_eq!(page[..16], name(object, index));
        };
        (0..3).for_each(|index| page(&small.vm.reserve(1), copied_from, index));
        let r = small.vm.reserve(12);
        let pin = |index| small.vm.page(&r, pinned, PageIndex(index), 0, &Named(pinned)).unwrap();
        let mut held: Vec<_> = (0..11).map(pin).collect();
        let hint = small.vm.hint(copied_from);
        let copiers: Vec<_> = (0..3)
            .map(|index| {
                let small = small.clone();
                thread::spawn(move || {
                    let mut out = [0; 16];
                    let copy = |out: &mut [u8]| small.vm.copy_resident(hint, PageIndex(index), 0, out);
                    let copies = (0..4).filter(|_| copy(&mut out)).count();
                    assert!(copies == 0 || out == name(copied_from, index), "another page's content");
                })
            })
            .collect();
        held.push(pin(11));
        assert!((0..).zip(&held).all(|(index, page)| page[..16] == name(pinned, index)));
        drop(held);
        drop(r);
        copiers.into_iter().for_each(|t| t.join().unwrap());
        met.fetch_add(small.vm.report().frame_waits, Ordering::Relaxed);
        assert_idle(&small);
    };
    // Three copiers stopped in the middle of a copy each, and then the fourth thread: that takes as many changes of priority.
    shuttle::check_pct(body, 10 * schedules(), 5);
    assert!(waits.load(Ordering::Relaxed) > 0, "no schedule came to a wait for a frame");
}
