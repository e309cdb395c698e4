//! Orphans: inodes that have no name, or whose length is being cut, and are to be finished at the next mount.
//!
//! Who calls it: `namespace`, `content`, `mount_write`. Whom it calls: `transaction`, `inode_edit`.
//!
//! A list through the inodes (`i_dtime` is the next one's number, the super block has the first), or the orphan file.

use crate::Ext4;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Timestamp;
use rumpcap_vm::Reservation;

impl Handle<'_> {
    /// Makes `inode` an orphan; nothing if it is one. Changes its fields, and puts it.
    ///
    /// # Errors
    /// `Corrupt`, `Io`; `NoSpace` when the orphan file is full and cannot be left for the list.
    pub fn add_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        let _ = inode;
        Err(Error::Unsupported { what: "orphans" })
    }

    /// `inode` is an orphan no more; nothing if it is none. Changes its fields, and puts it.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn remove_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        let _ = inode;
        Err(Error::Unsupported { what: "orphans" })
    }
}

/// Finishes all orphans: deletes those without links, cuts the others to their length. At mount, behind recovery.
///
/// # Errors
/// `Corrupt`, `Io`.
pub(crate) fn finish_all(fs: &Ext4, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
    let _ = (fs, r, now);
    Ok(())
}
