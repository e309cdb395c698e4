//! The server's anonymous memory over time, while `find` walks a mount again and again and 64 threads read its files.
//!
//! Who calls it: `bench_mount`. What is measured is `Anonymous` of /proc/PID/smaps_rollup, which no setting of the server's can hide.

use super::Place;
use super::mounts::{LIMIT_BYTES, Mounted, REQUEST_BYTES, Subject, THREADS};
use crate::Result;
use crate::bench::images::Image;
use crate::bench_write::host::{command, field};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Threads that read.
const READERS: u64 = 64;
/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(250);
/// What a server may have beside its limit and its buffers.
const CONSTANT_BYTES: u64 = 2 << 20;

/// What was seen.
pub(crate) struct Watched {
    /// Seconds since the first request, and anonymous bytes.
    pub(crate) samples: Vec<(f64, u64)>,
    pub(crate) files: u64,
    pub(crate) walks: u64,
    pub(crate) reads: u64,
    /// Seconds that the first walk took, beside the readers.
    pub(crate) first_walk_seconds: f64,
    /// When the memory should have come to rest.
    pub(crate) settled_seconds: f64,
}

impl Watched {
    /// What the memory must stay within.
    pub(crate) fn bound() -> u64 {
        LIMIT_BYTES + THREADS * REQUEST_BYTES + CONSTANT_BYTES
    }

    pub(crate) fn most(&self) -> u64 {
        self.samples.iter().map(|&(_, bytes)| bytes).max().unwrap_or(0)
    }

    /// When it should have come to rest.
    pub(crate) fn settled(&self) -> u64 {
        let settled = self.samples.iter().find(|&&(seconds, _)| seconds >= self.settled_seconds);
        settled.map_or(0, |&(_, bytes)| bytes)
    }

    pub(crate) fn last(&self) -> u64 {
        self.samples.last().map_or(0, |&(_, bytes)| bytes)
    }
}

/// Watches a mount.
pub(super) fn watch(place: &Place, is_quick: bool) -> Result<Watched> {
    let (image, files) = if is_quick { (Image::Many, 200_000) } else { (Image::Million, 1_000_000) };
    let (settled, all) = if is_quick { (15, 45) } else { (60, 180) };
    place.images.make(image)?;
    let mut mounted = Mounted::new(place, Subject::Rumpcap, &place.images.path(image), false)?;
    let server = mounted.server().ok_or("no server")?;
    let (is_over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let (mut samples, mut walks, mut first) = (Vec::new(), 0, 0.0);
    let directories = directories(mounted.directory())?;
    std::thread::scope(|scope| -> Result {
        for reader in 0..READERS {
            let (directories, is_over, reads) = (&directories, &is_over, &reads);
            scope.spawn(move || read(directories, reader, is_over, reads));
        }
        let mut find = None;
        let looked = loop {
            let seconds = began.elapsed().as_secs_f64();
            match anonymous(server) {
                Some(bytes) => samples.push((seconds, bytes)),
                None => break Err("the server is gone".into()),
            }
            if seconds > f64::from(all) && walks > 0 {
                break Ok(());
            }
            let child = match &mut find {
                Some(child) => child,
                None => find.insert(walk(mounted.directory())?),
            };
            if child.try_wait()?.is_some() {
                find = None;
                walks += 1;
                first = if walks == 1 { seconds } else { first };
            }
            std::thread::sleep(PERIOD);
        };
        is_over.store(true, Ordering::Relaxed);
        if let Some(mut find) = find {
            let _ = find.kill();
            let _ = find.wait();
        }
        looked
    })?;
    mounted.end(false);
    let reads = reads.into_inner();
    let watched =
        Watched { samples, files, walks, reads, first_walk_seconds: first, settled_seconds: settled.into() };
    eprintln!("memory: at most {} bytes, {} walks, {reads} files read", watched.most(), walks);
    Ok(watched)
}

fn walk(directory: &Path) -> std::io::Result<std::process::Child> {
    command("find", &[]).arg(directory).args(["-printf", "%s %m %T@ %p\\n"]).stdout(Stdio::null()).spawn()
}

fn directories(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let all: std::io::Result<Vec<PathBuf>> =
        std::fs::read_dir(root)?.map(|entry| Ok(entry?.path())).collect();
    Ok(all?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Reads all files of directories here and there, until all is over.
fn read(directories: &[PathBuf], reader: u64, is_over: &AtomicBool, reads: &AtomicU64) {
    for at in 0_u64.. {
        let directory = &directories[((at * 769 + reader * 8191) % directories.len() as u64) as usize];
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            if std::fs::read(entry.path()).is_ok() {
                reads.fetch_add(1, Ordering::Relaxed);
            }
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn anonymous(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    Some(field(&text, "Anonymous:")? * 1024)
}
