//! Measures `fsync` of one file beside a large file that is being overwritten: as it is, and as it was when the whole mount was made durable.
//!
//! `bench_fsync IMAGE [COUNT]`: IMAGE is made by `mke2fs` and given up. For each way, in turn, COUNT times: 16 pages of the large file are
//! overwritten, 4 KiB are appended to a small one, which is synced. Prints times and what was written.

use rumpcap::block::{FileDevice, OpenOptions};
use rumpcap::{Access, File, Kernel, Mount, MountOptions, Owner, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const PAGE: usize = 4096;
const LARGE_PAGES: u64 = 8192;
const OVERWRITTEN: u64 = 16;

fn run(
    mount: &Mount,
    large: &File,
    name: &str,
    count: u64,
    sync: impl Fn(&File) -> Result<()>,
) -> Result<()> {
    let small = mount.create(format!("/{name}"), &Owner::default())?;
    mount.sync()?;
    let before = mount.kernel().memory_report().device_write_bytes;
    let begin = Instant::now();
    let mut slowest = 0.0f64;
    for turn in 0..count {
        for n in 0..OVERWRITTEN {
            // Far from each other, so that each is a page of its own.
            let page = (turn * OVERWRITTEN + n) * 2_654_435_761 % LARGE_PAGES;
            large.write_at(&[turn as u8; PAGE], page * PAGE as u64)?;
        }
        small.write_at(&[turn as u8; PAGE], turn * PAGE as u64)?;
        let synced = Instant::now();
        sync(&small)?;
        slowest = slowest.max(synced.elapsed().as_secs_f64());
    }
    let seconds = begin.elapsed().as_secs_f64();
    let bytes = mount.kernel().memory_report().device_write_bytes - before;
    let written = bytes / 1024;
    println!(
        "{name:8} {count} × (append 4 KiB + sync): {seconds:.3} s, slowest sync {:.2} ms, {written} KiB of content written",
        slowest * 1e3
    );
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let image = arguments.next().ok_or("bench_fsync IMAGE [COUNT]")?;
    let count = arguments.next().map_or(Ok(1000), |text| text.to_string_lossy().parse())?;
    let how = OpenOptions { write: true, ..OpenOptions::default() };
    let device = Arc::new(FileDevice::open_with(Path::new(&image), how)?);
    let kernel = Kernel::builder().memory_limit(128 << 20).boot()?;
    let options = MountOptions { access: Access::Write, ..MountOptions::default() };
    let mount = kernel.mount(device, &options)?;
    let large = mount.create("/large", &Owner::default())?;
    for piece in 0..LARGE_PAGES / 256 {
        large.write_at(&vec![1; 256 * PAGE], piece * 256 * PAGE as u64)?;
    }
    for round in 0..2 {
        run(&mount, &large, &format!("mount {round}"), count, |_| mount.sync())?;
        run(&mount, &large, &format!("fsync {round}"), count, File::sync)?;
        run(&mount, &large, &format!("data {round}"), count, File::sync_data)?;
    }
    drop(large);
    mount.unmount()?;
    Ok(())
}
