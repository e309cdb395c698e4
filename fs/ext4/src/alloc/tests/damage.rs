//! Damaged bitmaps and descriptors: errors that say where, and never a block that is somebody's own.

use super::{Image, KINDS, Mounted};
use crate::alloc::Use;
use crate::alloc::descriptor::Map;
use crate::group::descriptor_place;
use rumpcap_host::{Error, Result};
use rumpcap_testing::seed::Random;
use rumpcap_vfs::{FileKind, InodeNo};
use std::os::unix::fs::FileExt;

/// Changes a byte of the image.
fn patch(image: &Image, at: u64, change: impl Fn(u8) -> u8) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(image.path()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[change(byte[0])], at).unwrap();
}

/// Bytes of the device at which a bitmap of `group` and its descriptor are.
fn places(mounted: &Mounted, group: u32, map: Map) -> (u64, u64) {
    let sb = &mounted.fs.sb;
    let bitmap = mounted.change(|h| Ok(h.descriptor(group)?.bitmap(map))).unwrap();
    let (block, within) = descriptor_place(sb, group).unwrap();
    (bitmap << sb.block_log, (block << sb.block_log) + u64::from(within))
}

/// Blocks of group 1 and an inode of group 1, or why not.
fn use_group_1(mounted: &Mounted) -> [Result<()>; 2] {
    let sb = &mounted.fs.sb;
    let goal = sb.group_first_block(1);
    let blocks = mounted.change(|h| h.allocate_blocks(goal, 1).map(drop));
    let parent = InodeNo(u64::from(sb.inodes_per_group) + 1);
    let inode = mounted.change(|h| h.free_inode(parent, FileKind::Regular));
    [blocks, inode]
}

#[test]
fn a_bit_that_is_wrong_is_an_error_with_and_without_checksums() {
    let kinds = [("-t ext2 -b 1024", "20M"), ("-t ext4 -b 1024 -O ^flex_bg", "20M")];
    for kind in kinds {
        for (index, map) in [Map::Blocks, Map::Inodes].into_iter().enumerate() {
            let Some(image) = Image::make(kind) else { return };
            // An inode and a block of the group, so that its bitmaps are written.
            let mounted = image.mount();
            let (bitmap, _) = places(&mounted, 1, map);
            let sb = mounted.fs.sb;
            mounted.change(|h| h.allocate_blocks(sb.group_first_block(1), 1)).unwrap();
            let parent = InodeNo(u64::from(sb.inodes_per_group) + 1);
            mounted.change(|h| h.allocate_inode(parent, FileKind::Regular)).unwrap();
            mounted.unmount();
            patch(&image, bitmap + 100, |byte| byte ^ 0x10);
            let mounted = image.mount();
            let results = use_group_1(&mounted);
            for (of, result) in results.into_iter().enumerate() {
                let is_wrong =
                    matches!(result, Err(Error::Checksum { at: 1, .. }) | Err(Error::Corrupt { at: 1, .. }));
                assert_eq!(is_wrong, of == index, "{kind:?}, {map:?}: {result:?}");
            }
        }
    }
}

#[test]
fn a_bitmap_that_gives_metadata_away_is_an_error() {
    let Some(image) = Image::make(("-t ext2 -b 1024", "20M")) else { return };
    let mounted = image.mount();
    let (bitmap, _) = places(&mounted, 1, Map::Blocks);
    mounted.unmount();
    // The last block of group 1 in use, its first (a super block) free: as many as before.
    patch(&image, bitmap, |byte| byte & !1);
    patch(&image, bitmap + 1023, |byte| byte | 0x80);
    let mounted = image.mount();
    let [blocks, _] = use_group_1(&mounted);
    assert!(matches!(blocks, Err(Error::Corrupt { at: 1, .. })), "{blocks:?}");
}

#[test]
fn a_descriptor_that_is_wrong_is_an_error() {
    for kind in [("-t ext2 -b 1024", "20M"), ("-t ext4 -b 1024", "20M")] {
        // Places of the block bitmap, the inode bitmap and the table; free blocks.
        for field in [2, 6, 10, 13] {
            let Some(image) = Image::make(kind) else { return };
            let mounted = image.mount();
            let (_, descriptor) = places(&mounted, 1, Map::Blocks);
            mounted.unmount();
            patch(&image, descriptor + field, |byte| byte ^ 0x40);
            let mounted = image.mount();
            let [blocks, _] = use_group_1(&mounted);
            let is_wrong =
                matches!(blocks, Err(Error::Checksum { at: 1, .. }) | Err(Error::Corrupt { at: 1, .. }));
            assert!(is_wrong, "{kind:?}, {field}: {blocks:?}");
        }
    }
}

#[test]
fn whatever_is_damaged_nobody_gets_the_file_systems_own_blocks() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let sb = mounted.fs.sb;
        let mut own = Vec::new();
        for group in 0..sb.group_count {
            let first = sb.group_first_block(group);
            mounted
                .change(|h| {
                    h.zones(group, &mut |zone| {
                        own.push(first + u64::from(zone.start)..first + u64::from(zone.end));
                        Ok(())
                    })
                })
                .unwrap();
        }
        let all: Vec<(u64, u64)> = (0..sb.group_count).map(|g| places(&mounted, g, Map::Blocks)).collect();
        mounted.unmount();
        let mut random = Random::new(seed as u64);
        for _ in 0..12 {
            let (bitmap, descriptor) = *random.pick(&all);
            // Counts and flags, not places: those are another file system's.
            let at =
                if random.one_in(2) { bitmap + random.below(64) } else { descriptor + 12 + random.below(8) };
            let mask = 1u8 << random.below(8);
            patch(&image, at, |byte| byte ^ mask);
        }
        let Ok(mounted) = image.try_mount() else { continue };
        let mut taken = Vec::new();
        for _ in 0..300 {
            let goal = random.below(sb.blocks_count);
            if let Ok(run) = mounted.change(|h| h.allocate_blocks(goal, 40)) {
                let run = run.first..run.first + u64::from(run.count);
                assert!(run.end <= sb.blocks_count);
                let hit = own.iter().find(|own| own.start < run.end && run.start < own.end);
                assert_eq!(hit, None, "{kind:?}: {run:?}");
                taken.push(run);
            }
            let block = random.below(sb.blocks_count);
            let is_own = own.iter().any(|own| own.contains(&block));
            let freed = mounted.change(|h| h.free_blocks(block, 1, Use::Content));
            assert!(!(is_own && freed.is_ok()), "{kind:?}: {block}");
            let _ = mounted.change(|h| h.allocate_inode(InodeNo(2), FileKind::Directory));
        }
    }
}
