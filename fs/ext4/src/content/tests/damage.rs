//! Damaged maps: errors, no panic, and an end.

use super::random::Random;
use super::{FIRST_INODE, image_with_files};
use crate::alloc::tests::{Image, Mounted, NOW};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Allocate, Change, InodeNo, Step};
use std::os::unix::fs::FileExt;

const FILE: InodeNo = InodeNo(FIRST_INODE);
/// Far more steps than a sound file of this size takes.
const STEPS: u32 = 2000;

/// A file of 700 fragments, without checksums that would tell of all damage; and the blocks of its map.
fn fragmented(kind: &'static str) -> Option<(Image, Vec<u64>)> {
    let (image, _) = image_with_files((kind, "8M"), 1)?;
    let mounted = image.mount();
    for block in 0..700 {
        mounted.write(FILE, block * 2048, &[7; 1024]).unwrap();
    }
    mounted.unmount();
    let shown = super::debugfs(&image.path(), "stat f0\n");
    let marks = ["ETB", "IND", "DIND", "TIND"];
    let map = shown.split([',', '\n']).filter(|part| marks.iter().any(|mark| part.contains(mark)));
    let number = |part: &str| part.rsplit(':').next()?.split('-').next()?.trim().parse().ok();
    let map: Vec<u64> = map.filter_map(number).collect();
    assert!(map.len() > 3, "{shown}");
    Some((image, map))
}

fn steps(what: &str, mut step: impl FnMut() -> Result<Step>) {
    for _ in 0..STEPS {
        match step() {
            Ok(Step { is_done: false, .. }) => {}
            _ => return,
        }
    }
    panic!("{what}: no end");
}

fn operate(mounted: &Mounted, random: &mut Random, what: &str) {
    let r = || mounted.vm.reserve(crate::MAX_PINS);
    for _ in 0..12 {
        let offset = random.below(1 << 21);
        let range = offset..offset + 1 + random.below(200_000);
        match random.below(4) {
            0 => {
                let data = vec![9; range.end as usize - range.start as usize];
                let _ = mounted.fs.write(&r(), FILE, offset, &data, NOW, &mut |_| Ok(()));
            }
            1 => steps(what, || mounted.fs.punch(&r(), FILE, range.clone(), NOW)),
            2 => steps(what, || mounted.fs.allocate(&r(), FILE, range.clone(), Allocate::KeepSize, NOW)),
            _ => steps(what, || mounted.fs.set_size(&r(), FILE, offset, NOW)),
        }
    }
    steps(what, || mounted.fs.set_size(&r(), FILE, 0, NOW));
}

#[test]
fn damaged_maps_give_errors() {
    let kinds = [
        "-t ext4 -b 1024 -N 32 -O ^metadata_csum,^has_journal",
        "-t ext4 -b 1024 -N 32 -O ^has_journal",
        "-t ext2 -b 1024 -N 32",
    ];
    for kind in kinds {
        let Some((image, map)) = fragmented(kind) else { return };
        let sound = std::fs::read(image.path()).unwrap();
        let mut errors = 0;
        for seed in 1..=40u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
            std::fs::write(image.path(), &sound).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(image.path()).unwrap();
            for _ in 0..1 + random.below(4) {
                let block = map[random.below(map.len() as u64) as usize];
                // Heads and the first entries more often than the rest.
                let reach = [16, 64, 1020][random.below(3) as usize];
                let within = random.below(reach);
                let value =
                    [random.below(1 << 32) as u32, 0, u32::MAX, map[0] as u32][random.below(4) as usize];
                file.write_all_at(&value.to_le_bytes(), block * 1024 + within).unwrap();
            }
            drop(file);
            let what = format!("{kind}, seed {seed}");
            let mounted = image.mount();
            operate(&mounted, &mut random, &what);
            let left = mounted.fs.set_size(&mounted.vm.reserve(crate::MAX_PINS), FILE, 0, NOW);
            errors += u32::from(matches!(
                left,
                Err(Error::Corrupt { .. } | Error::Checksum { .. } | Error::ReadOnly)
            ));
            let _ = mounted.fs.unmount(&mounted.vm.reserve(crate::MAX_PINS), NOW);
        }
        assert!(errors > 10, "{kind}: only {errors} of 40 were seen");
    }
}

#[test]
fn content_is_not_written_over_the_file_system() {
    let Some((image, inodes)) = image_with_files(("-t ext2 -b 1024 -N 32", "8M"), 1) else { return };
    // A block of the file is said to be that of the group descriptors.
    super::debugfs(&image.path(), "set_inode_field f0 block[0] 2\nset_inode_field f0 size 1024\n");
    let before = std::fs::read(image.path()).unwrap()[2048..3072].to_vec();
    let mounted = image.mount();
    let written = mounted.write(inodes[0], 0, &[1; 1024]);
    assert!(matches!(written, Err(Error::Corrupt { at: 2, .. })), "{written:?}");
    mounted.unmount();
    let after = std::fs::read(image.path()).unwrap()[2048..3072].to_vec();
    assert_eq!(before[..8], after[..8]);
}

#[test]
fn blocks_of_numbers_that_are_the_file_systems_own_are_not_changed() {
    let Some((image, inodes)) = image_with_files(("-t ext2 -b 1024 -N 32", "8M"), 1) else { return };
    // Its block of numbers is said to be that of the group descriptors, most of which is zeros: a hole.
    super::debugfs(&image.path(), "set_inode_field f0 block[IND] 2\nset_inode_field f0 size 200000\n");
    let before = std::fs::read(image.path()).unwrap()[2048..3072].to_vec();
    let mounted = image.mount();
    let written = mounted.write(inodes[0], 112 << 10, &[1; 1024]);
    assert!(matches!(written, Err(Error::Corrupt { at: 2, .. })), "{written:?}");
    let cut = mounted.fs.set_size(&mounted.vm.reserve(crate::MAX_PINS), inodes[0], 100 << 10, NOW);
    assert!(matches!(cut, Err(Error::Corrupt { at: 2, .. })), "{cut:?}");
    mounted.unmount();
    let after = std::fs::read(image.path()).unwrap()[2048..3072].to_vec();
    assert_eq!(before[..8], after[..8]);
    assert_eq!(before[32..], after[32..]);
}

#[test]
fn the_journal_is_nobodys_to_write_or_free() {
    let Some((image, inodes)) = image_with_files(("-t ext3 -b 1024 -N 32", "16M"), 1) else { return };
    let shown = super::debugfs(&image.path(), "bmap <8> 5\n");
    let journal: u64 = shown.lines().find_map(|line| line.trim().parse().ok()).unwrap();
    let script = format!(
        "set_inode_field f0 block[0] {journal}\nset_inode_field f0 size 1024\nset_inode_field f0 blocks 2\nlink <8> j\n"
    );
    super::debugfs(&image.path(), &script);
    let mounted = image.mount();
    let r = || mounted.vm.reserve(crate::MAX_PINS);
    let written = mounted.write(inodes[0], 0, &[1; 1024]);
    assert!(matches!(written, Err(Error::Corrupt { .. })), "{written:?}");
    let cut = mounted.fs.set_size(&r(), inodes[0], 0, NOW);
    assert!(matches!(cut, Err(Error::Corrupt { .. })), "{cut:?}");
    let at = rumpcap_vfs::EntryName { dir: InodeNo(2), name: b"j" };
    let removed = mounted.fs.remove(&r(), at, rumpcap_vfs::Remove::File, &|_| false, NOW);
    assert!(matches!(removed, Err(Error::Corrupt { at: 8, .. })), "{removed:?}");
    assert!(mounted.write(InodeNo(8), 5 << 10, &[1; 1024]).is_err());
    mounted.unmount();
}
