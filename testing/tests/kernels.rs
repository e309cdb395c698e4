//! A thousand kernels of 256 KiB in one process, on eight threads, each with an image of its own: one hangs in its device,
//! one is starved, the others do not mind; and each gives back all of its memory when it is closed.
//!
//! One test, as the host counts the memory of the whole process.

use rumpcap::block::{BlockDevice, Effect, Fault, FaultInjector, Operation};
use rumpcap::{Daemon, Error, Kernel, Lease, Mount, MountOptions};
use rumpcap_testing::corrupt::DamagedImage;
use rumpcap_testing::counting::{self, CountingAllocator};
use rumpcap_testing::images::{Kind, Spec, Tree};
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_testing::{SMALLEST_LIMIT_BYTES, skip};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const KERNELS: usize = 1000;
const THREADS: usize = 8;
/// Far beyond what the slowest host takes: what takes longer is stuck.
const HANGS: Duration = Duration::from_secs(180);

/// Its device does not answer from the tenth read of its walk on, until it is let.
const HANGING: usize = 3;
/// Its limit is the smallest, and all of it is lent out that can be.
const STARVED: usize = 4;

/// What a thousand kernels may leave on the heap: what a thread that is about to end has of it. Of each kernel it is 16
/// bytes, less than anything that one could forget.
const LEFT_ON_HEAP_BYTES: u64 = 16 << 10;

/// What a second thousand may leave more than the first in the host's memory: a page for each. What the allocator keeps for
/// later depends on how the threads came to run.
const LEFT_OVER_BYTES: u64 = KERNELS as u64 * PAGE_BYTES;

const PAGE_BYTES: u64 = 4096;

/// What the test itself has on the heap for each kernel: the page of the image that is the kernel's own, and its place.
const IMAGE_BYTES: u64 = PAGE_BYTES + 1024;

/// What all kernels share: one image, of which each has its own copy with its own number in a file.
struct Images {
    base: Arc<Vec<u8>>,
    /// Where in the image a file's content begins that may be changed.
    content_at: usize,
    path: &'static str,
}

impl Images {
    fn new() -> Images {
        let spec = Spec::new("kernels", Kind::Ext4).tree(Tree::TinyAndLarge).size(16).by_mke2fs();
        let base = Arc::new(std::fs::read(spec.image()).expect("an image"));
        let path = "/files/filler";
        let mut first = [0; 64];
        let mount = Kernel::builder().boot().and_then(|kernel| {
            kernel.mount(Arc::new(DamagedImage::new(base.clone())), &MountOptions::default())
        });
        let file = mount.and_then(|mount| mount.open(path)).expect("a file");
        assert_eq!(file.read_at(&mut first, 0), Ok(first.len()));
        let found: Vec<_> =
            base.windows(first.len()).enumerate().filter(|(_, bytes)| *bytes == first).collect();
        assert_eq!(found.len(), 1, "the file's content is in one place of the image");
        Images { content_at: found[0].0, path, base }
    }

    /// The image of kernel `number`.
    fn of(&self, number: usize) -> Arc<DamagedImage> {
        let mut image = DamagedImage::new(self.base.clone());
        image.put(self.content_at, format!("kernel {number:8}").as_bytes());
        Arc::new(image)
    }

    /// Walks all of the image and reads its files; gives the number of entries. Its number must be the kernel's.
    fn walk(&self, mount: &Mount, number: usize) -> Result<u64, Error> {
        let (mut entries, mut buffer) = (0, [0; 5000]);
        let mut walk = mount.walk("/")?;
        while let Some(entry) = walk.next_entry().map_err(|error| error.error)? {
            entries += 1;
            if entry.metadata().is_file() {
                let file = entry.open()?;
                // At odd places, so that pages are kept.
                for at in (100..entry.metadata().len().min(256 << 10)).step_by(7000) {
                    file.read_at(&mut buffer, at)?;
                }
            }
        }
        let mut text = [0; 15];
        mount.open(self.path)?.read_at(&mut text, 0)?;
        assert_eq!(text, format!("kernel {number:8}").as_bytes(), "another kernel's image");
        Ok(entries)
    }
}

fn boot(limit_bytes: u64) -> Kernel {
    Kernel::builder().memory_limit(limit_bytes).daemon(Daemon::Inline).boot().expect("booting")
}

fn smallest_limit_bytes() -> u64 {
    match Kernel::builder().memory_limit(1).boot() {
        Err(Error::LimitTooSmall { need, .. }) => need,
        _ => panic!("booted within a byte"),
    }
}

/// All that the kernel lends out.
fn lend_all(mount: &Mount, path: &str) -> Vec<Lease> {
    let file = mount.open(path).expect("a file");
    let lent = (0..).map_while(|n| file.lend(n * PAGE_BYTES).ok().flatten()).collect::<Vec<_>>();
    assert!(matches!(file.lend(lent.len() as u64 * PAGE_BYTES), Err(Error::NoMemory { .. })), "not starved");
    lent
}

/// Anonymous memory of this process that is in the host's memory; `None` on a host that does not tell.
fn anonymous_bytes() -> Option<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// One kernel at its work: mounted, and what it has lent out.
struct Working {
    /// Given back before the mount.
    _lent: Vec<Lease>,
    mount: Mount,
}

/// Boots kernel `number`, and has it walk.
fn work(images: &Images, number: usize, hanging: &Arc<FaultInjector>) -> (Working, u64) {
    let limit = if number == STARVED { smallest_limit_bytes() } else { SMALLEST_LIMIT_BYTES };
    let device: Arc<dyn BlockDevice> = if number == HANGING { hanging.clone() } else { images.of(number) };
    let mount = boot(limit).mount(device, &MountOptions::default()).expect("mounting");
    if number == HANGING {
        let nth = hanging.requests(Operation::Read) + 10;
        let hold = Fault { operation: Operation::Read, nth, effect: Effect::Hold };
        hanging.inject(hold).expect("room for a fault");
    }
    let lent = if number == STARVED { lend_all(&mount, images.path) } else { Vec::new() };
    let entries = images.walk(&mount, number).expect("a walk");
    (Working { _lent: lent, mount }, entries)
}

/// Has all kernels work on eight threads. The one that hangs is let go when all others are done.
fn work_all(images: &Images) -> Vec<Working> {
    let watchdog = Watchdog::new(THREADS + 1, HANGS);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let hanging = Arc::new(FaultInjector::new(images.of(HANGING)));
    let entries = Mutex::new(std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        for worker in 0..THREADS {
            let (watchdog, next, done, hanging, entries) = (&watchdog, &next, &done, &hanging, &entries);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= KERNELS {
                        break;
                    }
                    watchdog.begin(worker, format!("kernel {number}"));
                    let (working, found) = work(images, number, hanging);
                    entries.lock().expect("no thread panicked").insert(found);
                    done.lock().expect("no thread panicked").push(working);
                }
                watchdog.end(worker);
            });
        }
        watchdog.begin(THREADS, "all but one".to_owned());
        while done.lock().expect("no thread panicked").len() < KERNELS - 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(hanging.held(), 1, "the device did not hang");
        hanging.release();
        watchdog.end(THREADS);
    });
    assert_eq!(entries.into_inner().expect("no thread panicked").len(), 1, "all walks are of the same image");
    done.into_inner().expect("no thread panicked")
}

/// A thousand kernels from their boot to their end. Gives the anonymous memory that is left.
fn a_thousand(images: &Images) -> Option<u64> {
    let (before, heap_before) = (anonymous_bytes(), counting::live_bytes());
    let working = work_all(images);
    for Working { mount, .. } in &working {
        let report = mount.kernel().memory_report();
        assert!(report.peak_bytes <= report.limit_bytes && report.stuck == 0, "{report:?}");
        assert!(report.evictions > 0, "there was no want of memory: {report:?}");
    }
    if let (Some(before), Some(with_all)) = (before, anonymous_bytes()) {
        println!("{} KiB before, {} KiB with a thousand kernels", before >> 10, with_all >> 10);
        assert!(
            with_all - before <= KERNELS as u64 * (SMALLEST_LIMIT_BYTES + IMAGE_BYTES),
            "more than a thousand limits"
        );
    }
    working.into_iter().enumerate().for_each(|(n, one)| close(one, n % 20 == 0));
    let heap_after = counting::live_bytes();
    println!("{heap_before} bytes of heap before, {heap_after} after");
    assert!(
        heap_after <= heap_before + LEFT_ON_HEAP_BYTES,
        "{heap_before} bytes of heap before, {heap_after} after"
    );
    anonymous_bytes()
}

/// Closes a kernel; if it is under watch, the frames that it used must be the host's again.
fn close(one: Working, is_watched: bool) {
    let report = one.mount.kernel().memory_report();
    let frames = report.in_use_bytes - report.tables_bytes;
    let measure = || if is_watched { anonymous_bytes() } else { None };
    let with = measure();
    drop(one);
    if let (Some(with), Some(without)) = (with, measure()) {
        assert!(with >= without + frames, "{frames} bytes of frames: {with} bytes before, {without} after");
    }
}

#[test]
fn a_thousand_kernels_work_and_give_everything_back() {
    assert!(counting::is_installed());
    let images = Images::new();
    let (first, second) = (a_thousand(&images), a_thousand(&images));
    let (Some(first), Some(second)) = (first, second) else {
        return skip::skip("the host does not tell a process's anonymous memory");
    };
    println!("{} KiB after the first thousand, {} KiB after the second", first >> 10, second >> 10);
    assert!(
        second <= first + LEFT_OVER_BYTES,
        "{first} bytes after the first thousand, {second} after the second"
    );
}
