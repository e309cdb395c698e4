//! Renaming: one entry to another name, two that are exchanged.
//!
//! Who calls it: `mod`. Whom it calls: `dir_change`, `remove` for what is replaced, `create` for whiteouts, `parents`.
//!
//! RN-1. What is checked is checked before anything changes; what fails later takes all back (TX-1).
#![deny(clippy::indexing_slicing)]

use super::parents;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use crate::{Ext4, dir};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{EntryName, FileKind, InUse, InodeNo, NewFile, Node, Removed, Rename, Renamed, Timestamp};
use rumpcap_vm::Reservation;

/// What a rename leaves under the old name if it is to.
const WHITEOUT: NewFile<'_> =
    NewFile { kind: FileKind::CharDevice, mode: 0, uid: 0, gid: 0, rdev: (0, 0), target: b"" };

/// See `Change::rename`.
pub(crate) fn rename(
    fs: &Ext4,
    r: &Reservation<'_>,
    from: EntryName<'_>,
    to: EntryName<'_>,
    how: Rename,
    in_use: &InUse<'_>,
    now: Timestamp,
) -> Result<Renamed> {
    fs.change(r, now, |h| {
        let mut dirs = Dirs::open(h, from.dir, to.dir)?;
        let moved = find(h, dirs.source(), from.name)?.ok_or(Error::NotFound)?;
        let there = find(h, dirs.target(), to.name)?;
        match (how, there) {
            (Rename::Refuse, Some(_)) => Err(Error::Exists),
            (Rename::Exchange, None) => Err(Error::NotFound),
            // Two names of one inode, or one name: nothing is to be done.
            (_, Some(ino)) if ino == moved => dirs.unchanged(h, moved),
            (Rename::Exchange, Some(ino)) => exchange(h, &mut dirs, (from.name, moved), (to.name, ino)),
            (_, there) => replace(h, &mut dirs, (from.name, moved), (to.name, there), how, in_use),
        }
    })
}

/// The two directories, or the one that is both (NS-2).
struct Dirs {
    old: Inode,
    new: Option<Inode>,
}

impl Dirs {
    fn open(h: &Handle<'_>, old: InodeNo, new: InodeNo) -> Result<Dirs> {
        let old_dir = h.dir_to_lose(old)?;
        Ok(Dirs { old: old_dir, new: if old == new { None } else { Some(h.dir_to_change(new)?) } })
    }

    fn source(&mut self) -> &mut Inode {
        &mut self.old
    }

    fn target(&mut self) -> &mut Inode {
        self.new.as_mut().unwrap_or(&mut self.old)
    }

    fn are_two(&self) -> bool {
        self.new.is_some()
    }

    fn put(&mut self, h: &mut Handle<'_>) -> Result<[Node; 2]> {
        h.put_changed_dir(&mut self.old)?;
        if let Some(new) = &mut self.new {
            h.put_changed_dir(new)?;
        }
        self.nodes(h)
    }

    fn nodes(&mut self, h: &Handle<'_>) -> Result<[Node; 2]> {
        Ok([h.node(self.source())?, h.node(self.target())?])
    }

    fn unchanged(&mut self, h: &Handle<'_>, moved: InodeNo) -> Result<Renamed> {
        let moved = h.node(&h.inode(moved)?)?;
        Ok(Renamed { moved, other: None, dirs: self.nodes(h)? })
    }
}

fn find(h: &Handle<'_>, dir: &Inode, name: &[u8]) -> Result<Option<InodeNo>> {
    match dir::lookup(h.fs, h.r, &h.node(dir)?, name) {
        Ok(ino) => Ok(Some(ino)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A directory goes below another: not below itself, and `..` names the new one.
fn set_parent(h: &mut Handle<'_>, moved: &mut Inode, parent: InodeNo) -> Result<()> {
    h.set_entry(moved, b"..", parent, FileKind::Directory)
}

fn is_dir(inode: &Inode) -> bool {
    inode.kind() == FileKind::Directory
}

/// Moves an entry to a name that is not there, or whose inode loses it.
fn replace(
    h: &mut Handle<'_>,
    dirs: &mut Dirs,
    (from, moved): (&[u8], InodeNo),
    (to, there): (&[u8], Option<InodeNo>),
    how: Rename,
    in_use: &InUse<'_>,
) -> Result<Renamed> {
    let mut moved = h.inode_to_lose(moved)?;
    let mut other = there.map(|ino| h.inode_to_lose(ino)).transpose()?;
    check_replace(h, dirs, &moved, other.as_ref())?;
    let (kind, sb) = (moved.kind(), h.fs.sb);
    match &other {
        Some(_) => h.set_entry(dirs.target(), to, moved.ino, kind)?,
        None => h.add_entry(dirs.target(), to, moved.ino, kind)?,
    }
    if how == Rename::Whiteout {
        let mut whiteout = h.new_file(dirs.source(), &WHITEOUT)?;
        whiteout.raw.links = 1.into();
        h.put_inode(&whiteout)?;
        h.set_entry(dirs.source(), from, whiteout.ino, WHITEOUT.kind)?;
    } else {
        h.remove_entry(dirs.source(), from)?;
    }
    if other.as_ref().is_some_and(is_dir) {
        parents::take_link(dirs.target());
    }
    if is_dir(&moved) && dirs.are_two() {
        set_parent(h, &mut moved, dirs.target().ino)?;
        parents::take_link(dirs.source());
        parents::add_link(&sb, dirs.target());
    }
    moved.set_ctime(&h.fs.sb, h.now);
    h.put_inode(&moved)?;
    let other = other.as_mut().map(|other| h.lose_name(other, in_use)).transpose()?;
    Ok(Renamed { moved: h.node(&moved)?, other, dirs: dirs.put(h)? })
}

fn check_replace(h: &mut Handle<'_>, dirs: &mut Dirs, moved: &Inode, other: Option<&Inode>) -> Result<()> {
    if is_dir(moved) && dirs.are_two() {
        parents::check_not_below(h, dirs.target().ino, moved.ino)?;
    }
    match other {
        // As a removal from there.
        Some(_) if dirs.target().is_fixed() => return Err(Error::NotPermitted),
        Some(other) if is_dir(moved) && !is_dir(other) => return Err(Error::NotADirectory),
        Some(other) if !is_dir(moved) && is_dir(other) => return Err(Error::IsADirectory),
        Some(other) if is_dir(other) && !h.is_empty_dir(other)? => return Err(Error::NotEmpty),
        None if is_dir(moved) && dirs.are_two() => parents::check_room(&h.fs.sb, dirs.target())?,
        _ => {}
    }
    Ok(())
}

/// Has two entries name each other's inodes.
fn exchange(
    h: &mut Handle<'_>,
    dirs: &mut Dirs,
    (from, moved): (&[u8], InodeNo),
    (to, other): (&[u8], InodeNo),
) -> Result<Renamed> {
    let (mut moved, mut other) = (h.inode_to_lose(moved)?, h.inode_to_lose(other)?);
    if dirs.target().is_fixed() {
        return Err(Error::NotPermitted);
    }
    if dirs.are_two() {
        if is_dir(&moved) {
            parents::check_not_below(h, dirs.target().ino, moved.ino)?;
        }
        if is_dir(&other) {
            parents::check_not_below(h, dirs.source().ino, other.ino)?;
        }
        match (is_dir(&moved), is_dir(&other)) {
            (true, false) => parents::check_room(&h.fs.sb, dirs.target())?,
            (false, true) => parents::check_room(&h.fs.sb, dirs.source())?,
            _ => {}
        }
    }
    h.set_entry(dirs.source(), from, other.ino, other.kind())?;
    h.set_entry(dirs.target(), to, moved.ino, moved.kind())?;
    if dirs.are_two() {
        exchange_parents(h, dirs, &mut moved, &mut other)?;
    }
    for inode in [&mut moved, &mut other] {
        inode.set_ctime(&h.fs.sb, h.now);
        h.put_inode(inode)?;
    }
    let removed = Removed { node: h.node(&other)?, is_nameless: false, is_left: false };
    Ok(Renamed { moved: h.node(&moved)?, other: Some(removed), dirs: dirs.put(h)? })
}

/// `..` and links of two inodes that are exchanged between two directories.
fn exchange_parents(h: &mut Handle<'_>, dirs: &mut Dirs, moved: &mut Inode, other: &mut Inode) -> Result<()> {
    let sb = h.fs.sb;
    if is_dir(moved) {
        set_parent(h, moved, dirs.target().ino)?;
    }
    if is_dir(other) {
        set_parent(h, other, dirs.source().ino)?;
    }
    match (is_dir(moved), is_dir(other)) {
        (true, false) => {
            parents::take_link(dirs.source());
            parents::add_link(&sb, dirs.target());
        }
        (false, true) => {
            parents::take_link(dirs.target());
            parents::add_link(&sb, dirs.source());
        }
        _ => {}
    }
    Ok(())
}
