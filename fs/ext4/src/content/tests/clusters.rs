//! Clusters of several blocks: every pattern of blocks in two of them, and every hole made in each.

use super::{FIRST_INODE, debugfs, free_blocks, image_with_files};
use crate::alloc::tests::{Image, Mounted, assert_clean};
use rumpcap_host::Error;
use rumpcap_vfs::{Allocate, InodeNo};

const BLOCK: u64 = 1024;
/// Blocks of a cluster.
const RATIO: u64 = 4;
/// Blocks that are looked at: two clusters, so at most four extents, which the inode holds.
const BLOCKS: u64 = 2 * RATIO;
const KIND: (&str, &str) = ("-t ext4 -b 1024 -O bigalloc -C 4096 -N 256", "24M");

/// Units of 512 bytes of the clusters with a block of `pattern`.
fn space_512(pattern: u64) -> u64 {
    let clusters =
        (0..BLOCKS / RATIO).filter(|cluster| (pattern >> (cluster * RATIO)) & ((1 << RATIO) - 1) != 0);
    clusters.count() as u64 * RATIO * BLOCK / 512
}

/// Every hole in `BLOCKS` blocks.
fn holes() -> impl Iterator<Item = (u64, u64)> {
    (0..BLOCKS).flat_map(|start| (start + 1..=BLOCKS).map(move |end| (start, end)))
}

fn bits(start: u64, end: u64) -> u64 {
    (start..end).map(|bit| 1 << bit).sum()
}

/// Maps the blocks of `pattern`: by writing, from either end, or in advance.
fn map(mounted: &Mounted, ino: InodeNo, pattern: u64, how: u64) {
    let mut blocks: Vec<u64> = (0..BLOCKS).filter(|block| pattern >> block & 1 != 0).collect();
    if how % 2 == 1 {
        blocks.reverse();
    }
    for block in blocks {
        let range = block * BLOCK..(block + 1) * BLOCK;
        match how {
            0 | 1 => mounted.write(ino, range.start, &[block as u8 + 1; BLOCK as usize]).unwrap(),
            _ => mounted.allocate(ino, range, Allocate::KeepSize).unwrap(),
        }
    }
}

#[test]
fn every_hole_in_every_pattern_of_two_clusters() {
    let all: Vec<(u64, u64)> = holes().collect();
    let Some((image, inodes)) = image_with_files(KIND, all.len() as u64) else { return };
    let step = if std::env::var_os("RUMPCAP_CONTENT_SEEDS").is_some() { 1 } else { 11 };
    for pattern in (1..1 << BLOCKS).step_by(step) {
        let how = pattern / step as u64 % 4;
        let mounted = image.mount();
        let space = |ino: InodeNo| mounted.file(ino).attributes.blocks_512;
        let free = free_blocks(&mounted.fs);
        let mut taken = 0;
        for (&(start, end), &ino) in all.iter().zip(&inodes) {
            map(&mounted, ino, pattern, how);
            mounted.set_size(ino, BLOCKS * BLOCK).unwrap();
            assert_eq!(space(ino), space_512(pattern), "{pattern:#b} {how}");
            let left = pattern & !bits(start, end);
            if end == BLOCKS && start % 2 == 0 {
                mounted.set_size(ino, start * BLOCK).unwrap();
            } else {
                mounted.punch(ino, start * BLOCK..end * BLOCK).unwrap();
            }
            assert_eq!(space(ino), space_512(left), "{pattern:#b} without {start}..{end}, {how}");
            taken += space_512(left) * 512 / BLOCK;
            for block in (0..BLOCKS).filter(|block| left >> block & 1 != 0 && how < 2) {
                let content = mounted.read(ino, block * BLOCK..(block + 1) * BLOCK);
                assert!(content.iter().all(|&byte| byte == block as u8 + 1), "{pattern:#b} {start}..{end}");
            }
        }
        assert_eq!(free_blocks(&mounted.fs), free - taken);
        mounted.unmount();
        assert_clean(&image.path(), &format!("{pattern:#b} {how}"));
        let mounted = image.mount();
        inodes.iter().for_each(|&ino| mounted.set_size(ino, 0).unwrap());
        // Emptied of what is behind the end too, and filled again in what was freed.
        assert_eq!(free_blocks(&mounted.fs), free);
        mounted.unmount();
    }
}

/// Extents whose nodes end within clusters: what is beside a block is in another leaf.
#[test]
fn neighbours_in_other_leaves() {
    const EXTENTS: u64 = 84 * 4;
    let Some((image, inodes)) = image_with_files(KIND, 1) else { return };
    let ino = inodes[0];
    let mounted = image.mount();
    let free = free_blocks(&mounted.fs);
    let write = |block: u64| mounted.write(ino, block * BLOCK, &[7; BLOCK as usize]).unwrap();
    // Two extents in each cluster, then the blocks between them from the last on.
    (0..EXTENTS).for_each(|extent| write(2 * extent + 1));
    let data = EXTENTS / 2 * RATIO;
    let nodes = free - free_blocks(&mounted.fs) - data;
    assert!(nodes >= 4 * RATIO && nodes.is_multiple_of(RATIO), "{nodes}");
    (0..EXTENTS).rev().step_by(3).for_each(|extent| write(2 * extent));
    let held = mounted.file(ino).attributes.blocks_512 * 512 / BLOCK;
    assert_eq!(held, free - free_blocks(&mounted.fs), "what the inode counts");
    // Every second extent goes: its cluster stays, since it has another one.
    (0..EXTENTS).step_by(2).for_each(|extent| {
        mounted.punch(ino, (2 * extent) * BLOCK..(2 * extent + 2) * BLOCK).unwrap();
    });
    let left = free - free_blocks(&mounted.fs);
    assert!((data..data + nodes + 2 * RATIO).contains(&left), "{left} of {data} and {nodes}");
    mounted.unmount();
    assert_clean(&image.path(), "holes between leaves");
    let mounted = image.mount();
    mounted.set_size(ino, 0).unwrap();
    assert_eq!(free_blocks(&mounted.fs), free);
    mounted.unmount();
    assert_clean(&image.path(), "emptied");
}

/// An extent that is not at its place within a cluster, and a block map, are damage and a thing of others: both are refused.
#[test]
fn what_clusters_do_not_have_is_refused() {
    let Some((image, inodes)) = image_with_files(KIND, 2) else { return };
    let mounted = image.mount();
    mounted.write(inodes[0], 0, &[1; 2 * BLOCK as usize]).unwrap();
    mounted.unmount();
    let file = |at: u64| format!("<{}>", FIRST_INODE + at);
    // The first word of the root's first extent is its block in the file.
    debugfs(&image.path(), &format!("sif {} block[3] 1\n", file(0)));
    debugfs(&image.path(), &format!("sif {} flags 0\nsif {} block[0] 9000\n", file(1), file(1)));
    let mounted = image.mount();
    let what = "extent tree: place of an extent in its clusters";
    let misplaced = Err(Error::Corrupt { what, at: FIRST_INODE });
    assert_eq!(mounted.write(inodes[0], 0, &[2; 10]), misplaced);
    assert_eq!(mounted.set_size(inodes[0], 0), misplaced);
    let numbered = Err(Error::Unsupported { what: "a block map, with bigalloc" });
    assert_eq!(mounted.write(inodes[1], 0, &[2; 10]), numbered);
    assert_eq!(mounted.punch(inodes[1], 0..BLOCK), numbered);
    mounted.unmount();
}

/// What mke2fs does not make is mounted to be read.
#[test]
fn a_part_of_a_cluster_at_the_end_is_not_written() {
    let Some(image) = Image::make(KIND) else { return };
    let mounted = image.mount();
    let blocks = mounted.fs.sb.blocks_count;
    mounted.unmount();
    debugfs(&image.path(), &format!("ssv blocks_count {}\n", blocks - 1));
    let mounted = image.mount_somehow().unwrap();
    assert_eq!(mounted.fs.read_only_reason, Some("bigalloc: a group that ends within a cluster"));
}
