//! [`Group`]: one block group's descriptor, read and verified when it is needed.
//!
//! Who calls it: `inode` to find a table, `stat_fs` and `info` for counts, `alloc` to change it. Whom it calls: `block`.
//!
//! Memory: none; the descriptor is copied to the stack, its page unpinned. Nothing is loaded at mount, so a file system
//! of 16 TiB costs what one of 16 MiB does.
//!
//! Checksums: when a 1 KiB unit of a page is first seen all of its descriptors are verified, and noted if they are
//! right. A broken neighbour does not spoil a descriptor: then each is verified whenever it is used.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::block::{UNIT_SHIFT, within_page};
use crate::checksum::{crc16, crc32c};
use crate::layout::{
    GROUP_CHECKSUM_OFFSET, GROUP_INODE_UNINIT, GROUP_LONG_BYTES, GROUP_SHORT_BYTES, RawGroup,
};
use crate::super_block::SuperBlock;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{PAGE_SIZE, Reservation};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of a unit whose check a page remembers.
const UNIT_BYTES: usize = 1 << UNIT_SHIFT;

/// A checked group descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// First block of the inode table; all of the table is within the file system.
    pub inode_table: u64,
    /// Free clusters.
    pub clusters_free: u32,
    /// Free inodes.
    pub inodes_free: u32,
    /// Inodes from the end of the table that were never used; at most as many as a group has.
    pub inodes_unused: u32,
}

impl Ext4 {
    /// The descriptor of `group`.
    ///
    /// # Errors
    /// `Checksum`, `Corrupt` (at: the group), `Io`.
    pub(crate) fn group(&self, r: &Reservation<'_>, group: u32) -> Result<Group> {
        parse(&self.sb, &self.raw_group(r, group)?, group)
    }

    /// The fields of the descriptor of `group`; those that a short one does not have are 0. Verified, not judged.
    ///
    /// # Errors
    /// As [`Ext4::group`].
    pub(crate) fn raw_group(&self, r: &Reservation<'_>, group: u32) -> Result<RawGroup> {
        let (block, within) = descriptor_place(&self.sb, group)?;
        let at = self.byte_of(block, within)?;
        let page = self.device.page(r, at, 0)?;
        let start = within_page(at);
        let unit = start >> UNIT_SHIFT;
        if !page.is_checked(unit as u32) && self.verify_unit(&page, start, group)? {
            page.set_checked(unit as u32);
        }
        Ok(fields(descriptor_bytes(&self.sb, &page[..], start).unwrap_or_default()))
    }

    /// Verifies the descriptor at byte `start` of `page`, and tells whether the others of its unit are right too.
    fn verify_unit(&self, page: &[u8; PAGE_SIZE], start: usize, group: u32) -> Result<bool> {
        let sb = &self.sb;
        let own = descriptor_bytes(sb, page, start).unwrap_or_default();
        if !is_right(sb, own, group) {
            return Err(Error::Checksum { what: "group descriptor", at: u64::from(group) });
        }
        let size = sb.desc_size as usize;
        let unit_start = start & !(UNIT_BYTES - 1);
        let before = (start.saturating_sub(unit_start) >> size.trailing_zeros()) as u32;
        let first = group.saturating_sub(before);
        let all =
            (first..sb.group_count).zip((unit_start..unit_start.saturating_add(UNIT_BYTES)).step_by(size));
        let mut all = all.map(|(g, at)| is_right(sb, descriptor_bytes(sb, page, at).unwrap_or_default(), g));
        Ok(all.all(|right| right))
    }
}

fn descriptor_bytes<'p>(sb: &SuperBlock, page: &'p [u8], start: usize) -> Option<&'p [u8]> {
    page.get(start..)?.get(..sb.desc_size as usize)
}

/// Block of `group`'s descriptor, and the byte within it.
pub(crate) fn descriptor_place(sb: &SuperBlock, group: u32) -> Result<(u64, u32)> {
    if group >= sb.group_count {
        return Err(Error::Corrupt { what: "group number past the last group", at: u64::from(group) });
    }
    // Both sizes are powers of two (SB-1, SB-6), and a block is not smaller than a descriptor.
    let per_block_log = sb.block_log.saturating_sub(sb.desc_size.trailing_zeros());
    let index = group >> per_block_log;
    let within = (group & !(u32::MAX << per_block_log)) << sb.desc_size.trailing_zeros();
    let block = if !sb.features.has_meta_bg() || index < sb.first_meta_bg {
        sb.super_block_block.saturating_add(1).saturating_add(u64::from(index))
    } else {
        meta_block(sb, index, index << per_block_log)
    };
    Ok((block, within))
}

/// Block of descriptors number `index` with meta_bg: in the first of the groups that it describes, behind that
/// group's super block if it has one.
fn meta_block(sb: &SuperBlock, index: u32, first_group: u32) -> u64 {
    let mut behind = u64::from(sb.has_super_block(first_group));
    if index == 0 && sb.block_log == 10 && sb.first_data_block == 0 {
        // Clusters larger than 1 KiB blocks: group 0 begins with the boot block, before the super block.
        behind = behind.saturating_add(1);
    }
    sb.group_first_block(first_group).saturating_add(behind)
}

/// Whether the checksum of a descriptor, if the file system has them, is right.
pub(crate) fn is_right(sb: &SuperBlock, bytes: &[u8], group: u32) -> bool {
    let stored = bytes.get(GROUP_CHECKSUM_OFFSET..).and_then(|rest| rest.first_chunk::<2>());
    let Some(stored) = stored else { return false };
    descriptor_checksum(sb, bytes, group).is_none_or(|sum| u16::from_le_bytes(*stored) == sum)
}

/// The checksum of the descriptor `bytes`; `None` where the file system has none. What is in the checksum's place does not count.
pub(crate) fn descriptor_checksum(sb: &SuperBlock, bytes: &[u8], group: u32) -> Option<u16> {
    let (before, rest) = bytes.split_at_checked(GROUP_CHECKSUM_OFFSET)?;
    let behind = rest.get(2..)?;
    let number = group.to_le_bytes();
    if sb.features.has_metadata_csum() {
        let sum = crc32c(crc32c(sb.csum_seed, &number), before);
        Some(crc32c(crc32c(sum, &[0, 0]), behind) as u16)
    } else if sb.features.has_gdt_csum() {
        let sum = crc16(crc16(crc16(!0, &sb.uuid), &number), before);
        Some(crc16(sum, behind))
    } else {
        None
    }
}

/// The fields of a descriptor.
fn fields(bytes: &[u8]) -> RawGroup {
    let mut raw = RawGroup::new_zeroed();
    let len = if bytes.len() >= GROUP_LONG_BYTES { GROUP_LONG_BYTES } else { GROUP_SHORT_BYTES };
    for (to, from) in raw.as_mut_bytes().iter_mut().zip(bytes.iter().take(len)) {
        *to = *from;
    }
    raw
}

fn parse(sb: &SuperBlock, raw: &RawGroup, group: u32) -> Result<Group> {
    let corrupt = |what| Error::Corrupt { what, at: u64::from(group) };
    let table = u64::from(raw.inode_table_lo.get()) | u64::from(raw.inode_table_hi.get()) << 32;
    let end = table.saturating_add(u64::from(sb.inode_table_blocks()));
    if table <= sb.first_data_block || end > sb.blocks_count {
        return Err(corrupt("group descriptor: place of the inode table"));
    }
    let wide = |lo: u16, hi: u16| u32::from(lo) | u32::from(hi) << 16;
    Ok(Group {
        inode_table: table,
        clusters_free: wide(raw.free_blocks_lo.get(), raw.free_blocks_hi.get()),
        inodes_free: wide(raw.free_inodes_lo.get(), raw.free_inodes_hi.get()),
        inodes_unused: inodes_unused(sb, raw),
    })
}

/// What is said of unused inodes counts only with checksums, which came together with it.
fn inodes_unused(sb: &SuperBlock, raw: &RawGroup) -> u32 {
    if !sb.features.has_metadata_csum() && !sb.features.has_gdt_csum() {
        return 0;
    }
    if raw.flags.get() & GROUP_INODE_UNINIT != 0 {
        return sb.inodes_per_group;
    }
    let unused = u32::from(raw.unused_inodes_lo.get()) | u32::from(raw.unused_inodes_hi.get()) << 16;
    unused.min(sb.inodes_per_group)
}
