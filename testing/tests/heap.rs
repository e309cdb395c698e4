//! The kernel does not touch the heap after boot and mount: walks, reads, attributes and checks at 256 KiB ask it for nothing.
//!
//! One test, as the counters are of the whole process: the pagedaemon's thread is seen too.

use rumpcap::block::FileDevice;
use rumpcap::{Kernel, Mount, MountOptions};
use rumpcap_testing::SMALLEST_LIMIT_BYTES;
use rumpcap_testing::counting::{self, CountingAllocator, Heap};
use rumpcap_testing::images::matrix;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What the handle of a walk may hold: its path, a level for each directory on it, a run of attributes.
const WALK_HANDLE_BYTES: u64 = 64 << 10;
/// How often it may ask for these as they grow. Neither depends on the number of entries.
const WALK_ALLOCATIONS: u64 = 300;

fn assert_handle_only(name: &str, entries: u64, heap: Heap) {
    let little = heap.peak_bytes < WALK_HANDLE_BYTES && heap.allocations < WALK_ALLOCATIONS;
    assert!(little, "{name}: a walk of {entries} entries asked for {heap:?}");
}

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

/// Regular files with their paths and sizes.
fn files(mount: &Mount) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    let mut walk = mount.walk("/").expect("a walk");
    while let Some(entry) = walk.next_entry().expect("an entry") {
        if entry.metadata().is_file() {
            files.push((entry.path().to_owned(), entry.metadata().len()));
        }
    }
    files
}

fn metadata_of(mount: &Mount, files: &[(PathBuf, u64)]) {
    for (path, size) in files {
        assert_eq!(mount.metadata(path).expect("attributes").len(), *size);
    }
}

/// The least that one of three runs of `work` asks for: the start of a kernel's thread may fall into the first, what an
/// operation needs is in all.
fn measure_steady<T>(mut work: impl FnMut() -> T) -> (T, Heap) {
    let runs = [(); 3].map(|()| counting::measure(&mut work));
    runs.into_iter().min_by_key(|(_, heap)| heap.allocations).expect("three runs")
}

const NOTHING: Heap = Heap { allocations: 0, bytes: 0, peak_bytes: 0 };

fn check(name: &str) {
    let mount = mount(name);
    let files = files(&mount);
    assert!(files.len() > 100, "{name}: {} files", files.len());
    let ((), by_name) = measure_steady(|| metadata_of(&mount, &files));
    assert_eq!(by_name, NOTHING, "{name}: look-ups by name");
    let mut buffer = vec![0; 64 << 10];
    let (bytes, reading) = measure_steady(|| {
        let mut bytes = 0;
        for (path, size) in &files {
            let file = mount.open(path).expect("a file");
            let mut at = 0;
            while at < (*size).min(2 << 20) {
                at += file.read_at(&mut buffer, at).expect("content") as u64;
            }
            assert!(file.segment_at(0).is_ok());
            bytes += at;
        }
        bytes
    });
    assert!(bytes > 100_000, "{name}: {bytes} bytes read");
    assert_eq!(reading, NOTHING, "{name}: opening and reading");
    let ((), missing) = measure_steady(|| {
        for n in 0..100 {
            assert!(mount.metadata(["/no", "/directories/no", "/names/nothing"][n % 3]).is_err());
        }
    });
    assert_eq!(missing, NOTHING, "{name}: names that are not there");
    let (errors, checking) = measure_steady(|| {
        let summary = mount.check(&mut |_| ControlFlow::Continue(()));
        summary.expect("a check").errors
    });
    assert_eq!((errors, checking), (0, NOTHING), "{name}: a check");
    let (entries, walking) = counting::measure(|| walk(&mount));
    println!("{name}: walk of {entries} entries: {walking:?}");
    assert_handle_only(name, entries, walking);
}

#[test]
fn no_heap_after_mount() {
    assert!(counting::is_installed());
    for name in ["ext4-default", "ext2-1k", "ext4-1k", "inline-and-ea-inode", "ext4-64k", "names-20000"] {
        if name != "names-20000" {
            check(name);
            continue;
        }
        // The handle of a walk does not grow with the directory.
        let mount = mount(name);
        let (entries, walking) = counting::measure(|| walk(&mount));
        assert!(entries > 20_000);
        assert_handle_only(name, entries, walking);
    }
}
