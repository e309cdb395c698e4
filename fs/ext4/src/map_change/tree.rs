//! Extent trees as a whole: the way to a block, and the exchange of an extent for others.
//!
//! Who calls it: `extents`. Whom it calls: `node_edit` for single nodes, `shape` for more or fewer of them.
//!
//! TR-1. The key of an index entry is that of the first entry of its node, at every level. TR-2. Every node but the root has an entry. TR-3. A
//! way is found anew behind every change of the tree's shape.
//!
//! Memory: one page pinned at a time.
#![deny(clippy::indexing_slicing)]

use super::node_edit::{Place, child_of};
use crate::extent::Leaf;
use crate::extent::tree_node::{DEPTH_MAX, Entry, Header, key_of};
use crate::inode_edit::Inode;
use crate::layout::EXTENT_INITIALIZED_MAX;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use core::ops::Range;
use rumpcap_host::{Error, Result};

/// Levels of a tree, the root among them.
pub(super) const LEVELS: usize = DEPTH_MAX as usize + 1;

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
    pub fn index(&self) -> u16 {
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
    pub fn is_at_the_end(&self) -> bool {
        self.next.is_none()
    }
}

impl Leaf {
    /// The two as one, if they are one in the file and on the device and not too long.
    pub fn joined(&self, behind: &Leaf) -> Option<Leaf> {
        let most = u64::from(longest(self.is_written));
        let joins = self.is_written == behind.is_written
            && self.end() == u64::from(behind.logical)
            && self.first.saturating_add(self.len) == behind.first
            && self.len.saturating_add(behind.len) <= most;
        joins.then(|| Leaf { len: self.len.saturating_add(behind.len), ..*self })
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
}

/// Adds `piece`, joined with the last if they are one.
fn push_joined(all: &mut ArrayVec<Leaf, 5>, piece: Leaf) {
    match all.last_mut().and_then(|last| last.joined(&piece).map(|both| (last, both))) {
        Some((last, both)) => *last = both,
        None => all.push(piece),
    }
}
