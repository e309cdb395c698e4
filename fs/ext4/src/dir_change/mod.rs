//! Changing directories: entries in linear blocks, hash trees and inodes.
//!
//! Who calls it: `namespace`. Whom it calls: `map_change` (new blocks), `dir` and `htree` (to find).
//!
//! By file: `record` entries within a block, pure · `block` blocks with their checksums · `linear` directories without a tree, and the first
//! tree of one · `index` entries of trees · `split` their leaves and nodes · `inline` directories in inodes.
//!
//! DC-1. A name that is there is not put again: whoever puts an entry has seen every block that may hold its name (in a tree one leaf,
//! and those that continue its hash). DC-2. A directory's inode is changed and not put: its flags, size and blocks go with the
//! caller's other changes.
//!
//! Bounds: a directory without a tree is read whole, once; in a tree root, nodes and leaf. Failure: `Corrupt` and `Checksum` before
//! anything of a broken block is changed.
#![deny(clippy::indexing_slicing)]

mod block;
mod index;
mod inline;
mod linear;
mod record;
mod split;

use crate::dir::{BlockPlace, Dir, NAME_MAX, Wanted, is_dot};
use crate::htree::{self, Search};
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::node::Ext4Node;
use crate::transaction::Handle;
use block::Form;
use core::ops::ControlFlow;
use record::{Filler, Found, NewEntry};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};

impl Handle<'_> {
    /// Adds an entry to directory `dir`, whose inode is changed and not put.
    ///
    /// # Errors
    /// `Exists`; `NotADirectory`, `NameTooLong`; `NoSpace`, `Corrupt`, `Checksum`, `Encrypted`, `Io`; `InvalidInput` for a name that a strict
    /// directory without case does not take.
    pub fn add_entry(&mut self, inode: &mut Inode, name: &[u8], ino: InodeNo, kind: FileKind) -> Result<()> {
        let node = self.node(inode)?;
        let dir = Dir::open(self.fs, self.r, &node)?;
        check_name(&dir, name)?;
        let form = Form::of(self.fs, &node);
        let entry = NewEntry::new(name, ino, kind, form.has_types);
        let wanted = dir.wanted(name)?;
        if node.is_inline() && self.add_inline(inode, &wanted, &entry)? {
            return Ok(());
        }
        if dir.is_indexed() && self.add_indexed(inode, &wanted, &entry)? {
            return Ok(());
        }
        self.add_linear(inode, &wanted, &entry)
    }

    /// Removes the entry `name`; gives what it named.
    ///
    /// # Errors
    /// `NotFound`; as [`Handle::add_entry`].
    pub fn remove_entry(&mut self, inode: &mut Inode, name: &[u8]) -> Result<InodeNo> {
        let node = self.node(inode)?;
        let dir = Dir::open(self.fs, self.r, &node)?;
        check_name(&dir, name)?;
        if node.is_inline() {
            return self.remove_inline(inode, &dir.wanted(name)?);
        }
        let (place, found) = find_entry(&dir, name)?;
        self.change_entry(place, &Form::of(self.fs, &node), found, Found::take)?;
        Ok(InodeNo(u64::from(found.record.ino)))
    }

    /// Has the entry `name` (`..` too) name another inode.
    ///
    /// # Errors
    /// As [`Handle::remove_entry`].
    pub fn set_entry(&mut self, inode: &mut Inode, name: &[u8], ino: InodeNo, kind: FileKind) -> Result<()> {
        let node = self.node(inode)?;
        let dir = Dir::open(self.fs, self.r, &node)?;
        let form = Form::of(self.fs, &node);
        let entry = NewEntry::new(name, ino, kind, form.has_types);
        if node.is_inline() {
            return self.set_inline(inode, &dir.wanted(name)?, &entry);
        }
        let (place, found) = find_entry(&dir, name)?;
        if is_dot(name) && dir.is_indexed() {
            return self.set_in_root(&dir, &form, found, &entry);
        }
        self.change_entry(place, &form, found, |found, bytes| found.set(bytes, entry.ino, entry.file_type))
    }

    /// Gives a new directory its first content: `.` and `..`.
    ///
    /// # Errors
    /// As [`Handle::add_entry`].
    pub fn begin_dir(&mut self, inode: &mut Inode, parent: InodeNo) -> Result<()> {
        if self.begin_inline(inode, parent)? {
            return Ok(());
        }
        self.begin_map(inode);
        let place = self.append_block(inode)?;
        let form = Form::of(self.fs, &self.node(inode)?);
        self.create_block(place.physical, |bytes| {
            let mut filler = Filler::new(bytes, form.usable);
            inline::put_dots(&mut filler, &form, inode.ino, parent);
            filler.close();
            form.seal_leaf(bytes);
        })
    }

    /// Whether a directory has no entries but `.` and `..`.
    ///
    /// # Errors
    /// As [`Handle::add_entry`].
    pub fn is_empty_dir(&mut self, inode: &Inode) -> Result<bool> {
        let node = self.node(inode)?;
        Dir::open(self.fs, self.r, &node)?.is_empty()
    }
}

fn check_name(dir: &Dir<'_, '_>, name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(Error::NameTooLong);
    }
    if name.is_empty() || is_dot(name) || name.contains(&b'/') || name.contains(&0) {
        return Err(Error::InvalidInput { what: "name" });
    }
    if dir.is_encrypted() { Err(Error::Encrypted) } else { Ok(()) }
}

/// Where the entry `name` is, in a directory that is not inline.
fn find_entry(dir: &Dir<'_, '_>, name: &[u8]) -> Result<(BlockPlace, Found)> {
    if is_dot(name) {
        let in_first = |place| {
            Ok(ControlFlow::Break(dir.find_in(place, &Wanted::exactly(name))?.map(|found| (place, found))))
        };
        return dir.for_each_block(in_first)?.flatten().ok_or(Error::NotFound);
    }
    check_name(dir, name)?;
    let wanted = dir.wanted(name)?;
    let mut look = |place| Ok(dir.find_in(place, &wanted)?.map(|found| (place, found)));
    if dir.is_indexed() {
        match htree::search_leaves(dir, &wanted, &mut look)? {
            Search::Found(found) => return Ok(found),
            Search::Absent if !wanted.is_folded() => return Err(Error::NotFound),
            // As a lookup does.
            Search::Absent | Search::Unusable => {}
        }
    }
    let mut look = |place| Ok(look(place)?.map_or(ControlFlow::Continue(()), ControlFlow::Break));
    dir.for_each_block(&mut look)?.ok_or(Error::NotFound)
}

impl Inode {
    /// Whether it is a directory with a tree, as the kernel counts links of directories by.
    pub(crate) fn is_indexed(&self, sb: &crate::SuperBlock) -> bool {
        sb.features.has_dir_index() && self.has_flag(inode_flags::INDEX)
    }
}
