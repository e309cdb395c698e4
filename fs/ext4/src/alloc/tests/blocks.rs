//! Blocks: all of them, in any order, and where they are.

use super::{Image, KINDS, Mounted};
use crate::alloc::{BlockRun, Use};
use rumpcap_host::Error;
use rumpcap_testing::seed::Random;
use rumpcap_testing::tools::{DebugfsMode, debugfs};
use rumpcap_vfs::{FileKind, InodeNo};

/// Allocates until there is no space; runs of random lengths, near random goals.
fn fill(mounted: &Mounted, random: &mut Random) -> Vec<BlockRun> {
    let mut runs = Vec::new();
    let blocks = mounted.fs.sb.blocks_count;
    loop {
        let most = if random.one_in(4) { random.below(4000) as u32 + 1 } else { random.below(9) as u32 + 1 };
        let goal = if random.one_in(3) {
            random.below(blocks + 10)
        } else {
            runs.last().map_or(0, |run: &BlockRun| run.first + u64::from(run.count))
        };
        match mounted.change(|h| h.allocate_blocks(goal, most)) {
            Ok(run) => {
                let most = most.next_multiple_of(mounted.fs.sb.cluster_blocks());
                assert!(run.count >= 1 && run.count <= most, "{run:?} for {most}");
                runs.push(run);
            }
            Err(Error::NoSpace { .. }) => return runs,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn all_blocks_come_and_go_on_every_kind_of_file_system() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let before = image.dump();
        let mounted = image.mount();
        let free = mounted.free();
        let mut random = Random::new(seed as u64);
        let mut runs = fill(&mounted, &mut random);
        assert_eq!(mounted.free(), (0, free.1), "{kind:?}");
        assert_eq!(runs.iter().map(|run| u64::from(run.count)).sum::<u64>(), free.0, "{kind:?}");
        let full = mounted.change(|h| h.allocate_blocks(0, 1));
        assert_eq!(full, Err(Error::NoSpace { what: "blocks" }), "{kind:?}");
        // What is free again is found, wherever it is.
        for _ in 0..5 {
            let run = runs.swap_remove(random.below(runs.len() as u64) as usize);
            mounted.change(|h| h.free_blocks(run.first, run.count.into(), Use::Content)).unwrap();
            let again = mounted.change(|h| h.allocate_blocks(0, run.count)).unwrap();
            assert_eq!(again, run, "{kind:?}");
            runs.push(again);
        }
        let mut sorted = runs.clone();
        sorted.sort_by_key(|run| run.first);
        assert!(sorted.windows(2).all(|w| w[0].first + u64::from(w[0].count) <= w[1].first), "{kind:?}");
        while !runs.is_empty() {
            let run = runs.swap_remove(random.below(runs.len() as u64) as usize);
            let of = if run.count < 4 && random.one_in(2) { Use::Metadata } else { Use::Content };
            mounted.change(|h| h.free_blocks(run.first, run.count.into(), of)).unwrap();
        }
        assert_eq!(mounted.free(), free, "{kind:?}");
        mounted.unmount();
        image.assert_clean(&format!("{kind:?}"));
        image.assert_dump(&before, &format!("{kind:?}"));
    }
}

/// What debugfs says of blocks: whether each is in use.
fn are_used(image: &Image, blocks: &[u64]) -> Vec<bool> {
    let lines: Vec<String> = blocks.iter().map(|block| format!("testb {block}")).collect();
    let answer = debugfs(&image.path(), DebugfsMode::Read, &lines);
    let answer = String::from_utf8_lossy(&answer);
    let lines = answer.lines().filter(|line| line.starts_with("Block "));
    lines.map(|line| !line.contains("not in use")).collect()
}

#[test]
fn debugfs_sees_what_was_allocated_and_nothing_else() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let mut random = Random::new(seed as u64 + 100);
        let mounted = image.mount();
        let blocks: Vec<u64> = (1..mounted.fs.sb.blocks_count).step_by(7).collect();
        mounted.unmount();
        let before = are_used(&image, &blocks);
        let mounted = image.mount();
        let mut taken = Vec::new();
        for _ in 0..40 {
            let goal = random.below(mounted.fs.sb.blocks_count);
            let run = mounted.change(|h| h.allocate_blocks(goal, 50)).unwrap();
            taken.push(run.first..run.first + u64::from(run.count));
        }
        mounted.unmount();
        let after = are_used(&image, &blocks);
        assert_eq!((before.len(), after.len()), (blocks.len(), blocks.len()), "{kind:?}");
        for ((block, before), after) in blocks.iter().zip(before).zip(after) {
            let is_taken = taken.iter().any(|run| run.contains(block));
            assert_eq!(after, before || is_taken, "{kind:?}: {block}");
            assert!(!(before && is_taken), "{kind:?}: {block} was in use");
        }
    }
}

/// Extents of runs in the order of a file's blocks: at most 32,768 blocks each.
fn extents(runs: &[BlockRun]) -> usize {
    let mut extents = 0;
    let (mut end, mut len) = (0, 0);
    for run in runs {
        if run.first != end || len + run.count > 32_768 {
            (extents, len) = (extents + 1, 0);
        }
        (end, len) = (run.first + u64::from(run.count), len + run.count);
    }
    extents
}

#[test]
fn a_large_file_that_is_written_in_pieces_has_few_extents() {
    for (piece, most_extents) in [(16, 12), (128, 12), (2048, 12)] {
        let Some(image) = Image::make(("-t ext4 -b 4096", "2G")) else { return };
        let mounted = image.mount();
        let mut runs: Vec<BlockRun> = Vec::new();
        let mut left = (1u32 << 30) / 4096;
        let mut goal = mounted.change(|h| Ok(h.goal_of_inode(&h.new_inode(InodeNo(12), 0)?))).unwrap();
        while left > 0 {
            let run = mounted.change(|h| h.allocate_blocks(goal, piece.min(left))).unwrap();
            (goal, left) = (run.first + u64::from(run.count), left - run.count);
            runs.push(run);
        }
        assert!(extents(&runs) <= most_extents, "{piece}: {} extents", extents(&runs));
    }
}

#[test]
fn small_files_made_one_after_the_other_are_neighbours() {
    let Some(image) = Image::make(("-t ext4 -b 4096", "512M")) else { return };
    let mounted = image.mount();
    let mut blocks = Vec::new();
    for _ in 0..5_000 {
        let block = mounted.change(|h| {
            let (ino, generation) = h.allocate_inode(InodeNo(2), FileKind::Regular)?;
            let goal = h.goal_of_inode(&h.new_inode(ino, generation)?);
            h.allocate_blocks(goal, 1)
        });
        blocks.push(block.unwrap().first);
    }
    let jumps = blocks.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(jumps < 10, "{jumps}");
}

#[test]
fn what_was_freed_is_not_used_before_that_is_durable() {
    let Some(image) = Image::make(("-t ext4 -b 1024", "20M")) else { return };
    let mounted = image.mount();
    let run = mounted.change(|h| h.allocate_blocks(9_000, 64)).unwrap();
    assert_eq!(run.count, 64);
    mounted.sync();
    mounted.change(|h| h.free_blocks(run.first, 64, Use::Content)).unwrap();
    let other = mounted.change(|h| h.allocate_blocks(run.first, 64)).unwrap();
    assert!(other.first >= run.first + 64 || other.first + 64 <= run.first, "{other:?} {run:?}");
    mounted.change(|h| h.free_blocks(other.first, other.count.into(), Use::Content)).unwrap();
    mounted.sync();
    assert_eq!(mounted.change(|h| h.allocate_blocks(run.first, 64)).unwrap(), run);
}

#[test]
fn an_operation_that_fails_leaves_nothing() {
    for kind in KINDS {
        let Some(image) = Image::make(*kind) else { return };
        let before = image.dump();
        let mounted = image.mount();
        let free = mounted.free();
        for step in 0..40u64 {
            let failed: Result<(), Error> = mounted.change(|h| {
                h.allocate_inode(InodeNo(2), FileKind::Directory)?;
                h.allocate_blocks(step * 2_000, 300)?;
                Err(Error::Exists)
            });
            assert_eq!(failed, Err(Error::Exists), "{kind:?}");
            assert_eq!(mounted.free(), free, "{kind:?}");
        }
        mounted.unmount();
        image.assert_clean(&format!("{kind:?}"));
        image.assert_dump(&before, &format!("{kind:?}"));
    }
}

#[test]
fn the_file_systems_own_blocks_and_free_ones_cannot_be_freed() {
    for kind in KINDS {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let sb = mounted.fs.sb;
        let mut own = vec![sb.first_data_block, sb.first_data_block + 1];
        for group in 0..sb.group_count {
            let group = mounted.fs.group(&mounted.vm.reserve(1), group).unwrap();
            own.extend([group.inode_table, group.inode_table + 1]);
        }
        for block in own {
            let freed = mounted.change(|h| h.free_blocks(block, 1, Use::Metadata));
            assert!(matches!(freed, Err(Error::Corrupt { .. })), "{kind:?}: {block}: {freed:?}");
        }
        let run = mounted.change(|h| h.allocate_blocks(0, 3)).unwrap();
        mounted.change(|h| h.free_blocks(run.first + 1, 1, Use::Content)).unwrap();
        for (first, count) in [(run.first + 1, 1), (run.first, 3), (sb.blocks_count - 1, 2), (u64::MAX, 1)] {
            let freed = mounted.change(|h| h.free_blocks(first, count, Use::Content));
            assert!(matches!(freed, Err(Error::Corrupt { .. })), "{kind:?}: {first}: {freed:?}");
        }
    }
}
