//! One workload that writes, by the library or through a directory of the host: `cargo xtask bench-write` runs it as a child.
//! By hand: `cargo run --release -p rumpcap --example bench_write -- many disk.img --limit=524288`
//!
//! Who calls it: `cargo xtask bench-write`. Whom it calls: the public API only, or `std::fs`.
//!
//! The image is opened before the clock starts and is durable when it stops, so both sides have the same policy of flushes: one, at the
//! end. What is written to the image is counted by a device of its own.
#![forbid(unsafe_code)]

#[path = "../../../bench/write_workload.rs"]
mod write_workload;

use rumpcap::block::{BlockDevice, FileDevice, OpenOptions};
use rumpcap::{Access, File, Kernel, Mount, MountOptions, Owner};
use std::fmt::Display;
use std::fs;
use std::io::{IoSlice, IoSliceMut, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use write_workload::{Result, Subject, work};

fn told(what: impl Display) -> impl FnOnce(&dyn Display) -> String {
    move |error| format!("{what}: {error}")
}

/// Counts what passes.
struct Counting {
    device: FileDevice,
    writes: AtomicU64,
    bytes: AtomicU64,
    flushes: AtomicU64,
}

impl BlockDevice for Counting {
    fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> rumpcap::Result<()> {
        self.device.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> rumpcap::Result<()> {
        let len_bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len_bytes as u64, Ordering::Relaxed);
        self.device.write_at(offset, bufs)
    }

    fn flush(&self) -> rumpcap::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.device.flush()
    }

    fn is_cached_by_host(&self) -> bool {
        self.device.is_cached_by_host()
    }

    fn alignment_bytes(&self) -> usize {
        self.device.alignment_bytes()
    }
}

struct Library {
    device: Arc<Counting>,
    mount: Mount,
}

impl Library {
    fn open(image: &Path, limit: Option<u64>) -> Result<Library> {
        let options = OpenOptions { write: true, ..OpenOptions::default() };
        let device = FileDevice::open_with(image, options).map_err(|e| e.to_string())?;
        let (writes, bytes, flushes) = Default::default();
        let device = Arc::new(Counting { device, writes, bytes, flushes });
        let mut builder = Kernel::builder();
        if let Some(bytes) = limit {
            builder = builder.memory_limit(bytes);
        }
        let kernel = builder.boot().map_err(|e| e.to_string())?;
        let options = MountOptions { access: Access::Write, ..MountOptions::default() };
        let mount = kernel.mount(device.clone(), &options).map_err(|e| e.to_string())?;
        match mount.read_only_reason() {
            Some(why) => Err(format!("it can only be read: {why}")),
            None => Ok(Library { device, mount }),
        }
    }
}

impl Subject for Library {
    fn create_dir(&mut self, path: &str) -> Result<()> {
        self.mount.create_dir(path, &Owner::with_mode(0o755)).map(drop).map_err(|e| told(path)(&e))
    }

    fn create(&mut self, path: &str, content: &[u8], times: u64) -> Result<()> {
        let write = || -> rumpcap::Result<()> {
            let file: File = self.mount.create(path, &Owner::default())?;
            for turn in 0..times {
                file.write_at(content, turn * content.len() as u64)?;
            }
            Ok(())
        };
        write().map_err(|e| told(path)(&e))
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        self.mount.remove_file(path).map_err(|e| told(path)(&e))
    }

    fn end(&mut self) -> Result<()> {
        self.mount.sync().map_err(|e| e.to_string())
    }

    fn more(&self) -> String {
        let load = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let report = self.mount.kernel().memory_report();
        format!(
            ",\"image_writes\":{},\"image_bytes\":{},\"flushes\":{},\"report\":{{\"peak_bytes\":{},\"stuck\":{}}}",
            load(&self.device.writes),
            load(&self.device.bytes),
            load(&self.device.flushes),
            report.peak_bytes,
            report.stuck
        )
    }
}

/// A directory that something is mounted on.
struct Directory {
    root: PathBuf,
}

impl Subject for Directory {
    fn create_dir(&mut self, path: &str) -> Result<()> {
        fs::create_dir(self.root.join(path)).map_err(|e| told(path)(&e))
    }

    fn create(&mut self, path: &str, content: &[u8], times: u64) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = fs::File::create_new(self.root.join(path))?;
            (0..times).try_for_each(|_| file.write_all(content))
        };
        write().map_err(|e| told(path)(&e))
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        fs::remove_file(self.root.join(path)).map_err(|e| told(path)(&e))
    }

    fn end(&mut self) -> Result<()> {
        let status = std::process::Command::new("sync").arg("-f").arg(&self.root).status();
        status
            .map_err(|e| told("sync")(&e))
            .and_then(|status| if status.success() { Ok(()) } else { Err(format!("sync: {status}")) })
    }
}

fn run() -> Result<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| word.starts_with("--"));
    let [workload, place] = names[..] else {
        return Err("WORKLOAD and IMAGE or DIRECTORY wanted".to_owned());
    };
    let limit = options.iter().find_map(|option| option.strip_prefix("--limit=")?.parse().ok());
    let place = Path::new(place);
    let mut subject: Box<dyn Subject> = match place.is_dir() {
        true => Box::new(Directory { root: place.to_owned() }),
        false => Box::new(Library::open(place, limit)?),
    };
    let began = Instant::now();
    work(workload, &mut *subject)?;
    subject.end()?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(format!("{{\"seconds\":{seconds}{}}}", subject.more()))
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            // Its memory is looked at from outside; it waits until that is done.
            let _ = std::io::stdin().read_line(&mut String::new());
            std::process::ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{{\"seconds\":0,\"error\":{why:?}}}");
            std::process::ExitCode::FAILURE
        }
    }
}
