//! Memory that is not pages: wired runs, lent pages and pools, against operations and the daemon.

use crate::support::{Fails, assert_idle, boot, check, read, roomy, threads};
use rumpcap_host::sync::Mutex;
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{Daemon, ItemNo, PAGE_SIZE, PageLease, PolicyKind, Pool, Reclaim, Vm, WiredRun};
use shuttle::thread;
use std::sync::Arc;

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
        let small = roomy(Plan::smallest_limit_bytes(), PolicyKind::S3Fifo, Daemon::Inline, Fails::None);
        let small = Arc::new(small);
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

/// Rows of frames are wired and filled, and pages are lent out, while operations come and go with all that they may
/// reserve: nobody's bytes are anybody else's, and what is refused is refused at once.
#[test]
fn rows_of_wired_frames_and_lent_pages_keep_their_bytes() {
    check(|| {
        let limit_bytes = Plan::smallest_limit_bytes();
        let small = Arc::new(roomy(limit_bytes, PolicyKind::S3Fifo, Daemon::Inline, Fails::None));
        let (wiring, lending) = (small.clone(), small.clone());
        let wirer = thread::spawn(move || {
            for n in 1..=3 {
                let Ok(mut run) = WiredRun::buffer(&wiring.vm, 4, "a test") else { continue };
                run.fill(n);
                thread::yield_now();
                assert!(run.iter().all(|byte| *byte == n), "somebody wrote into wired frames");
            }
        });
        let lender = thread::spawn(move || {
            let lent: Vec<_> = (50..54u64)
                .filter_map(|n| {
                    let r = lending.vm.reserve(1);
                    let page = lending.device.page(&r, n * PAGE_SIZE as u64, 0).unwrap();
                    PageLease::new(&lending.vm, &page).ok().map(|lease| (n, lease))
                })
                .collect();
            thread::yield_now();
            assert!(lent.iter().all(|(n, lease)| lease[..8] == n.to_le_bytes()), "a lent page was evicted");
        });
        assert_eq!(threads(&small, 2, 6), 0);
        wirer.join().unwrap();
        lender.join().unwrap();
        assert_idle(&small);
        assert_eq!(small.vm.report().buffers_bytes, 0);
        // All of it is there again: as many frames as there were can be wired.
        let most = small.vm.plan().frames - 2 - 12;
        drop(WiredRun::buffer(&small.vm, most, "a test").unwrap());
    });
}

/// Items of half a page: two to a slab.
type Item = [u32; 400];

/// A cache as the kernel's own are: a pool under a lock, which grows without it and is drained by the daemon.
struct Items {
    vm: Arc<Vm>,
    pool: Mutex<Pool<Item>>,
}

impl Items {
    fn take(&self, value: Item) -> Option<ItemNo> {
        let mut pool = self.pool.lock();
        if let Some(item) = pool.allocate(value) {
            return Some(item);
        }
        let frames = pool.slab_frames();
        drop(pool);
        let run = WiredRun::slab(&self.vm, frames, "items").ok()?;
        let mut pool = self.pool.lock();
        pool.add(run);
        pool.allocate(value)
    }
}

impl Reclaim for Items {
    fn give_back_empty(&self) -> u64 {
        let Some(mut pool) = self.pool.try_lock() else { return 0 };
        std::iter::from_fn(|| pool.drain()).map(|run| u64::from(run.frames())).sum()
    }
    fn reclaim(&self) -> u64 {
        0
    }
}

#[test]
fn a_pool_that_is_drained_meanwhile_keeps_the_items_that_are_out() {
    check(|| {
        let limit_bytes = Plan::smallest_limit_bytes();
        let small = Arc::new(roomy(limit_bytes, PolicyKind::S3Fifo, Daemon::Thread, Fails::None));
        let items = Arc::new(Items { vm: small.vm.clone(), pool: Mutex::new(Pool::new(8)) });
        let as_reclaim: Arc<dyn Reclaim> = items.clone();
        small.vm.register_reclaim(Arc::downgrade(&as_reclaim));
        let takers: Vec<_> = (1..=2)
            .map(|t| {
                let items = items.clone();
                thread::spawn(move || {
                    for round in 0..3 {
                        let value = [t * 10 + round; 400];
                        let taken: Vec<_> = (0..3).filter_map(|_| items.take(value)).collect();
                        thread::yield_now();
                        for item in taken {
                            let mut pool = items.pool.lock();
                            assert!(*pool.get(item) == value, "an item lost its value");
                            pool.free(item);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            small.vm.ask_daemon();
            read(&small, [1, 2, 3].into_iter(), 3);
        }
        takers.into_iter().for_each(|t| t.join().unwrap());
        items.give_back_empty();
        assert_eq!((items.pool.lock().used(), small.vm.report().pools_bytes), (0, 0));
        assert_idle(&small);
    });
}

/// Whoever lets go of the kernel last, the daemon in the middle of a round included, ends it.
#[test]
fn the_last_to_let_go_of_the_kernel_ends_it() {
    check(|| {
        let small = boot(PolicyKind::S3Fifo, Daemon::Thread, Fails::None);
        let (vm, limit) = (Arc::downgrade(&small.vm), small.vm.report().limit_bytes);
        let all: Vec<_> = (0..2)
            .map(|t| {
                let small = small.clone();
                thread::spawn(move || {
                    small.vm.ask_daemon();
                    read(&small, (0..4).map(|n| t * 8 + n), 2);
                    assert!(small.vm.report().peak_bytes <= limit);
                })
            })
            .collect();
        small.vm.ask_daemon();
        drop(small);
        all.into_iter().for_each(|t| t.join().unwrap());
        // The daemon may still hold it for the rest of its round.
        while vm.strong_count() > 0 {
            thread::yield_now();
        }
    });
}
