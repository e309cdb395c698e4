//! Regular files: sizes around every boundary, holes in every place, many extents.

use super::{Room, attempt, make_directory, write_file};
use crate::seed::Random;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Around what fits into inodes of every size, a page, 64 KiB and 1 MiB.
const SIZES: &[usize] = &[
    0,
    1,
    2,
    59,
    60,
    61,
    90,
    100,
    128,
    150,
    156,
    160,
    200,
    400,
    512,
    700,
    900,
    1023,
    1024,
    1025,
    2048,
    4095,
    4096,
    4097,
    8191,
    12_288,
    12_289,
    49_152,
    49_153,
    65_535,
    65_536,
    65_537,
    1 << 20,
];

/// Files of every size in [`SIZES`].
pub fn sizes(directory: &Path) {
    make_directory(directory);
    for &size in SIZES {
        write_file(&directory.join(size.to_string()), &Random::new(size as u64).bytes(size));
    }
}

/// Files with holes at the start, in the middle, at the end and nowhere else; data beside every boundary of the block map.
pub fn holes(directory: &Path, room: &Room) {
    make_directory(directory);
    let block = room.block_bytes;
    sparse(&directory.join("only"), &[], 10 * block + 7);
    sparse(&directory.join("start"), &[5 * block], 6 * block);
    sparse(&directory.join("middle"), &[0, 9 * block], 10 * block - 3);
    sparse(&directory.join("end"), &[0, block], 300 * block + 1);
    sparse(&directory.join("inside-a-page"), &[block / 2], block * 3);
    sparse(&directory.join("unaligned"), &[3 * block - 1, 7 * block + 1], 9 * block);
    let p = block / 4;
    let boundaries = [12, 12 + p, 12 + p + p * p, 12 + p + 2 * p * p + 3 * p + 5];
    for (n, &boundary) in boundaries.iter().enumerate() {
        let size = (boundary + 2) * block + 11;
        if size <= room.largest_file_bytes {
            let around = [(boundary - 1) * block, boundary * block, (boundary + 1) * block];
            sparse(&directory.join(format!("boundary-{n}")), &around, size);
        }
    }
    if room.mounted {
        let largest = room.largest_file_bytes.min(16 << 40) - block;
        sparse(&directory.join("largest"), &[0, largest / 2 / block * block, largest - block], largest);
    }
    punched(&directory.join("punched"), room);
    preallocated(&directory.join("preallocated"), room);
}

fn sparse(path: &Path, data_at: &[u64], size: u64) {
    let file = File::create(path).expect("a sparse file");
    file.set_len(size).unwrap_or_else(|e| panic!("{}: {size} bytes: {e}", path.display()));
    for &at in data_at {
        let bytes = Random::new(at).bytes(100.min(size - at) as usize);
        file.write_all_at(&bytes, at).unwrap_or_else(|e| panic!("{} at {at}: {e}", path.display()));
    }
}

const NO_FALLOCATE: &[Errno] = &[Errno::OPNOTSUPP, Errno::NOSYS];

fn punched(path: &Path, room: &Room) {
    let block = room.block_bytes;
    write_file(path, &Random::new(1).bytes(64 * block as usize));
    let file = File::options().write(true).open(path).expect("a file to punch");
    for hole in [0, 3, 4, 10, 20, 21, 22, 63] {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        attempt("punching", rustix::fs::fallocate(&file, flags, hole * block, block), NO_FALLOCATE);
    }
}

/// Allocated and not written: reads as zeros; also behind the end of the file.
fn preallocated(path: &Path, room: &Room) {
    let block = room.block_bytes;
    let file = File::create(path).expect("a file to preallocate");
    attempt("allocating", rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 40 * block), NO_FALLOCATE);
    file.write_all_at(&Random::new(2).bytes(block as usize), 7 * block).expect("writing into unwritten");
    let behind = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 40 * block, 20 * block);
    attempt("allocating behind the end", behind, NO_FALLOCATE);
}

/// Files whose blocks lie apart on the device, and files of more extents than two levels of a tree hold.
pub fn fragmented(directory: &Path, room: &Room) {
    make_directory(directory);
    interleaved(directory, room);
    let per_block = (room.block_bytes - 12) / 12;
    let wanted = per_block * 4 + per_block / 2;
    if room.extents && wanted <= 1600 {
        every_other_block(&directory.join("two-levels"), room, wanted as u32);
    } else {
        every_other_block(&directory.join("one-level"), room, 60);
    }
}

/// Two files that grow in turns.
fn interleaved(directory: &Path, room: &Room) {
    let files = ["even", "odd"].map(|name| File::create(directory.join(name)).expect("a growing file"));
    for turn in 0..40_u64 {
        for file in &files {
            let bytes = Random::new(turn).bytes(room.block_bytes as usize);
            file.write_all_at(&bytes, turn * room.block_bytes).expect("growing a file");
            if room.mounted {
                file.sync_data().expect("allocating now and not later");
            }
        }
    }
}

/// A file of `count` extents: every other block is a hole.
pub fn every_other_block(path: &Path, room: &Room, count: u32) {
    let file = File::create(path).expect("a file of many extents");
    for n in 0..u64::from(count) {
        let bytes = Random::new(n).bytes(16);
        file.write_all_at(&bytes, 2 * n * room.block_bytes).expect("writing every other block");
    }
}

/// A few small ones, for corruption.
pub fn few(directory: &Path, room: &Room) {
    make_directory(directory);
    for size in [0, 1, 60, 100, 150, 1000, 5000, 70_000] {
        write_file(&directory.join(size.to_string()), &Random::new(size as u64).bytes(size));
    }
    let (block, p) = (room.block_bytes, room.block_bytes / 4);
    sparse(&directory.join("hole"), &[0, 5 * block], 9 * block);
    sparse(&directory.join("indirect"), &[11 * block, (11 + p) * block, (13 + p) * block], (15 + p) * block);
    let triple = (12 + p + p * p + 1) * block;
    if triple < room.largest_file_bytes && room.mounted {
        sparse(&directory.join("triple"), &[triple - block], triple);
    }
    if block == 1024 && room.extents {
        every_other_block(&directory.join("two-levels"), room, 340);
    } else {
        every_other_block(&directory.join("one-level"), room, 20);
    }
}

/// Fewer still, with every level of the block map.
pub fn tiny(directory: &Path, room: &Room) {
    make_directory(directory);
    for size in [100, 5000] {
        write_file(&directory.join(size.to_string()), &Random::new(size as u64).bytes(size));
    }
    let (block, p) = (room.block_bytes, room.block_bytes / 4);
    sparse(&directory.join("indirect"), &[11 * block, (11 + p) * block, (13 + p) * block], (15 + p) * block);
    every_other_block(&directory.join("one-level"), room, 6);
}

/// A file of a MiB.
pub fn filler(path: &Path) {
    write_file(path, &Random::new(3).bytes(1 << 20));
}
