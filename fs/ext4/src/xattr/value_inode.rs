//! Inodes that hold the value of an attribute: made, referred to, freed.
//!
//! Who calls it: `set` (steps around the operation that sets an attribute), `place` and `free` (references). Whom it calls: `alloc`,
//! `map_change`, `orphan`.
//!
//! Such an inode keeps the number of entries that refer to it where others have their time of change (upper half) and version (lower
//! half), and the hash of its content where others have the time of their last access.
//!
//! VI-1. One without references is an orphan: it is made as one, filled in steps, and stops being one in the operation that refers to
//! it. So a value may be larger than a transaction, and what a power cut or an error leaves is deleted at the next mount. VI-2. An
//! orphan is a file as any other, without the flag of values: with it the kernel would not delete it (6.18: "unexpected EA_INODE
//! flag"). VI-3. Content is metadata to the journal: freed by the mount that wrote it, it is revoked, flag or not.
#![deny(clippy::indexing_slicing)]
// What is added here was checked to lie within a page, or counts blocks of a value.
#![allow(clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::alloc::Use;
use crate::checksum::crc32c;
use crate::inode_edit::Inode;
use crate::layout::{RawInode, inode_flags};
use crate::map_change::Fill;
use crate::transaction::Handle;
use core::mem::offset_of;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Node, Timestamp};
use rumpcap_vm::{PAGE_SIZE, Reservation};

/// A regular file that its owner may read and write.
const MODE: u16 = 0o100_600;

/// Bytes of a value that one operation writes: as pages a fifth of the smallest transaction, so that with the map, the bitmaps and the
/// inode it fits.
const STEP_BYTES: usize = 4 * PAGE_SIZE;

/// An inode with a value, which nothing refers to yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueInode {
    pub ino: InodeNo,
    pub hash: u32,
}

/// Makes an inode that holds `value`, near inode `owner` and with its owners. In steps; it is an orphan (VI-1).
///
/// # Errors
/// `NoSpace`, `Corrupt`, `Io`: then there is none.
pub(super) fn create(
    fs: &Ext4,
    r: &Reservation<'_>,
    owner: InodeNo,
    value: &[u8],
    now: Timestamp,
) -> Result<ValueInode> {
    let hash = crc32c(fs.sb.csum_seed, value);
    let ino = fs.change(r, now, |h| h.begin_value(owner, value.len() as u64, hash))?;
    let steps = (0u32..).zip(value.chunks(STEP_BYTES));
    for (step, bytes) in steps {
        let first = step * (STEP_BYTES >> fs.sb.block_log) as u32;
        if let Err(error) = fs.change(r, now, |h| h.write_value(ino, first, bytes)) {
            delete(fs, r, ino, now);
            return Err(error);
        }
    }
    Ok(ValueInode { ino, hash })
}

/// Deletes an inode without references, in steps. What an error leaves of it stays an orphan, which the next mount deletes.
pub(super) fn delete(fs: &Ext4, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) {
    // Every step but the last frees blocks; 16 MiB have at most 16,384.
    for _ in 0..=1 << 14 {
        match fs.change(r, now, |h| h.delete_value_step(ino)) {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
    }
}

impl Handle<'_> {
    fn begin_value(&mut self, owner: InodeNo, len: u64, hash: u32) -> Result<InodeNo> {
        let owner = self.inode_even_nameless(owner)?;
        let (ino, generation) = self.allocate_inode(owner.ino, FileKind::Regular)?;
        let mut inode = self.new_inode(ino, generation)?;
        let raw = &mut inode.raw;
        raw.mode = MODE.into();
        (raw.uid_lo, raw.uid_hi) = (owner.raw.uid_lo, owner.raw.uid_hi);
        (raw.gid_lo, raw.gid_hi) = (owner.raw.gid_lo, owner.raw.gid_hi);
        self.begin_map(&mut inode);
        inode.set_size_bytes(len);
        inode.set_mtime(self.now);
        inode.set_crtime(self.now);
        set_hash(&mut inode, hash);
        set_references(&mut inode, 0);
        self.put_new_inode(&inode)?;
        self.add_orphan(&mut inode)?;
        Ok(ino)
    }

    /// Writes `bytes` of a value from block `first` on.
    fn write_value(&mut self, ino: InodeNo, first: u32, bytes: &[u8]) -> Result<()> {
        let mut inode = self.orphan_value(ino)?;
        let block_size = self.fs.sb.block_size as usize;
        let end = first + bytes.len().div_ceil(block_size) as u32;
        let mut chunks = bytes.chunks(block_size);
        let mut logical = first;
        while logical < end {
            let mapped = self.map_blocks(&mut inode, logical, end - logical, Fill::Written)?;
            for block in mapped.first..mapped.first + u64::from(mapped.count) {
                let chunk = chunks.next().unwrap_or_default();
                self.create_block(block, |to| {
                    to.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
                })?;
            }
            logical += mapped.count.max(1);
        }
        self.put_inode(&inode)
    }

    /// The first reference to a value's inode: it is an orphan no more.
    pub(super) fn begin_value_reference(&mut self, ino: InodeNo) -> Result<()> {
        let mut inode = self.orphan_value(ino)?;
        inode.set_flags(inode_flags::EA_INODE, 0);
        set_references(&mut inode, 1);
        inode.raw.links = 1.into();
        self.remove_orphan(&mut inode)?;
        self.put_inode(&inode)
    }

    /// One reference more to a value's inode.
    pub(super) fn add_value_reference(&mut self, ino: u32) -> Result<()> {
        let mut inode = self.value_inode(InodeNo(ino.into()))?;
        let references = references(&inode).checked_add(1).filter(|&count| count > 1);
        let at = inode.ino.0;
        set_references(&mut inode, references.ok_or(Error::Corrupt { what: REFERENCES, at })?);
        self.put_inode(&inode)
    }

    /// One reference less to the inode of a value of `owner`; gives it if that was the last, and it is an orphan now.
    pub(super) fn drop_value_reference(&mut self, owner: &Node, ino: u32) -> Result<Option<InodeNo>> {
        let mut inode = self.value_inode(InodeNo(ino.into()))?;
        if self.references_but_one(owner, &inode)? > 0 {
            self.lower_references(&mut inode)?;
            return Ok(None);
        }
        set_references(&mut inode, 0);
        inode.set_flags(0, inode_flags::EA_INODE);
        inode.raw.links = 0.into();
        self.put_inode(&inode)?;
        self.add_orphan(&mut inode)?;
        Ok(Some(inode.ino))
    }

    /// References to a value's inode besides one of `owner`. Lustre's older ones have no count, and one owner.
    pub(super) fn references_but_one(&self, owner: &Node, inode: &Inode) -> Result<u64> {
        let is_of_owner = u64::from(inode.raw.mtime.get()) == owner.attributes.ino.0
            && inode.raw.generation.get() == owner.attributes.generation;
        match references(inode).checked_sub(1) {
            Some(others) => Ok(others),
            None if is_of_owner => Ok(0),
            None => Err(Error::Corrupt { what: REFERENCES, at: inode.ino.0 }),
        }
    }

    pub(super) fn lower_references(&mut self, inode: &mut Inode) -> Result<()> {
        let left = references(inode).saturating_sub(1);
        set_references(inode, left);
        self.put_inode(inode)
    }

    /// Frees a step's worth of blocks of a value's inode, from its end; gives whether none is left. Puts the inode.
    pub(super) fn shrink_value(&mut self, inode: &mut Inode) -> Result<bool> {
        // VI-3.
        let is_empty = self.unmap_blocks(inode, 0..u64::MAX, Use::Metadata)? == 0;
        if is_empty {
            inode.set_size_bytes(0);
        }
        self.put_inode(inode)?;
        Ok(is_empty)
    }

    /// Frees a value's inode that has no blocks and is no orphan.
    pub(super) fn free_value_inode(&mut self, inode: &mut Inode) -> Result<()> {
        inode.raw.links = 0.into();
        inode.raw.dtime = (self.now.seconds as u32).into();
        self.put_inode(inode)?;
        self.free_inode(inode.ino, FileKind::Regular)
    }

    /// A step of [`delete`]; gives whether it was the last.
    fn delete_value_step(&mut self, ino: InodeNo) -> Result<bool> {
        let mut inode = self.orphan_value(ino)?;
        if !self.shrink_value(&mut inode)? {
            return Ok(false);
        }
        self.remove_orphan(&mut inode)?;
        self.free_value_inode(&mut inode)?;
        Ok(true)
    }

    /// The inode of a value that nobody refers to (VI-2).
    fn orphan_value(&self, ino: InodeNo) -> Result<Inode> {
        let inode = self.inode_even_nameless(ino)?;
        let is_orphan = inode.kind() == FileKind::Regular && inode.raw.links.get() == 0;
        if is_orphan && !inode.has_flag(inode_flags::INLINE_DATA) {
            return Ok(inode);
        }
        Err(Error::Corrupt { what: "inode of a value that nobody refers to", at: ino.0 })
    }

    /// The inode of a value, which must be one.
    pub(super) fn value_inode(&self, ino: InodeNo) -> Result<Inode> {
        let corrupt = |what| Error::Corrupt { what, at: ino.0 };
        let inode = match self.inode_even_nameless(ino) {
            Err(Error::NotFound) => return Err(corrupt("extended attributes: inode of a value is free")),
            inode => inode?,
        };
        let is_value = inode.has_flag(inode_flags::EA_INODE) && inode.kind() == FileKind::Regular;
        if !is_value || inode.has_flag(inode_flags::INLINE_DATA) || inode.size_bytes() > VALUE_MAX {
            return Err(corrupt("extended attributes: inode is not one of a value"));
        }
        Ok(inode)
    }
}

const REFERENCES: &str = "extended attributes: references of a value's inode";

/// Longest value that can be on a device.
const VALUE_MAX: u64 = 1 << 24;

fn references(inode: &Inode) -> u64 {
    u64::from(inode.raw.ctime.get()) << 32 | u64::from(inode.raw.version_lo.get())
}

fn set_references(inode: &mut Inode, count: u64) {
    inode.raw.ctime = ((count >> 32) as u32).into();
    inode.raw.version_lo = (count as u32).into();
}

/// Not as a time, which has no room for it in an inode of 128 bytes.
fn set_hash(inode: &mut Inode, hash: u32) {
    inode.raw.atime = hash.into();
    if inode.has_field(offset_of!(RawInode, atime_extra)) {
        // With this the kernel takes it for a time of the same bits.
        inode.raw.atime_extra = (hash >> 31).into();
    }
}
