//! Changing the map of an inode: extents, block maps.
//!
//! Who calls it: `content` (regular files), `dir_change` (directories), `namespace` (long symbolic links). Whom it calls: `alloc`,
//! `transaction`, `extent` to find what is there.
//!
//! By file: `extents` and `indirect` map and free, one for each kind of map · `tree` an extent tree as a whole, `shape` its nodes, `node_edit` one of them ·
//! `cluster` blocks that share one · `budget` how much one step frees.
//!
//! Everything here changes the caller's [`Inode`] and does not put it.
//!
//! MC-1. What a call changes is bounded: mapping takes blocks in a row, and new blocks of the map on one way; freeing stops by its
//! [`budget`], and says where.

mod budget;
mod cluster;
mod extents;
mod indirect;
mod node_edit;
mod shape;
mod tree;

use crate::alloc::Use;
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use crate::{Ext4, symlink};
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::FileKind;

/// What of an inode's blocks is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// First block of the device.
    pub first: u64,
    /// Blocks in a row, at least 1.
    pub count: u32,
    /// What they were.
    pub was: Was,
}

/// What blocks were before they were mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Was {
    /// Mapped, and written.
    Written,
    /// Allocated, and not written.
    Unwritten,
    /// Not mapped.
    Hole,
}

impl Mapped {
    /// Whether they hold nothing of this file yet.
    pub fn is_new(&self) -> bool {
        self.was != Was::Written
    }
}

/// What is allocated for a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Blocks that are written now.
    Written,
    /// Blocks that read as zeros (unwritten extents).
    Unwritten,
}

/// Blocks that a file with extents, or with a block map, can be long: what its map reaches, and what its inode can count.
pub(crate) fn blocks_max(fs: &Ext4, has_extents: bool) -> u64 {
    let sb = &fs.sb;
    let counted =
        if sb.features.has_huge_file() { (1 << 48) - 1 } else { u64::from(u32::MAX) >> (sb.block_log - 9) };
    if has_extents {
        return extents::BLOCKS_MAX.min(counted);
    }
    let reached = indirect::blocks_max(fs);
    if reached + indirect::numbers_of(fs, reached) <= counted {
        return reached;
    }
    counted - indirect::numbers_of(fs, counted)
}

/// With bigalloc only extents are known to be right about clusters: to the kernel, and to e2fsck.
const NUMBERED_CLUSTERS: Error = Error::Unsupported { what: "a block map, with bigalloc" };

impl Handle<'_> {
    /// Maps blocks from `logical` on, up to `most` of one kind in a row: those that are there, or new ones for a hole.
    /// With [`Fill::Written`] blocks that were not written become so. Counts them in the inode.
    ///
    /// # Errors
    /// `NoSpace`, `FileTooLarge`, `Corrupt`, `Checksum`, `Io`; `Unsupported` for unwritten blocks in a block map.
    pub fn map_blocks(&mut self, inode: &mut Inode, logical: u32, most: u32, fill: Fill) -> Result<Mapped> {
        let has_extents = inode.has_flag(inode_flags::EXTENTS);
        let left = blocks_max(self.fs, has_extents).saturating_sub(u64::from(logical));
        let most = left.min(u64::from(most)) as u32;
        if most == 0 {
            return Err(Error::FileTooLarge);
        }
        if !has_extents && self.fs.sb.cluster_log > 0 {
            return Err(NUMBERED_CLUSTERS);
        }
        let mapped = if has_extents {
            self.map_extent(inode, logical, most, fill)?
        } else {
            self.map_numbered(inode, logical, most, fill)?
        };
        let sb = &self.fs.sb;
        let end = mapped.first.saturating_add(u64::from(mapped.count));
        if mapped.first <= sb.first_data_block || end > sb.blocks_count || mapped.count == 0 {
            return Err(Error::Corrupt { what: "block of a file outside the file system", at: inode.ino.0 });
        }
        self.require_unowned(mapped.first, u64::from(mapped.count))?;
        Ok(mapped)
    }

    /// Frees the blocks of `logical`, from its end backwards, as many as fit into a step; gives where it stopped (`logical.start`: done).
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`; `NoSpace` where an extent must be split and there is no block for that.
    pub fn unmap_blocks(&mut self, inode: &mut Inode, logical: Range<u64>, of: Use) -> Result<u64> {
        if inode.has_flag(inode_flags::EXTENTS) {
            self.unmap_extents(inode, logical, of)
        } else if self.fs.sb.cluster_log > 0 && inode.raw.block.iter().any(|word| word.get() != 0) {
            Err(NUMBERED_CLUSTERS)
        } else {
            self.unmap_numbered(inode, logical, of)
        }
    }

    /// Frees blocks of whatever kind of inode, as many as fit into a step; gives whether none is left. Does not touch its length.
    ///
    /// # Errors
    /// As [`Handle::unmap_blocks`].
    pub fn unmap_all(&mut self, inode: &mut Inode) -> Result<bool> {
        let has_map = match inode.kind() {
            FileKind::Regular | FileKind::Directory => true,
            FileKind::Symlink => !symlink::is_fast(self.fs, &self.node(inode)?),
            _ => false,
        };
        if !has_map || inode.has_flag(inode_flags::INLINE_DATA) {
            return Ok(true);
        }
        let of = self.use_of(inode);
        Ok(self.unmap_blocks(inode, 0..u64::MAX, of)? == 0)
    }

    /// What the blocks of an inode are used for.
    pub fn use_of(&self, inode: &Inode) -> Use {
        let is_content = inode.kind() == FileKind::Regular && !inode.has_flag(inode_flags::EA_INODE);
        if is_content { Use::Content } else { Use::Metadata }
    }

    /// Makes a new inode one that is mapped by extents where the file system has them, else by a block map.
    pub fn begin_map(&self, inode: &mut Inode) {
        if self.fs.sb.features.has_extent() {
            inode.set_flags(inode_flags::EXTENTS, 0);
            node_edit::store_empty_root(inode);
        } else {
            inode.set_flags(0, inode_flags::EXTENTS);
            inode.raw.block = Default::default();
        }
    }
}
