//! Names: making, linking, renaming and removing files.
//!
//! Who calls it: `vnops_change`. Whom it calls: `dir_change`, `alloc`, `orphan`, `xattr`.
//!
//! By file: `create` new inodes and their first names · `link` one more name · `remove` names and what they named · `delete` inodes
//! without names, in steps · `rename` · `parents` links of directories, and what is above one.
//!
//! NS-1. An operation is one closure of `Ext4::change`, so it is whole or not there; only the end of an inode that is large takes more, and
//! between those it is an orphan. NS-2. An inode number is edited through one [`Inode`] at a time: a directory that is old and new parent
//! in one is held once.
//!
//! Sticky directories and permissions are the caller's: nobody here knows who asks.
#![deny(clippy::indexing_slicing)]

mod create;
mod delete;
mod link;
mod parents;
mod remove;
mod rename;

pub(crate) use create::{create, create_nameless};
pub(crate) use delete::delete_step;
pub(crate) use link::link;
pub(crate) use remove::remove;
pub(crate) use rename::rename;

use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};

/// Most links of an inode.
pub(crate) const LINKS_MAX: u16 = 65_000;

impl Handle<'_> {
    /// A directory whose entries are to be changed.
    pub(in crate::namespace) fn dir_to_change(&self, ino: InodeNo) -> Result<Inode> {
        let dir = self.inode(ino)?;
        if dir.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        if dir.has_flag(inode_flags::IMMUTABLE) { Err(Error::NotPermitted) } else { Ok(dir) }
    }

    /// The content of a directory was changed now; stores it.
    pub(in crate::namespace) fn put_changed_dir(&mut self, dir: &mut Inode) -> Result<()> {
        dir.set_mtime(self.now);
        dir.set_ctime(&self.fs.sb, self.now);
        self.put_inode(dir)
    }
}

impl Inode {
    /// Whether its names must stay as they are.
    pub(in crate::namespace) fn is_fixed(&self) -> bool {
        self.raw.flags.get() & (inode_flags::IMMUTABLE | inode_flags::APPEND) != 0
    }
}
