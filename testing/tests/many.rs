//! Many kernels in one process, and many threads in one kernel, at the smallest limit: all finish, and nobody is stuck.

use rumpcap::block::FileDevice;
use rumpcap::{Kernel, Mount, MountOptions};
use rumpcap_testing::SMALLEST_LIMIT_BYTES;
use rumpcap_testing::images::matrix;
use rumpcap_testing::seed::Random;
use rumpcap_testing::watchdog::Watchdog;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Far beyond what the slowest host takes: what takes longer is stuck.
const HANGS: Duration = Duration::from_secs(180);

fn mount(name: &str) -> Mount {
    let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
    let device = Arc::new(FileDevice::open(&matrix::named(name).image()).expect("an image"));
    kernel.mount(device, &MountOptions::default()).expect("mounting")
}

fn walk(mount: &Mount) -> u64 {
    let mut entries = 0;
    let mut walk = mount.walk("/").expect("a walk");
    while walk.next_entry().expect("an entry").is_some() {
        entries += 1;
    }
    entries
}

/// A thousand kernels exist at once; eight threads make them walk.
#[test]
fn a_thousand_kernels_walk() {
    const KERNELS: usize = 1000;
    const THREADS: usize = 8;
    let image = matrix::named("small").image();
    let expected = walk(&mount("small"));
    let boot = || {
        let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
        let device = Arc::new(FileDevice::open(&image).expect("an image"));
        kernel.mount(device, &MountOptions::default()).expect("mounting")
    };
    let watchdog = Watchdog::new(THREADS, HANGS);
    let (next, mounts) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..THREADS {
            let (watchdog, next, mounts) = (&watchdog, &next, &mounts);
            let boot = &boot;
            scope.spawn(move || {
                while next.fetch_add(1, Relaxed) < KERNELS as u64 {
                    watchdog.begin(worker, "one of a thousand kernels".to_owned());
                    let mount = boot();
                    assert_eq!(walk(&mount), expected);
                    mounts.lock().expect("no thread panicked").push(mount);
                }
                watchdog.end(worker);
            });
        }
    });
    let mounts = mounts.into_inner().expect("no thread panicked");
    assert_eq!(mounts.len(), KERNELS);
    for mount in mounts {
        let report = mount.kernel().memory_report();
        assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES && report.stuck == 0, "{report:?}");
        assert_eq!(report.pages_pinned, 0, "{report:?}");
    }
}

/// Reads at random places, by many threads, of all files of an image: each compared with what one thread read before.
fn random_reads(threads: usize, reads: usize, name: &str) {
    let mount = mount(name);
    let files: Vec<(PathBuf, Vec<u8>)> = contents(&mount);
    let watchdog = Watchdog::new(threads, HANGS);
    std::thread::scope(|scope| {
        for worker in 0..threads {
            let (mount, files, watchdog) = (&mount, &files, &watchdog);
            let reader = move || {
                watchdog.begin(worker, format!("reader {worker} of {threads}"));
                let mut random = Random::new(worker as u64);
                for _ in 0..reads {
                    read_one(mount, files, &mut random);
                }
                watchdog.end(worker);
            };
            let small = std::thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, reader).expect("a thread");
        }
    });
    let report = mount.kernel().memory_report();
    assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES, "{report:?}");
    assert_eq!((report.stuck, report.pages_pinned), (0, 0), "{report:?}");
    assert!(report.evictions > 0, "there was no want of memory: {report:?}");
}

fn contents(mount: &Mount) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut walk = mount.walk("/").expect("a walk");
    while let Some(entry) = walk.next_entry().expect("an entry") {
        if entry.metadata().is_file() && (1..2 << 20).contains(&entry.metadata().len()) {
            let mut content = vec![0; entry.metadata().len() as usize];
            let read = entry.open().expect("a file").read_at(&mut content, 0).expect("content");
            assert_eq!(read, content.len());
            files.push((entry.path().to_owned(), content));
        }
    }
    assert!(files.len() > 30);
    files
}

fn read_one(mount: &Mount, files: &[(PathBuf, Vec<u8>)], random: &mut Random) {
    let (path, content) = random.pick(files);
    let file = mount.open(path).expect("a file");
    let mut buffer = [0; 4096];
    let at = random.below(content.len() as u64) as usize;
    let read = file.read_at(&mut buffer, at as u64).expect("content");
    assert_eq!(read, buffer.len().min(content.len() - at), "{} at {at}", path.display());
    assert!(buffer[..read] == content[at..at + read], "{} at {at} reads wrong", path.display());
}

#[test]
fn sixty_four_threads_read() {
    random_reads(64, 300, "ext4-default");
}

#[test]
fn sixty_four_threads_read_block_maps() {
    random_reads(64, 300, "ext2-1k");
}

#[test]
fn a_thousand_threads_read() {
    random_reads(1000, 20, "ext4-default");
}

/// Walks, look-ups and reads at once.
#[test]
fn threads_walk_while_others_read() {
    let mount = mount("ext4-1k");
    let files = contents(&mount);
    let expected = walk(&mount);
    let watchdog = Watchdog::new(24, HANGS);
    std::thread::scope(|scope| {
        for worker in 0..24 {
            let (mount, files, watchdog) = (&mount, &files, &watchdog);
            scope.spawn(move || {
                watchdog.begin(worker, format!("worker {worker}"));
                let mut random = Random::new(worker as u64);
                if worker % 3 == 0 {
                    assert_eq!(walk(mount), expected);
                } else {
                    (0..300).for_each(|_| read_one(mount, files, &mut random));
                }
                watchdog.end(worker);
            });
        }
    });
    let report = mount.kernel().memory_report();
    assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES && report.stuck == 0, "{report:?}");
}
