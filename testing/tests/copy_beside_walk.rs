//! A copy of a file of 10 GiB does not push out the directory that is being walked: metadata and data compete in one queue,
//! and who passes once does not win against who comes again.

use rumpcap::{File, Kernel, Mount, MountOptions, PolicyKind, TraceEvent};
use rumpcap_testing::images::build::tools_exist;
use rumpcap_testing::images::ten_gib::{self, BIG_FILE_BYTES, ComputedDevice, DIRECTORIES, FILES, Run};
use rumpcap_testing::skip::skip;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Reads of metadata since the kernel was booted.
#[derive(Default)]
struct Counter {
    device: AtomicU64,
    metadata_reads: AtomicU64,
}

struct Scene {
    kernel: Kernel,
    mount: Mount,
    big: File,
    runs: Vec<Run>,
    counter: Arc<Counter>,
    copied_bytes: u64,
}

fn scene(limit_bytes: u64, policy: PolicyKind) -> Scene {
    let (device, runs) = ten_gib::device();
    let counter = Arc::new(Counter::default());
    let listener = counter.clone();
    let kernel =
        Kernel::builder().memory_limit(limit_bytes).policy(policy).trace(Arc::new(
            move |event| match event {
                TraceEvent::Device { object } => listener.device.store(object.into(), Relaxed),
                TraceEvent::Read { object, .. } if u64::from(object) == listener.device.load(Relaxed) => {
                    listener.metadata_reads.fetch_add(1, Relaxed);
                }
                _ => {}
            },
        ));
    let kernel = kernel.boot().expect("booting");
    let mount = kernel.mount(Arc::new(device), &MountOptions::default()).expect("mounting");
    let big = mount.open("/big").expect("the file");
    assert_eq!(big.metadata().expect("attributes").len(), BIG_FILE_BYTES);
    Scene { kernel, mount, big, runs, counter, copied_bytes: 0 }
}

impl Scene {
    /// Walks the directory; gives the pages of metadata that had to be read.
    fn walk(&self) -> u64 {
        let before = self.counter.metadata_reads.load(Relaxed);
        let mut walk = self.mount.walk("/walked").expect("a walk");
        let mut entries = 0;
        while walk.next_entry().expect("an entry").is_some() {
            entries += 1;
        }
        assert_eq!(entries, 1 + DIRECTORIES + DIRECTORIES * FILES);
        self.counter.metadata_reads.load(Relaxed) - before
    }

    /// Goes on with the copy in pieces of `buf`.
    fn copy(&mut self, len_bytes: u64, buf: &mut [u8]) {
        let to = self.copied_bytes + len_bytes;
        while self.copied_bytes < to {
            let n = self.big.read_at(buf, self.copied_bytes).expect("reading");
            assert_eq!(n, buf.len());
            for at in [0, n - 1] {
                let offset = self.copied_bytes + at as u64;
                assert_eq!(buf[at], self.byte_at(offset), "the byte at {offset}");
            }
            self.copied_bytes += n as u64;
        }
    }

    fn byte_at(&self, offset: u64) -> u8 {
        let block = offset / 4096;
        let run = &self.runs[self.runs.partition_point(|run| run.logical <= block) - 1];
        ComputedDevice::byte_of(run.physical + block - run.logical)
    }
}

/// Walks, each followed by a stretch of the copy; gives the pages of metadata that each walk had to read.
fn walks_and_copy(scene: &mut Scene, walks: usize, between_bytes: u64, piece_bytes: usize) -> Vec<u64> {
    let mut buf = vec![0; piece_bytes];
    let walk_and_copy = |_| {
        let reads = scene.walk();
        scene.copy(between_bytes, &mut buf);
        reads
    };
    (0..walks).map(walk_and_copy).collect()
}

/// At first the directory is as new as the file; from the third walk on it stays, however much is copied in between and in
/// whichever pieces: small ones go through the pages, large ones past them.
#[test]
fn the_directory_stays() {
    if !tools_exist() {
        return skip("no e2fsprogs");
    }
    for limit_bytes in [160 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20] {
        for piece_bytes in [1 << 10, 4 << 10, 64 << 10] {
            for between_bytes in [64 << 10, 1 << 20, 12 << 20] {
                let mut scene = scene(limit_bytes, PolicyKind::S3Fifo);
                let reads = walks_and_copy(&mut scene, 10, between_bytes, piece_bytes);
                let later: u64 = reads[2..].iter().sum();
                let case = format!("{limit_bytes}, {piece_bytes} at once, {between_bytes} between");
                assert!(later <= 2, "{case}: pages of metadata read by each walk: {reads:?}");
                assert!(scene.kernel.memory_report().peak_bytes <= limit_bytes);
            }
        }
    }
}

/// All of the file passes between two walks.
#[test]
fn all_ten_gib_pass_by() {
    if !tools_exist() {
        return skip("no e2fsprogs");
    }
    for piece_bytes in [4 << 10, 256 << 10] {
        let mut scene = scene(256 << 10, PolicyKind::S3Fifo);
        walks_and_copy(&mut scene, 3, 1 << 20, piece_bytes);
        let mut buf = vec![0; piece_bytes];
        scene.copy(BIG_FILE_BYTES - scene.copied_bytes, &mut buf);
        assert_eq!(scene.walk(), 0, "pages of metadata read after the copy in pieces of {piece_bytes}");
    }
}

/// The tests above ask for something: exact LRU loses the directory each time.
#[test]
fn lru_loses_it() {
    if !tools_exist() {
        return skip("no e2fsprogs");
    }
    let reads = walks_and_copy(&mut scene(256 << 10, PolicyKind::Lru), 10, 1 << 20, 4 << 10);
    assert!(reads.iter().all(|reads| *reads >= 8), "{reads:?}");
}
