//! Shapes of maps: fragmented to the worst, long and whole, filled in every order; what e2fsck would make better of them.

use super::{FIRST_INODE, debugfs, free_blocks, image_with_files};
use crate::alloc::tests::{Image, Mounted, NOW, assert_clean};
use rumpcap_host::Error;
use rumpcap_vfs::{Allocate, Change, InodeNo};
use std::process::Command;

/// The depth of a file's extent tree and the number of its extents, as debugfs has them.
fn extents(image: &Image, file: &str) -> (u32, usize) {
    let out = debugfs(&image.path(), &format!("dump_extents {file}\n"));
    let lines: Vec<_> = out.lines().filter(|line| line.contains('/') && !line.contains("debugfs")).collect();
    let depth = |line: &str| line.split_once('/')?.1.split_whitespace().next()?.parse::<u32>().ok();
    let depth = lines.iter().filter_map(|line| depth(line)).max().unwrap_or(0);
    let leaves = lines.iter().filter(|line| {
        let level = line.split_once('/').and_then(|(level, _)| level.trim().parse::<u32>().ok());
        level == Some(depth)
    });
    (depth, leaves.count())
}

/// e2fsck finds nothing, not even a tree that could be smaller.
fn assert_compact(image: &Image, what: &str) {
    let output = Command::new("e2fsck").args(["-fn"]).arg(image.path()).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !out.contains("could be"), "{what}: {out}");
}

/// Writes without storing anything: shapes are not about bytes.
fn write(mounted: &Mounted, ino: InodeNo, offset: u64, len: usize) -> Result<u32, Error> {
    let (data, mut done, mut calls) = (vec![1; len], 0, 0);
    while done < len {
        let r = mounted.vm.reserve(crate::MAX_PINS);
        let at = offset + done as u64;
        done += mounted.fs.write(&r, ino, at, &data[done..], NOW, &mut |_| Ok(()))?.len_bytes;
        calls += 1;
    }
    Ok(calls)
}

const FILE: InodeNo = InodeNo(FIRST_INODE);
/// Enough for three levels of 84 entries, and one more extent than fits under a root of four.
const FRAGMENTS: u64 = 4 * 84 * 84 + 50;

fn fragmented(order: impl Iterator<Item = u64>) -> Option<(Image, u32)> {
    let (image, _) = image_with_files(("-t ext4 -b 1024 -J size=1 -N 32", "80M"), 1)?;
    let mounted = image.mount();
    for block in order {
        write(&mounted, FILE, block * 2048, 1024).unwrap();
    }
    mounted.unmount();
    assert_clean(&image.path(), "fragmented");
    let (depth, count) = extents(&image, "f0");
    assert_eq!(count as u64, FRAGMENTS);
    Some((image, depth))
}

#[test]
fn every_second_block_takes_three_levels_and_gives_them_back() {
    let Some((image, depth)) = fragmented(0..FRAGMENTS) else { return };
    assert_eq!(depth, 3);
    assert_compact(&image, "in ascending order");
    let mounted = image.mount();
    mounted.set_size(FILE, 0).unwrap();
    assert_eq!(mounted.file(FILE).attributes.blocks_512, 0);
    mounted.unmount();
    assert_eq!(extents(&image, "f0"), (0, 0));
    assert_compact(&image, "emptied");
}

#[test]
fn what_is_filled_in_between_joins_into_one() {
    const HALF: u64 = 3000;
    let Some((image, _)) = image_with_files(("-t ext4 -b 4096", "200M"), 1) else { return };
    let mounted = image.mount();
    for block in 0..HALF {
        write(&mounted, FILE, block * 8192, 4096).unwrap();
    }
    let taken = free_blocks(&mounted.fs);
    for block in (0..HALF).map(|n| n * 7919 % HALF) {
        write(&mounted, FILE, block * 8192 + 4096, 4096).unwrap();
    }
    // The blocks of the tree are given back: nine leaves, and one above.
    assert_eq!(free_blocks(&mounted.fs), taken - HALF + 10);
    mounted.unmount();
    assert_eq!(extents(&image, "f0"), (0, 1));
    assert_compact(&image, "filled");
}

#[test]
fn fragments_in_descending_and_mixed_order() {
    if let Some((_, depth)) = fragmented((0..FRAGMENTS).rev()) {
        assert_eq!(depth, 3);
    }
    // A stride that shares no factor with their number comes to all.
    let Some((image, depth)) = fragmented((0..FRAGMENTS).map(|n| n * 7919 % FRAGMENTS)) else { return };
    assert_eq!(depth, 3);
    let mounted = image.mount();
    for block in (0..FRAGMENTS).map(|n| n * 7919 % FRAGMENTS) {
        mounted.punch(FILE, block * 2048..block * 2048 + 1024).unwrap();
    }
    assert_eq!(mounted.file(FILE).attributes.blocks_512, 0);
    mounted.unmount();
    assert_eq!(extents(&image, "f0"), (0, 0));
    assert_compact(&image, "punched");
}

#[test]
fn a_long_file_in_small_pieces_has_few_extents() {
    let Some((image, _)) = image_with_files(("-t ext4 -b 4096", "2G"), 1) else { return };
    let mounted = image.mount();
    let piece = 128 << 10;
    for at in 0..(1 << 30) / piece {
        write(&mounted, FILE, at * piece, piece as usize).unwrap();
    }
    mounted.unmount();
    assert_compact(&image, "long");
    let (depth, count) = extents(&image, "f0");
    assert!(depth <= 1 && count <= 24, "{count} extents");
    // All of it at once takes an operation for each extent, and no more.
    let mounted = image.mount();
    mounted.set_size(FILE, 0).unwrap();
    let calls = write(&mounted, FILE, 0, 1 << 30).unwrap();
    mounted.unmount();
    assert_compact(&image, "at once");
    assert!(calls <= 24, "{calls} operations");
}

#[test]
fn space_in_advance_is_one_extent_before_and_behind_the_writing() {
    let Some((image, _)) = image_with_files(("-t ext4 -b 4096", "300M"), 1) else { return };
    let mounted = image.mount();
    mounted.allocate(FILE, 0..40 << 20, Allocate::KeepSize).unwrap();
    assert_eq!(mounted.file(FILE).attributes.size_bytes, 0);
    for at in 0..20 << 4 {
        write(&mounted, FILE, at << 16, 1 << 16).unwrap();
    }
    assert!(mounted.read(FILE, 0..4096).len() == 4096);
    mounted.unmount();
    assert_compact(&image, "half");
    let (_, half) = extents(&image, "f0");
    let mounted = image.mount();
    for at in 20 << 4..40 << 4 {
        write(&mounted, FILE, at << 16, 1 << 16).unwrap();
    }
    mounted.unmount();
    let (_, whole) = extents(&image, "f0");
    assert!(whole <= half && half <= 4, "{half} extents, then {whole}");
    assert_compact(&image, "whole");
}

#[test]
fn space_in_advance_that_is_written_in_any_order() {
    const BLOCKS: u64 = 16_001;
    let Some((image, _)) = image_with_files(("-t ext4 -b 1024 -J size=1 -N 32", "40M"), 1) else { return };
    let mounted = image.mount();
    mounted.allocate(FILE, 0..BLOCKS * 1024, Allocate::Extend).unwrap();
    let free = free_blocks(&mounted.fs);
    // Every third block makes of one extent three; the others put them together again.
    let mixed = |n: u64| n * 7919 % BLOCKS;
    for block in (0..BLOCKS).map(mixed).filter(|block| block % 3 == 1) {
        write(&mounted, FILE, block * 1024, 1024).unwrap();
    }
    mounted.unmount();
    assert_clean(&image.path(), "a third");
    let (depth, count) = extents(&image, "f0");
    assert!(depth == 2 && count as u64 > BLOCKS / 3 * 2, "{depth} {count}");
    let mounted = image.mount();
    for block in (0..BLOCKS).map(mixed).filter(|block| block % 3 != 1) {
        write(&mounted, FILE, block * 1024, 1024).unwrap();
    }
    assert!(free_blocks(&mounted.fs) >= free);
    mounted.unmount();
    let (depth, count) = extents(&image, "f0");
    assert!(depth <= 1 && count <= 12, "{depth} {count}");
    assert_compact(&image, "all");
}

#[test]
fn no_space_changes_nothing() {
    for kind in ["-t ext4 -b 1024 -O ^has_journal", "-t ext2 -b 1024"] {
        let Some((image, inodes)) = image_with_files((kind, "4M"), 2) else { return };
        let mounted = image.mount();
        let (filler, other) = (inodes[0], inodes[1]);
        // Every second block of the file system is taken.
        let mut block = 0;
        while write(&mounted, filler, block * 2048, 1024).is_ok() {
            block += 1;
        }
        assert_eq!(free_blocks(&mounted.fs), 0);
        let before = mounted.file(filler).attributes;
        let error = write(&mounted, filler, 1 << 33, 1024).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
        assert!(write(&mounted, other, 1 << 30, 1024).is_err());
        let after = mounted.file(filler).attributes;
        assert_eq!((before.size_bytes, before.blocks_512), (after.size_bytes, after.blocks_512));
        assert_eq!((free_blocks(&mounted.fs), mounted.file(other).attributes.blocks_512), (0, 0));
        // What is there can be written again, and one block freed is one that can be taken.
        assert_eq!(write(&mounted, filler, 4096, 1024), Ok(1));
        mounted.punch(filler, 4096..5120).unwrap();
        write(&mounted, other, 0, 1024).unwrap();
        mounted.unmount();
        assert_clean(&image.path(), kind);
    }
}
