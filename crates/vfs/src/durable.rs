//! Durability: syncing, unmounting, and what is written because of its age.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: [`crate::Change`].
//!
//! Dirty pages are written first without the lock, so that readers go on meanwhile; what became dirty since is written by the file
//! system itself, alone. One file is made durable without the lock but for the commit, if there must be one; so others go on while the
//! device flushes.

use crate::alarm::Alarm;
use crate::change::{Commit, SyncFile};
use crate::mount::Mount;
use crate::node::{InodeNo, Timestamp};
use crate::open_file::OpenFile;
use rumpcap_host::Result;
use rumpcap_host::sync::Arc;
use rumpcap_vm::Dirty;

impl Mount {
    /// Makes all changes and all content durable.
    ///
    /// # Errors
    /// Those of [`crate::Change::sync`]. `Ok` on a mount that is only read.
    pub fn sync(&self, now: Timestamp) -> Result<()> {
        if !self.is_writable() {
            return Ok(());
        }
        self.write_dirty_pages();
        let change = self.change()?;
        change.fs.sync(&change, now)
    }

    /// Makes one file durable: its dirty pages, and what was changed if that concerns it. Of other files only what the commit needs is
    /// written.
    ///
    /// # Errors
    /// Those of [`crate::Change::commit_file`] and [`crate::Change::make_durable`]; the first of a write of its content that nobody who
    /// syncs it was told of. `Ok` on a mount that is only read.
    pub fn sync_file(&self, open: &OpenFile, what: SyncFile, now: Timestamp) -> Result<()> {
        let Ok((fs, _)) = self.writable() else { return Ok(()) };
        let ino = open.ino();
        self.write_dirty_pages_of(ino);
        let committed = match fs.is_committed(ino, what) {
            Some(committed) => committed,
            None => {
                // So that less is left to be written alone.
                self.vfs.vm.write_back(Dirty::Due(fs.dirty_device()));
                let change = self.change()?;
                fs.commit_file(&change, ino, what, now)?
            }
        };
        fs.make_durable(committed, now)?;
        self.loss_of(ino)
    }

    /// Tells of content of a file that could not be written.
    fn loss_of(&self, ino: InodeNo) -> Result<()> {
        let Ok((fs, _)) = self.writable() else { return Ok(()) };
        let vnode = self.vfs.vnodes.with_pages(self.number, ino);
        let object = vnode.as_ref().map(|vnode| vnode.object());
        self.vfs.vm.loss_of(fs.dirty_device(), object, ino.0)
    }

    /// Syncs, and leaves the file system in order; nothing can be changed after. Files without names that clients still have open are deleted.
    ///
    /// # Errors
    /// As [`Mount::sync`].
    pub fn unmount(&self, now: Timestamp) -> Result<()> {
        if !self.is_writable() {
            return Ok(());
        }
        self.write_dirty_pages();
        let (_, writing) = self.writable()?;
        while let Some(ino) = writing.opens.take_nameless() {
            self.delete(self.change()?, ino, now);
        }
        let change = self.change()?;
        change.fs.unmount(&change, now)
    }

    /// Commits what is old enough. Called from time to time.
    ///
    /// # Errors
    /// Those of [`crate::Change::commit`].
    pub fn commit_if_due(&self, now: Timestamp) -> Result<()> {
        let change = self.change()?;
        change.fs.commit(&change, Commit::IfDue, now)
    }

    /// What the thread that works in the background waits for; `None` on a mount that is only read.
    pub fn alarm(&self) -> Option<&Arc<Alarm>> {
        self.writing.as_ref().map(|writing| &writing.alarm)
    }

    /// Does a portion of what nobody waits for; gives whether there is more.
    ///
    /// # Errors
    /// Those of [`crate::Change::background`].
    pub fn work_in_background(&self, now: Timestamp) -> Result<bool> {
        match self.fs.change() {
            Some(fs) if fs.wants_background() => fs.background(now),
            _ => Ok(false),
        }
    }

    /// Whether a page of this mount is dirty.
    pub fn has_dirty_pages(&self) -> bool {
        self.fs.change().is_some_and(|fs| self.vfs.vm.has_dirty_pages(fs.dirty_device()))
    }

    /// Writes what is dirty now. An error is kept for the next who syncs.
    pub fn write_dirty_pages(&self) {
        if let Some(fs) = self.fs.change() {
            self.vfs.vm.write_back(Dirty::For(fs.dirty_device()));
        }
    }
}
