//! Orphans: inodes that have no name, or whose length is being cut, and are to be finished at the next mount.
//!
//! Who calls it: `namespace`, `content`, `mount_write`. Whom it calls: `transaction`, `inode_edit`; `finish` the first two.
//!
//! By file: `list` through the inodes (`i_dtime` is the next one's number, the super block has the first) · `file` the orphan file, which is
//! used where there is one; when it is full the list takes the rest · `finish` at mount.
//!
//! OR-1. An orphan is in the list or in the file, once. OR-2. Without a journal there are none: what a power cut leaves is then
//! e2fsck's in any case, as the kernel has it.
//! OR-3. Nothing is kept in memory for an orphan. What allocation remembers (`alloc::hints`) makes the usual answers cheap: the list is
//! empty, the inode is its first; the file has no entries left.

mod file;
mod finish;
mod list;

pub(crate) use finish::finish_all;

use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};

impl Handle<'_> {
    /// Makes `inode` an orphan; nothing if it is one. Changes its fields, and puts it.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub fn add_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        let fs = self.fs;
        if !fs.sb.features.has_journal() || self.is_listed_orphan(inode)? {
            return self.put_inode(inode);
        }
        if let Some(file) = self.orphan_file()? {
            if self.find_in_orphan_file(&file, inode.ino)?.is_some() {
                return self.put_inode(inode);
            }
            match self.add_to_orphan_file(&file, inode.ino) {
                Err(Error::NoSpace { .. }) => {}
                added => {
                    added?;
                    return self.put_inode(inode);
                }
            }
        }
        self.add_to_orphan_list(inode)
    }

    /// `inode` is an orphan no more; nothing if it is none. Changes its fields, and puts it.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub fn remove_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        if self.is_listed_orphan(inode)? {
            return self.remove_from_orphan_list(inode);
        }
        if let Some(file) = self.orphan_file()?
            && let Some(place) = self.find_in_orphan_file(&file, inode.ino)?
        {
            self.remove_from_orphan_file(&file, place)?;
        }
        self.put_inode(inode)
    }
}

#[cfg(test)]
mod tests;
