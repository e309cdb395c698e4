//! The shape of an extent tree: the way to a block, room for more entries, nodes that are empty or could be one.
//!
//! Who calls it: `extents`. Whom it calls: `node_edit` for single nodes, `alloc` for their blocks.
//!
//! TR-1. The key of an index entry is that of the first entry of its node, at every level. TR-2. Every node but the root has an entry. TR-3. A
//! way is found anew behind every change of the tree's shape.
//!
//! Memory: one page pinned at a time; the entries of one node on the stack when it is cut in two or put together.
#![deny(clippy::indexing_slicing)]

use super::node_edit::{Entries, Place, ROOT_ENTRIES, child_of, index_entry};
use crate::alloc::Use;
use crate::extent::Leaf;
use crate::extent::tree_node::{DEPTH_MAX, Entry, Header, key_of};
use crate::inode_edit::Inode;
use crate::layout::EXTENT_INITIALIZED_MAX;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use core::ops::Range;
use rumpcap_host::{Error, Result};

/// Levels of a tree, the root among them.
const LEVELS: usize = DEPTH_MAX as usize + 1;

/// Changes of shape that make room for an entry, at most: the root grows once, and every level is split once.
const ROUNDS: usize = LEVELS + 2;

/// A node on a way.
#[derive(Clone, Copy)]
pub(super) struct Level {
    pub place: Place,
    pub header: Header,
    /// The entry that the way goes through; in the leaf the last one not above the target.
    pub at: Option<u16>,
}

impl Level {
    fn index(&self) -> u16 {
        self.at.unwrap_or(0)
    }
}

/// The way from the root to a leaf.
pub(super) struct Way {
    /// The root first.
    pub levels: ArrayVec<Level, LEVELS>,
    /// The last extent that does not begin behind the target, the one before it and the one behind it, as far as they are in
    /// this leaf.
    pub now: Option<Leaf>,
    pub before: Option<Leaf>,
    pub behind: Option<Leaf>,
    /// First block of whatever is behind the target.
    pub next: Option<u32>,
}

impl Way {
    /// The leaf.
    pub fn leaf(&self) -> Result<&Level> {
        self.levels.last().ok_or(Error::Corrupt { what: "extent tree: depth", at: 0 })
    }

    /// Whether what is put behind the present extent is the last of all.
    fn is_at_the_end(&self) -> bool {
        self.next.is_none()
    }
}

impl Leaf {
    /// The two as one, if they are one in the file and on the device and not too long.
    fn joined(&self, behind: &Leaf) -> Option<Leaf> {
        let most = u64::from(longest(self.is_written));
        let joins = self.is_written == behind.is_written
            && self.end() == u64::from(behind.logical)
            && self.first.saturating_add(self.len) == behind.first
            && self.len.saturating_add(behind.len) <= most;
        joins.then(|| Leaf { len: self.len.saturating_add(behind.len), ..*self })
    }
}

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

/// Most blocks of an extent.
pub(super) fn longest(is_written: bool) -> u32 {
    u32::from(EXTENT_INITIALIZED_MAX) - u32::from(!is_written)
}

impl Handle<'_> {
    /// The way to block `target`.
    pub(super) fn tree_way(&self, inode: &Inode, target: u32) -> Result<Way> {
        let mut way = Way { levels: ArrayVec::new(), now: None, before: None, behind: None, next: None };
        let mut place = Place::Root;
        let mut expected = None;
        loop {
            let mut node = self.tree_node(inode, place)?;
            let header = node.header()?;
            if expected.is_some_and(|depth| depth != header.depth) || way.levels.is_full() {
                return Err(node.corrupt("extent tree: depth"));
            }
            let mut at = node.last_not_above(&header, target)?;
            if header.depth > 0 {
                at = Some(at.unwrap_or(0));
            }
            let next = at.map_or(0, |at| at.saturating_add(1));
            way.next = node.key(&header, next)?.or(way.next);
            way.levels.push(Level { place, header, at });
            if header.depth == 0 {
                let mut leaf = |at: Option<u16>| match at.filter(|&at| at < header.entries) {
                    Some(at) => node.entry(at).map(|entry| Some(Leaf::new(entry))),
                    None => Ok(None),
                };
                way.now = leaf(at)?;
                way.before = leaf(at.and_then(|at| at.checked_sub(1)))?;
                way.behind = leaf(Some(next))?;
                return Ok(way);
            }
            place = Place::Block(child_of(node.entry(at.unwrap_or(0))?));
            expected = header.depth.checked_sub(1);
        }
    }

    /// Puts `new` in the place of extent `old`, or into the hole at block `target`, which is where `old` or the first of `new` begins;
    /// joins them with each other and with their neighbours.
    pub(super) fn exchange_extent(
        &mut self,
        inode: &mut Inode,
        target: u32,
        old: Option<Leaf>,
        new: &[Leaf],
    ) -> Result<()> {
        for _ in 0..ROUNDS {
            let way = self.tree_way(inode, target)?;
            let leaf = *way.leaf()?;
            let behind_at = leaf.at.map_or(0, |at| at.saturating_add(1));
            let (mut range, before) = match old {
                Some(_) if way.now == old => (leaf.index()..behind_at, way.before),
                Some(_) => {
                    return Err(Error::Corrupt { what: "extent tree: order of keys", at: inode.ino.0 });
                }
                None => (behind_at..behind_at, way.now),
            };
            let mut all: ArrayVec<Leaf, 5> = ArrayVec::new();
            if let (Some(before), Some(first)) = (before, new.first())
                && before.joined(first).is_some()
            {
                range.start = range.start.saturating_sub(1);
                all.push(before);
            }
            new.iter().take(3).for_each(|&piece| push_joined(&mut all, piece));
            if let (Some(behind), Some(last)) = (way.behind, all.last_mut())
                && let Some(both) = last.joined(&behind)
            {
                *last = both;
                range.end = range.end.saturating_add(1);
            }
            let left = leaf.header.entries.saturating_sub(range.len() as u16);
            if usize::from(left) + all.len() <= usize::from(leaf.header.max) {
                let is_fewer = all.len() < range.len();
                self.splice_leaf(inode, &way, range, &all)?;
                return if is_fewer { self.narrow_tree(inode, target) } else { Ok(()) };
            }
            self.make_room(inode, &way, target)?;
        }
        Err(Error::Corrupt { what: "extent tree: no room", at: inode.ino.0 })
    }

    /// Replaces entries `old` of the leaf of `way` by `new`, for which there is room; sees to the nodes above (TR-1, TR-2).
    pub(super) fn splice_leaf(
        &mut self,
        inode: &mut Inode,
        way: &Way,
        old: Range<u16>,
        new: &[Leaf],
    ) -> Result<()> {
        let entries: ArrayVec<Entry, 5> = new.iter().take(5).map(Leaf::entry).collect();
        self.splice_level(inode, way, way.levels.len().saturating_sub(1), old, &entries)
    }

    /// As [`Handle::splice_leaf`], for the node at `level`.
    fn splice_level(
        &mut self,
        inode: &mut Inode,
        way: &Way,
        level: usize,
        old: Range<u16>,
        new: &[Entry],
    ) -> Result<()> {
        let Some(node) = way.levels.get(level) else { return Ok(()) };
        let left = node.header.entries.saturating_sub(old.len() as u16).saturating_add(new.len() as u16);
        if left == 0 {
            return self.remove_node(inode, way, level);
        }
        let is_first = old.start == 0;
        self.splice_entries(inode, node.place, node.header, old, new)?;
        if is_first && level > 0 {
            let key = self.tree_node(inode, node.place)?.entry(0).map(|entry| key_of(&entry))?;
            self.store_keys_above(inode, way, level, key)?;
        }
        Ok(())
    }

    /// The node at `level`, and so those above that it is the first of, begins with block `key` (TR-1).
    fn store_keys_above(&mut self, inode: &mut Inode, way: &Way, level: usize, key: u32) -> Result<()> {
        for above in way.levels.iter().take(level).rev() {
            self.store_key(inode, above.place, above.header, above.index(), key)?;
            if above.index() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Frees the node at `level`, which is empty, and those above that are then (TR-2).
    fn remove_node(&mut self, inode: &mut Inode, way: &Way, level: usize) -> Result<()> {
        let place = way.levels.get(level).map_or(Place::Root, |level| level.place);
        let Place::Block(block) = place else {
            self.store_root(inode, 0, &[]);
            return Ok(());
        };
        self.free_node(inode, block)?;
        let above = level.saturating_sub(1);
        let at = way.levels.get(above).map_or(0, Level::index);
        self.splice_level(inode, way, above, at..at.saturating_add(1), &[])
    }

    fn free_node(&mut self, inode: &mut Inode, block: u64) -> Result<()> {
        self.free_blocks(block, 1, Use::Metadata)?;
        inode.add_blocks(&self.fs.sb, -1)
    }

    fn allocate_node(&mut self, inode: &mut Inode, goal: u64) -> Result<u64> {
        let run = self.allocate_blocks(goal, 1)?;
        inode.add_blocks(&self.fs.sb, 1)?;
        Ok(run.first)
    }

    /// Makes more room in the leaf of `way`, or a step towards it: the highest node below one that has room is split; if there is
    /// none, the tree grows.
    fn make_room(&mut self, inode: &mut Inode, way: &Way, target: u32) -> Result<()> {
        let has_room = |level: &Level| level.header.entries < level.header.max;
        // The leaf itself may have room for one entry where two are needed.
        let above_leaf = way.levels.split_last().map_or(&[][..], |(_, above)| above);
        match above_leaf.iter().rposition(has_room) {
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
        let kept = match (way.is_at_the_end(), depth) {
            (true, 0) => count,
            (true, _) => count.saturating_sub(1),
            (false, _) => count / 2,
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

/// Adds `piece`, joined with the last if they are one.
fn push_joined(all: &mut ArrayVec<Leaf, 5>, piece: Leaf) {
    match all.last_mut().and_then(|last| last.joined(&piece).map(|both| (last, both))) {
        Some((last, both)) => *last = both,
        None => all.push(piece),
    }
}
