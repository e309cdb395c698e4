//! What a hit costs, against a plain copy: `cargo run --release -p rumpcap --example hits`; docs/bench/hits.md is its output.
//!
//! Reads of 4 KiB at random pages of a file that is resident, by one thread, by two threads in one file and by two in a file
//! each; and `memcpy` from a buffer of the same size at the same places. Rounds are of about a millisecond and take turns;
//! of each kind the fastest counts, so that what else the machine does in between does not. Needs mke2fs.
#![forbid(unsafe_code)]

use rumpcap::block::FileDevice;
use rumpcap::{File, Kernel, MountOptions, PolicyKind};
use std::error::Error;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// Pages of each file, so that two of them and their copies are in a second-level cache of 1 MiB.
const PAGES: usize = 64;
/// Reads of one thread in a round.
const READS: usize = 20_000;
const ROUNDS: usize = 200;

fn random_pages(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..READS).map(move |_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 40) as usize % PAGES
    })
}

/// Copies pages from one place or the other.
#[derive(Clone)]
enum Source {
    Buffer(Arc<Vec<u8>>),
    File(Arc<File>),
}

impl Source {
    fn read(&self, page: usize, buf: &mut [u8]) {
        match self {
            Source::Buffer(bytes) => buf.copy_from_slice(black_box(&bytes[page * PAGE..][..PAGE])),
            Source::File(file) => assert_eq!(file.read_at(buf, (page * PAGE) as u64), Ok(PAGE)),
        }
    }

    fn round(&self, seed: u64) {
        let mut buf = vec![0; PAGE];
        for page in random_pages(seed) {
            self.read(page, &mut buf);
            black_box(&mut buf);
        }
    }
}

/// The time in which each of `sources` is read from by a thread of its own.
fn time(sources: &[Source], seed: u64) -> Duration {
    if let [only] = sources {
        let begin = Instant::now();
        only.round(seed);
        return begin.elapsed();
    }
    let barrier = Barrier::new(sources.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = sources
            .iter()
            .zip(0..)
            .map(|(source, thread)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let begin = Instant::now();
                    source.round(seed + thread * 1000);
                    (begin, Instant::now())
                })
            })
            .collect();
        let times: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        assert_eq!(times.len(), sources.len(), "a thread has panicked");
        let (begin, end) = (times.iter().map(|time| time.0).min(), times.iter().map(|time| time.1).max());
        begin.zip(end).map_or(Duration::MAX, |(begin, end)| end - begin)
    })
}

/// A kernel, and two files that are resident in it.
type Resident = (Kernel, [Arc<File>; 2]);

/// Two files of [`PAGES`] pages, resident.
fn resident_files(policy: PolicyKind) -> Result<Resident, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (tree, image) = (directory.path().join("tree"), directory.path().join("image"));
    std::fs::create_dir(&tree)?;
    for name in ["a", "b"] {
        std::fs::write(tree.join(name), vec![name.as_bytes()[0]; PAGES * PAGE])?;
    }
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-d"]).args([&tree, &image]).arg("8M").env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    assert!(mke2fs.stdout(Stdio::null()).status()?.success());
    let kernel = Kernel::builder().memory_limit(1 << 20).policy(policy).boot()?;
    let mount = kernel.mount(Arc::new(FileDevice::open(&image)?), &MountOptions::default())?;
    let files = [mount.open("a")?, mount.open("b")?].map(Arc::new);
    for file in files.iter().chain(&files) {
        for page in 0..PAGES {
            assert_eq!(file.read_at(&mut [0; PAGE], (page * PAGE) as u64)?, PAGE);
        }
    }
    Ok((kernel, files))
}

fn main() -> Result<(), Box<dyn Error>> {
    let buffers = [0, 1].map(|byte| Source::Buffer(Arc::new(vec![byte; PAGES * PAGE])));
    let (kernel, files) = resident_files(PolicyKind::S3Fifo)?;
    let (_lru, lru_files) = resident_files(PolicyKind::Lru)?;
    let [files, lru_files] = [files, lru_files].map(|files| files.map(Source::File));
    let [buffer, file, lru] = [&buffers, &files, &lru_files].map(|sources| sources[0].clone());
    let cases: Vec<(&str, Vec<Source>)> = vec![
        ("memcpy, 1 thread", vec![buffer]),
        ("memcpy, 2 threads", buffers.to_vec()),
        ("hit, 1 thread", vec![file.clone()]),
        ("hit, 2 threads, one file", vec![file.clone(), file]),
        ("hit, 2 threads, two files", files.to_vec()),
        ("exact LRU, 1 thread", vec![lru.clone()]),
        ("exact LRU, 2 threads, one file", vec![lru.clone(), lru]),
        ("exact LRU, 2 threads, two files", lru_files.to_vec()),
    ];
    let misses = || kernel.memory_report().lookups - kernel.memory_report().hits;
    let before = misses();
    let mut best = vec![Duration::MAX; cases.len()];
    for round in 0..ROUNDS as u64 {
        for (best, (_, sources)) in best.iter_mut().zip(&cases) {
            *best = time(sources, round).min(*best);
        }
    }
    assert_eq!(misses(), before, "everything was resident");
    let ns: Vec<f64> = best.iter().map(|best| best.as_nanos() as f64 / READS as f64).collect();
    println!("| 4 KiB at random of {PAGES} pages | ns | of memcpy | scaling |\n|---|--:|--:|--:|");
    for (at, (name, sources)) in cases.iter().enumerate() {
        let alone = ns[at + 1 - position_in_group(at)];
        let scaling = if sources.len() > 1 { format!("{:.2}", 2.0 * alone / ns[at]) } else { "-".into() };
        println!("| {name} | {:.1} | {:.2} | {scaling} |", ns[at], ns[at] / ns[0]);
    }
    Ok(())
}

/// How far a case is from the one with one thread that begins its group, plus one.
fn position_in_group(at: usize) -> usize {
    if at < 2 { at + 1 } else { (at - 2) % 3 + 1 }
}
