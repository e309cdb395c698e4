//! Inodes: from their bytes to a live node.
//!
//! Who calls it: `vnops` (every walk's hot path), `xattr` for values in inodes of their own, `mount` for the journal's.
//! Whom it calls: `group` for the table, `node` to pack.
//!
//! Memory: two page look-ups, one page pinned at a time; the inode's fields are copied to the stack.
//!
//! Free inodes are recognised before the checksum is verified: a table that was never written has none.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::block::within_page;
use crate::checksum::crc32c;
use crate::layout::{
    BLOCK_WORDS, INODE_BASE_BYTES, INODE_CHECKSUM_HI_OFFSET, INODE_CHECKSUM_LO_OFFSET, RawInode, inode_flags,
};
use crate::node::{Ext4Node, Private};
use crate::super_block::SuperBlock;
use core::mem::offset_of;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Attributes, FileKind, InodeNo, Node, Timestamp};
use rumpcap_vm::{PAGE_SHIFT, PAGE_SIZE, Reservation};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The inode of the boot loader, which no directory names: it has no links while it is in use.
const BOOT_LOADER_INODE: u64 = 5;

/// Where an inode is.
pub(crate) struct Place {
    /// Byte of the device.
    pub(crate) at: u64,
    /// Pages behind the one of `at` that hold inodes which were ever used.
    pages_behind: u32,
}

impl Ext4 {
    /// Seed of the checksums of what belongs to `node`: its directory and extent blocks.
    pub(crate) fn inode_checksum_seed(&self, node: &Node) -> u32 {
        node.checksum_seed()
    }

    /// Reads inode `ino`; up to `ahead` pages of its table, of those that were ever used, may be read ahead.
    ///
    /// # Errors
    /// `NotFound` for a free inode or a number that does not exist; `Corrupt`, `Checksum` (at: the inode, or the group
    /// of its descriptor); `Io`.
    pub(crate) fn inode(&self, r: &Reservation<'_>, ino: InodeNo, ahead: u32) -> Result<Node> {
        self.read_inode(r, ino, ahead, |raw| is_free(raw, ino))
    }

    /// As [`Ext4::inode`], for one that may have lost its names while it is open.
    pub(crate) fn inode_even_nameless(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Node> {
        self.read_inode(r, ino, 0, |raw| raw.links.get() == 0 && raw.mode.get() == 0)
    }

    fn read_inode(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        ahead: u32,
        is_free: impl Fn(&RawInode) -> bool,
    ) -> Result<Node> {
        let place = self.inode_place(r, ino)?;
        let page = self.device.page(r, place.at, ahead.min(place.pages_behind))?;
        let bytes = page.get(within_page(place.at)..).unwrap_or_default();
        // An inode larger than a page begins one (SB-2); what is behind its first page is only summed up.
        let bytes = bytes.get(..self.sb.inode_size as usize).unwrap_or(bytes);
        let raw = copy_inode(bytes);
        if is_free(&raw) {
            return Err(Error::NotFound);
        }
        let seed = inode_seed(&self.sb, ino, raw.generation.get());
        if self.sb.features.has_metadata_csum() {
            let has_hi = has_checksum_hi(&self.sb, &raw);
            let sum = first_page_checksum(seed, bytes, has_hi);
            drop(page);
            let sum = self.continue_checksum(r, place.at, sum)?;
            if !is_checksum(&raw, sum, has_hi) {
                return Err(Error::Checksum { what: "inode", at: ino.0 });
            }
        }
        live_node(&self.sb, &raw, ino, place.at, seed)
    }

    /// Finds `ino` by its group's descriptor.
    pub(crate) fn inode_place(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Place> {
        let sb = &self.sb;
        let number = u32::try_from(ino.0).ok().filter(|&n| n <= sb.inodes_count);
        let index = number.and_then(|n| n.checked_sub(1)).ok_or(Error::NotFound)?;
        // SB-3: inodes_per_group is not 0.
        let group = index.checked_div(sb.inodes_per_group).ok_or(Error::NotFound)?;
        let index = index.checked_rem(sb.inodes_per_group).ok_or(Error::NotFound)?;
        let group = self.group(r, group)?;
        let size_log = sb.inode_size.trailing_zeros();
        // Cannot overflow: the descriptor's check puts the table's end within SB-5.
        let table = group.inode_table << sb.block_log;
        let at = table.saturating_add(u64::from(index) << size_log);
        let used = sb.inodes_per_group.saturating_sub(group.inodes_unused);
        let end = table.saturating_add(u64::from(used) << size_log);
        let last_page = end.saturating_sub(1) >> PAGE_SHIFT;
        let pages_behind = last_page.saturating_sub(at >> PAGE_SHIFT).min(u64::from(u32::MAX)) as u32;
        Ok(Place { at, pages_behind })
    }

    /// Continues the checksum of the inode at byte `at` over its pages behind the first; at most 15 (SB-1, SB-2).
    fn continue_checksum(&self, r: &Reservation<'_>, at: u64, mut sum: u32) -> Result<u32> {
        for behind in (PAGE_SIZE as u64..u64::from(self.sb.inode_size)).step_by(PAGE_SIZE) {
            sum = crc32c(sum, &self.device.page(r, at.saturating_add(behind), 0)?[..]);
        }
        Ok(sum)
    }
}

/// Copies the fields of an inode; those that an inode of 128 bytes does not have are 0.
pub(crate) fn copy_inode(bytes: &[u8]) -> RawInode {
    if let Ok((raw, _)) = RawInode::read_from_prefix(bytes) {
        return raw;
    }
    let mut raw = RawInode::new_zeroed();
    for (to, from) in raw.as_mut_bytes().iter_mut().zip(bytes) {
        *to = *from;
    }
    raw
}

/// As the kernel sees it: without links it is about to be deleted, or was.
pub(crate) fn is_free(raw: &RawInode, ino: InodeNo) -> bool {
    raw.links.get() == 0 && (raw.mode.get() == 0 || ino.0 != BOOT_LOADER_INODE)
}

/// Seed of the checksums of inode `ino` and what belongs to it.
pub(crate) fn inode_seed(sb: &SuperBlock, ino: InodeNo, generation: u32) -> u32 {
    let sum = crc32c(sb.csum_seed, &(ino.0 as u32).to_le_bytes());
    crc32c(sum, &generation.to_le_bytes())
}

/// Whether the inode has the upper half of its checksum.
pub(crate) fn has_checksum_hi(sb: &SuperBlock, raw: &RawInode) -> bool {
    const END: usize = INODE_CHECKSUM_HI_OFFSET - INODE_BASE_BYTES + 2;
    sb.inode_size as usize > INODE_BASE_BYTES && usize::from(raw.extra_isize.get()) >= END
}

/// Checksum of an inode, or of its first page, with its own checksum taken as 0.
pub(crate) fn first_page_checksum(seed: u32, bytes: &[u8], has_hi: bool) -> u32 {
    let part = |from: usize, to: usize| bytes.get(from..to.min(bytes.len())).unwrap_or_default();
    let sum = crc32c(seed, part(0, INODE_CHECKSUM_LO_OFFSET));
    let sum = crc32c(sum, &[0, 0]);
    if !has_hi {
        return crc32c(sum, part(INODE_CHECKSUM_LO_OFFSET + 2, bytes.len()));
    }
    let sum = crc32c(sum, part(INODE_CHECKSUM_LO_OFFSET + 2, INODE_CHECKSUM_HI_OFFSET));
    let sum = crc32c(sum, &[0, 0]);
    crc32c(sum, part(INODE_CHECKSUM_HI_OFFSET + 2, bytes.len()))
}

/// Compares `sum` with the checksum in the inode, of which only the lower half may exist.
pub(crate) fn is_checksum(raw: &RawInode, sum: u32, has_hi: bool) -> bool {
    let lo = raw.checksum_lo.get() == sum as u16;
    lo && (!has_hi || raw.checksum_hi.get() == (sum >> 16) as u16)
}

/// The node of a verified inode.
pub(crate) fn live_node(
    sb: &SuperBlock,
    raw: &RawInode,
    ino: InodeNo,
    place: u64,
    checksum_seed: u32,
) -> Result<Node> {
    let extra_isize = if sb.inode_size as usize > INODE_BASE_BYTES { raw.extra_isize.get() } else { 0 };
    let used = u32::from(extra_isize).saturating_add(INODE_BASE_BYTES as u32);
    if used > sb.inode_size || extra_isize % 4 != 0 {
        return Err(Error::Corrupt { what: "inode: i_extra_isize", at: ino.0 });
    }
    let size_bytes = size_bytes(sb, raw);
    if size_bytes > i64::MAX as u64 {
        return Err(Error::Corrupt { what: "inode: i_size", at: ino.0 });
    }
    // Whether the inode has the word at `offset`.
    let has = |offset: usize| offset.saturating_add(4) <= used as usize;
    let time = |seconds: u32, extra: u32, at| timestamp(seconds, if has(at) { extra } else { 0 });
    let block = raw.block.map(|word| word.get());
    let has_project = sb.features.has_project() && has(offset_of!(RawInode, project));
    let attributes = Attributes {
        ino,
        generation: raw.generation.get(),
        mode: u32::from(raw.mode.get()),
        nlink: u32::from(raw.links.get()),
        uid: u32::from(raw.uid_lo.get()) | u32::from(raw.uid_hi.get()) << 16,
        gid: u32::from(raw.gid_lo.get()) | u32::from(raw.gid_hi.get()) << 16,
        size_bytes,
        blocks_512: blocks_512(sb, raw, size_bytes),
        rdev: device_number(raw, &block),
        flags: raw.flags.get() & inode_flags::VISIBLE,
        project: if has_project { raw.project.get() } else { 0 },
        atime: time(raw.atime.get(), raw.atime_extra.get(), offset_of!(RawInode, atime_extra)),
        mtime: time(raw.mtime.get(), raw.mtime_extra.get(), offset_of!(RawInode, mtime_extra)),
        ctime: time(raw.ctime.get(), raw.ctime_extra.get(), offset_of!(RawInode, ctime_extra)),
        crtime: has(offset_of!(RawInode, crtime))
            .then(|| time(raw.crtime.get(), raw.crtime_extra.get(), offset_of!(RawInode, crtime_extra))),
    };
    let acl_hi = if sb.features.has_64bit() { raw.file_acl_hi.get() } else { 0 };
    let file_acl = u64::from(raw.file_acl_lo.get()) | u64::from(acl_hi) << 32;
    let is_ea_inode = raw.flags.get() & inode_flags::EA_INODE != 0;
    let private = Private { block, file_acl, extra_isize, checksum_seed, place, is_ea_inode };
    Ok(Node { attributes, private: private.pack() })
}

/// The upper half counts for files, and for all with large_dir: old directories keep an ACL block there.
fn size_bytes(sb: &SuperBlock, raw: &RawInode) -> u64 {
    let is_file = FileKind::from_mode(u32::from(raw.mode.get())) == FileKind::Regular;
    let hi = if is_file || sb.features.has_large_dir() { raw.size_hi.get() } else { 0 };
    u64::from(raw.size_lo.get()) | u64::from(hi) << 32
}

/// Space taken, in units of 512 bytes. A file kept in its inode takes what it would elsewhere, as the kernel has it: else
/// copying programs would take it for a hole.
fn blocks_512(sb: &SuperBlock, raw: &RawInode, size_bytes: u64) -> u64 {
    let flags = raw.flags.get();
    let hi = if sb.features.has_huge_file() { u64::from(raw.blocks_hi.get()) << 32 } else { 0 };
    let blocks = u64::from(raw.blocks_lo.get()) | hi;
    let is_file = FileKind::from_mode(u32::from(raw.mode.get())) == FileKind::Regular;
    if sb.features.has_huge_file() && flags & inode_flags::HUGE_FILE != 0 {
        // 48 bits and a shift of at most 7.
        blocks << sb.block_log.saturating_sub(9)
    } else if is_file && flags & inode_flags::INLINE_DATA != 0 {
        blocks.saturating_add(size_bytes.div_ceil(512))
    } else {
        blocks
    }
}

/// Seconds of 34 bits, signed around 1970 in the first 32, and nanoseconds of 30 bits.
fn timestamp(seconds: u32, extra: u32) -> Timestamp {
    let epoch = i64::from(extra & 3) << 32;
    let seconds = i64::from(seconds as i32).saturating_add(epoch);
    Timestamp { seconds, nanoseconds: (extra >> 2).min(999_999_999) }
}

/// Device numbers of 8 + 8 bits are in the first word; else 12 + 20 bits in the second.
pub(crate) fn device_number(raw: &RawInode, block: &[u32; BLOCK_WORDS]) -> (u32, u32) {
    let kind = FileKind::from_mode(u32::from(raw.mode.get()));
    if !matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) {
        return (0, 0);
    }
    let [old, new, ..] = *block;
    if old != 0 {
        (old >> 8 & 0xFF, old & 0xFF)
    } else {
        (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xF_FF00)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_from_1901_to_2446() {
        let seconds = |lo, extra| timestamp(lo, extra).seconds;
        assert_eq!(seconds(0x8000_0000, 0), -0x8000_0000);
        assert_eq!(seconds(0x7FFF_FFFF, 0), 0x7FFF_FFFF);
        assert_eq!(seconds(0x8000_0000, 1), 0x8000_0000);
        assert_eq!(seconds(0x7FFF_FFFF, 3), 0x3_7FFF_FFFF);
        assert_eq!(timestamp(0, 999_999_999 << 2 | 2).nanoseconds, 999_999_999);
        assert_eq!(timestamp(0, u32::MAX).nanoseconds, 999_999_999);
    }

    #[test]
    fn device_numbers_old_and_new() {
        let mut raw = RawInode::new_zeroed();
        let number = |raw: &RawInode| device_number(raw, &raw.block.map(|word| word.get()));
        raw.mode.set(0o060_000);
        raw.block[0].set(0x0803);
        assert_eq!(number(&raw), (8, 3));
        raw.block[0].set(0);
        raw.block[1].set(0x1230_4567);
        assert_eq!(number(&raw), (0x45, 0x1_2367));
        raw.mode.set(0o100_000);
        assert_eq!(number(&raw), (0, 0));
    }
}
