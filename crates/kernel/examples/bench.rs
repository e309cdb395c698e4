//! The library as a subject of the benchmark. `cargo xtask bench` runs it; by hand:
//! `cargo run --release -p rumpcap --example bench -- walk many.img --limit=524288`
//!
//! Who calls it: `cargo xtask bench`, as a child whose memory is read from outside. Whom it calls: the public API only.
//! What is read from the image is counted by a device of its own, not taken from the library's report; the two are
//! compared by the benchmark.
#![forbid(unsafe_code)]

#[path = "../../../bench/workload.rs"]
mod workload;

use rumpcap::block::{BlockDevice, FileDevice};
use rumpcap::{File, Kernel, MemoryReport, Mount, MountOptions, PolicyKind};
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use workload::{BIG_FILE_PATH, Options, Seen, Subject, run};

/// Counts what passes.
struct Counting {
    device: FileDevice,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl BlockDevice for Counting {
    fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> rumpcap::Result<()> {
        let len_bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len_bytes as u64, Ordering::Relaxed);
        self.device.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> rumpcap::Result<()> {
        self.device.write_at(offset, bufs)
    }

    fn flush(&self) -> rumpcap::Result<()> {
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
    big: Option<File>,
}

impl Library {
    fn open(options: &Options) -> Result<Library, String> {
        let device = FileDevice::open(&options.image).map_err(|e| e.to_string())?;
        let device = Arc::new(Counting { device, reads: AtomicU64::new(0), bytes: AtomicU64::new(0) });
        let mut builder = Kernel::builder();
        if let Some(limit) = options.value("--limit") {
            let bytes = limit.parse().map_err(|_| format!("--limit: not a number of bytes: {limit}"))?;
            builder = builder.memory_limit(bytes);
        }
        if options.value("--policy") == Some("lru") {
            builder = builder.policy(PolicyKind::Lru);
        }
        let kernel = builder.boot().map_err(|e| e.to_string())?;
        let mount = kernel.mount(device.clone(), &MountOptions::default()).map_err(|e| e.to_string())?;
        Ok(Library { device, mount, big: None })
    }
}

impl Subject for Library {
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String> {
        let mut walk = self.mount.walk("/").map_err(|e| e.to_string())?;
        while let Some(entry) = walk.next_entry().map_err(|e| format!("{}: {}", e.path.display(), e.error))? {
            if entry.depth() == 0 {
                continue;
            }
            // `Path::file_name` looks at all components; the peers hand out bare names.
            let path = entry.path().as_os_str().as_bytes();
            let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let metadata = entry.metadata();
            seen.entry(name, metadata.mode(), metadata.uid(), metadata.gid(), metadata.len());
        }
        Ok(())
    }

    fn open_big(&mut self) -> Result<u64, String> {
        let file = self.mount.open(BIG_FILE_PATH).map_err(|e| e.to_string())?;
        let len_bytes = file.metadata().map_err(|e| e.to_string())?.len();
        self.big = Some(file);
        Ok(len_bytes)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), String> {
        let file = self.big.as_ref().ok_or("not open")?;
        let n = file.read_at(buf, offset).map_err(|e| e.to_string())?;
        if n == buf.len() { Ok(()) } else { Err("short read".to_owned()) }
    }

    fn image_reads(&self) -> Option<(u64, u64)> {
        Some((self.device.reads.load(Ordering::Relaxed), self.device.bytes.load(Ordering::Relaxed)))
    }

    fn more(&self) -> String {
        report_fields(&self.mount.kernel().memory_report())
    }
}

fn report_fields(report: &MemoryReport) -> String {
    let fields = [
        ("limit_bytes", report.limit_bytes),
        ("in_use_bytes", report.in_use_bytes),
        ("peak_bytes", report.peak_bytes),
        ("frames", report.frames),
        ("lookups", report.lookups),
        ("hits", report.hits),
        ("device_reads", report.device_reads),
        ("device_read_bytes", report.device_read_bytes),
        ("direct_read_bytes", report.direct_read_bytes),
        ("read_ahead_pages", report.read_ahead_pages),
        ("evictions", report.evictions),
        ("daemon_rounds", report.daemon_rounds),
        ("gate_waits", report.gate_waits),
        ("frame_waits", report.frame_waits),
        ("busy_waits", report.busy_waits),
        ("stuck", report.stuck),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!(",\"report\":{{{}}}", fields.join(","))
}

fn main() -> std::process::ExitCode {
    run(Library::open)
}
