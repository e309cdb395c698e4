//! Bitmaps and counts of groups against what is in use.
//!
//! Who calls it: `pass1` at the end of each window for blocks, while it walks for inodes. Whom it calls: `vm`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::claims::Claims;
use super::context::{Context, GROUP_BLOCK_UNINIT, GroupPlaces};
use super::finding::{Detail, Place};
use super::metadata;
use crate::layout::GROUP_INODE_UNINIT;
use rumpcap_host::Result;

/// A run of bits that differ in the same way.
#[derive(Clone, Copy)]
struct Run {
    first: u64,
    count: u64,
    is_used: bool,
}

/// Gathers differences into runs and tells them.
pub(super) struct Differences {
    place: Place,
    run: Option<Run>,
    /// What it is called when in use and free in the bitmap, and the other way round.
    words: [&'static str; 2],
}

impl Differences {
    pub fn of_blocks(group: u32) -> Differences {
        let words = ["blocks in use and free in the bitmap", "blocks free and in use in the bitmap"];
        Differences { place: Place::Group(group), run: None, words }
    }

    pub fn of_inodes(group: u32) -> Differences {
        let words = ["inodes in use and free in the bitmap", "inodes free and in use in the bitmap"];
        Differences { place: Place::Group(group), run: None, words }
    }

    /// Number `at` is in use or not, and the bitmap says otherwise.
    pub fn differs(&mut self, cx: &mut Context<'_, '_>, at: u64, is_used: bool) {
        if let Some(run) = &mut self.run
            && run.is_used == is_used
            && run.first.saturating_add(run.count) == at
        {
            run.count = run.count.saturating_add(1);
            return;
        }
        self.end(cx);
        self.run = Some(Run { first: at, count: 1, is_used });
    }

    pub fn end(&mut self, cx: &mut Context<'_, '_>) {
        if let Some(Run { first, count, is_used }) = self.run.take() {
            let [used, free] = self.words;
            cx.find_here(self.place, if is_used { used } else { free }, Detail::Run { first, count }, b"");
        }
    }
}

/// Compares the bitmap of `group`, which is in the window; gives its free clusters.
pub(super) fn check_blocks(
    cx: &mut Context<'_, '_>,
    claims: &Claims<'_>,
    group: u32,
    buf: &mut [u8],
) -> Result<u64> {
    let places = cx.group(group)?;
    let place = Place::Group(group);
    let per_group = u64::from(cx.clusters_per_group());
    let first = u64::from(group).saturating_mul(per_group);
    let count = cx.clusters().saturating_sub(first).min(per_group);
    let is_written = places.flags & GROUP_BLOCK_UNINIT == 0;
    let has_bitmap = cx.is_block(places.block_bitmap);
    if is_written && has_bitmap {
        cx.read(places.block_bitmap, buf)?;
        check_padding(cx, place, "padding of the bitmap of blocks is not set", buf, count);
        check_sum(
            cx,
            place,
            "bitmap of blocks: wrong checksum",
            buf,
            per_group,
            places.block_bitmap_checksum,
        );
    }
    let mut differences = Differences::of_blocks(group);
    let mut free = 0_u64;
    for at in (0..count).step_by(8) {
        let used = claims.byte(first.saturating_add(at));
        let mask = mask_of(count.saturating_sub(at));
        free = free.saturating_add(u64::from((!used & mask).count_ones()));
        let stored = match (is_written, buf.get((at >> 3) as usize)) {
            _ if !has_bitmap => continue,
            (true, Some(byte)) => *byte,
            _ => never_written(cx, group, &places, first.saturating_add(at), used),
        };
        let mut differing = (used ^ stored) & mask;
        while differing != 0 {
            let bit = differing.trailing_zeros();
            let cluster = first.saturating_add(at).saturating_add(bit.into());
            let is_used = used >> bit & 1 != 0;
            differences.differs(cx, cx.block_of(cluster), is_used);
            differing &= differing.wrapping_sub(1);
        }
    }
    differences.end(cx);
    if u64::from(places.free_clusters) != free {
        let detail = Detail::ShouldBe { is: places.free_clusters.into(), should_be: free };
        cx.find_here(place, "number of free blocks", detail, b"");
    }
    Ok(free)
}

/// What a bitmap that was never written stands for: the group's own structures are in use.
fn never_written(cx: &Context<'_, '_>, group: u32, places: &GroupPlaces, first: u64, used: u8) -> u8 {
    let is_own = |bit: u32| {
        let start = cx.block_of(first.saturating_add(bit.into()));
        let blocks = start..start.saturating_add(1 << cx.sb.cluster_log);
        used >> bit & 1 != 0
            && blocks.into_iter().any(|block| metadata::is_of_group(cx, group, places, block))
    };
    (0..8).filter(|bit| is_own(*bit)).fold(0, |byte, bit| byte | 1 << bit)
}

/// The bits of a byte that `left` bits fill.
fn mask_of(left: u64) -> u8 {
    if left >= 8 { u8::MAX } else { !(u8::MAX << left) }
}

/// Bits behind the last that counts are set.
fn check_padding(cx: &mut Context<'_, '_>, place: Place, what: &'static str, bitmap: &[u8], count: u64) {
    let at = (count >> 3) as usize;
    let partial = !mask_of(count & 7);
    let head = bitmap.get(at).is_none_or(|byte| byte & partial == partial);
    let rest = bitmap.get(at.saturating_add(1)..).unwrap_or_default();
    if !head || rest.iter().any(|byte| *byte != u8::MAX) {
        cx.find_here(place, what, Detail::Nothing, b"");
    }
}

fn check_sum(
    cx: &mut Context<'_, '_>,
    place: Place,
    what: &'static str,
    bitmap: &[u8],
    bits: u64,
    stored: u32,
) {
    if !cx.sb.features.has_metadata_csum() {
        return;
    }
    let covered = bitmap.get(..(bits >> 3) as usize).unwrap_or_default();
    let sum = crate::checksum::crc32c(cx.sb.csum_seed, covered);
    let sum = if cx.sb.desc_size >= 64 { sum } else { sum & 0xFFFF };
    if sum != stored {
        cx.find_here(place, what, Detail::Nothing, b"");
    }
}

/// The padding and checksum of the bitmap of inodes.
pub(super) fn check_inode_bitmap(
    cx: &mut Context<'_, '_>,
    group: u32,
    places: &GroupPlaces,
    buf: &mut [u8],
) -> Result<()> {
    let place = Place::Group(group);
    if places.flags & GROUP_INODE_UNINIT != 0 || !cx.is_block(places.inode_bitmap) {
        return Ok(());
    }
    cx.read(places.inode_bitmap, buf)?;
    let bits = u64::from(cx.sb.inodes_per_group);
    check_padding(cx, place, "padding of the bitmap of inodes is not set", buf, bits);
    check_sum(cx, place, "bitmap of inodes: wrong checksum", buf, bits, places.inode_bitmap_checksum);
    Ok(())
}

/// Whether inode `index` of the group is in use, as its bitmap says.
pub(super) fn has_inode(cx: &Context<'_, '_>, places: &GroupPlaces, index: u32) -> Result<bool> {
    if places.flags & GROUP_INODE_UNINIT != 0 {
        return Ok(false);
    }
    cx.bit(places.inode_bitmap, index)
}
