//! The end of inodes that have no names.
//!
//! Who calls it: `mod`; `remove` and `rename` for what is not in use; `orphan` at mount. Whom it calls: `map_change`, `alloc`, `xattr`,
//! `orphan`.
//!
//! DE-1. What ends in steps is an orphan from before the first to the last, so a power cut between leaves what the next mount finishes.
//! DE-2. Blocks go before the inode; the inode is freed in the operation that frees its last block.
#![deny(clippy::indexing_slicing)]

use crate::Ext4;
use crate::alloc::Use;
use crate::inode_edit::Inode;
use crate::layout::{BLOCK_BYTES, INODE_BASE_BYTES, inode_flags};
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Timestamp};
use rumpcap_vm::Reservation;
use zerocopy::IntoBytes;

/// Blocks of a file are numbered below this.
const LOGICAL_END: u64 = 1 << 32;
/// Space that a file that is small takes at most, in units of 512 bytes.
const SMALL_512: u32 = 64;
/// Words of a block map that point to blocks themselves.
const DIRECT: usize = 12;

/// What is left to be done for an inode without names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delete {
    Nothing,
    InSteps,
}

/// See `Change::delete`.
pub(crate) fn delete(fs: &Ext4, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<()> {
    loop {
        let is_done = fs.change(r, now, |h| {
            let mut inode = h.inode_even_nameless(ino)?;
            if inode.raw.links.get() > 0 {
                return Err(Error::Busy { what: "a file that has names" });
            }
            h.delete_step(&mut inode)
        })?;
        if is_done {
            return Ok(());
        }
    }
}

/// Does what is left to be done.
pub(super) fn go_on(
    fs: &Ext4,
    r: &Reservation<'_>,
    ino: InodeNo,
    then: Delete,
    now: Timestamp,
) -> Result<()> {
    if then == Delete::InSteps { delete(fs, r, ino, now) } else { Ok(()) }
}

/// Whether it is worth trying to delete an inode together with its name: what it has mostly fits into one operation.
pub(super) fn is_small(inode: &Inode) -> bool {
    if !has_map(inode) {
        return true;
    }
    let has_depth = match inode.has_flag(inode_flags::EXTENTS) {
        // Header of the root: magic, entries, max, depth.
        true => inode.raw.block.get(1).is_none_or(|word| word.get() >> 16 != 0),
        false => inode.raw.block.iter().skip(DIRECT).any(|word| word.get() != 0),
    };
    !has_depth && inode.raw.blocks_hi.get() == 0 && inode.raw.blocks_lo.get() <= SMALL_512
}

/// Whether `i_block` maps blocks.
fn has_map(inode: &Inode) -> bool {
    match inode.kind() {
        FileKind::Regular | FileKind::Directory => !inode.has_flag(inode_flags::INLINE_DATA),
        // Short ones are in `i_block`: without a block, but for that of attributes.
        FileKind::Symlink => {
            !inode.has_flag(inode_flags::INLINE_DATA) && inode.size_bytes() >= BLOCK_BYTES as u64
        }
        _ => false,
    }
}

impl Handle<'_> {
    /// Deletes an inode that is no orphan, if one operation does; else frees some of its blocks.
    pub(super) fn delete_small(&mut self, inode: &mut Inode) -> Result<Delete> {
        if !self.free_content(inode)? {
            return Ok(Delete::InSteps);
        }
        self.end_inode(inode)?;
        Ok(Delete::Nothing)
    }

    /// Frees some blocks of an orphan without links; true: all, and the inode.
    fn delete_step(&mut self, inode: &mut Inode) -> Result<bool> {
        if !self.free_content(inode)? {
            self.put_inode(inode)?;
            return Ok(false);
        }
        self.remove_orphan(inode)?;
        self.end_inode(inode)?;
        Ok(true)
    }

    /// Frees blocks of content, from the end; whether all are free.
    fn free_content(&mut self, inode: &mut Inode) -> Result<bool> {
        if !has_map(inode) {
            return Ok(true);
        }
        let of = if inode.kind() == FileKind::Regular { Use::Content } else { Use::Metadata };
        Ok(self.unmap_blocks(inode, 0..LOGICAL_END, of)? == 0)
    }

    /// Frees what attributes take, and the inode, which has no blocks.
    fn end_inode(&mut self, inode: &mut Inode) -> Result<()> {
        self.free_attributes(inode)?;
        let kind = inode.kind();
        inode.set_size_bytes(0);
        if !has_map(inode) {
            inode.raw.block.as_mut_bytes().fill(0);
        }
        inode.raw.dtime = (self.now.seconds as u32).max(1).into();
        self.put_inode(inode)?;
        self.free_inode(inode.ino, kind)
    }
}

const _: () = assert!(INODE_BASE_BYTES > BLOCK_BYTES);
