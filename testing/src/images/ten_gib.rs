//! An image with a directory to walk and a file of 10 GiB that takes no space: its blocks are mapped by debugfs, and their
//! content is computed by the device that reads them.
//!
//! Who calls it: the test of a copy beside a walk. Where a block of the file is, is what debugfs says, not what the library does.

use crate::images::cache;
use crate::tools::{DebugfsMode, command, debugfs, run};
use rumpcap::block::{BlockDevice, FileDevice};
use rumpcap::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;

/// Length of the file `/big`.
pub const BIG_FILE_BYTES: u64 = 10 << 30;
/// The directory `/walked` has so many directories, and each so many files: some 20 pages of metadata.
pub const DIRECTORIES: usize = 4;
/// Files in each.
pub const FILES: usize = 40;

const BLOCK_BYTES: u64 = 4096;

/// Runs of blocks of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first block in the file.
    pub logical: u64,
    /// The first block on the device.
    pub physical: u64,
    /// How many blocks.
    pub blocks: u64,
}

/// Makes or finds the image; gives a device of it, and where `/big` is.
///
/// # Panics
/// When a tool fails.
pub fn device() -> (ComputedDevice, Vec<Run>) {
    let path = cache::get("ten-gib", &format!("4: {BIG_FILE_BYTES} {DIRECTORIES} {FILES}"), make);
    let runs = runs(&path);
    let base = FileDevice::open(&path).expect("an image");
    (ComputedDevice { base, runs: by_place(&runs) }, runs)
}

fn make(path: &Path) {
    let source = tempfile::tempdir().expect("a directory to copy from");
    for d in 0..DIRECTORIES {
        let directory = source.path().join(format!("walked/directory-{d}"));
        std::fs::create_dir_all(&directory).expect("a directory");
        for f in 0..FILES {
            std::fs::write(directory.join(format!("file-{f:03}-with-a-name-of-some-length")), "x")
                .expect("a file");
        }
    }
    let mut mke2fs = command("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-N", "4096", "-E", "lazy_itable_init=1", "-d"]);
    run(mke2fs.arg(source.path()).arg(path).arg("11G"));
    let last = BIG_FILE_BYTES / BLOCK_BYTES - 1;
    let size = format!("set_inode_field /big size {BIG_FILE_BYTES}");
    let script = ["write /dev/null big".to_owned(), format!("fallocate /big 0 {last}"), size];
    debugfs(path, DebugfsMode::Write, &script);
    // What is allocated so reads as zeros, whatever the device holds; each run is said to be written.
    let mut script = vec!["extent_open /big".to_owned(), "root".to_owned(), "down".to_owned()];
    for Run { logical, physical, blocks } in runs(path) {
        script.push(format!("replace_node {logical} {blocks} {physical}"));
        script.push("next_leaf".to_owned());
    }
    script.push("extent_close".to_owned());
    debugfs(path, DebugfsMode::Write, &script);
    run(command("e2fsck").args(["-f", "-n"]).arg(path));
}

/// The runs of `/big`, as debugfs lists them.
fn runs(path: &Path) -> Vec<Run> {
    let listing = debugfs(path, DebugfsMode::Read, &["ex /big".to_owned()]);
    let listing = String::from_utf8_lossy(&listing);
    // ` 1/ 1   2/ 81   31655 -   64421   33795 -   66561  32767 Uninit`: leaves have the deepest level.
    let run = |line: &str| -> Option<Run> {
        let line = line.replace(['/', '-'], " ");
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        let (level, depth) = (numbers.next()?, numbers.next()?);
        let numbers: Vec<u64> = numbers.collect();
        match numbers[..] {
            [_, _, logical, _, physical, _, blocks] if level == depth => {
                Some(Run { logical, physical, blocks })
            }
            _ => None,
        }
    };
    let runs: Vec<Run> = listing.lines().filter_map(run).collect();
    let blocks: u64 = runs.iter().map(|run| run.blocks).sum();
    assert_eq!(blocks * BLOCK_BYTES, BIG_FILE_BYTES, "debugfs lists the whole file:\n{listing}");
    runs
}

fn by_place(runs: &[Run]) -> Vec<Run> {
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| run.physical);
    runs
}

/// The image, with computed blocks where the file is.
pub struct ComputedDevice {
    base: FileDevice,
    /// By their places on the device.
    runs: Vec<Run>,
}

impl ComputedDevice {
    /// The byte that every byte of a block of the file has.
    pub fn byte_of(physical: u64) -> u8 {
        (physical.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }

    fn is_of_the_file(&self, block: u64) -> bool {
        let behind = self.runs.partition_point(|run| run.physical <= block);
        behind > 0 && block < self.runs[behind - 1].physical + self.runs[behind - 1].blocks
    }
}

impl BlockDevice for ComputedDevice {
    fn len_bytes(&self) -> u64 {
        self.base.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        // A request is of the file as a whole or not at all.
        if !self.is_of_the_file(offset / BLOCK_BYTES) {
            return self.base.read_at(offset, bufs);
        }
        let mut at = offset;
        for buf in bufs {
            let mut rest = &mut buf[..];
            while !rest.is_empty() {
                let within = (at % BLOCK_BYTES) as usize;
                let len = rest.len().min(BLOCK_BYTES as usize - within);
                let (now, later) = rest.split_at_mut(len);
                now.fill(ComputedDevice::byte_of(at / BLOCK_BYTES));
                (rest, at) = (later, at + len as u64);
            }
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn is_cached_by_host(&self) -> bool {
        self.base.is_cached_by_host()
    }
}
