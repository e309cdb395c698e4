//! The end of inodes that have no names.
//!
//! Who calls it: `mod`; `remove` and `rename` for what is not in use; `orphan` at mount. Whom it calls: `map_change`, `alloc`, `xattr`,
//! `orphan`.
//!
//! DE-1. What ends in steps is an orphan from before the first to the last, so a power cut between leaves what the next mount finishes.
//! DE-2. Blocks go before the inode; the inode is freed in the operation that frees its last block.
#![deny(clippy::indexing_slicing)]

use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use crate::xattr::Freed;
use crate::{Ext4, SuperBlock};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Timestamp};
use rumpcap_vm::Reservation;

/// Space that a file that is small takes at most, in units of 512 bytes; with bigalloc as many clusters as blocks.
const SMALL_512: u32 = 64;
/// Words of a block map that point to blocks themselves.
const DIRECT: usize = 12;

/// See `Change::delete_step`.
pub(crate) fn delete_step(fs: &Ext4, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<bool> {
    fs.change(r, now, |h| {
        let mut inode = h.inode_even_nameless(ino)?;
        if inode.raw.links.get() > 0 {
            return Err(Error::Busy { what: "a file that has names" });
        }
        h.delete_step(&mut inode)
    })
}

/// Whether it is worth trying to delete an inode together with its name: what it has mostly fits into one operation.
pub(super) fn is_small(sb: &SuperBlock, inode: &Inode) -> bool {
    let space_512 = inode.raw.blocks_lo.get() >> sb.cluster_log;
    !has_depth(inode) && inode.raw.blocks_hi.get() == 0 && space_512 <= SMALL_512
}

/// Whether the map of an inode has blocks of its own.
fn has_depth(inode: &Inode) -> bool {
    let has_map = matches!(inode.kind(), FileKind::Regular | FileKind::Directory);
    match inode.has_flag(inode_flags::EXTENTS) {
        // Header of the root: magic, entries, max, depth.
        true => inode.raw.block.get(1).is_none_or(|word| word.get() >> 16 != 0),
        false => has_map && inode.raw.block.iter().skip(DIRECT).any(|word| word.get() != 0),
    }
}

impl Handle<'_> {
    /// Deletes an inode that is no orphan, if one operation does; else frees some of what it takes. Gives whether it is deleted.
    pub(super) fn delete_small(&mut self, inode: &mut Inode) -> Result<bool> {
        if !self.empty_inode(inode)? {
            return Ok(false);
        }
        self.end_inode(inode)?;
        Ok(true)
    }

    /// Frees some of what an orphan without links takes; true: all, and the inode.
    fn delete_step(&mut self, inode: &mut Inode) -> Result<bool> {
        // A step that frees blocks of the map leaves the transaction no room for attributes and the inode.
        if has_depth(inode) && (!self.unmap_all(inode)? || !has_depth(inode)) {
            self.put_inode(inode)?;
            return Ok(false);
        }
        if !self.empty_inode(inode)? {
            self.put_inode(inode)?;
            return Ok(false);
        }
        self.remove_orphan(inode)?;
        self.end_inode(inode)?;
        Ok(true)
    }

    /// Frees some of the blocks of an inode, then some of what its attributes take; gives whether nothing is left.
    fn empty_inode(&mut self, inode: &mut Inode) -> Result<bool> {
        Ok(self.unmap_all(inode)? && self.free_attributes(inode)? == Freed::All)
    }

    /// Frees the inode, which has no blocks.
    fn end_inode(&mut self, inode: &mut Inode) -> Result<()> {
        let kind = inode.kind();
        inode.set_size_bytes(0);
        if !matches!(kind, FileKind::Regular | FileKind::Directory) {
            inode.set_flags(0, inode_flags::EXTENTS);
            inode.raw.block = Default::default();
        }
        inode.raw.dtime = (self.now.seconds as u32).max(1).into();
        self.put_inode(inode)?;
        self.free_inode(inode.ino, kind)
    }
}
