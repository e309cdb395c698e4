//! Names that go, and what becomes of what they named.
//!
//! Who calls it: `mod`; `rename` for what is replaced. Whom it calls: `dir_change`, `delete`, `orphan`.
#![deny(clippy::indexing_slicing)]

use super::delete;
use super::parents;
use crate::Ext4;
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{EntryName, FileKind, InUse, InodeNo, Remove, Removed, Timestamp};
use rumpcap_vm::Reservation;

/// See `Change::remove`.
pub(crate) fn remove(
    fs: &Ext4,
    r: &Reservation<'_>,
    at: EntryName<'_>,
    what: Remove,
    in_use: &InUse<'_>,
    now: Timestamp,
) -> Result<Removed> {
    fs.change(r, now, |h| {
        let mut dir = h.dir_to_lose(at.dir)?;
        let ino = h.remove_entry(&mut dir, at.name)?;
        let mut inode = h.inode_to_lose(ino)?;
        let is_dir = inode.kind() == FileKind::Directory;
        match what {
            Remove::File if is_dir => return Err(Error::IsADirectory),
            Remove::Directory if !is_dir => return Err(Error::NotADirectory),
            Remove::Directory if !h.is_empty_dir(&inode)? => return Err(Error::NotEmpty),
            _ => {}
        }
        if is_dir {
            parents::take_link(&mut dir);
        }
        h.put_changed_dir(&mut dir)?;
        h.lose_name(&mut inode, in_use)
    })
}

impl Handle<'_> {
    /// A directory that is to lose an entry.
    pub(super) fn dir_to_lose(&self, ino: InodeNo) -> Result<Inode> {
        let dir = self.dir_to_change(ino)?;
        if dir.has_flag(inode_flags::APPEND) { Err(Error::NotPermitted) } else { Ok(dir) }
    }

    /// An inode that is to lose a name, which an entry told of.
    pub(super) fn inode_to_lose(&self, ino: InodeNo) -> Result<Inode> {
        let free = Error::Corrupt { what: "directory: entry of a free inode", at: ino.0 };
        let inode = self.inode(ino).map_err(|error| if error == Error::NotFound { free } else { error })?;
        if inode.is_fixed() { Err(Error::NotPermitted) } else { Ok(inode) }
    }

    /// Takes a name of `inode`, whose entry is gone; a directory, which is empty, has no other. What has none left is deleted here if it
    /// is small, and an orphan until it is deleted if it is large, or in use. Stores it.
    pub(super) fn lose_name(&mut self, inode: &mut Inode, in_use: &InUse<'_>) -> Result<Removed> {
        let links = if inode.kind() == FileKind::Directory { 0 } else { inode.raw.links.get() - 1 };
        inode.raw.links = links.into();
        inode.set_ctime(&self.fs.sb, self.now);
        let mut removed = Removed { node: self.node(inode)?, is_nameless: links == 0, is_left: false };
        if links > 0 {
            self.put_inode(inode)?;
            return Ok(removed);
        }
        if !in_use(inode.ino) {
            if delete::is_small(&self.fs.sb, inode) && self.delete_small(inode)? {
                return Ok(removed);
            }
            removed.is_left = true;
        }
        self.add_orphan(inode)?;
        self.put_inode(inode)?;
        Ok(removed)
    }
}
