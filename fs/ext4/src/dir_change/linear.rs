//! Directories without a tree, and the first tree of one.
//!
//! Who calls it: `mod`. Whom it calls: `block`, `index` for the entry that a new tree is made for.
#![deny(clippy::indexing_slicing)]

use super::block::{Form, Looked, broken};
use super::record::{self, Filler, HEAD, NewEntry, Records, put};
use crate::dir::checksum::ROOT_COUNTS;
use crate::dir::{BlockPlace, Dir, Wanted};
use crate::hash::HashVersion;
use crate::htree::IndexNode;
use crate::htree::node::{ROOT_INFO, ROOT_INFO_LEN};
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};

/// Bytes of `.` and `..` at the beginning of the first block.
const DOTS: usize = 24;

impl Handle<'_> {
    /// Adds an entry to a directory without a tree (DC-1: it is read whole).
    pub(super) fn add_linear(
        &mut self,
        inode: &mut Inode,
        wanted: &Wanted<'_>,
        entry: &NewEntry<'_>,
    ) -> Result<()> {
        let node = self.node(inode)?;
        let dir = Dir::open(self.fs, self.r, &node)?;
        let form = Form::of(self.fs, &node);
        let mut room = None;
        let there = dir.for_each_block(|place| {
            Ok(match dir.look(place, &form, wanted, entry.len())? {
                Looked::There => ControlFlow::Break(()),
                Looked::Room(found) => {
                    room.get_or_insert((place, found));
                    ControlFlow::Continue(())
                }
                Looked::Full => ControlFlow::Continue(()),
            })
        })?;
        if there.is_some() {
            return Err(Error::Exists);
        }
        // A tree that the file system has no feature for is none.
        inode.set_flags(0, inode_flags::INDEX);
        if let Some((place, room)) = room {
            return self.put_entry(place, &form, room, entry);
        }
        if dir.blocks == 1
            && self.fs.sb.features.has_dir_index()
            && let Some(version) = HashVersion::from_raw(self.fs.sb.default_hash_version)
        {
            self.make_index(&dir, &form, inode, version)?;
            let is_added = self.add_indexed(inode, wanted, entry)?;
            let unusable = dir.corrupt("directory: index that was just made");
            return if is_added { Ok(()) } else { Err(unusable) };
        }
        let place = self.append_block(inode)?;
        self.create_block(place.physical, |bytes| {
            let mut filler = Filler::new(bytes, form.usable);
            let _ = filler.put(entry);
            filler.close();
            form.seal_leaf(bytes);
        })
    }

    /// Makes the one block of a directory a root, and moves its entries to a leaf, the only one of the tree.
    fn make_index(
        &mut self,
        dir: &Dir<'_, '_>,
        form: &Form,
        inode: &mut Inode,
        version: HashVersion,
    ) -> Result<()> {
        let first = dir.for_each_block(|place| Ok(ControlFlow::Break(place)))?;
        let root = first
            .filter(|place| place.logical == 0)
            .ok_or_else(|| dir.corrupt("directory: no first block"))?;
        let copied = dir.copied(root)?;
        check_dots(copied.bytes(), dir, form, root)?;
        let leaf = self.append_block(inode)?;
        let moved = self.create_block(leaf.physical, |bytes| {
            let mut filler = Filler::new(bytes, form.usable);
            for record in Records::new(copied.bytes(), &dir.rules, form.usable).skip(2) {
                let record = record?;
                let entry = copied.bytes().get(record.at..record.at + record.used()).unwrap_or_default();
                let _ = entry.is_empty() || filler.copy(entry);
            }
            filler.close();
            form.seal_leaf(bytes);
            Ok(())
        })?;
        moved.map_err(broken(root))?;
        let all = 0..form.block_size;
        self.edit(root.physical, &[all], |bytes| write_root(bytes, form, root, leaf, version))?;
        inode.set_flags(inode_flags::INDEX, 0);
        Ok(())
    }
}

/// That `.` and `..` are as a root has them.
fn check_dots(bytes: &[u8], dir: &Dir<'_, '_>, form: &Form, place: BlockPlace) -> Result<()> {
    let mut records = Records::new(bytes, &dir.rules, form.usable);
    for (at, name) in [(0, &b"."[..]), (12, b"..")] {
        let record =
            records.next().ok_or_else(|| dir.corrupt("directory: no . and .."))?.map_err(broken(place))?;
        if record.at != at || record.ino == 0 || record.name(bytes) != name {
            return Err(Error::Corrupt { what: "directory: . and ..", at: place.physical });
        }
    }
    Ok(())
}

/// Makes a block that begins with `.` and `..` a root with one pointer.
fn write_root(bytes: &mut [u8], form: &Form, root: BlockPlace, leaf: BlockPlace, version: HashVersion) {
    bytes.get_mut(DOTS..).unwrap_or_default().fill(0);
    record::put_len(bytes, DOTS / 2, form.block_size - DOTS / 2);
    let info = ROOT_INFO as usize;
    put(bytes, info + 4, &[version.raw(), ROOT_INFO_LEN]);
    let node = IndexNode { place: root, counts: ROOT_COUNTS, count: 1, limit: form.pointers(ROOT_COUNTS) };
    put(bytes, ROOT_COUNTS as usize, &(node.limit as u16).to_le_bytes());
    put(bytes, ROOT_COUNTS as usize + 2, &1_u16.to_le_bytes());
    put(bytes, ROOT_COUNTS as usize + 4, &(leaf.logical as u32).to_le_bytes());
    form.seal_index(bytes, &node, 1);
}

const _: () = assert!(DOTS == 2 * (HEAD + 4));
