//! A small kernel over a device of numbered pages, and how its tests are run under many schedules.

use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{BootOptions, Daemon, DeviceObject, PAGE_SIZE, PolicyKind, Vm, WiredRun};
use shuttle::thread;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A device whose every page begins with its number, and which switches threads in the middle of a request.
pub struct Numbers {
    pages: u64,
    reads: AtomicU64,
    fails: Fails,
}

/// Which of a device's reads fail.
#[derive(Clone, Copy)]
pub enum Fails {
    None,
    EveryNth(u64),
    First(u64),
}

impl Numbers {
    pub fn new(fails: Fails) -> Arc<Numbers> {
        Arc::new(Numbers { pages: 64, reads: AtomicU64::new(0), fails })
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl BlockDevice for Numbers {
    fn len_bytes(&self) -> u64 {
        self.pages * PAGE_SIZE as u64
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        thread::yield_now();
        let nth = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = match self.fails {
            Fails::None => false,
            Fails::EveryNth(n) => nth.is_multiple_of(n),
            Fails::First(n) => nth <= n,
        };
        if fails {
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
pub struct Small {
    pub vm: Arc<Vm>,
    pub device: DeviceObject,
    pub wired: Vec<WiredRun>,
}

pub fn boot(policy: PolicyKind, daemon: Daemon, fails: Fails) -> Arc<Small> {
    boot_with(Plan::smallest_limit_bytes(), policy, daemon, fails)
}

pub fn boot_with(limit_bytes: u64, policy: PolicyKind, daemon: Daemon, fails: Fails) -> Arc<Small> {
    let mut small = roomy(limit_bytes, policy, daemon, fails);
    small.wired = std::iter::from_fn(|| WiredRun::buffer(&small.vm, 1, "a test").ok()).collect();
    Arc::new(small)
}

/// A kernel in which nothing is wired.
pub fn roomy(limit_bytes: u64, policy: PolicyKind, daemon: Daemon, fails: Fails) -> Small {
    let limit_bytes = Some(limit_bytes);
    let vm = Vm::boot(BootOptions { limit_bytes, policy, daemon, trace: None }).unwrap();
    let device = DeviceObject::attach(&vm, Numbers::new(fails)).unwrap();
    Small { vm, device, wired: Vec::new() }
}

/// Reads pages `places` with `pins` held at once; gives the errors met.
pub fn read(small: &Small, places: impl Iterator<Item = u64>, pins: usize) -> u32 {
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

/// Schedules of each test. With those of `rumpcap-vfs`: 16 tests, 5,440 schedules.
pub fn schedules() -> usize {
    std::env::var("RUMPCAP_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(340)
}

/// Half of the schedules at random, half by priorities (PCT), which find rarer orders.
pub fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(body.clone(), schedules() / 2);
    shuttle::check_pct(body, schedules() / 2, 3);
}

pub fn threads(small: &Arc<Small>, count: u64, pins: usize) -> u32 {
    let all: Vec<_> = (0..count)
        .map(|t| {
            let small = small.clone();
            thread::spawn(move || read(&small, (0..6).map(move |n| (t * 7 + n * 11) % 40), pins))
        })
        .collect();
    all.into_iter().map(|t| t.join().unwrap()).sum()
}

pub fn assert_idle(small: &Small) {
    let report = small.vm.report();
    assert_eq!(report.stuck, 0);
    assert_eq!((report.pages_pinned, report.pages_busy), (0, 0));
    assert!(report.peak_bytes <= report.limit_bytes);
}
