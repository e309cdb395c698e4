//! Room in a tree: leaves and nodes split in two, a level added.
//!
//! Who calls it: `index`. Whom it calls: `block`.
//!
//! A leaf is split where half of its bytes are on each side, in the order of the hashes. Where names of one hash are on both sides, the
//! low bit of the new leaf's pointer says so. SP-1. Both halves have room for the longest name: records have at most 264 bytes,
//! and a half less than half of a block and one record.
//!
//! Memory: one or two copies of a block and a table of its records (3 KiB) on the stack.
#![deny(clippy::indexing_slicing)]

use super::block::{BLOCK_MAX, Copied, Form, broken};
use super::index::{Way, node_at};
use super::record::{self, Filler, NewEntry, Records, put};
use crate::dir::checksum::NODE_COUNTS;
use crate::dir::entry::RECORD_MIN;
use crate::dir::{BlockPlace, Dir};
use crate::htree::IndexNode;
use crate::htree::node::{POINTER, ROOT_INFO};
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use rumpcap_host::{Error, Result};

/// Most records of a block.
const RECORDS_MAX: usize = BLOCK_MAX / RECORD_MIN as usize;
/// Offset of `indirect_levels` in a root.
const LEVELS_AT: usize = ROOT_INFO as usize + 6;

/// An entry of the leaf that is split.
#[derive(Clone, Copy)]
struct Hashed {
    hash: u32,
    at: u16,
    len: u16,
}

type Map = ArrayVec<Hashed, RECORDS_MAX>;

impl Handle<'_> {
    /// Splits the leaf of a way whose lowest node has room, and puts the entry.
    pub(super) fn split_leaf(
        &mut self,
        dir: &Dir<'_, '_>,
        form: &Form,
        inode: &mut Inode,
        way: &Way,
        entry: &NewEntry<'_>,
    ) -> Result<()> {
        let copied = dir.copied(way.leaf)?;
        let map = hashed_entries(dir, form, &copied, way)?;
        let corrupt = Error::Corrupt { what: "directory block: full of one entry", at: way.leaf.physical };
        let (low, high) = map.split_at_checked(split_point(&map, form.block_size)).ok_or(corrupt)?;
        let (last, first) = (low.last().ok_or(corrupt)?, high.first().ok_or(corrupt)?);
        let pointer_hash = first.hash | u32::from(first.hash == last.hash);
        let goes_high = way.hash >= first.hash;
        let new = self.append_block(inode)?;
        self.create_block(new.physical, |bytes| {
            write_leaf(bytes, form, &copied, high, goes_high.then_some(entry));
        })?;
        let all = 0..form.block_size;
        self.edit(way.leaf.physical, &[all], |bytes| {
            write_leaf(bytes, form, &copied, low, (!goes_high).then_some(entry));
        })?;
        let (node, taken) = node_at(way, way.levels.len() - 1)?;
        self.insert_pointer(form, &node, taken, pointer_hash, new)
    }

    /// Splits the node below level `above`, which has room for one more pointer.
    pub(super) fn split_node(
        &mut self,
        dir: &Dir<'_, '_>,
        form: &Form,
        inode: &mut Inode,
        way: &Way,
        above: usize,
    ) -> Result<()> {
        let (parent, taken) = node_at(way, above)?;
        let (node, _) = node_at(way, above + 1)?;
        let copied = dir.copied(node.place)?;
        let kept = node.count / 2;
        let start = (node.counts + kept * POINTER) as usize;
        let end = (node.counts + node.count * POINTER) as usize;
        let moved = copied.bytes().get(start..end).unwrap_or_default();
        let hash = moved.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let new = self.append_block(inode)?;
        self.create_block(new.physical, |bytes| write_node(bytes, form, new, moved))?;
        self.set_count(form, &node, kept)?;
        self.insert_pointer(form, &parent, taken, hash, new)
    }

    /// Moves what a full root points to into a node of its own, the only one that the root points to then.
    pub(super) fn add_level(
        &mut self,
        dir: &Dir<'_, '_>,
        form: &Form,
        inode: &mut Inode,
        way: &Way,
    ) -> Result<()> {
        let (root, _) = node_at(way, 0)?;
        let copied = dir.copied(root.place)?;
        let (start, end) = (root.counts as usize, (root.counts + root.count * POINTER) as usize);
        let moved = copied.bytes().get(start..end).unwrap_or_default();
        let new = self.append_block(inode)?;
        self.create_block(new.physical, |bytes| write_node(bytes, form, new, moved))?;
        let levels = way.levels.len() as u8;
        let changed = [LEVELS_AT..LEVELS_AT + 1, start + 2..start + POINTER as usize, form.index_sum(&root)];
        self.edit(root.place.physical, &changed, |bytes| {
            put(bytes, LEVELS_AT, &[levels]);
            put(bytes, start + 2, &1_u16.to_le_bytes());
            put(bytes, start + 4, &(new.logical as u32).to_le_bytes());
            form.seal_index(bytes, &root, 1);
        })
    }

    /// Puts a pointer behind pointer `taken` of a node that has room for it.
    fn insert_pointer(
        &mut self,
        form: &Form,
        node: &IndexNode,
        taken: u32,
        hash: u32,
        to: BlockPlace,
    ) -> Result<()> {
        let counts = node.counts as usize;
        let at = counts + (taken + 1) as usize * POINTER as usize;
        let end = counts + node.count as usize * POINTER as usize;
        let changed = [counts + 2..counts + 4, at..end + POINTER as usize, form.index_sum(node)];
        self.edit(node.place.physical, &changed, |bytes| {
            if let Some(bytes) = bytes.get_mut(..end + POINTER as usize).filter(|_| at <= end) {
                bytes.copy_within(at..end, at + POINTER as usize);
            }
            put(bytes, at, &hash.to_le_bytes());
            put(bytes, at + 4, &(to.logical as u32).to_le_bytes());
            put(bytes, counts + 2, &(node.count as u16 + 1).to_le_bytes());
            form.seal_index(bytes, node, node.count + 1);
        })
    }

    /// Lets a node have only the first `count` of its pointers.
    fn set_count(&mut self, form: &Form, node: &IndexNode, count: u32) -> Result<()> {
        let at = node.counts as usize + 2;
        self.edit(node.place.physical, &[at..at + 2, form.index_sum(node)], |bytes| {
            put(bytes, at, &(count as u16).to_le_bytes());
            form.seal_index(bytes, node, count);
        })
    }
}

/// The entries of a leaf in the order of their hashes.
fn hashed_entries(dir: &Dir<'_, '_>, form: &Form, copied: &Copied, way: &Way) -> Result<Map> {
    let mut map = Map::new();
    for record in Records::new(copied.bytes(), &dir.rules, form.usable) {
        let record = record.map_err(broken(way.leaf))?;
        if record.ino != 0 {
            let hash = dir.with_hashed_bytes(record.name(copied.bytes()), |name| way.hasher.hash(name));
            // A block has room for so many records and no more.
            let _ = map.try_push(Hashed { hash, at: record.at as u16, len: record.used() as u16 });
        }
    }
    map.sort_unstable_by_key(|entry| (entry.hash, entry.at));
    Ok(map)
}

/// How many of the entries stay: those above take up to half of a block, or half of them if all do not take that much.
fn split_point(map: &Map, block_size: usize) -> usize {
    let mut size = 0;
    for (at, entry) in map.iter().enumerate().rev() {
        let len = usize::from(entry.len);
        if size + len / 2 > block_size / 2 {
            return at + 1;
        }
        size += len;
    }
    map.len() / 2
}

/// Writes a leaf of `entries` of another, and one more.
fn write_leaf(bytes: &mut [u8], form: &Form, from: &Copied, entries: &[Hashed], more: Option<&NewEntry<'_>>) {
    bytes.fill(0);
    let mut filler = Filler::new(bytes, form.usable);
    for entry in entries {
        let at = usize::from(entry.at);
        let entry = from.bytes().get(at..at + usize::from(entry.len)).unwrap_or_default();
        let fits = filler.copy(entry);
        debug_assert!(fits, "a half fits where the whole was");
    }
    let fits = more.is_none_or(|entry| filler.put(entry));
    debug_assert!(fits, "SP-1");
    filler.close();
    form.seal_leaf(bytes);
}

/// Writes a node of pointers of another, the first of which begins it.
fn write_node(bytes: &mut [u8], form: &Form, place: BlockPlace, pointers: &[u8]) {
    let count = (pointers.len() / POINTER as usize) as u32;
    let node = IndexNode { place, counts: NODE_COUNTS, count, limit: form.pointers(NODE_COUNTS) };
    record::put_len(bytes, 0, form.block_size);
    let at = NODE_COUNTS as usize;
    put(bytes, at, pointers);
    put(bytes, at, &(node.limit as u16).to_le_bytes());
    put(bytes, at + 2, &(count as u16).to_le_bytes());
    form.seal_index(bytes, &node, count);
}
