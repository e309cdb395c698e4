//! Lookup in an indexed directory: from the hash of a name to the leaf that must hold it.
//!
//! Who calls it: `dir::lookup`; `dir_change` for the way to a leaf. Whom it calls: `hash`, `dir` for blocks and their entries, `map` for where they are.
//!
//! The tree has a root, up to two levels of nodes between it and the leaves (one without `large_dir`), and leaves,
//! which are ordinary directory blocks. Names of one hash may fill several leaves in a row: a leaf that continues one
//! is pointed to with the low bit of the hash set, or begins at the very hash that is looked for. A lookup reads
//! root, nodes and leaf, so at most four blocks and such continuations.
//!
//! A tree that makes no sense (HT-1: unknown hash, a level too many, counts that do not fill the block, a pointer past
//! the directory or into a hole) is [`Search::Unusable`]; `dir` then looks at all entries, as the kernel does: names
//! are found in spite of it, and absence is sure. A wrong checksum is an error all the same, and so is a broken leaf.
//! SipHash trees exist only in directories that are encrypted and folded, which are refused before.
//!
//! Bounds: levels are at most three, leaves visited at most the directory's blocks. Pins: two, see `dir`.
//!
//! Source: "ext4 Data Structures and Algorithms", hash tree directories.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod node;

pub(crate) use node::{IndexNode, RawRootHead};

use crate::SuperBlock;
use crate::dir::{BlockPlace, Dir, Wanted};
use crate::hash::{HashVersion, NameHasher};
use arrayvec::ArrayVec;
use core::ops::ControlFlow;
use node::{Pointer, Reader};
use rumpcap_host::Result;
use rumpcap_vfs::InodeNo;

/// Root and levels between it and the leaves, with `large_dir`.
pub(crate) const LEVELS_MAX: usize = 3;
/// Largest `indirect_levels`, with `large_dir` and without.
const LARGE_INDIRECT_MAX: u8 = LEVELS_MAX as u8 - 1;
const SMALL_INDIRECT_MAX: u8 = 1;

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search<T> {
    Found(T),
    /// The tree is sound as far as it was read, and the name is not in it.
    Absent,
    /// HT-1.
    Unusable,
}

/// Most levels of nodes between root and leaves.
pub(crate) fn indirect_levels_max(sb: &SuperBlock) -> u8 {
    if sb.features.has_large_dir() { LARGE_INDIRECT_MAX } else { SMALL_INDIRECT_MAX }
}

/// Why there is no going on: nothing more, or nothing sensible.
pub(crate) enum Step<T> {
    To(T),
    End,
    Unusable,
}

/// A node on the way from the root to a leaf, and the pointer that was taken.
#[derive(Clone, Copy)]
pub(crate) struct Level {
    pub node: IndexNode,
    pub taken: u32,
}

/// Which hashes the names of a leaf have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeafBounds {
    /// The lowest.
    pub low: u32,
    /// Of the pointer to the leaf behind it, if there is one: its low bit says that names of that hash are in both.
    pub next: Option<u32>,
}

/// The way from the root to a leaf.
pub(crate) struct Path<'d, 'v> {
    dir: &'d Dir<'d, 'v>,
    pub levels: ArrayVec<Level, LEVELS_MAX>,
    /// How many levels the tree has.
    depth: usize,
}

/// Looks `wanted` up.
///
/// # Errors
/// `Checksum`, `Corrupt` (a leaf), `Io`.
pub(crate) fn search(dir: &Dir<'_, '_>, wanted: &Wanted<'_>) -> Result<Search<InodeNo>> {
    search_leaves(dir, wanted, |leaf| search_leaf(dir, leaf, wanted))
}

/// Hands each leaf that may hold `wanted` to `look`, until that finds it.
///
/// # Errors
/// As [`search`]; those of `look`.
pub(crate) fn search_leaves<T>(
    dir: &Dir<'_, '_>,
    wanted: &Wanted<'_>,
    mut look: impl FnMut(BlockPlace) -> Result<Option<T>>,
) -> Result<Search<T>> {
    let Some((mut path, hasher)) = Path::open(dir)? else {
        return Ok(Search::Unusable);
    };
    let hash = hasher.hash(wanted.hashed_bytes());
    let mut step = path.descend(hash)?;
    for _ in 0..dir.blocks {
        let leaf = match step {
            Step::To(leaf) => leaf,
            Step::End => return Ok(Search::Absent),
            Step::Unusable => return Ok(Search::Unusable),
        };
        if let Some(found) = look(leaf)? {
            return Ok(Search::Found(found));
        }
        step = path.next_leaf(hash)?;
    }
    Ok(Search::Unusable)
}

fn search_leaf(dir: &Dir<'_, '_>, leaf: BlockPlace, wanted: &Wanted<'_>) -> Result<Option<InodeNo>> {
    let mut found = None;
    let _ = dir.walk_block(leaf, 0, |entry| {
        if wanted.matches(entry.name) {
            found = Some(InodeNo(u64::from(entry.ino)));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

impl<'d, 'v> Path<'d, 'v> {
    /// Reads the root; gives a path of it alone, and the tree's hash. `None`: HT-1.
    pub(crate) fn open(dir: &'d Dir<'d, 'v>) -> Result<Option<(Path<'d, 'v>, NameHasher)>> {
        let Some(place) = block_of(dir, 0)? else {
            return Ok(None);
        };
        let Some((node, info)) = Reader::new(dir, place).root()? else {
            return Ok(None);
        };
        let sb = &dir.fs.sb;
        let indirect_max = indirect_levels_max(sb);
        let Some(version) = HashVersion::from_raw(info.hash_version) else {
            return Ok(None);
        };
        if info.indirect_levels > indirect_max {
            return Ok(None);
        }
        let hasher = NameHasher::of(sb, version);
        let levels = [Level { node, taken: 0 }].into_iter().collect();
        let depth = usize::from(info.indirect_levels).saturating_add(1);
        Ok(Some((Path { dir, levels, depth }, hasher)))
    }

    /// Goes from the root to the leaf where names of `hash` begin.
    pub(crate) fn descend(&mut self, hash: u32) -> Result<Step<BlockPlace>> {
        self.levels.truncate(1);
        loop {
            let Some(level) = self.levels.last_mut() else {
                return Ok(Step::Unusable);
            };
            let mut reader = Reader::new(self.dir, level.node.place);
            level.taken = last_not_above(&mut reader, &level.node, hash)?;
            let pointer = reader.pointer(&level.node, level.taken)?;
            drop(reader);
            if let Some(end) = self.go_down(pointer)? {
                return Ok(end);
            }
        }
    }

    /// Goes to the next leaf, if names of `hash` go on there.
    pub(crate) fn next_leaf(&mut self, hash: u32) -> Result<Step<BlockPlace>> {
        while let Some(level) = self.levels.last_mut() {
            level.taken = level.taken.saturating_add(1);
            if level.taken >= level.node.count {
                self.levels.pop();
                continue;
            }
            let mut pointer = Reader::new(self.dir, level.node.place).pointer(&level.node, level.taken)?;
            if pointer.hash & !1 != hash {
                return Ok(Step::End);
            }
            loop {
                if let Some(end) = self.go_down(pointer)? {
                    return Ok(end);
                }
                let Some(level) = self.levels.last() else {
                    return Ok(Step::Unusable);
                };
                pointer = Reader::new(self.dir, level.node.place).pointer(&level.node, 0)?;
            }
        }
        Ok(Step::End)
    }

    /// Which hashes the names of the leaf have that the path leads to.
    pub(crate) fn bounds(&self) -> Result<LeafBounds> {
        let mut bounds = LeafBounds { low: 0, next: None };
        for level in &self.levels {
            let mut reader = Reader::new(self.dir, level.node.place);
            if level.taken > 0 {
                // A pointer within another's range is behind its beginning.
                bounds.low = bounds.low.max(reader.pointer(&level.node, level.taken)?.hash & !1);
            }
            let behind = level.taken.saturating_add(1);
            if behind < level.node.count {
                let hash = reader.pointer(&level.node, behind)?.hash;
                bounds.next = Some(bounds.next.map_or(hash, |next| next.min(hash)));
            }
        }
        Ok(bounds)
    }

    /// Follows `pointer`: to a leaf, or `None` after one more level. At most [`LEVELS_MAX`] times in a row.
    fn go_down(&mut self, pointer: Pointer) -> Result<Option<Step<BlockPlace>>> {
        let Some(place) = block_of(self.dir, pointer.block)? else {
            return Ok(Some(Step::Unusable));
        };
        if self.levels.len() >= self.depth {
            return Ok(Some(Step::To(place)));
        }
        let Some(node) = Reader::new(self.dir, place).inner()? else {
            return Ok(Some(Step::Unusable));
        };
        let pushed = self.levels.try_push(Level { node, taken: 0 });
        Ok(if pushed.is_ok() { None } else { Some(Step::Unusable) })
    }
}

/// The last pointer whose hash is not above `hash`; pointer 0 counts as the lowest.
fn last_not_above(reader: &mut Reader<'_, '_>, node: &IndexNode, hash: u32) -> Result<u32> {
    let (mut low, mut high) = (0, node.count);
    // Invariant: the hash of `low` is not above, that of `high` is (or there is none). Halves each round.
    while high.saturating_sub(low) > 1 {
        let middle = low.midpoint(high);
        if reader.pointer(node, middle)?.hash > hash { high = middle } else { low = middle }
    }
    Ok(low)
}

/// Where block `logical` of the directory is; `None` past its end and in a hole.
fn block_of(dir: &Dir<'_, '_>, logical: u64) -> Result<Option<BlockPlace>> {
    if logical >= dir.blocks {
        return Ok(None);
    }
    let physical = dir.fs.map_block(dir.r, dir.node, logical)?;
    Ok(physical.map(|physical| BlockPlace { logical, physical, ahead: 0 }))
}
