//! Allocation of blocks and inodes: bitmaps, group descriptors, counts.
//!
//! Who calls it: `content` and `map_change` (blocks), `namespace` (inodes), `xattr` (blocks). Whom it calls: `transaction`, `group`.

use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};

/// Blocks in a row, allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// The first.
    pub first: u64,
    /// How many, at least 1.
    pub count: u32,
}

/// What blocks are freed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Content of a regular file, which is in no transaction.
    Content,
    /// Anything else: the journal forgets it.
    Metadata,
}

impl Handle<'_> {
    /// Allocates up to `most` blocks in a row, as near behind `goal` as can be; at least one.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt`, `Checksum` of a bitmap or descriptor; `Io`.
    pub fn allocate_blocks(&mut self, goal: u64, most: u32) -> Result<BlockRun> {
        let _ = (goal, most);
        Err(Error::Unsupported { what: "allocation" })
    }

    /// Frees blocks that are in use, all within the file system; may cross groups.
    ///
    /// # Errors
    /// `Corrupt` for a block that is free, or one of the file system's own structures; `Io`.
    pub fn free_blocks(&mut self, first: u64, count: u64, of: Use) -> Result<()> {
        let _ = (first, count, of);
        Err(Error::Unsupported { what: "allocation" })
    }

    /// The block near which content of inode `ino` goes when it has none yet.
    pub fn goal_of_inode(&self, ino: InodeNo) -> u64 {
        let _ = ino;
        0
    }

    /// Allocates an inode: a directory away from others if `parent` is the root (Orlov), anything else near its directory. Gives its number and
    /// the generation that it gets. The inode is not written.
    ///
    /// # Errors
    /// As [`Handle::allocate_blocks`].
    pub fn allocate_inode(&mut self, parent: InodeNo, kind: FileKind) -> Result<(InodeNo, u32)> {
        let _ = (parent, kind);
        Err(Error::Unsupported { what: "allocation" })
    }

    /// Frees inode `ino`, which was of `kind`; its inode has been put as deleted.
    ///
    /// # Errors
    /// As [`Handle::free_blocks`].
    pub fn free_inode(&mut self, ino: InodeNo, kind: FileKind) -> Result<()> {
        let _ = (ino, kind);
        Err(Error::Unsupported { what: "allocation" })
    }
}
