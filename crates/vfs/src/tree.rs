//! Changes of the tree: names that come, go and move.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: the file system's [`crate::Change`], then the caches, before anybody else is
//! let in (WR-1).
//!
//! A name is given by a directory and a path from there, whose last component is not followed: the path of one component is the `*at` form.
//! All of it is resolved inside the change.
//!
//! Failure: a change is done or has not happened. What it was about is asked of the file system again in either case.

use crate::change::{EntryName, NewFile, Remove, Removed, Rename, Renamed};
use crate::mount::Mount;
use crate::namei::{CASEFOLD_FLAG, LastName};
use crate::node::{FileKind, InodeNo, Node, Timestamp};
use crate::open::OpenTable;
use crate::open_file::OpenFile;
use crate::writing::Changing;
use core::cell::Cell;
use rumpcap_host::{Error, Result};

/// Where a name is: `path` from directory `start` on.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The directory that the path starts in, unless it is absolute.
    pub start: InodeNo,
    /// The path.
    pub path: &'a [u8],
}

impl Mount {
    /// Makes a file of any kind.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`Mount::resolve`] and of [`crate::Change::create`].
    pub fn create(&self, at: At<'_>, new: &NewFile<'_>, now: Timestamp) -> Result<Node> {
        self.create_at(&self.change()?, at, new, now)
    }

    /// Makes a regular file and opens it.
    ///
    /// # Errors
    /// As [`Mount::create`]; `NoMemory` with too many open files: then the file is there.
    pub fn create_open(&self, at: At<'_>, new: &NewFile<'_>, now: Timestamp) -> Result<OpenFile> {
        let change = self.change()?;
        let node = self.create_at(&change, at, new, now)?;
        self.open(&change, node)
    }

    /// Opens a file, following links; makes it if it is not there.
    ///
    /// # Errors
    /// As [`Mount::create_open`].
    pub fn open_or_create(&self, at: At<'_>, new: &NewFile<'_>, now: Timestamp) -> Result<OpenFile> {
        let change = self.change()?;
        let (dir, name) = match self.resolve_or_parent(&change, at.start, at.path)? {
            Ok(node) => return self.open(&change, node),
            Err(parent) => parent,
        };
        let node = self.create_in(&change, &dir, &name, new, now)?;
        self.open(&change, node)
    }

    /// Makes a regular file without a name, in the file system of directory `dir`, and opens it. It goes when it is closed, unless it
    /// gets a name ([`Mount::hard_link`]).
    ///
    /// # Errors
    /// As [`Mount::create_open`].
    pub fn create_nameless(&self, dir: InodeNo, new: &NewFile<'_>, now: Timestamp) -> Result<OpenFile> {
        let change = self.change()?;
        let node = change.fs.create_nameless(&change, dir, new, now)?;
        self.vfs.vnodes.remember(self.number, &node);
        match self.open(&change, node) {
            Ok(open) => {
                change.opens.set_nameless(node.attributes.ino, true);
                Ok(open)
            }
            Err(error) => {
                self.delete(change, node.attributes.ino, now);
                Err(error)
            }
        }
    }

    fn create_at(
        &self,
        change: &Changing<'_>,
        at: At<'_>,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        let (dir, last) = self.resolve_parent(change, at.start, at.path)?;
        if last.wants_directory && new.kind != FileKind::Directory && !last.is_special() {
            return Err(Error::IsADirectory);
        }
        self.create_in(change, &dir, &last, new, now)
    }

    fn create_in(
        &self,
        change: &Changing<'_>,
        dir: &Node,
        last: &LastName,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        if last.is_special() {
            return Err(Error::Exists);
        }
        let at = last.entry(dir);
        // What is known to be there needs no look at the directory.
        if let Some(Some(_)) = self.vfs.names.find(self.number, at.dir, at.name) {
            return Err(Error::Exists);
        }
        let made = change.fs.create(change, at, new, now);
        self.name_changed(dir, at.name, made.as_ref().ok().map(|node| node.attributes.ino));
        let node = made?;
        self.vfs.vnodes.remember(self.number, &node);
        Ok(node)
    }

    /// Gives inode `ino` one more name.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`Mount::resolve`] and of [`crate::Change::link`].
    pub fn hard_link(&self, ino: InodeNo, at: At<'_>, now: Timestamp) -> Result<Node> {
        let change = self.change()?;
        self.link_at(&change, ino, at, now)
    }

    /// Gives the file that `existing` names, which is not followed, one more name.
    ///
    /// # Errors
    /// As [`Mount::hard_link`].
    pub fn hard_link_path(&self, existing: At<'_>, at: At<'_>, now: Timestamp) -> Result<Node> {
        let change = self.change()?;
        let node = self.resolve(&change, existing.start, existing.path, crate::Follow::No)?;
        self.link_at(&change, node.attributes.ino, at, now)
    }

    fn link_at(&self, change: &Changing<'_>, ino: InodeNo, at: At<'_>, now: Timestamp) -> Result<Node> {
        let (dir, last) = self.resolve_parent(change, at.start, at.path)?;
        if last.is_special() {
            return Err(Error::Exists);
        }
        if last.wants_directory {
            return Err(Error::NotFound);
        }
        // The number may be an old one: a free inode gets no name.
        self.node(change, ino)?;
        let at = last.entry(&dir);
        let linked = change.fs.link(change, ino, at, now);
        self.name_changed(&dir, at.name, linked.as_ref().ok().map(|_| ino));
        self.changed(ino, linked.as_ref().ok());
        if linked.is_ok() {
            change.opens.set_nameless(ino, false);
        }
        linked
    }

    /// Removes a name.
    ///
    /// # Errors
    /// `ReadOnly`; `Busy` for the root; those of [`Mount::resolve`] and of [`crate::Change::remove`].
    pub fn remove(&self, at: At<'_>, what: Remove, now: Timestamp) -> Result<()> {
        let change = self.change()?;
        let (dir, last) = self.resolve_parent(&change, at.start, at.path)?;
        last.require_removable()?;
        if last.wants_directory && what == Remove::File {
            return Err(Error::NotADirectory);
        }
        let at = last.entry(&dir);
        let uses = Uses { opens: change.opens, found: Cell::new(None) };
        let removed = change.fs.remove(&change, at, what, &|ino| uses.ask(ino), now);
        self.name_changed(&dir, at.name, None);
        if let Some(left) = self.lost_name(&change, &removed?, &uses) {
            self.delete(change, left, now);
        }
        Ok(())
    }

    /// Renames.
    ///
    /// # Errors
    /// `ReadOnly`; `Busy` for the root, `.` and `..`; those of [`Mount::resolve`] and of [`crate::Change::rename`].
    pub fn rename(&self, from: At<'_>, to: At<'_>, how: Rename, now: Timestamp) -> Result<()> {
        let change = self.change()?;
        let (from_dir, from) = self.resolve_parent(&change, from.start, from.path)?;
        let (to_dir, to) = self.resolve_parent(&change, to.start, to.path)?;
        if from.is_special() || to.is_special() {
            return Err(Error::Busy { what: "the root, `.` or `..`" });
        }
        let moved = self.step(&change, &from_dir, &from.name)?;
        if (from.wants_directory || to.wants_directory) && moved.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        match self.step(&change, &to_dir, &to.name) {
            Ok(_) if how == Rename::Refuse => return Err(Error::Exists),
            // Two names of one file: POSIX has nothing done.
            Ok(other) if other.attributes.ino == moved.attributes.ino => return Ok(()),
            Err(error) if error != Error::NotFound => return Err(error),
            _ => {}
        }
        let (from, to) = (from.entry(&from_dir), to.entry(&to_dir));
        let uses = Uses { opens: change.opens, found: Cell::new(None) };
        let renamed = change.fs.rename(&change, from, to, how, &|ino| uses.ask(ino), now);
        self.name_changed(&from_dir, from.name, None);
        self.name_changed(&to_dir, to.name, None);
        if let Some(left) = self.renamed(&change, &renamed?, &uses, how) {
            self.delete(change, left, now);
        }
        Ok(())
    }

    /// Gives the inode that is to be deleted.
    fn renamed(
        &self,
        change: &Changing<'_>,
        renamed: &Renamed,
        uses: &Uses<'_>,
        how: Rename,
    ) -> Option<InodeNo> {
        let vnodes = &self.vfs.vnodes;
        vnodes.remember(self.number, &renamed.moved);
        renamed.dirs.iter().for_each(|dir| vnodes.remember(self.number, dir));
        let other = renamed.other.as_ref().map(|other| &other.node);
        for directory in [Some(&renamed.moved), other].into_iter().flatten() {
            self.vfs.names.forget(self.number, directory.attributes.ino, b"..");
        }
        match (&renamed.other, how) {
            (Some(other), Rename::Exchange) => {
                vnodes.remember(self.number, &other.node);
                None
            }
            (Some(other), _) => self.lost_name(change, other, uses),
            (None, _) => None,
        }
    }

    /// An inode lost a name, perhaps its last. Gives it if it is to be deleted.
    fn lost_name(&self, change: &Changing<'_>, removed: &Removed, uses: &Uses<'_>) -> Option<InodeNo> {
        let ino = removed.node.attributes.ino;
        if removed.node.kind() == FileKind::Directory && removed.is_nameless {
            self.vfs.names.forget(self.number, ino, b"..");
        }
        if !removed.is_nameless || change.opens.set_nameless(ino, true) {
            self.vfs.vnodes.remember(self.number, &removed.node);
            return None;
        }
        self.vfs.vnodes.forget(self.number, ino);
        // Or its last handle was closed behind the question.
        (removed.is_left || uses.found.get() == Some(ino)).then_some(ino)
    }

    /// Deletes an inode without names that nobody uses, and lets others in between steps: nobody finds it by its number any more. What
    /// an error leaves is an orphan, which the next mount deletes.
    pub(crate) fn delete(&self, change: Changing<'_>, ino: InodeNo, now: Timestamp) {
        self.vfs.vnodes.forget(self.number, ino);
        // Of a directory: somebody may have looked through a handle since it lost its name (NC-2).
        self.vfs.names.forget(self.number, ino, b"..");
        let mut change = change;
        while let Ok(false) = change.fs.delete_step(&change, ino, now) {
            drop(change);
            self.let_others_in();
            let Ok(again) = self.change() else { return };
            change = again;
        }
    }

    /// A name in `dir` names `ino` now, or nothing; and the directory's own attributes have changed (VN-5).
    fn name_changed(&self, dir: &Node, name: &[u8], ino: Option<InodeNo>) {
        let at = dir.attributes.ino;
        if ino.is_some() && dir.attributes.flags & CASEFOLD_FLAG == 0 {
            self.vfs.names.remember(self.number, at, name, ino);
        } else {
            self.vfs.names.forget(self.number, at, name);
        }
        self.vfs.vnodes.mark_stale(self.number, at);
    }

    /// What an inode is now, or that it must be read again.
    pub(crate) fn changed(&self, ino: InodeNo, now: Option<&Node>) {
        match now {
            Some(node) => self.vfs.vnodes.remember(self.number, node),
            None => self.vfs.vnodes.mark_stale(self.number, ino),
        }
    }
}

/// Tells the file system whether an inode is in use, and remembers that it did.
struct Uses<'m> {
    opens: &'m OpenTable,
    found: Cell<Option<InodeNo>>,
}

impl Uses<'_> {
    fn ask(&self, ino: InodeNo) -> bool {
        let is_open = self.opens.is_open(ino);
        // The last answer counts: an operation that is tried again asks again, and the handle may be closed by then.
        self.found.set(is_open.then_some(ino));
        is_open
    }
}

impl LastName {
    fn entry<'a>(&'a self, dir: &Node) -> EntryName<'a> {
        EntryName { dir: dir.attributes.ino, name: &self.name }
    }

    /// The root, `.` or `..`: there already, and not to be removed.
    fn is_special(&self) -> bool {
        matches!(&self.name[..], b"" | b"." | b"..")
    }

    fn require_removable(&self) -> Result<()> {
        match &self.name[..] {
            b"" => Err(Error::Busy { what: "the root" }),
            b"." => Err(Error::InvalidInput { what: "name" }),
            b".." => Err(Error::NotEmpty),
            _ => Ok(()),
        }
    }
}
