//! Progress under pressure, over the public interface: many threads, few frames, slow and failing devices.
//!
//! The device's content is a function of its position, so that every byte that a thread sees can be checked.

#![allow(clippy::unwrap_used)]

use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{BootOptions, Daemon, DeviceObject, PAGE_SIZE, PolicyKind, Vm, WiredRun};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

struct Pattern {
    len_bytes: u64,
    reads: AtomicU64,
    fail_every: u64,
    /// Lets other threads go first every so many reads. Rarely: on a busy processor that takes milliseconds.
    yield_every: u64,
}

fn word(at: u64) -> u64 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at >> 7)
}

impl BlockDevice for Pattern {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let nth = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        if self.yield_every != 0 && nth.is_multiple_of(self.yield_every) {
            std::thread::yield_now();
        }
        if self.fail_every != 0 && nth.is_multiple_of(self.fail_every) {
            return Err(Error::Io { errno: 5, at: offset });
        }
        let mut at = offset;
        for buf in bufs {
            for chunk in buf.chunks_mut(8) {
                let bytes = word(at).to_le_bytes();
                chunk.copy_from_slice(&bytes[..chunk.len()]);
                at += chunk.len() as u64;
            }
        }
        assert!(at <= self.len_bytes, "read past the end of the device");
        Ok(())
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn boot(limit_bytes: u64, policy: PolicyKind, daemon: Daemon) -> Arc<Vm> {
    Vm::boot(BootOptions { limit_bytes: Some(limit_bytes), policy, daemon, trace: None }).unwrap()
}

fn device(vm: &Arc<Vm>, len_bytes: u64) -> DeviceObject {
    attach(vm, Pattern { len_bytes, reads: AtomicU64::new(0), fail_every: 0, yield_every: 0 })
}

fn attach(vm: &Arc<Vm>, device: Pattern) -> DeviceObject {
    DeviceObject::attach(vm, Arc::new(device)).unwrap()
}

/// Reads `count` words at places that `seed` chooses, pinning two pages at a time; gives the errors met.
fn read_randomly(vm: &Vm, device: &DeviceObject, mut seed: u64, count: u32) -> u64 {
    let mut errors = 0;
    for _ in 0..count {
        let r = vm.reserve(2);
        let mut place = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % device.len_bytes()) & !7
        };
        let (a, b) = (place(), place());
        let first = device.page(&r, a, 3);
        for (at, page) in [(b, device.page(&r, b, 0)), (a, first)] {
            let Ok(page) = page else {
                errors += 1;
                continue;
            };
            let within = at as usize % PAGE_SIZE;
            assert_eq!(page[within..within + 8], word(at).to_le_bytes(), "wrong bytes at {at}");
        }
    }
    errors
}

fn many_threads(policy: PolicyKind, daemon: Daemon, threads: u64, fail_every: u64) {
    let limit = 256 << 10;
    let vm = boot(limit, policy, daemon);
    let device =
        attach(&vm, Pattern { len_bytes: 4 << 20, reads: AtomicU64::new(0), fail_every, yield_every: 50 });
    let errors: u64 = std::thread::scope(|scope| {
        let run = |t| {
            let (vm, device) = (&vm, &device);
            scope.spawn(move || read_randomly(vm, device, t + 1, 200))
        };
        let all: Vec<_> = (0..threads).map(run).collect();
        all.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let report = vm.report();
    assert_eq!(errors > 0, fail_every > 0, "errors are those of the device");
    assert_eq!(report.stuck, 0);
    assert!(report.peak_bytes <= limit, "peak {} above the limit", report.peak_bytes);
    assert_eq!((report.pages_pinned, report.pages_busy), (0, 0), "nothing is held at the end");
    assert_eq!(report.gate_entries, threads * 200);
}

#[test]
fn a_thousand_threads_at_256_kib() {
    many_threads(PolicyKind::S3Fifo, Daemon::Thread, 1000, 0);
}

#[test]
fn two_hundred_threads_with_exact_lru_and_no_daemon_thread() {
    many_threads(PolicyKind::Lru, Daemon::Inline, 200, 0);
}

#[test]
fn a_device_that_fails_every_17th_read_fails_readers_and_nobody_else() {
    many_threads(PolicyKind::S3Fifo, Daemon::Thread, 64, 17);
}

#[test]
fn every_limit_boots_and_reads_or_is_refused_with_the_number_that_would_do() {
    for limit in (64 << 10..1 << 20).step_by(4096) {
        let options = BootOptions { limit_bytes: Some(limit), daemon: Daemon::Inline, ..Default::default() };
        match Vm::boot(options) {
            Ok(vm) => {
                let device = device(&vm, 1 << 20);
                assert_eq!(read_randomly(&vm, &device, limit | 1, 300), 0);
                assert!(vm.report().peak_bytes <= limit);
            }
            Err(error) => {
                let need = Plan::smallest_limit_bytes();
                assert_eq!(error, Error::LimitTooSmall { need, have: limit });
                assert!(limit < need);
            }
        }
    }
    assert!(Plan::smallest_limit_bytes() <= 256 << 10);
}

#[test]
fn the_last_page_of_a_device_ends_in_zeros_and_there_is_none_behind() {
    let vm = boot(256 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let device = device(&vm, 3 * 4096 + 1000);
    let r = vm.reserve(1);
    let page = device.page(&r, 3 * 4096, 5).unwrap();
    assert_eq!(page[992..1000], word(3 * 4096 + 992).to_le_bytes());
    assert!(page[1000..].iter().all(|b| *b == 0));
    drop(page);
    let need = 3 * 4096 + 1001;
    assert_eq!(device.page(&r, need - 1, 0).err(), Some(Error::ShortDevice { need, have: need - 1 }));
}

#[test]
fn wired_memory_is_refused_with_numbers_and_comes_back() {
    let vm = boot(256 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let device = device(&vm, 1 << 20);
    read_randomly(&vm, &device, 3, 200);
    let free = vm.report().in_use_bytes;
    let mut runs = Vec::new();
    let refusal = loop {
        match WiredRun::buffer(&vm, 5, "a test") {
            Ok(mut run) => {
                run.fill(runs.len() as u8);
                runs.push(run);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, Error::NoMemory { what: "a test", need: 5, have } if have < 5));
    assert!(runs.len() > 3, "most of the memory could be wired");
    assert_eq!(read_randomly(&vm, &device, 5, 200), 0, "and the rest still serves");
    assert!(runs.iter().enumerate().all(|(i, run)| run.iter().all(|b| *b == i as u8)));
    runs.clear();
    assert_eq!(read_randomly(&vm, &device, 7, 200), 0);
    assert!(vm.report().in_use_bytes >= free);
    assert_eq!(vm.report().buffers_bytes, 0);
}

/// Found by the simulation: pages in frames that had been wired in a row were not in the report.
#[test]
fn the_report_knows_pages_in_frames_that_were_wired_in_a_row() {
    let vm = boot(1 << 20, PolicyKind::S3Fifo, Daemon::Inline);
    let device = device(&vm, 1 << 20);
    let before = vm.report().in_use_bytes;
    drop(WiredRun::buffer(&vm, 4, "a test").unwrap());
    let r = vm.reserve(1);
    (0..3).for_each(|n| drop(device.page(&r, n * 4096, 0).unwrap()));
    let report = vm.report();
    assert_eq!((report.pages_clean, report.in_use_bytes), (3, before + 3 * 4096));
}

#[test]
fn a_device_that_goes_takes_its_pages_along() {
    let vm = boot(256 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let before = vm.report().in_use_bytes;
    for _ in 0..100 {
        let device = device(&vm, 1 << 20);
        read_randomly(&vm, &device, 3, 50);
        drop(device);
        assert_eq!(vm.report().in_use_bytes, before);
    }
}
