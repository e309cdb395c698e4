//! Durability: syncing, unmounting, and what is written because of its age.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: [`crate::Change`].
//!
//! Dirty pages are written first without the lock, so that readers go on meanwhile; what became dirty since is written by the file
//! system itself, alone.

use crate::change::Commit;
use crate::mount::Mount;
use crate::node::Timestamp;
use rumpcap_host::Result;
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

    /// Syncs, and leaves the file system in order; nothing can be changed after. Files without names that clients still have open are deleted.
    ///
    /// # Errors
    /// As [`Mount::sync`].
    pub fn unmount(&self, now: Timestamp) -> Result<()> {
        if !self.is_writable() {
            return Ok(());
        }
        self.write_dirty_pages();
        let change = self.change()?;
        while let Some(ino) = change.opens.take_nameless() {
            self.delete(&change, ino, now);
        }
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
