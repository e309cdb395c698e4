//! Files that are mapped by extents: what is mapped for a block, and what is freed of a range.
//!
//! Who calls it: `mod`. Whom it calls: `tree`, `alloc`.
#![deny(clippy::indexing_slicing)]

use super::budget::Budget;
use super::tree::{Way, longest};
use super::{Fill, Mapped};
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
            let mapped =
                Mapped { first: extent.first.saturating_add(into), count, is_new: !extent.is_written };
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
        let goal = self.goal_behind(inode, &way, logical);
        let run = self.allocate_blocks(goal, most)?;
        inode.add_blocks(&self.fs.sb, i64::from(run.count))?;
        let new = Leaf { logical, len: u64::from(run.count), first: run.first, is_written };
        self.exchange_extent(inode, logical, None, &[new])?;
        Ok(Mapped { first: run.first, count: run.count, is_new: true })
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
        // Whether all of the range is in this leaf: nothing is before it, or what is before is not in the range.
        let mut is_all = way.levels.iter().rev().skip(1).all(|level| level.at == Some(0));
        while let Some(at) = from.checked_sub(1) {
            let extent = Leaf::new(self.tree_node(inode, leaf.place)?.entry(at)?);
            let wanted = u64::from(extent.logical).max(range.start)..extent.end().min(end);
            if wanted.is_empty() {
                is_all = true;
                break;
            }
            let freed = self.free_part(inode, &extent, wanted.clone(), of, &mut budget)?;
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
        let freed = self.free_part(inode, &extent, range.clone(), of, budget)?;
        let head = part(&extent, u64::from(extent.logical)..freed);
        let tail = part(&extent, range.end..extent.end());
        self.exchange_extent(inode, extent.logical, Some(extent), &[head, tail])?;
        Ok(freed)
    }

    /// Frees the blocks `wanted` of an extent from their end on, as far as the step may; gives where it stopped.
    fn free_part(
        &mut self,
        inode: &mut Inode,
        extent: &Leaf,
        wanted: Range<u64>,
        of: Use,
        budget: &mut Budget,
    ) -> Result<u64> {
        let blocks = part(extent, wanted.clone());
        let count = budget.take(&self.fs.sb, blocks.first, blocks.len);
        if count > 0 {
            let first = blocks.first.saturating_add(blocks.len - u64::from(count));
            self.free_blocks(first, u64::from(count), of)?;
            inode.add_blocks(&self.fs.sb, -i64::from(count))?;
        }
        Ok(wanted.end - u64::from(count))
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
