//! Files that are mapped by extents: what is mapped for a block, and what is freed of a range.
//!
//! Who calls it: `mod`. Whom it calls: `tree`, `cluster`, `alloc`.
#![deny(clippy::indexing_slicing)]

use super::budget::Budget;
use super::tree::{Way, longest};
use super::{Fill, Mapped, Was};
use crate::alloc::Use;
use crate::extent::Leaf;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use core::ops::Range;
use rumpcap_host::{Error, Result};

/// Blocks that a file can have: the number of the last and that behind it fit 32 bits.
pub(super) const BLOCKS_MAX: u64 = u32::MAX as u64;

impl Handle<'_> {
    /// See [`Handle::map_blocks`].
    pub(super) fn map_extent(
        &mut self,
        inode: &mut Inode,
        logical: u32,
        most: u32,
        fill: Fill,
    ) -> Result<Mapped> {
        let way = self.tree_way(inode, logical)?;
        if let Some(extent) = way.now.filter(|extent| u64::from(logical) < extent.end()) {
            let into = u64::from(logical - extent.logical);
            let count = (extent.len - into).min(u64::from(most)) as u32;
            let was = if extent.is_written { Was::Written } else { Was::Unwritten };
            let mapped = Mapped { first: extent.first.saturating_add(into), count, was };
            if !extent.is_written && fill == Fill::Written {
                self.convert(inode, extent, into, u64::from(count))?;
            }
            return Ok(mapped);
        }
        let hole = u64::from(way.next.unwrap_or(u32::MAX)).saturating_sub(u64::from(logical));
        let is_written = fill == Fill::Written;
        let most = hole.min(u64::from(most)).min(u64::from(longest(is_written))) as u32;
        if most == 0 {
            return Err(Error::Corrupt { what: "extent tree: order of keys", at: inode.ino.0 });
        }
        let (first, count) = self.fill_hole(inode, &way, logical, most)?;
        let new = Leaf { logical, len: u64::from(count), first, is_written };
        self.exchange_extent(inode, logical, None, &[new])?;
        Ok(Mapped { first, count, was: Was::Hole })
    }

    /// Blocks for up to `most` of the hole that begins with `logical`, or is behind it at the end of `way`: the rest of a cluster that
    /// the file has (CL-2), or new clusters, which are counted.
    fn fill_hole(&mut self, inode: &mut Inode, way: &Way, logical: u32, most: u32) -> Result<(u64, u32)> {
        let sb = &self.fs.sb;
        let within = sb.within_cluster(u64::from(logical)) as u32;
        if let Some(cluster) = self.cluster_of_hole(inode, way, logical)? {
            return Ok((cluster.saturating_add(u64::from(within)), most.min(sb.cluster_blocks() - within)));
        }
        // The cluster of what is behind the hole is there already; it is another one.
        let end = way.next.map_or(u64::MAX, |next| sb.cluster_start(u64::from(next)));
        let most = end.saturating_sub(u64::from(logical)).min(u64::from(most)) as u32;
        let goal = self.goal_behind(inode, way, logical);
        let run = self.allocate_blocks(goal, most.saturating_add(within))?;
        inode.add_blocks(&self.fs.sb, i64::from(run.count))?;
        Ok((run.first.saturating_add(u64::from(within)), run.count.saturating_sub(within).min(most)))
    }

    /// As far behind an extent on the device as in the file.
    fn goal_behind(&self, inode: &Inode, way: &Way, logical: u32) -> u64 {
        let distance = |from: u32| u64::from(logical.abs_diff(from));
        let goal = match (way.now, way.behind) {
            (Some(before), _) => before.first.saturating_add(distance(before.logical)),
            (None, Some(behind)) => behind.first.saturating_sub(distance(behind.logical)),
            (None, None) => 0,
        };
        let sb = &self.fs.sb;
        if goal <= sb.first_data_block || goal >= sb.blocks_count { self.goal_of_inode(inode) } else { goal }
    }

    /// Makes `count` blocks from `into` of an unwritten extent on written ones.
    fn convert(&mut self, inode: &mut Inode, extent: Leaf, into: u64, count: u64) -> Result<()> {
        let piece = |from: u64, to: u64, is_written| Leaf {
            logical: extent.logical.saturating_add(from as u32),
            len: to - from,
            first: extent.first.saturating_add(from),
            is_written,
        };
        let behind = into + count;
        let pieces = [piece(0, into, false), piece(into, behind, true), piece(behind, extent.len, false)];
        let pieces: ArrayVec<Leaf, 3> = pieces.into_iter().filter(|piece| piece.len > 0).collect();
        self.exchange_extent(inode, extent.logical, Some(extent), &pieces)
    }

    /// See [`Handle::unmap_blocks`]: what of one leaf is in the range.
    pub(super) fn unmap_extents(&mut self, inode: &mut Inode, range: Range<u64>, of: Use) -> Result<u64> {
        let end = range.end.min(1 << 32);
        if end <= range.start {
            return Ok(range.start);
        }
        let way = self.tree_way(inode, (end - 1) as u32)?;
        let Some(last) = way.now.filter(|extent| extent.end() > range.start) else { return Ok(range.start) };
        let mut budget = Budget::new(of);
        if u64::from(last.logical) < range.start && last.end() > end {
            return self.unmap_middle(inode, last, range.start..end, of, &mut budget);
        }
        let leaf = *way.leaf()?;
        let behind = leaf.at.map_or(0, |at| at.saturating_add(1));
        let tail = if last.end() > end { Some(part(&last, end..last.end())) } else { None };
        let (mut from, mut head, mut stop) = (behind, None, last.end().min(end));
        // What stays behind whatever is freed.
        let next = tail.map_or(way.next, |tail| Some(tail.logical));
        // Whether all of the range is in this leaf: nothing is before it, or what is before is not in the range.
        let mut is_all = way.levels.iter().rev().skip(1).all(|level| level.at == Some(0));
        while let Some(at) = from.checked_sub(1) {
            let extent = Leaf::new(self.tree_node(inode, leaf.place)?.entry(at)?);
            let wanted = u64::from(extent.logical).max(range.start)..extent.end().min(end);
            if wanted.is_empty() {
                is_all = true;
                break;
            }
            let freed = self.free_part(inode, &extent, wanted.clone(), next, of, &mut budget)?;
            if freed < wanted.end {
                (from, stop) = (at, freed);
            }
            if freed > u64::from(extent.logical) {
                is_all = freed == range.start;
                head = (freed < wanted.end).then(|| part(&extent, u64::from(extent.logical)..freed));
                break;
            }
        }
        if from == behind {
            return Err(Error::Corrupt { what: "extent tree: order of keys", at: inode.ino.0 });
        }
        let pieces: ArrayVec<Leaf, 2> = head.into_iter().chain(tail).collect();
        self.splice_leaf(inode, &way, from..behind, &pieces)?;
        self.narrow_tree(inode, stop.min(BLOCKS_MAX) as u32)?;
        Ok(if is_all { range.start } else { stop })
    }

    /// Frees blocks in the middle of an extent, of which both ends stay.
    fn unmap_middle(
        &mut self,
        inode: &mut Inode,
        extent: Leaf,
        range: Range<u64>,
        of: Use,
        budget: &mut Budget,
    ) -> Result<u64> {
        let tail = part(&extent, range.end..extent.end());
        let freed = self.free_part(inode, &extent, range, Some(tail.logical), of, budget)?;
        let head = part(&extent, u64::from(extent.logical)..freed);
        self.exchange_extent(inode, extent.logical, Some(extent), &[head, tail])?;
        Ok(freed)
    }

    /// Frees the blocks `wanted` of an extent from their end on, as far as the step may; gives where it stopped. `next`: the first block
    /// behind them that stays.
    fn free_part(
        &mut self,
        inode: &mut Inode,
        extent: &Leaf,
        wanted: Range<u64>,
        next: Option<u32>,
        of: Use,
        budget: &mut Budget,
    ) -> Result<u64> {
        let blocks = part(extent, wanted.clone());
        let count = budget.take(&self.fs.sb, blocks.first, blocks.len);
        let stop = wanted.end - u64::from(count);
        if count > 0 {
            let gone = part(extent, stop..wanted.end);
            let clusters = self.clusters_of_gone(inode, extent, &gone, next)?;
            let freed = clusters.end.saturating_sub(clusters.start);
            self.free_clusters(clusters, gone.first..gone.first.saturating_add(gone.len), of)?;
            inode.add_blocks(&self.fs.sb, -(freed as i64))?;
        }
        Ok(stop)
    }
}

/// The blocks `logical` of an extent that has them.
fn part(extent: &Leaf, logical: Range<u64>) -> Leaf {
    let into = logical.start.saturating_sub(u64::from(extent.logical));
    Leaf {
        logical: logical.start as u32,
        len: logical.end.saturating_sub(logical.start),
        first: extent.first.saturating_add(into),
        is_written: extent.is_written,
    }
}
