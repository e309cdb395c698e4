//! Thousands of damaged images: every one is mounted and read as far as it goes. Errors are fine. A panic, a loop without end,
//! and memory above the limit are not.
//!
//! `RUMPCAP_CORRUPT_SEED=<base>:<seed>` runs one image; `RUMPCAP_CORRUPT_COUNT` says how many of each base are run. An image
//! that breaks something is kept beside the other test images.

use rumpcap::{Kernel, MountOptions};
use rumpcap_testing::corrupt::{Base, DamagedImage, Structure, checksum};
use rumpcap_testing::counting::{self, CountingAllocator};
use rumpcap_testing::exercise::{self, Outcome};
use rumpcap_testing::images::{Kind, Spec, Step, Tree, cache, journal};
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_testing::{SMALLEST_LIMIT_BYTES, loop_mount, skip};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Images of each base; ten thousand and more altogether.
const COUNT: u64 = 1000;
/// What the process may have on the heap for one image on each of its threads: the library's handles, paths and values
/// of attributes (64 KiB each at most), and the test's own.
const HEAP_BYTES: u64 = 48 << 20;
/// Far beyond what an image takes on a slow host.
const HANGS: Duration = Duration::from_secs(60);

fn small(name: &'static str, kind: Kind) -> Spec {
    Spec::new(name, kind).tree(Tree::Small).size(8).block(1024)
}

fn bases() -> Vec<(&'static str, PathBuf)> {
    let specs = [
        small("corrupt-ext2", Kind::Ext2).inode(128),
        small("corrupt-ext3", Kind::Ext3),
        small("corrupt-ext4-1k", Kind::Ext4),
        small("corrupt-ext4-4k", Kind::Ext4).block(4096).size(16),
        small("corrupt-no-csum", Kind::Ext4).features("^metadata_csum"),
        small("corrupt-uninit", Kind::Ext4).features("uninit_bg,^metadata_csum"),
        small("corrupt-inline", Kind::Ext4).features("inline_data,ea_inode"),
        small("corrupt-inline-no-csum", Kind::Ext4).features("inline_data,ea_inode,^metadata_csum"),
        small("corrupt-meta-bg", Kind::Ext4).features("meta_bg,^resize_inode").arguments("-g 1024"),
        small("corrupt-bigalloc", Kind::Ext4).features("bigalloc").arguments("-C 4096"),
        Spec::new("corrupt-casefold", Kind::Ext4)
            .tree(Tree::Casefold)
            .size(8)
            .block(1024)
            .features("casefold")
            .extended("encoding=utf8")
            .by_mke2fs()
            .after(Step::Debugfs("sif /fold flags 0x40080000"))
            .after(Step::Debugfs("sif /many flags 0x40080000"))
            .after(Step::Fsck("-D")),
    ];
    let mut bases: Vec<_> = specs.iter().map(|spec| (spec.name, spec.image())).collect();
    if loop_mount::available() {
        for name in ["dirty-1k", "dirty-v1-csum", "dirty-no-csum"] {
            bases.push((name, journal::named(name).image()));
        }
    } else {
        skip::skip("no loop mounts: journals are not corrupted");
    }
    bases
}

#[test]
fn damaged_images_give_errors_and_nothing_worse() {
    assert!(counting::is_installed());
    let bases: Vec<Base> = bases().iter().map(|(name, path)| Base::load(name, path)).collect();
    if let Ok(replay) = std::env::var("RUMPCAP_CORRUPT_SEED") {
        let (name, seed) = replay.split_once(':').expect("RUMPCAP_CORRUPT_SEED is <base>:<seed>");
        let base = bases.iter().find(|base| base.name == name).expect("a base of that name");
        run_one(base, seed.parse().expect("a seed"), true);
        return;
    }
    let count = std::env::var("RUMPCAP_CORRUPT_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(COUNT);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let watchdog = Watchdog::new(workers, HANGS);
    let (next, failures, tally) = (AtomicU64::new(0), AtomicU64::new(0), Tally::default());
    let total = count * bases.len() as u64;
    let ((), heap) = counting::measure(|| {
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (bases, watchdog, next, failures, tally) = (&bases, &watchdog, &next, &failures, &tally);
                scope.spawn(move || work(worker, bases, watchdog, next, total, failures, tally));
            }
        });
    });
    println!("{total} damaged images, at most {} KiB of heap: {tally:?}", heap.peak_bytes >> 10);
    assert_eq!(failures.load(Relaxed), 0, "damaged images broke something: see above");
    assert!(heap.peak_bytes < HEAP_BYTES, "the heap grew to {} bytes", heap.peak_bytes);
    tally.assert_thorough(total);
}

/// What the images came to, to see that the damage was neither fatal at once nor without effect.
#[derive(Debug, Default)]
struct Tally {
    mounted: AtomicU64,
    with_errors: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn add(&self, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return };
        self.mounted.fetch_add(1, Relaxed);
        self.with_errors.fetch_add(u64::from(outcome.errors > 0), Relaxed);
        self.entries.fetch_add(outcome.entries, Relaxed);
        self.bytes.fetch_add(outcome.bytes, Relaxed);
    }

    fn assert_thorough(&self, total: u64) {
        assert!(self.mounted.load(Relaxed) > total / 3, "hardly any image was mounted: {self:?}");
        assert!(self.with_errors.load(Relaxed) > total / 10, "hardly any damage was noticed: {self:?}");
        assert!(self.entries.load(Relaxed) > total * 20, "hardly anything was visited: {self:?}");
    }
}

fn work(
    worker: usize,
    bases: &[Base],
    watchdog: &Watchdog,
    next: &AtomicU64,
    total: u64,
    failures: &AtomicU64,
    tally: &Tally,
) {
    loop {
        let n = next.fetch_add(1, Relaxed);
        if n >= total || failures.load(Relaxed) >= 20 {
            return;
        }
        let (base, seed) = (&bases[(n % bases.len() as u64) as usize], n / bases.len() as u64);
        watchdog.begin(worker, format!("RUMPCAP_CORRUPT_SEED={}:{seed}", base.name));
        match catch_unwind(AssertUnwindSafe(|| run_one(base, seed, false))) {
            Ok(outcome) => tally.add(outcome),
            Err(_) => {
                failures.fetch_add(1, Relaxed);
                report(base, seed);
            }
        }
        watchdog.end(worker);
    }
}

fn report(base: &Base, seed: u64) {
    let (image, damage) = base.damage(seed);
    let kept = cache::directory().join(format!("broke-{}-{seed}.img", base.name));
    let _ = std::fs::write(&kept, image.to_bytes());
    eprintln!(
        "replay with RUMPCAP_CORRUPT_SEED={}:{seed}; kept as {}\n  {damage:?}",
        base.name,
        kept.display()
    );
}

/// What was done with the image, if it could be mounted.
fn run_one(base: &Base, seed: u64, verbose: bool) -> Option<Outcome> {
    let (image, damage) = base.damage(seed);
    if verbose {
        println!("{damage:#?}");
    }
    let len = base.bytes().len() as u64;
    let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
    let mounted = kernel.mount(Arc::new(image), &MountOptions::default());
    let outcome = mounted.as_ref().map(|mount| exercise::exercise(mount, len));
    if verbose {
        println!("{outcome:?}");
    }
    let report = kernel.memory_report();
    assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES, "peak {}", report.peak_bytes);
    assert_eq!(report.stuck, 0, "stuck: {report:?}");
    assert_eq!(report.pages_pinned, 0, "pages stay pinned: {report:?}");
    outcome.ok()
}

/// The corruptor aims at something, and its checksums are those of the real tools.
#[test]
fn mending_an_undamaged_image_changes_nothing() {
    for (name, path) in bases() {
        let base = Base::load(name, &path);
        let has = |structure| base.places().iter().any(|place| place.structure == structure);
        for structure in [Structure::Inode, Structure::DirectoryBlock, Structure::Bitmap] {
            assert!(has(structure), "{name}: no {structure:?} found");
        }
        let undamaged = Arc::new(base.bytes().to_vec());
        for place in base.places() {
            let mut image = DamagedImage::new(Arc::clone(&undamaged));
            checksum::mend(&mut image, place, base.geometry());
            let found = image.get(place.offset, place.len);
            assert_eq!(found, base.bytes()[place.offset..place.offset + place.len], "{name}: {place:?}");
        }
    }
}

/// Without damage, the same exercise gives no error: it is the damage that makes them.
#[test]
fn undamaged_images_give_no_errors() {
    for (name, path) in bases() {
        let bytes = Arc::new(std::fs::read(&path).expect("reading an image"));
        let len = bytes.len() as u64;
        let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
        let mount = kernel.mount(Arc::new(DamagedImage::new(bytes)), &MountOptions::default());
        let outcome = exercise::exercise(&mount.unwrap_or_else(|e| panic!("{name}: {e}")), len);
        assert!(outcome.entries > 30, "{name}: {outcome:?}");
        assert!(outcome.bytes > 200 && outcome.errors == 0, "{name}: {outcome:?}");
    }
}
