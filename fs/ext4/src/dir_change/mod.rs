//! Changing directories: entries in linear blocks, hash trees and inodes.
//!
//! Who calls it: `namespace`. Whom it calls: `map_change` (new blocks), `dir` and `htree` (to find).

use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};

const STUB: Error = Error::Unsupported { what: "changing directories" };

impl Handle<'_> {
    /// Adds an entry to directory `dir`, whose inode is changed and not put. The name is not there.
    ///
    /// # Errors
    /// `NoSpace`, `Corrupt`, `Checksum`, `Encrypted`, `Io`.
    pub fn add_entry(&mut self, dir: &mut Inode, name: &[u8], ino: InodeNo, kind: FileKind) -> Result<()> {
        let _ = (dir, name, ino, kind);
        Err(STUB)
    }

    /// Removes the entry `name`; gives what it named.
    ///
    /// # Errors
    /// `NotFound`; as [`Handle::add_entry`].
    pub fn remove_entry(&mut self, dir: &mut Inode, name: &[u8]) -> Result<InodeNo> {
        let _ = (dir, name);
        Err(STUB)
    }

    /// Has the entry `name` (`..` too) name another inode.
    ///
    /// # Errors
    /// As [`Handle::remove_entry`].
    pub fn set_entry(&mut self, dir: &mut Inode, name: &[u8], ino: InodeNo, kind: FileKind) -> Result<()> {
        let _ = (dir, name, ino, kind);
        Err(STUB)
    }

    /// Gives a new directory its first content: `.` and `..`.
    ///
    /// # Errors
    /// As [`Handle::add_entry`].
    pub fn begin_dir(&mut self, dir: &mut Inode, parent: InodeNo) -> Result<()> {
        let _ = (dir, parent);
        Err(STUB)
    }

    /// Whether a directory has no entries but `.` and `..`.
    ///
    /// # Errors
    /// As [`Handle::add_entry`].
    pub fn is_empty_dir(&mut self, dir: &Inode) -> Result<bool> {
        let _ = dir;
        Err(STUB)
    }
}
