//! One more name for an inode.
//!
//! Who calls it: `mod`. Whom it calls: `dir_change`, `orphan`.
#![deny(clippy::indexing_slicing)]

use super::LINKS_MAX;
use crate::Ext4;
use crate::layout::inode_flags;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{EntryName, FileKind, InodeNo, Node, Timestamp};
use rumpcap_vm::Reservation;

/// See `Change::link`.
pub(crate) fn link(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    at: EntryName<'_>,
    now: Timestamp,
) -> Result<Node> {
    fs.change(r, now, |h| {
        let mut dir = h.dir_to_change(at.dir)?;
        let mut inode = h.inode_even_nameless(ino)?;
        if inode.kind() == FileKind::Directory {
            return Err(Error::IsADirectory);
        }
        // The value of somebody's attribute is no file.
        if inode.is_fixed() || inode.has_flag(inode_flags::EA_INODE) {
            return Err(Error::NotPermitted);
        }
        let links = inode.raw.links.get();
        if links >= LINKS_MAX {
            return Err(Error::TooManyHardLinks);
        }
        if links == 0 {
            h.remove_orphan(&mut inode)?;
        }
        inode.raw.links = (links + 1).into();
        inode.set_ctime(&h.fs.sb, now);
        h.put_inode(&inode)?;
        h.add_entry(&mut dir, at.name, ino, inode.kind())?;
        h.put_changed_dir(&mut dir)?;
        h.node(&inode)
    })
}
