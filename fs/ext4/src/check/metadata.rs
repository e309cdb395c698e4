//! Where the file system's own structures are: super blocks, descriptors, bitmaps, inode tables.
//!
//! Who calls it: `pass1` to claim them first, `groups` and `bitmaps` to know them from content. Arithmetic, but for the places
//! that descriptors tell.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, GroupPlaces};
use super::finding::{Detail, Place};
use super::space::Ledger;
use core::ops::Range;
use rumpcap_host::Result;

/// The copy of the super block and the descriptors at the beginning of `group`.
pub(super) fn head_of(cx: &Context<'_, '_>, group: u32) -> Range<u64> {
    let sb = cx.sb;
    let mut start = sb.group_first_block(group);
    let has_boot_block = start == 0 && sb.block_log == 10;
    if has_boot_block {
        start = 1;
    }
    let has_super = sb.has_super_block(group);
    let per_block_log = sb.block_log.saturating_sub(sb.desc_size.trailing_zeros());
    let within = group & !(u32::MAX << per_block_log);
    let last = (1u32 << per_block_log).saturating_sub(1);
    let descriptors = if !sb.features.has_meta_bg() {
        match has_super {
            true => descriptor_blocks(cx).saturating_add(sb.reserved_gdt_blocks.into()),
            false => 0,
        }
    } else if group >> per_block_log < sb.first_meta_bg {
        if has_super { u64::from(sb.first_meta_bg) } else { 0 }
    } else {
        u64::from(within <= 1 || within == last)
    };
    let end = start.saturating_add(u64::from(has_super)).saturating_add(descriptors);
    let start = if has_boot_block { 0 } else { start };
    start..if has_super || descriptors > 0 { end } else { start }
}

fn descriptor_blocks(cx: &Context<'_, '_>) -> u64 {
    let per_block_log = cx.sb.block_log.saturating_sub(cx.sb.desc_size.trailing_zeros());
    u64::from(cx.sb.group_count).div_ceil(1 << per_block_log)
}

/// Whether `block` is one of those behind the descriptors of a group, kept for more of them.
pub(super) fn is_kept_for_descriptors(cx: &Context<'_, '_>, block: u64) -> bool {
    let sb = cx.sb;
    let Some(group) =
        block.checked_sub(sb.first_data_block).and_then(|b| b.checked_div(sb.blocks_per_group.into()))
    else {
        return false;
    };
    let group = u32::try_from(group).unwrap_or(u32::MAX);
    let head = head_of(cx, group);
    let kept = head.end.saturating_sub(sb.reserved_gdt_blocks.into())..head.end;
    sb.has_super_block(group) && kept.contains(&block)
}

/// Whether `block` holds something of `group`'s own.
pub(super) fn is_of_group(cx: &Context<'_, '_>, group: u32, places: &GroupPlaces, block: u64) -> bool {
    let table = places.inode_table..places.inode_table.saturating_add(cx.table_blocks());
    head_of(cx, group).contains(&block)
        || table.contains(&block)
        || block == places.block_bitmap
        || block == places.inode_bitmap
}

/// Claims all structures of the file system that are in the window; tells where two are in one place.
pub(super) fn claim(cx: &mut Context<'_, '_>, ledger: &mut Ledger<'_, '_>) -> Result<()> {
    for group in 0..cx.sb.group_count {
        let head = head_of(cx, group);
        claim_range(cx, ledger, group, head, Shared::Clusters);
    }
    for group in 0..cx.sb.group_count {
        let places = cx.group(group)?;
        let table = places.inode_table;
        if cx.has_table(&places) {
            claim_range(cx, ledger, group, table..table.saturating_add(cx.table_blocks()), Shared::Nothing);
        }
        for bitmap in [places.block_bitmap, places.inode_bitmap] {
            if cx.is_block(bitmap) {
                claim_range(cx, ledger, group, bitmap..bitmap.saturating_add(1), Shared::Nothing);
            }
        }
    }
    let mmp = cx.raw.mmp_block.get();
    if cx.sb.features.incompat & 0x100 != 0 && cx.is_block(mmp) {
        claim_range(cx, ledger, 0, mmp..mmp.saturating_add(1), Shared::Nothing);
    }
    Ok(())
}

/// What a claim may have in common with those before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Nothing,
    /// A cluster of several blocks may hold the end of one and the beginning of the next.
    Clusters,
}

fn claim_range(
    cx: &mut Context<'_, '_>,
    ledger: &mut Ledger<'_, '_>,
    group: u32,
    blocks: Range<u64>,
    shared: Shared,
) {
    if blocks.is_empty() {
        return;
    }
    let first = cx.cluster_of(blocks.start);
    let end = cx.cluster_of(blocks.end.saturating_sub(1)).saturating_add(1);
    // With clusters the structures of several groups share them, and this cannot tell overlap from neighbourhood.
    let is_silent = shared == Shared::Clusters || cx.sb.cluster_log > 0;
    ledger.claims.claim(first, end, &mut |cluster, count| {
        if !is_silent {
            let first = cx.block_of(cluster);
            let run = Detail::Run { first, count };
            cx.find_here(Place::Group(group), "structures in the place of others", run, b"");
        }
    });
}
