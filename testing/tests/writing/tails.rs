//! What others left behind the end of a file, in its last block, is never seen: not when the file grows past it, in whatever way. The kernel is
//! asked too.

use crate::support::fsck;
use rumpcap::block::MemoryDevice;
use rumpcap::{Allocate, DataMode, Mount, Owner};
use rumpcap_testing::images::build;
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::skip;
use rumpcap_testing::tools::scratch;
use rumpcap_testing::writing::{LibraryTarget, Setup};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What stands behind the end.
const LEFT: u8 = 0xA7;
const LENGTHS: [usize; 3] = [700, 5000, 9001];

/// How a file grows.
#[derive(Clone, Copy, Debug)]
enum Growth {
    Length,
    /// Into the old last block.
    LengthWithin,
    WriteNear,
    WriteFar,
    WritePages,
    Allocate,
}

const GROWTHS: [Growth; 6] = [
    Growth::Length,
    Growth::LengthWithin,
    Growth::WriteNear,
    Growth::WriteFar,
    Growth::WritePages,
    Growth::Allocate,
];

impl Growth {
    /// The new length of a file of `len` bytes, and what is written at its end.
    fn end(self, len: u64) -> (u64, usize) {
        match self {
            Growth::Length | Growth::Allocate => (len + 20_000, 0),
            Growth::LengthWithin => (len + 7, 0),
            Growth::WriteNear => (len + 60, 10),
            Growth::WriteFar => (len + 30_000, 10),
            Growth::WritePages => (len.next_multiple_of(4096) + 65_536, 65_536),
        }
    }

    fn name(self, len: usize) -> String {
        format!("{self:?}-{len}")
    }
}

fn content(seed: u8, len: usize) -> Vec<u8> {
    let mixed = |at: usize| (at as u32 + u32::from(seed) * 100_003).wrapping_mul(0x9E37_79B1) >> 24;
    (0..len).map(|at| mixed(at) as u8 | 1).collect()
}

/// A file for each growth of each length: what it is called, its length and its number.
fn files() -> impl Iterator<Item = (Growth, usize, u8)> {
    let all = GROWTHS.into_iter().flat_map(|growth| LENGTHS.map(|len| (growth, len)));
    all.zip(1..).map(|((growth, len), seed)| (growth, len, seed))
}

/// An image with the files, each with something behind its end.
fn poisoned(name: &str) -> Vec<u8> {
    let device = Arc::new(MemoryDevice::from_bytes(&Setup::named(name).image()));
    let mut target = LibraryTarget::new(device.clone(), None, DataMode::Ordered).expect("mounting");
    for (growth, len, seed) in files() {
        let file =
            target.mount().create(format!("/{}", growth.name(len)), &Owner::default()).expect("a file");
        file.write_at(&content(seed, len), 0).expect("content");
    }
    target.unmount().expect("unmounting");
    let mut image = device.to_bytes();
    let block = Setup::named(name).can.block_bytes as usize;
    let mut left = 0;
    for (_, len, seed) in files() {
        // Its last block is somewhere, once.
        let last = &content(seed, len)[len / block * block..];
        let found: Vec<usize> =
            (0..image.len()).step_by(block).filter(|&at| image[at..].starts_with(last)).collect();
        for &at in found.iter().filter(|_| last.len() > 8) {
            image[at + last.len()..at + block].fill(LEFT);
            left += 1;
        }
    }
    assert!(left >= 2 * GROWTHS.len(), "nothing stands behind ends");
    image
}

fn grow(mount: &Mount, growth: Growth, len: usize) {
    let file = mount.open(format!("/{}", growth.name(len))).expect("a file");
    let (end, written) = growth.end(len as u64);
    match growth {
        Growth::Length | Growth::LengthWithin => file.set_len(end).expect("growing"),
        Growth::Allocate => match file.allocate(0..end, Allocate::Extend) {
            Err(rumpcap::Error::Unsupported { .. }) => file.set_len(end).expect("growing"),
            result => result.expect("allocating"),
        },
        _ => assert_eq!(file.write_at(&vec![1; written], end - written as u64), Ok(written)),
    }
}

fn read(mount: &Mount, path: &str) -> Vec<u8> {
    let file = mount.open(path).expect("a file");
    let mut bytes = vec![0; file.metadata().expect("metadata").len() as usize];
    let mut done = 0;
    while done < bytes.len() {
        done += file.read_at(&mut bytes[done..], done as u64).expect("content");
    }
    bytes
}

fn expected(growth: Growth, len: usize, seed: u8) -> Vec<u8> {
    let (end, written) = growth.end(len as u64);
    let mut bytes = content(seed, len);
    bytes.resize(end as usize - written, 0);
    bytes.resize(end as usize, 1);
    bytes
}

/// `is_read`: the page with the end is in memory before.
fn ours(name: &str, limit: Option<u64>, data: DataMode, is_read: bool) {
    let device = Arc::new(MemoryDevice::from_bytes(&poisoned(name)));
    let mut target = LibraryTarget::new(device.clone(), limit, data).expect("mounting");
    for (growth, len, seed) in files() {
        let path = format!("/{}", growth.name(len));
        if is_read {
            assert!(read(target.mount(), &path) == content(seed, len), "{name} {path}");
        }
        grow(target.mount(), growth, len);
        assert!(read(target.mount(), &path) == expected(growth, len, seed), "{name} {path}");
    }
    target.unmount().expect("unmounting");
    let directory = scratch();
    let image = directory.path().join("image");
    std::fs::write(&image, device.to_bytes()).expect("an image");
    fsck(&image).unwrap_or_else(|why| panic!("{name}: {why}"));
    if loop_mount::available() {
        let mount = LoopMount::new(&image, "ro").expect("the kernel mounts it");
        by_path(mount.path(), name);
    }
}

fn by_path(root: &Path, name: &str) {
    for (growth, len, seed) in files() {
        let path = root.join(growth.name(len));
        assert!(std::fs::read(&path).expect("content") == expected(growth, len, seed), "{name} {path:?}");
    }
}

#[test]
fn nothing_behind_the_end_is_seen_when_files_grow() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    for name in ["w-ext4-4k", "w-ext4-1k", "w-ext2-1k", "w-bigalloc", "w-inline-data"] {
        ours(name, Some(256 << 10), DataMode::Ordered, false);
        ours(name, None, DataMode::Ordered, true);
    }
    ours("w-ext4-1k", Some(256 << 10), DataMode::Journal, false);
}

/// So it is right to do that.
#[test]
fn the_kernel_shows_nothing_either() {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: no kernel to ask");
    }
    let directory = scratch();
    let image = directory.path().join("image");
    std::fs::write(&image, poisoned("w-ext4-4k")).expect("an image");
    let mount = LoopMount::new(&image, "noatime").expect("the kernel mounts it");
    for (growth, len, _) in files() {
        let file =
            std::fs::OpenOptions::new().write(true).open(mount.join(growth.name(len))).expect("a file");
        let (end, written) = growth.end(len as u64);
        match written {
            0 => file.set_len(end).expect("growing"),
            _ => file.write_all_at(&vec![1; written], end - written as u64).expect("writing"),
        }
    }
    by_path(mount.path(), "the kernel");
}
