//! The shape of an extent tree: room for more entries, nodes that fit together, their blocks.
//!
//! Who calls it: `tree`, `extents`. Whom it calls: `node_edit` for single nodes, `alloc` for their blocks.
//!
//! A full node is split in half, or at the end of the file so that the old one stays full. Two neighbours of which one is at most half full are
//! put together where they fit. So trees that grow at their end, or shrink, are as compact as e2fsck would make them; one that was filled in any
//! order may be up to twice as wide, as the kernel's.
//!
//! Memory: one page pinned at a time; the entries of one node on the stack.
#![deny(clippy::indexing_slicing)]

use super::node_edit::{Entries, Place, ROOT_ENTRIES, child_of, index_entry};
use super::tree::{LEVELS, Level, Way};
use crate::alloc::Use;
use crate::extent::Leaf;
use crate::extent::tree_node::{DEPTH_MAX, Entry, key_of};
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};

impl Entries {
    /// Joins the first extent with the one before it, if they are one.
    fn join_first(&mut self, before: Entry) -> bool {
        let first = self.first_mut();
        let joined = first.and_then(|first| {
            let both = Leaf::new(before).joined(&Leaf::new(*first))?;
            *first = both.entry();
            Some(())
        });
        joined.is_some()
    }
}

impl Handle<'_> {
    pub(super) fn free_node(&mut self, inode: &mut Inode, block: u64) -> Result<()> {
        self.free_blocks(block, 1, Use::Metadata)?;
        inode.add_blocks(&self.fs.sb, -i64::from(self.fs.sb.cluster_blocks()))
    }

    fn allocate_node(&mut self, inode: &mut Inode, goal: u64) -> Result<u64> {
        let run = self.allocate_blocks(goal, 1)?;
        inode.add_blocks(&self.fs.sb, i64::from(run.count))?;
        Ok(run.first)
    }

    /// Makes room for an entry in the leaf of `way`, or a step towards it: the highest full node below one that has room is split; if there is
    /// none, the tree grows.
    pub(super) fn make_room(&mut self, inode: &mut Inode, way: &Way, target: u32) -> Result<()> {
        let has_room = |level: &Level| level.header.entries < level.header.max;
        // The leaf may have room, though not enough: an extent can become three.
        let above = way.levels.len().saturating_sub(1);
        match way.levels.iter().take(above).rposition(has_room) {
            Some(above) => self.split(inode, way, above, target),
            None => self.grow(inode, way),
        }
    }

    /// Moves what the root has into a new node below it.
    fn grow(&mut self, inode: &mut Inode, way: &Way) -> Result<()> {
        let root = self.tree_entries(inode, Place::Root)?;
        let depth = root.header.depth;
        if depth >= DEPTH_MAX || way.levels.is_full() {
            return Err(Error::FileTooLarge);
        }
        let goal = self.goal_of_node(depth, root.all());
        let block = self.allocate_node(inode, goal)?;
        self.create_node(inode, block, depth, root.all())?;
        let key = root.all().first().map_or(0, key_of);
        self.store_root(inode, depth.saturating_add(1), &[index_entry(key, block)]);
        Ok(())
    }

    /// Where a node goes that is to have entries such as these: beside those that it names; or, if it names content, near the end of
    /// that one's group, where it does not take a block that content would go to when a hole is filled.
    fn goal_of_node(&self, depth: u16, entries: &[Entry]) -> u64 {
        let Some(&last) = entries.last() else { return 0 };
        if depth > 0 {
            return child_of(last).saturating_add(1);
        }
        let sb = &self.fs.sb;
        let group = u64::from(sb.blocks_per_group).max(1);
        let into = Leaf::new(last).first.saturating_sub(sb.first_data_block);
        let behind = (into - into % group).saturating_add(group - group / 16);
        behind.saturating_add(sb.first_data_block)
    }

    /// Splits the node below that at level `above`, which has room: in half, or for what comes at the end of the file so that the new node
    /// has as little as can be, since more will follow.
    fn split(&mut self, inode: &mut Inode, way: &Way, above: usize, target: u32) -> Result<()> {
        let corrupt = Error::Corrupt { what: "extent tree: depth", at: inode.ino.0 };
        let (Some(parent), Some(node)) = (way.levels.get(above), way.levels.get(above.saturating_add(1)))
        else {
            return Err(corrupt);
        };
        let entries = self.tree_entries(inode, node.place)?;
        let (count, depth) = (node.header.entries, node.header.depth);
        // An extent that is to be exchanged is there, one that is to be put into a hole is not.
        let is_there = way.now.is_some_and(|now| now.logical == target);
        let kept = match (way.is_at_the_end(), depth) {
            (true, 0) if !is_there => count,
            (true, _) => count.saturating_sub(1).max(1),
            (false, _) => (count / 2).max(1),
        };
        let moved = entries.all().get(usize::from(kept)..).unwrap_or_default();
        let key = moved.first().map_or(target, key_of);
        let goal = self.goal_of_node(depth, entries.all());
        let new = self.allocate_node(inode, goal)?;
        self.create_node(inode, new, depth, moved)?;
        self.cut_entries(inode, node.place, node.header, kept)?;
        let at = parent.index().saturating_add(1);
        self.splice_entries(inode, parent.place, parent.header, at..at, &[index_entry(key, new)])
    }

    /// Makes of the nodes on the way to `target` and their neighbours fewer, where they have become so empty that they fit together.
    pub(super) fn narrow_tree(&mut self, inode: &mut Inode, target: u32) -> Result<()> {
        for _ in 0..2 * LEVELS {
            let way = self.tree_way(inode, target)?;
            if !self.narrow_once(inode, &way)? {
                break;
            }
        }
        Ok(())
    }

    fn narrow_once(&mut self, inode: &mut Inode, way: &Way) -> Result<bool> {
        for level in (1..way.levels.len()).rev() {
            let (Some(node), Some(parent)) = (way.levels.get(level), way.levels.get(level - 1)) else {
                break;
            };
            if node.header.entries > node.header.max / 2 {
                continue;
            }
            let at = parent.index();
            if self.merge(inode, way, level - 1, at)? {
                return Ok(true);
            }
            if let Some(before) = at.checked_sub(1)
                && self.merge(inode, way, level - 1, before)?
            {
                return Ok(true);
            }
        }
        self.pull_up(inode, way)
    }

    /// Puts the nodes of entries `at` and `at + 1` of the node at level `above` together, if they fit.
    fn merge(&mut self, inode: &mut Inode, way: &Way, above: usize, at: u16) -> Result<bool> {
        let Some(parent) = way.levels.get(above) else { return Ok(false) };
        let behind = at.saturating_add(1);
        if behind >= parent.header.entries {
            return Ok(false);
        }
        let mut node = self.tree_node(inode, parent.place)?;
        let (left, right) = (child_of(node.entry(at)?), child_of(node.entry(behind)?));
        drop(node);
        let mut node = self.tree_node(inode, Place::Block(left))?;
        let header = node.header()?;
        let last = header.entries.checked_sub(1).map(|at| node.entry(at)).transpose()?;
        drop(node);
        let mut moved = self.tree_entries(inode, Place::Block(right))?;
        let both = header.entries.saturating_add(moved.header.entries);
        if header.depth != moved.header.depth || left == right || both > header.max {
            return Ok(false);
        }
        let is_joined = header.depth == 0 && last.is_some_and(|last| moved.join_first(last));
        let end = header.entries;
        let from = end.saturating_sub(u16::from(is_joined));
        self.splice_entries(inode, Place::Block(left), header, from..end, moved.all())?;
        self.free_node(inode, right)?;
        self.splice_entries(inode, parent.place, parent.header, behind..behind.saturating_add(1), &[])?;
        Ok(true)
    }

    /// Moves what is in the one node below the root into the root, if it fits.
    fn pull_up(&mut self, inode: &mut Inode, way: &Way) -> Result<bool> {
        let (Some(root), Some(node)) = (way.levels.first(), way.levels.get(1)) else { return Ok(false) };
        let Place::Block(block) = node.place else { return Ok(false) };
        if root.header.entries != 1 || node.header.entries > ROOT_ENTRIES {
            return Ok(false);
        }
        let entries = self.tree_entries(inode, node.place)?;
        self.store_root(inode, node.header.depth, entries.all());
        self.free_node(inode, block)?;
        Ok(true)
    }
}
