//! A thousand threads in one kernel of 256 KiB: in one file of 1 GiB, each in a file of its own, walking, and all of it on
//! a device that is slow and fails. Every byte that is read is compared with what was written into the file.
//!
//! The longest wait at the gate is printed. What bounds it is the order of arrival: see `gate`.

use crate::support::{HANGS, Pattern, boot, spawn, watch, word};
use rumpcap::block::{BlockDevice, Effect, FaultInjector, FileDevice, Operation, Recurring};
use rumpcap::{Error, File, Kernel, Mount, MountOptions, Result};
use rumpcap_testing::SMALLEST_LIMIT_BYTES;
use rumpcap_testing::images::{Kind, Spec, Tree};
use rumpcap_testing::seed::Random;
use rumpcap_testing::tree::crowd;
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_vm::{Daemon, DeviceObject, PAGE_SIZE, PolicyKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};

const THREADS: usize = 1000;
/// An errno that the host does not give by itself for a regular file.
const ERRNO: i32 = 121;

pub fn image() -> Arc<dyn BlockDevice> {
    let spec = Spec::new("crowd", Kind::Ext4).features("^has_journal").arguments("-N 2048").size(1100);
    let path = spec.tree(Tree::Crowd).by_mke2fs().image();
    Arc::new(FileDevice::open(&path).expect("an image"))
}

fn mount(device: Arc<dyn BlockDevice>) -> Mount {
    let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
    kernel.mount(device, &MountOptions::default()).expect("mounting")
}

/// Has a thousand threads work, each its `work` with its number; gives the number of errors of the device that they met.
fn crowd(what: &str, mount: &Mount, work: impl Fn(&Mount, u64) -> Result<()> + Sync) -> u64 {
    let kernel = mount.kernel().clone();
    let watchdog = Watchdog::showing(THREADS, HANGS, move || format!("{:#?}", kernel.memory_report()));
    let (errors, all_are_here) = (AtomicU64::new(0), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for worker in 0..THREADS {
            let (watchdog, work, errors, all_are_here) = (&watchdog, &work, &errors, &all_are_here);
            spawn(scope, move || {
                all_are_here.wait();
                watchdog.begin(worker, format!("{what}, thread {worker}"));
                match work(mount, worker as u64) {
                    Ok(()) => {}
                    Err(Error::Io { errno: ERRNO, .. }) => drop(errors.fetch_add(1, Relaxed)),
                    Err(error) => panic!("{what}, thread {worker}: {error}"),
                }
                watchdog.end(worker);
            });
        }
    });
    let report = mount.kernel().memory_report();
    println!(
        "{what}: {} entries, {} waited at the gate, the longest for {} ms; {} waits for frames, {} for busy pages",
        report.gate_entries,
        report.gate_waits,
        report.gate_longest_wait_ns / 1_000_000,
        report.frame_waits,
        report.busy_waits,
    );
    assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES, "{report:?}");
    let held = (report.pages_pinned, report.pages_busy, report.gate_waiting);
    assert_eq!((held, report.stuck), ((0, 0, 0), 0), "{report:?}");
    assert!(report.evictions > 0, "there was no want of memory: {report:?}");
    errors.into_inner()
}

/// Reads up to two pages and a bit at `at`, and compares with `expected`.
fn read(file: &File, at: u64, len: usize, expected: impl Fn(&mut [u8])) -> Result<()> {
    let (mut buffer, mut truth) = ([0xaa; 9000], [0; 9000]);
    let size = file.metadata()?.len();
    let there = len.min(usize::try_from(size - at).unwrap_or(usize::MAX));
    assert_eq!(file.read_at(&mut buffer[..len], at)?, there, "at {at} of {size}");
    expected(&mut truth[..there]);
    assert!(buffer[..there] == truth[..there], "wrong bytes between {at} and {}", at + there as u64);
    Ok(())
}

fn read_large(mount: &Mount, random: &mut Random, reads: u64) -> Result<()> {
    let file = mount.open(crowd::LARGE_PATH)?;
    for n in 0..reads {
        let place = random.next();
        let at = if n % 4 == 3 { place % crowd::LARGE_BYTES } else { crowd::near_an_island(place) };
        read(&file, at, 1 + random.below(9000) as usize, |truth| crowd::large_content(at, truth))?;
    }
    Ok(())
}

fn read_own(mount: &Mount, number: u64, random: &mut Random, reads: u64) -> Result<()> {
    let file = mount.open(crowd::own_path(number))?;
    for _ in 0..reads {
        let at = random.below(crowd::own_bytes(number));
        read(&file, at, 1 + random.below(9000) as usize, |truth| crowd::own_content(number, at, truth))?;
    }
    Ok(())
}

/// Walks everything; gives how many entries there were, and the first error.
fn walk(mount: &Mount) -> Result<u64> {
    let (mut entries, mut outcome) = (0, Ok(()));
    let mut walk = mount.walk("/")?;
    loop {
        match walk.next_entry() {
            Ok(Some(_)) => entries += 1,
            Ok(None) => return outcome.map(|()| entries),
            Err(error) => outcome = outcome.and(Err(error.error)),
        }
    }
}

#[test]
fn in_one_file_of_1_gib() {
    let errors = crowd("one file", &mount(image()), |mount, n| read_large(mount, &mut Random::new(n), 12));
    assert_eq!(errors, 0);
}

#[test]
fn each_in_a_file_of_its_own() {
    let errors = crowd("own files", &mount(image()), |mount, n| read_own(mount, n, &mut Random::new(n), 8));
    assert_eq!(errors, 0);
}

#[test]
fn all_walk() {
    let mount = mount(image());
    let expected = walk(&mount).expect("a walk");
    assert!(expected > crowd::OWN_FILES, "{expected} entries");
    let errors = crowd("walks", &mount, |mount, _| {
        assert_eq!(walk(mount)?, expected);
        Ok(())
    });
    assert_eq!(errors, 0);
}

/// A read in four takes a millisecond, others up to fifty; every hundredth fails. Who meets an error gives up: it has met
/// the device's, and nobody meets another.
#[test]
fn all_at_once_on_a_device_that_is_slow_and_fails() {
    let device = Arc::new(FaultInjector::new(image()));
    let mount = mount(device.clone());
    let entries = walk(&mount).expect("a walk");
    let fail = Effect::Fail { errno: ERRNO };
    let delay = |milliseconds| Effect::Delay { milliseconds };
    for (every, effect) in [(100, fail), (64, delay(50)), (16, delay(10)), (4, delay(1))] {
        let fault = Recurring { operation: Operation::Read, every, effect };
        device.inject_recurring(fault).expect("room for a fault");
    }
    let errors = crowd("slow and failing", &mount, |mount, n| {
        let random = &mut Random::new(n);
        match n % 10 {
            0..5 => read_large(mount, random, 4),
            5..9 => read_own(mount, n, random, 4),
            _ if n < 100 => walk(mount).map(|found| assert_eq!(found, entries)),
            _ => mount.metadata(crowd::own_path(n)).map(|found| assert_eq!(found.len(), crowd::own_bytes(n))),
        }
    });
    println!("{errors} threads met an error, of {} reads that failed or took long", device.fired());
    assert!(errors > 0, "no thread met an error");
    device.reset();
    assert_eq!(walk(&mount), Ok(entries), "it works again when the device does");
}

/// The same without a file system: one object of 1 GiB, two pages pinned at a time, on a device that computes its bytes.
#[test]
fn in_one_object_of_1_gib() {
    const READS: u64 = 50;
    let vm = boot(SMALLEST_LIMIT_BYTES, PolicyKind::S3Fifo, Daemon::Thread);
    let device = DeviceObject::attach(&vm, Arc::new(Pattern { len_bytes: 1 << 30 })).expect("a device");
    let (watchdog, all_are_here) = (watch(&vm, THREADS), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for worker in 0..THREADS {
            let (vm, device, watchdog, all_are_here) = (&vm, &device, &watchdog, &all_are_here);
            spawn(scope, move || {
                all_are_here.wait();
                watchdog.begin(worker, format!("thread {worker} in one object"));
                let mut random = Random::new(worker as u64);
                for _ in 0..READS {
                    let places = [random.below(1 << 27) * 8, random.below(1 << 27) * 8];
                    let r = vm.reserve(2);
                    let pages = places.map(|at| device.page(&r, at, 3).expect("the device does not fail"));
                    for (at, page) in places.into_iter().zip(pages) {
                        let within = at as usize % PAGE_SIZE;
                        assert_eq!(page[within..within + 8], word(at), "wrong bytes at {at}");
                    }
                }
                watchdog.end(worker);
            });
        }
    });
    let report = vm.report();
    assert_eq!((report.gate_entries, report.stuck), (THREADS as u64 * READS, 0));
    assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES, "{report:?}");
    println!("one object: the longest wait at the gate took {} ms", report.gate_longest_wait_ns / 1_000_000);
}
