//! Pass 1: inodes by themselves, what they take, and the bitmaps and counts against it.
//!
//! Who calls it: `check`. Whom it calls: `live`, `inode`, `space`, `metadata`, `bitmaps`.
//!
//! All inode tables are walked once for each window of blocks; inodes by themselves are told about in the first.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::bitmaps::{self, Differences};
use super::claims::{Claims, Shares};
use super::context::{Context, Telling};
use super::finding::{Detail, Place};
use super::inode::{self, Role};
use super::live;
use super::memory::{Scratch, table_and_bitmaps};
use super::metadata;
use super::space::{self, Ledger};
use rumpcap_host::Result;

/// What the pass has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub free_clusters: u64,
    pub free_inodes: u64,
    pub directories: u64,
    /// Free clusters and inodes as the descriptors have them.
    pub said_clusters: u64,
    pub said_inodes: u64,
    pub windows: u32,
}

/// Runs the pass.
pub(super) fn run(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, map: &mut [u8]) -> Result<Totals> {
    let (table, bitmaps) = table_and_bitmaps(map);
    let (of_blocks, of_values) = table.split_at_mut((table.len() / 2) & !15);
    let (mut blocks, mut values) = (Shares::new(of_blocks), Shares::new(of_values));
    let per_window = Claims::groups_in(bitmaps.len(), cx.clusters_per_group()).max(1);
    let mut totals = Totals::default();
    let mut group = 0;
    while group < cx.sb.group_count && !cx.is_stopped() {
        let end = group.saturating_add(per_window).min(cx.sb.group_count);
        let cluster = |group: u32| u64::from(group).saturating_mul(cx.clusters_per_group().into());
        let claims = Claims::new(bitmaps, cluster(group), cluster(end).min(cx.clusters()));
        blocks.clear();
        let mut ledger = Ledger { claims, blocks: &mut blocks, values: &mut values };
        metadata::claim(cx, &mut ledger)?;
        walk(cx, scratch, &mut ledger, &mut totals)?;
        for group in group..end {
            let free = bitmaps::check_blocks(cx, &ledger.claims, group, scratch.block)?;
            totals.free_clusters = totals.free_clusters.saturating_add(free);
        }
        tell_shared_blocks(cx, ledger.blocks);
        totals.windows = totals.windows.saturating_add(1);
        cx.telling = Telling::Repeated;
        group = end;
    }
    cx.telling = Telling::First;
    tell_values(cx, &values);
    Ok(totals)
}

fn walk(
    cx: &mut Context<'_, '_>,
    scratch: &mut Scratch<'_>,
    ledger: &mut Ledger<'_, '_>,
    totals: &mut Totals,
) -> Result<()> {
    for group in 0..cx.sb.group_count {
        walk_group(cx, scratch, ledger, totals, group)?;
        cx.progress("inodes and blocks", group.saturating_add(1));
        if cx.is_stopped() {
            break;
        }
    }
    Ok(())
}

/// The inodes of a group, used and unused.
fn walk_group(
    cx: &mut Context<'_, '_>,
    scratch: &mut Scratch<'_>,
    ledger: &mut Ledger<'_, '_>,
    totals: &mut Totals,
    group: u32,
) -> Result<()> {
    let places = cx.group(group)?;
    let is_first = cx.telling == Telling::First;
    if is_first {
        bitmaps::check_inode_bitmap(cx, group, &places, scratch.block)?;
    }
    let used_part = cx.used_inodes(&places);
    let has_bitmap = is_first && cx.is_block(places.inode_bitmap);
    let (mut in_use, mut directories) = (0_u32, 0_u32);
    let mut differences = Differences::of_inodes(group);
    let mut compare = |cx: &mut Context<'_, '_>, index: u32, ino: u32, is_used: bool| -> Result<()> {
        if has_bitmap && bitmaps::has_inode(cx, &places, index)? != is_used {
            differences.differs(cx, ino.into(), is_used);
        }
        Ok(())
    };
    let Scratch { inode: buf, block, names: other, .. } = scratch;
    let other_len = buf.len().min(other.len());
    let other = other.get_mut(..other_len).unwrap_or_default();
    let _ =
        live::for_each(cx, group, 0..used_part, places.inode_table, buf, &mut |cx, index, live, bytes| {
            let role = inode::role(cx, live);
            let is_used = role != Role::Free;
            compare(cx, index, live.ino, is_used)?;
            if role == Role::Free {
                inode::check_free(cx, live);
                return Ok(());
            }
            in_use = in_use.saturating_add(1);
            directories = directories.saturating_add(u32::from(live.is_directory()));
            if cx.telling == Telling::First {
                inode::check_fields(cx, live, role, block)?;
                if role == Role::Value {
                    let count = u64::from(live.raw.ctime.get()) << 32 | u64::from(live.raw.version_lo.get());
                    ledger
                        .values
                        .add(live.ino.into(), i64::try_from(count).map_or(i64::MIN, i64::wrapping_neg));
                }
            }
            space::check(cx, ledger, live, role, bytes, block, other)
        })?;
    if !is_first {
        return Ok(());
    }
    for index in used_part..cx.sb.inodes_per_group {
        let ino = u64::from(group).saturating_mul(cx.sb.inodes_per_group.into()).saturating_add(index.into());
        let Ok(ino) = u32::try_from(ino.saturating_add(1)) else { break };
        compare(cx, index, ino, false)?;
    }
    differences.end(cx);
    let free = cx.sb.inodes_per_group.saturating_sub(in_use);
    let place = Place::Group(group);
    cx.expect(place, "number of free inodes", places.free_inodes.into(), free.into());
    cx.expect(place, "number of directories", places.directories.into(), directories.into());
    totals.free_inodes = totals.free_inodes.saturating_add(free.into());
    totals.directories = totals.directories.saturating_add(directories.into());
    totals.said_inodes = totals.said_inodes.saturating_add(places.free_inodes.into());
    totals.said_clusters = totals.said_clusters.saturating_add(places.free_clusters.into());
    Ok(())
}

fn tell_shared_blocks(cx: &mut Context<'_, '_>, blocks: &Shares<'_>) {
    let telling = core::mem::replace(&mut cx.telling, Telling::First);
    let place = Place::SuperBlock { group: 0 };
    for (block, left) in blocks.unbalanced() {
        let what = match left > 0 {
            true => "attribute block with fewer references than it counts:",
            false => "attribute block with more references than it counts:",
        };
        cx.find(place, what, Detail::Number(block));
    }
    if blocks.has_overflowed {
        cx.note(
            place,
            "too many shared attribute blocks for this memory: references were not all counted",
            Detail::Nothing,
        );
    }
    cx.telling = telling;
}

fn tell_values(cx: &mut Context<'_, '_>, values: &Shares<'_>) {
    let place = Place::SuperBlock { group: 0 };
    if values.has_overflowed {
        let what = "too many attribute values in inodes for this memory: references were not counted";
        return cx.note(place, what, Detail::Nothing);
    }
    for (ino, difference) in values.unbalanced() {
        let ino = u32::try_from(ino).unwrap_or(u32::MAX);
        let what = match difference < 0 {
            true => "value of an attribute with fewer references than it counts",
            false => "value of an attribute with more references than it counts",
        };
        cx.find(Place::Inode(ino), what, Detail::Nothing);
    }
}
