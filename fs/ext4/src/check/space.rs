//! What an inode takes: its blocks are claimed, counted, and compared with its size and block count.
//!
//! Who calls it: `pass1`. Whom it calls: `mapping`, `attributes`, `claims`.
//!
//! An inode counts clusters: blocks of content that share one count once, as long as they follow each other; each block of the map
//! and of attributes has a cluster of its own.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::attributes;
use super::claims::{Claims, Shares};
use super::context::{Context, Telling};
use super::finding::{Detail, Place};
use super::inode::Role;
use super::live::{Live, number};
use super::mapping::{self, Piece, Written};
use super::metadata;
use crate::layout::inode_flags;
use core::ops::ControlFlow;
use rumpcap_host::Result;
use rumpcap_vfs::FileKind;

/// Where claims go.
pub(super) struct Ledger<'w, 't> {
    pub claims: Claims<'w>,
    /// Blocks of attributes that several inodes share.
    pub blocks: &'w mut Shares<'t>,
    /// Inodes that hold values.
    pub values: &'w mut Shares<'t>,
}

/// What an inode's map comes to.
#[derive(Default)]
struct Extent {
    clusters: u64,
    /// Physical and logical cluster of the block of content that came last.
    last_cluster: Option<(u64, u64)>,
    /// Behind the last logical block, and behind the last that was written.
    end: u64,
    written_end: u64,
    is_resize_map_seen: bool,
}

impl Ledger<'_, '_> {
    fn claim(&mut self, cx: &mut Context<'_, '_>, place: Place, first: u64, end: u64) {
        let (log, start) = (cx.sb.cluster_log, cx.sb.first_data_block);
        self.claims.claim(first, end, &mut |cluster, count| {
            let first = (cluster << log).saturating_add(start);
            cx.find_here(
                place,
                "blocks that are claimed before",
                Detail::Run { first, count: count << log },
                b"",
            );
        });
    }
}

/// Claims and checks all that `live` takes. `bytes` is all of the inode, `block` and `other` are room for a block and for an inode.
pub(super) fn check(
    cx: &mut Context<'_, '_>,
    ledger: &mut Ledger<'_, '_>,
    live: &Live,
    role: Role,
    bytes: &[u8],
    block: &mut [u8],
    other: &mut [u8],
) -> Result<()> {
    let mut extent = Extent::default();
    let is_mapped = live.is_mapped(cx) || is_mapped_without_a_mode(cx, live);
    if is_mapped {
        mapping::for_each(cx, live, &mut |cx, piece| {
            take(cx, ledger, live, &mut extent, piece);
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let mut sectors = 0_u64;
    let mut has_attribute_block = false;
    if role == Role::File || role == Role::Value {
        if cx.telling == Telling::First {
            let values = &mut *ledger.values;
            let found =
                attributes::in_inode(cx, live, bytes, other, &mut |ino| values.add(u64::from(ino), 1))?;
            sectors = found.value_sectors;
            check_inline(cx, live, found.inline);
        }
        has_attribute_block = live.attribute_block(cx) != 0;
        let of_block = attribute_block(cx, ledger, live, block, other)?;
        sectors = sectors.saturating_add(of_block);
    }
    if cx.telling == Telling::First && (is_mapped || role != Role::Own) {
        let clusters = extent.clusters.saturating_add(u64::from(has_attribute_block));
        check_count(cx, live, clusters, sectors);
        if is_mapped {
            check_size(cx, live, &extent);
        }
    }
    Ok(())
}

/// Reserved inodes may map blocks and have no mode.
fn is_mapped_without_a_mode(cx: &Context<'_, '_>, live: &Live) -> bool {
    let is_reserved = live.ino < cx.first_inode() && live.raw.mode.get() == 0;
    is_reserved && live.raw.block.iter().any(|word| word.get() != 0)
}

fn take(
    cx: &mut Context<'_, '_>,
    ledger: &mut Ledger<'_, '_>,
    live: &Live,
    extent: &mut Extent,
    piece: Piece,
) {
    let place = Place::Inode(live.ino);
    let cluster = |cx: &Context<'_, '_>, block| cx.cluster_of(block);
    let is_resize = live.ino == number::RESIZE;
    match piece {
        Piece::Tree(block) => {
            extent.clusters = extent.clusters.saturating_add(1);
            if is_resize && extent.is_resize_map_seen {
                return check_reserved(cx, block, 1);
            }
            extent.is_resize_map_seen = true;
            let at = cluster(cx, block);
            ledger.claim(cx, place, at, at.saturating_add(1));
        }
        Piece::Data { first, count, .. } if is_resize => {
            extent.clusters = extent.clusters.saturating_add(count);
            check_reserved(cx, first, count);
        }
        Piece::Data { logical, first, count, written } => {
            let last = first.saturating_add(count).saturating_sub(1);
            let last_logical = logical.saturating_add(count).saturating_sub(1);
            let log = cx.sb.cluster_log;
            let (mut from, end) = (cluster(cx, first), cluster(cx, last).saturating_add(1));
            if extent.last_cluster == Some((from, logical >> log)) {
                from = from.saturating_add(1);
            }
            extent.last_cluster = (log > 0).then(|| (cluster(cx, last), last_logical >> log));
            extent.clusters = extent.clusters.saturating_add(end.saturating_sub(from));
            ledger.claim(cx, place, from, end);
            extent.end = extent.end.max(last_logical.saturating_add(1));
            if written == Written::Yes {
                extent.written_end = extent.written_end.max(last_logical.saturating_add(1));
            } else if live.is_directory() {
                cx.find(place, "a directory has blocks that were not written", Detail::Run { first, count });
            }
        }
    }
}

/// The resize inode maps the blocks that are kept for descriptors, which are the file system's already.
fn check_reserved(cx: &mut Context<'_, '_>, first: u64, count: u64) {
    if !metadata::is_kept_for_descriptors(cx, first) {
        let run = Detail::Run { first, count };
        cx.find(Place::Inode(number::RESIZE), "maps blocks that are not kept for descriptors", run);
    }
}

/// Claims and, when it is met first, checks the block of attributes; gives the units of 512 bytes that values count for.
fn attribute_block(
    cx: &mut Context<'_, '_>,
    ledger: &mut Ledger<'_, '_>,
    live: &Live,
    buf: &mut [u8],
    other: &mut [u8],
) -> Result<u64> {
    let block = live.attribute_block(cx);
    let place = Place::Inode(live.ino);
    if block == 0 {
        return Ok(0);
    }
    if !cx.is_block(block) {
        cx.find(place, "i_file_acl is outside of the file system:", Detail::Number(block));
        return Ok(0);
    }
    let cluster = cx.cluster_of(block);
    if !ledger.claims.holds(cluster) {
        return if cx.telling == Telling::First { value_sectors(cx, live, block, buf, other) } else { Ok(0) };
    }
    if ledger.claims.mark_attributes(cluster) {
        ledger.blocks.add(block, -1);
        return if cx.telling == Telling::First { value_sectors(cx, live, block, buf, other) } else { Ok(0) };
    }
    ledger.claim(cx, place, cluster, cluster.saturating_add(1));
    cx.read(block, buf)?;
    let values = &mut *ledger.values;
    let mut on_value = |ino| values.add(u64::from(ino), 1);
    let Some(found) = attributes::in_block(cx, live, block, buf, other, &mut on_value)? else { return Ok(0) };
    if found.references != 1 {
        ledger.blocks.add(block, i64::from(found.references).saturating_sub(1));
    }
    Ok(found.found.value_sectors)
}

/// What the values of a block that is checked elsewhere count for: only where there can be any.
fn value_sectors(
    cx: &mut Context<'_, '_>,
    live: &Live,
    block: u64,
    buf: &mut [u8],
    other: &mut [u8],
) -> Result<u64> {
    if !cx.sb.features.has_ea_inode() {
        return Ok(0);
    }
    cx.read(block, buf)?;
    let found = attributes::in_block(cx, live, block, buf, other, &mut |_| {})?;
    Ok(found.map_or(0, |found| found.found.value_sectors))
}

/// Compares `i_blocks`.
fn check_count(cx: &mut Context<'_, '_>, live: &Live, clusters: u64, sectors: u64) {
    let hi = if cx.sb.features.has_huge_file() { live.raw.blocks_hi.get() } else { 0 };
    let is = u64::from(live.raw.blocks_lo.get()) | u64::from(hi) << 32;
    let blocks = clusters << cx.sb.cluster_log;
    let per_block = u64::from(cx.sb.block_size >> 9);
    let in_blocks = cx.sb.features.has_huge_file() && live.has_flag(inode_flags::HUGE_FILE);
    let should_be = match in_blocks {
        true => blocks.saturating_add(sectors.checked_div(per_block).unwrap_or(0)),
        false => blocks.saturating_mul(per_block).saturating_add(sectors),
    };
    cx.expect(Place::Inode(live.ino), "i_blocks", is, should_be);
}

/// Compares `i_size` with what is mapped.
fn check_size(cx: &mut Context<'_, '_>, live: &Live, extent: &Extent) {
    let (place, log) = (Place::Inode(live.ino), cx.sb.block_log);
    let is_large = live.is_directory() && !cx.sb.features.has_large_dir();
    let size = if is_large { u64::from(live.raw.size_lo.get()) } else { live.size() };
    if live.is_directory() {
        let mapped = extent.end << log;
        let spare = u64::from(cx.raw.prealloc_dir_blocks) << log;
        if size & !(u64::MAX << log) != 0 || size > mapped || size.saturating_add(spare) < mapped {
            cx.find(place, "i_size", Detail::ShouldBe { is: size, should_be: mapped });
        }
        return;
    }
    let is_file = live.kind() == FileKind::Regular && live.ino != number::RESIZE;
    let least = extent.written_end.saturating_sub(1) << log;
    const VERITY: u32 = inode_flags::VERITY;
    if is_file && extent.written_end > 0 && size < least && !live.has_flag(VERITY) {
        cx.find(place, "i_size is less than what is mapped:", Detail::Is(size));
    }
    if is_file && size > largest(cx, live) {
        cx.find(place, "i_size is larger than can be mapped:", Detail::Is(size));
    }
}

/// The largest size that the map of `live` allows.
fn largest(cx: &Context<'_, '_>, live: &Live) -> u64 {
    let log = cx.sb.block_log;
    if live.has_flag(inode_flags::EXTENTS) {
        return ((1u64 << 32) << log).saturating_sub(1);
    }
    let per_block = u64::from(cx.sb.block_size / 4);
    let blocks = (1..=3).fold(12_u64, |sum, levels| sum.saturating_add(per_block.saturating_pow(levels)));
    blocks.saturating_mul(1 << log)
}

/// Content in the inode is as long as the inode says.
fn check_inline(cx: &mut Context<'_, '_>, live: &Live, inline: Option<(usize, usize)>) {
    const IN_MAP: u64 = crate::layout::BLOCK_BYTES as u64;
    if !live.has_flag(inode_flags::INLINE_DATA) || !cx.sb.features.has_inline_data() {
        return;
    }
    let place = Place::Inode(live.ino);
    let Some((_, len)) = inline else {
        cx.find(place, "inline data without their attribute", Detail::Nothing);
        return;
    };
    let room = IN_MAP.saturating_add(len as u64);
    let size = live.size();
    // A file may be longer: what is behind reads as zeros.
    if live.is_directory() && size != room {
        cx.find(place, "i_size of inline data", Detail::ShouldBe { is: size, should_be: room });
    }
}
