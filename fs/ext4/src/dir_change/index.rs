//! Entries of directories with a tree: the way to the leaf, and room made on it.
//!
//! Who calls it: `mod`, `linear`. Whom it calls: `htree` for the way, `split` for room.
//!
//! An entry goes into the leaf where names of its hash begin. A leaf without room is split; before that, a node without room for one more
//! pointer, or the root, is made to have some, and the way is gone again. DX-1. That is at most once for each level, and once
//! for a new level: so the loop ends.
#![deny(clippy::indexing_slicing)]

use super::block::{Form, Looked};
use super::record::{Found, NewEntry, Room};
use crate::dir::checksum::ROOT_COUNTS;
use crate::dir::{BlockPlace, Dir, Wanted};
use crate::hash::NameHasher;
use crate::htree::{IndexNode, LEVELS_MAX, Level, Path, Step, indirect_levels_max};
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use rumpcap_host::{Error, Result};

/// Times that the way is gone: each level split, one added, and the entry put (DX-1).
const ROUNDS_MAX: usize = LEVELS_MAX + 2;

/// The way to the leaf of a hash.
pub(super) struct Way {
    pub levels: ArrayVec<Level, LEVELS_MAX>,
    pub leaf: BlockPlace,
    pub hasher: NameHasher,
    pub hash: u32,
}

/// What the way led to.
enum Led {
    There,
    Room(BlockPlace, Room),
    Full(Way),
    Unusable,
}

impl Handle<'_> {
    /// Adds an entry by the tree; false if the tree cannot be used and the directory is one without a tree from now on. With checksums a
    /// tree that cannot be used is an error: somebody wrote it so on purpose.
    pub(super) fn add_indexed(
        &mut self,
        inode: &mut Inode,
        wanted: &Wanted<'_>,
        entry: &NewEntry<'_>,
    ) -> Result<bool> {
        for _ in 0..ROUNDS_MAX {
            let node = self.node(inode)?;
            let dir = Dir::open(self.fs, self.r, &node)?;
            let form = Form::of(self.fs, &node);
            match find_way(&dir, &form, wanted, entry.len())? {
                Led::There => return Err(Error::Exists),
                Led::Room(leaf, room) => return self.put_entry(leaf, &form, room, entry).map(|()| true),
                Led::Unusable if form.has_sums => return Err(dir.corrupt("directory: index")),
                Led::Unusable => {
                    inode.set_flags(0, inode_flags::INDEX);
                    return Ok(false);
                }
                Led::Full(way) => {
                    if self.make_room_on_way(&dir, &form, inode, &way, entry)? {
                        return Ok(true);
                    }
                }
            }
        }
        Err(Error::Corrupt { what: "directory: index that cannot be split", at: inode.ino.0 })
    }

    /// Splits the leaf and puts the entry, which is true; or makes room above it.
    fn make_room_on_way(
        &mut self,
        dir: &Dir<'_, '_>,
        form: &Form,
        inode: &mut Inode,
        way: &Way,
        entry: &NewEntry<'_>,
    ) -> Result<bool> {
        let has_room = |level: &Level| level.node.count < level.node.limit;
        match way.levels.iter().rposition(has_room) {
            Some(at) if at + 1 == way.levels.len() => {
                self.split_leaf(dir, form, inode, way, entry)?;
                return Ok(true);
            }
            Some(at) => self.split_node(dir, form, inode, way, at)?,
            None if way.levels.len() <= usize::from(indirect_levels_max(&self.fs.sb)) => {
                self.add_level(dir, form, inode, way)?;
            }
            None => return Err(Error::NoSpace { what: "room in a directory's index" }),
        }
        Ok(false)
    }

    /// Has `.` or `..`, which are in the root of a tree, name another inode.
    pub(super) fn set_in_root(
        &mut self,
        dir: &Dir<'_, '_>,
        form: &Form,
        found: Found,
        entry: &NewEntry<'_>,
    ) -> Result<()> {
        let Some((path, _)) = Path::open(dir)? else {
            if form.has_sums {
                return Err(dir.corrupt("directory: index"));
            }
            let place = dir.for_each_block(|place| Ok(core::ops::ControlFlow::Break(place)))?;
            let place = place.ok_or(Error::NotFound)?;
            return self.change_entry(place, form, found, |found, bytes| {
                found.set(bytes, entry.ino, entry.file_type)
            });
        };
        let root =
            path.levels.first().map(|level| level.node).ok_or_else(|| dir.corrupt("directory: index"))?;
        debug_assert_eq!(root.counts, ROOT_COUNTS);
        let [_, own] = found.changed();
        self.edit(root.place.physical, &[own, form.index_sum(&root)], |bytes| {
            found.set(bytes, entry.ino, entry.file_type);
            form.seal_index(bytes, &root, root.count);
        })
    }
}

/// Goes to the leaf of a name, and looks for it there and where its hash goes on (DC-1).
fn find_way(dir: &Dir<'_, '_>, form: &Form, wanted: &Wanted<'_>, len: usize) -> Result<Led> {
    let Some((mut path, hasher)) = Path::open(dir)? else { return Ok(Led::Unusable) };
    let hash = hasher.hash(wanted.hashed_bytes());
    let Step::To(leaf) = path.descend(hash)? else { return Ok(Led::Unusable) };
    let way = Way { levels: path.levels.clone(), leaf, hasher, hash };
    let looked = dir.look(leaf, form, wanted, len)?;
    if matches!(looked, Looked::There) {
        return Ok(Led::There);
    }
    for _ in 0..dir.blocks {
        match path.next_leaf(hash)? {
            Step::End => break,
            Step::Unusable => return Ok(Led::Unusable),
            Step::To(next) => {
                if matches!(dir.look(next, form, wanted, len)?, Looked::There) {
                    return Ok(Led::There);
                }
            }
        }
    }
    Ok(match looked {
        Looked::Room(room) => Led::Room(leaf, room),
        _ => Led::Full(way),
    })
}

/// The node at level `at` of a way.
pub(super) fn node_at(way: &Way, at: usize) -> Result<(IndexNode, u32)> {
    let level =
        way.levels.get(at).ok_or(Error::Corrupt { what: "directory: index", at: way.leaf.physical })?;
    Ok((level.node, level.taken))
}
