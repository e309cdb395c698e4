//! Walks a whole image and reads every file in it, under a memory limit: `walk_and_read IMAGE LIMIT_BYTES`.
//!
//! Who calls it: `cargo xtask demo`, which measures this process from outside; people who want to see the library
//! used. It prints `progress name=value ...` while it works and `end name=value ...` with the kernel's own report,
//! then waits until its stdin is closed, so that it can be looked at when it holds the most.
#![forbid(unsafe_code)]

use rumpcap::block::FileDevice;
use rumpcap::{Kernel, MemoryReport, Mount, MountOptions};
use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BETWEEN_PROGRESS: Duration = Duration::from_millis(50);
/// Bytes of a read, as common programs do it. On the heap of this process, not under the limit.
const READ_BYTES: usize = 64 * 1024;

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    entries: u64,
    errors: u64,
    bytes: u64,
    /// Sum of the CRC-32C of every file: tells whether all of them were read as they were written, in any order.
    checksum: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(image), Some(limit)) = (arguments.next(), arguments.next()) else {
        return Err("usage: walk_and_read IMAGE LIMIT_BYTES".into());
    };
    let limit_bytes: u64 = limit.to_str().ok_or("the limit is no number")?.parse()?;
    let kernel = Kernel::builder().memory_limit(limit_bytes).boot()?;
    let mount = kernel.mount(Arc::new(FileDevice::open(Path::new(&image))?), &MountOptions::default())?;

    let start = Instant::now();
    let seen = walk_and_read(&mount, start)?;
    print_line("end", &seen, start, &kernel.memory_report())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn walk_and_read(mount: &Mount, start: Instant) -> Result<Seen, Box<dyn Error>> {
    let mut seen = Seen::default();
    let mut buf = vec![0; READ_BYTES];
    let mut printed = start;
    let mut walk = mount.walk("/")?;
    loop {
        match walk.next_entry() {
            Ok(None) => return Ok(seen),
            Err(error) => {
                eprintln!("{}: {}", error.path.display(), error.error);
                seen.errors += 1;
            }
            Ok(Some(entry)) => {
                seen.entries += 1;
                if entry.metadata().is_file() {
                    let file = entry.open()?;
                    let mut crc = 0;
                    let mut at = 0;
                    loop {
                        let n = file.read_at(&mut buf, at)?;
                        if n == 0 {
                            break;
                        }
                        crc = crc32c::crc32c_append(crc, &buf[..n]);
                        at += n as u64;
                        if printed.elapsed() >= BETWEEN_PROGRESS {
                            seen.bytes += at;
                            print_line("progress", &seen, start, &mount.kernel().memory_report())?;
                            seen.bytes -= at;
                            printed = Instant::now();
                        }
                    }
                    seen.bytes += at;
                    seen.checksum += u64::from(crc);
                }
            }
        }
    }
}

fn print_line(kind: &str, seen: &Seen, start: Instant, report: &MemoryReport) -> std::io::Result<()> {
    let values = [
        ("elapsed_ms", u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)),
        ("entries", seen.entries),
        ("errors", seen.errors),
        ("bytes", seen.bytes),
        ("checksum", seen.checksum),
        ("limit", report.limit_bytes),
        ("in_use", report.in_use_bytes),
        ("peak", report.peak_bytes),
        ("lookups", report.lookups),
        ("hits", report.hits),
        ("device_read_bytes", report.device_read_bytes),
        ("direct_read_bytes", report.direct_read_bytes),
        ("evictions", report.evictions),
        ("daemon_rounds", report.daemon_rounds),
        ("stuck", report.stuck),
    ];
    let mut out = std::io::stdout().lock();
    write!(out, "{kind}")?;
    for (name, value) in values {
        write!(out, " {name}={value}")?;
    }
    writeln!(out)
}
