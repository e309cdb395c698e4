//! Sizes and free space, as the kernel's ext4 gives them to `statfs`.
//!
//! Who calls it: `vnops`, `info`.
//!
//! Free counts come from the super block, which an orderly unmount brings up to date. After a recovery or a crash they
//! are summed up from the group descriptors, page by page, as the kernel does at every mount.
//!
//! Overhead (metadata that no file can ever take) is the number of blocks of super blocks, descriptors, bitmaps, inode tables and
//! journal. It follows from the geometry alone, without a look at any group. With bigalloc metadata of several
//! groups may share a cluster: then the count that mke2fs recorded is taken, else the sum in whole clusters.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::layout::{STATE_ERRORS, STATE_VALID};
use crate::super_block::SuperBlock;
use rumpcap_host::Result;
use rumpcap_vfs::{InodeNo, StatFs};
use rumpcap_vm::Reservation;

/// Longest name in bytes.
const NAME_MAX: u32 = 255;
/// The kernel keeps this many clusters, or one in [`KEPT_SHARE`] if that is less, for its own delayed work where extents are in use.
const KEPT_CLUSTERS: u64 = 4096;
/// See [`KEPT_CLUSTERS`].
const KEPT_SHARE: u64 = 50;
/// Bitmaps of a group.
const BITMAPS: u64 = 2;

/// Free clusters and inodes.
struct Free {
    clusters: u64,
    inodes: u64,
}

/// Sizes and free space.
pub(crate) fn stat_fs(fs: &Ext4, r: &Reservation<'_>) -> Result<StatFs> {
    let sb = &fs.sb;
    let free = free(fs, r)?;
    let blocks_free = free.clusters << sb.cluster_log;
    let kept = sb.counts.blocks_reserved.saturating_add(kept_by_kernel(sb));
    Ok(StatFs {
        block_size: sb.block_size,
        blocks: sb.blocks_count.saturating_sub(overhead(fs, r)?),
        blocks_free,
        blocks_available: blocks_free.saturating_sub(kept),
        inodes: u64::from(sb.inodes_count),
        inodes_free: free.inodes,
        name_max: NAME_MAX,
    })
}

fn free(fs: &Ext4, r: &Reservation<'_>) -> Result<Free> {
    let sb = &fs.sb;
    if let Some(counts) = fs.counts_now() {
        return Ok(Free {
            clusters: counts.blocks_free >> sb.cluster_log,
            inodes: counts.inodes_free.into(),
        });
    }
    let is_current = sb.state & (STATE_VALID | STATE_ERRORS) == STATE_VALID && fs.recovery.is_none();
    if is_current {
        let clusters = sb.counts.blocks_free >> sb.cluster_log;
        return Ok(Free { clusters, inodes: u64::from(sb.counts.inodes_free) });
    }
    let mut sum = Free { clusters: 0, inodes: 0 };
    for group in 0..sb.group_count {
        let group = fs.group(r, group)?;
        sum.clusters = sum.clusters.saturating_add(u64::from(group.clusters_free));
        sum.inodes = sum.inodes.saturating_add(u64::from(group.inodes_free));
    }
    Ok(sum)
}

fn kept_by_kernel(sb: &SuperBlock) -> u64 {
    if !sb.features.has_extent() {
        return 0;
    }
    (sb.blocks_count >> sb.cluster_log).checked_div(KEPT_SHARE).unwrap_or(0).min(KEPT_CLUSTERS)
        << sb.cluster_log
}

/// Blocks of metadata.
fn overhead(fs: &Ext4, r: &Reservation<'_>) -> Result<u64> {
    let sb = &fs.sb;
    let recorded = u64::from(sb.counts.overhead_clusters) << sb.cluster_log;
    if sb.features.has_bigalloc() && recorded > 0 && recorded <= sb.blocks_count {
        return Ok(recorded);
    }
    let groups = u64::from(sb.group_count);
    let table = u64::from(sb.inodes_per_group) << sb.inode_size.trailing_zeros();
    let per_group = (table >> sb.block_log).saturating_add(BITMAPS);
    let blocks = sb
        .first_data_block
        .saturating_add(groups.saturating_mul(per_group))
        .saturating_add(super_blocks_and_descriptors(sb))
        .saturating_add(journal_blocks(fs, r));
    let cluster = 1u64 << sb.cluster_log;
    Ok(blocks.next_multiple_of(cluster))
}

/// Blocks of the journal in this file system. A broken journal inode does not keep anybody from the rest.
fn journal_blocks(fs: &Ext4, r: &Reservation<'_>) -> u64 {
    if !fs.sb.features.has_journal() || fs.sb.journal_inode == 0 {
        return 0;
    }
    let journal = fs.inode(r, InodeNo(u64::from(fs.sb.journal_inode)), 0);
    journal.map_or(0, |node| node.attributes.size_bytes >> fs.sb.block_log)
}

/// Blocks of super blocks and descriptors, present and reserved, of all groups.
fn super_blocks_and_descriptors(sb: &SuperBlock) -> u64 {
    let per_block_log = sb.block_log.saturating_sub(sb.desc_size.trailing_zeros());
    let groups = u64::from(sb.group_count);
    let descriptor_blocks = groups.div_ceil(1 << per_block_log);
    let supers = super_groups_below(sb, groups);
    let reserved = u64::from(sb.reserved_gdt_blocks);
    if !sb.features.has_meta_bg() {
        let behind_each = descriptor_blocks.saturating_add(reserved);
        return supers.saturating_add(supers.saturating_mul(behind_each));
    }
    // Groups below this have all of the first descriptor blocks, if they have a super block.
    let first = u64::from(sb.first_meta_bg).min(descriptor_blocks);
    let first_group = (first << per_block_log).min(groups);
    let behind_each = super_groups_below(sb, first_group).saturating_mul(first.saturating_add(reserved));
    supers
        .saturating_add(behind_each)
        .saturating_add(meta_copies(groups.saturating_sub(first_group), per_block_log))
}

/// Blocks of descriptors of `groups` groups with meta_bg: of the groups that one block describes the first, the second and the last
/// hold a copy of it. They may be the same one.
fn meta_copies(groups: u64, per_block_log: u32) -> u64 {
    let per_block = 1u64 << per_block_log;
    let full = groups >> per_block_log;
    let rest = groups & per_block.saturating_sub(1);
    full.saturating_mul(per_block.min(3)).saturating_add(rest.min(2))
}

/// How many groups below `end` hold a super block.
fn super_groups_below(sb: &SuperBlock, end: u64) -> u64 {
    if !sb.features.has_sparse_super2() && !sb.features.has_sparse_super() {
        return end;
    }
    if sb.features.has_sparse_super2() {
        let [one, two] = sb.backup_groups;
        let backups = [one, if two == one { 0 } else { two }];
        let backups = backups.iter().filter(|&&group| group != 0 && u64::from(group) < end).count();
        return end.min(1).saturating_add(backups as u64);
    }
    let powers = |base: u64| {
        core::iter::successors(Some(base), move |power| power.checked_mul(base))
            .take_while(|&p| p < end)
            .count()
    };
    end.min(2).saturating_add([3, 5, 7].into_iter().map(powers).sum::<usize>() as u64)
}
