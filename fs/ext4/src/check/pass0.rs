//! Pass 0: the super block, its copies, and the group descriptors.
//!
//! Who calls it: `check`, before anything else. Whom it calls: `metadata`, `vm`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, GROUP_BLOCK_UNINIT, GroupPlaces};
use super::finding::{Detail, Place};
use super::metadata;
use super::pass1::Totals;
use crate::checksum::crc32c;
use crate::layout::{RawSuperBlock, STATE_ERRORS, STATE_VALID, SUPER_BLOCK_BYTES, SUPER_BLOCK_MAGIC};
use rumpcap_host::Result;
use zerocopy::IntoBytes;

/// Revisions of the format there are: 0 and 1.
const REVISION_MAX: u32 = 1;

const SUPER: Place = Place::SuperBlock { group: 0 };

/// Whether what follows can be checked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Geometry {
    Usable,
    Unusable,
}

/// Checks the super block and its copies.
pub(super) fn super_blocks(cx: &mut Context<'_, '_>) -> Result<Geometry> {
    let geometry = primary(cx);
    state(cx);
    for group in 1..cx.sb.group_count {
        if cx.sb.has_super_block(group) {
            copy(cx, group)?;
        }
    }
    Ok(geometry)
}

fn primary(cx: &mut Context<'_, '_>) -> Geometry {
    let sb = *cx.sb;
    let raw = cx.raw;
    let inodes = u64::from(sb.group_count).saturating_mul(sb.inodes_per_group.into());
    cx.expect(SUPER, "inodes count", sb.inodes_count.into(), inodes);
    let first = u64::from(sb.block_log == 10 && sb.cluster_log == 0);
    cx.expect(SUPER, "first data block", sb.first_data_block, first);
    let per_cluster = raw.clusters_per_group.get();
    if sb.cluster_log > 0 {
        cx.expect(
            SUPER,
            "clusters per group",
            per_cluster.into(),
            (sb.blocks_per_group >> sb.cluster_log).into(),
        );
    }
    let mut check = |holds: bool, what, is: u64| {
        if !holds {
            cx.find(SUPER, what, Detail::Is(is));
        }
    };
    let has_clusters = sb.features.has_bigalloc() || raw.log_cluster_size == raw.log_block_size;
    check(has_clusters, "size of clusters, without the feature bigalloc,", raw.log_cluster_size.get().into());
    check(sb.counts.blocks_reserved <= sb.blocks_count / 2, "reserved blocks", sb.counts.blocks_reserved);
    let revision = raw.revision.get();
    check(revision <= REVISION_MAX, "revision", revision.into());
    let is_dynamic = revision != 0;
    let first_inode = raw.first_inode.get();
    check(
        !is_dynamic || (first_inode >= 11 && first_inode <= sb.inodes_count),
        "first inode",
        first_inode.into(),
    );
    let reserved = sb.reserved_gdt_blocks;
    check(reserved <= sb.block_size / 4, "blocks reserved for descriptors", reserved.into());
    let is_resizable = sb.features.has_resize_inode() || reserved == 0;
    check(
        is_resizable,
        "blocks reserved for descriptors, without the feature resize_inode,",
        reserved.into(),
    );
    let is_whole = (sb.blocks_per_group >> sb.cluster_log).is_multiple_of(8);
    check(is_whole, "blocks per group", sb.blocks_per_group.into());
    let is_whole_table = sb.inodes_per_group.is_multiple_of(8);
    check(is_whole_table, "inodes per group", sb.inodes_per_group.into());
    if is_whole && is_whole_table { Geometry::Usable } else { Geometry::Unusable }
}

fn state(cx: &mut Context<'_, '_>) {
    if cx.sb.features.has_needs_recovery() && cx.fs.recovery.is_none() {
        cx.note(SUPER, "the journal has not been replayed", Detail::Nothing);
    }
    if cx.sb.state & STATE_ERRORS != 0 {
        cx.note(SUPER, "errors were noted while it was in use", Detail::Nothing);
    } else if cx.sb.state & STATE_VALID == 0 {
        cx.note(SUPER, "it was not unmounted in order", Detail::Nothing);
    }
    if cx.has_quota() {
        let raw = cx.raw;
        let mut quota = |what, ino: u32| {
            if ino != 0 {
                cx.note(SUPER, what, Detail::Number(ino.into()));
            }
        };
        quota("quota of users is kept, and not checked: inode", raw.user_quota_inode.get());
        quota("quota of groups is kept, and not checked: inode", raw.group_quota_inode.get());
        quota("quota of projects is kept, and not checked: inode", raw.project_quota_inode.get());
    }
}

/// A copy says what the primary says of geometry. A stale one is no error of the file system: it is said.
fn copy(cx: &mut Context<'_, '_>, group: u32) -> Result<()> {
    let mut bytes = [0; SUPER_BLOCK_BYTES];
    cx.read(cx.sb.group_first_block(group), &mut bytes)?;
    let raw: RawSuperBlock = zerocopy::transmute!(bytes);
    let place = Place::SuperBlock { group };
    if raw.magic.get() != SUPER_BLOCK_MAGIC {
        cx.note(place, "no magic number", Detail::Nothing);
        return Ok(());
    }
    let covered = raw.as_bytes().get(..SUPER_BLOCK_BYTES.saturating_sub(4)).unwrap_or_default();
    if cx.sb.features.has_metadata_csum() && crc32c(!0, covered) != raw.checksum.get() {
        cx.note(place, "wrong checksum", Detail::Nothing);
        return Ok(());
    }
    let primary = cx.raw;
    let pairs = [
        ("blocks count", raw.blocks_count_lo, primary.blocks_count_lo),
        ("inodes count", raw.inodes_count, primary.inodes_count),
        ("blocks per group", raw.blocks_per_group, primary.blocks_per_group),
        ("inodes per group", raw.inodes_per_group, primary.inodes_per_group),
        ("size of blocks", raw.log_block_size, primary.log_block_size),
    ];
    for (what, is, should_be) in pairs {
        if is != should_be {
            let detail = Detail::ShouldBe { is: is.get().into(), should_be: should_be.get().into() };
            cx.note(place, what, detail);
        }
    }
    Ok(())
}

/// Checks the descriptors by themselves.
pub(super) fn groups(cx: &mut Context<'_, '_>) -> Result<()> {
    for group in 0..cx.sb.group_count {
        let places = cx.group(group)?;
        descriptor(cx, group, &places);
        cx.progress("group descriptors", group.saturating_add(1));
        if cx.is_stopped() {
            break;
        }
    }
    Ok(())
}

fn descriptor(cx: &mut Context<'_, '_>, group: u32, places: &GroupPlaces) {
    let place = Place::Group(group);
    if !places.is_checksum_right {
        cx.find(place, "descriptor: wrong checksum", Detail::Nothing);
    }
    // Without flexible groups all is in the group itself.
    let is_flexible = cx.sb.features.incompat & 0x200 != 0;
    let first = cx.sb.group_first_block(group);
    let end = first.saturating_add(cx.sb.blocks_per_group.into()).min(cx.sb.blocks_count);
    let (low, high) = if is_flexible { (cx.sb.first_data_block, cx.sb.blocks_count) } else { (first, end) };
    let fits = |start: u64, len: u64| start >= low.max(1) && start.saturating_add(len) <= high;
    let parts = [
        ("bitmap of blocks is in a wrong place:", places.block_bitmap, 1),
        ("bitmap of inodes is in a wrong place:", places.inode_bitmap, 1),
        ("inode table is in a wrong place:", places.inode_table, cx.table_blocks()),
    ];
    for (what, start, len) in parts {
        if !fits(start, len) {
            cx.find(place, what, Detail::Number(start));
        }
    }
    if places.has_stray_marks {
        cx.find(place, "marked as never written, without the feature", Detail::Nothing);
    }
    if places.unused > cx.sb.inodes_per_group {
        cx.find(place, "unused inodes of the table", Detail::Is(places.unused.into()));
    }
    if places.flags & GROUP_BLOCK_UNINIT != 0 && group.saturating_add(1) == cx.sb.group_count {
        cx.find(place, "the last group's bitmap of blocks was never written", Detail::Nothing);
    }
    let head = metadata::head_of(cx, group);
    if head.end > end {
        cx.find(place, "descriptors do not fit", Detail::Nothing);
    }
}

/// Compares the counts of the super block with what was found.
pub(super) fn totals(cx: &mut Context<'_, '_>, totals: &Totals) {
    let (log, counts) = (cx.sb.cluster_log, cx.sb.counts);
    // No error: a kernel sums them up from the descriptors when it mounts, and writes them when it unmounts.
    let pairs = [
        ("number of free blocks", counts.blocks_free, totals.free_clusters << log),
        ("number of free inodes", counts.inodes_free.into(), totals.free_inodes),
    ];
    for (what, is, should_be) in pairs {
        if is != should_be && cx.fs.recovery.is_none() {
            cx.note(SUPER, what, Detail::ShouldBe { is, should_be });
        }
    }
}
