//! Changing the map of an inode: extents, block maps.
//!
//! Who calls it: `content` (regular files), `dir_change` (directories), `namespace` (long symbolic links). Whom it calls: `alloc`,
//! `transaction`, `extent` and `block_map` to find what is there.
//!
//! Everything here changes the caller's [`Inode`] and does not put it.

use crate::alloc::Use;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};

/// What of an inode's blocks is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// First block of the device.
    pub first: u64,
    /// Blocks in a row, at least 1.
    pub count: u32,
    /// They hold nothing of this file yet: they were allocated just now, or were allocated and not written.
    pub is_new: bool,
}

/// What is allocated for a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Blocks that are written now.
    Written,
    /// Blocks that read as zeros (unwritten extents).
    Unwritten,
}

impl Handle<'_> {
    /// Maps blocks from `logical` on, up to `most` of one kind in a row: those that are there, or new ones for a hole.
    /// With [`Fill::Written`] blocks that were not written become so. Counts them in the inode.
    ///
    /// # Errors
    /// `NoSpace`, `FileTooLarge`, `Corrupt`, `Checksum`, `Io`.
    pub fn map_blocks(&mut self, inode: &mut Inode, logical: u32, most: u32, fill: Fill) -> Result<Mapped> {
        let _ = (inode, logical, most, fill);
        Err(Error::Unsupported { what: "mapping" })
    }

    /// Frees the blocks of `logical`, from its end backwards, as many as fit into a step; gives where it stopped (`logical.start`: done).
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`; `NoSpace` where an extent must be split and there is no block for that.
    pub fn unmap_blocks(&mut self, inode: &mut Inode, logical: Range<u64>, of: Use) -> Result<u64> {
        let _ = (inode, logical, of);
        Err(Error::Unsupported { what: "mapping" })
    }

    /// Makes a new inode one that is mapped by extents where the file system has them, else by a block map.
    pub fn begin_map(&self, inode: &mut Inode) {
        let _ = inode;
    }
}
