//! What is written last: bitmaps and descriptors of all groups, then the copies of the super block, then the super block.
//!
//! Who calls it: `Maker::finish`. Everything follows from the two cursors and `placement` (MK-1, MK-2), group by group.
//!
//! Memory: a bitmap and a block of descriptors.

use super::geometry::Geometry;
use super::maker::Image;
use super::placement::{Content, Walk};
use super::super_block::{self, Free};
use crate::checksum::{crc16, crc32c};
use crate::layout::{
    GROUP_CHECKSUM_OFFSET, GROUP_INODE_UNINIT, GROUP_LONG_BYTES, RawGroup, SUPER_BLOCK_OFFSET,
};
use crate::mkfs::defaults::Prior;
use core::mem::offset_of;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use zerocopy::{FromZeros, IntoBytes};

/// `bg_flags`: the block bitmap was never written; it follows from the group's own metadata.
const BLOCK_UNINIT: u16 = 0x2;
/// `bg_flags`: the inode table is all zeros where no inode is.
const INODE_ZEROED: u16 = 0x4;

/// Counts the directories of the group in which inodes are being taken, and keeps those of the groups before in their
/// descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DirectoryTally {
    pub group: u32,
    pub count: u32,
}

impl DirectoryTally {
    /// Counts a directory, or only notes that `ino` was taken.
    pub(super) fn count(&mut self, image: &Image<'_>, ino: u32, is_directory: bool) -> Result<()> {
        let group = (ino - 1) / image.g.inodes_per_group;
        while self.group < group {
            self.store(image)?;
            *self = DirectoryTally { group: self.group + 1, count: 0 };
        }
        self.count += u32::from(is_directory);
        Ok(())
    }

    fn store(&self, image: &Image<'_>) -> Result<()> {
        let at = descriptor_at(image, self.group);
        let count = self.count.to_le_bytes();
        let lo = offset_of!(RawGroup, used_directories_lo) as u64;
        image.device.write_at(at + lo, &mut [IoSlice::new(&count[..2])])?;
        if image.g.desc_size as usize >= GROUP_LONG_BYTES {
            let hi = offset_of!(RawGroup, used_directories_hi) as u64;
            image.device.write_at(at + hi, &mut [IoSlice::new(&count[2..])])?;
        }
        Ok(())
    }
}

/// Byte of the descriptor of `group` behind the first super block.
fn descriptor_at(image: &Image<'_>, group: u32) -> u64 {
    let table = (image.g.first_data_block + 1) << image.g.block_log;
    table + u64::from(group) * u64::from(image.g.desc_size)
}

/// What remains to be done of a file system.
pub(super) struct Groups<'i, 'd> {
    image: &'i mut Image<'d>,
    bitmap: &'i mut [u8],
    table: &'i mut [u8],
    tally: DirectoryTally,
    free: Free,
}

impl<'i, 'd> Groups<'i, 'd> {
    /// `bitmap` and `table` are a block each.
    pub(super) fn new(
        image: &'i mut Image<'d>,
        bitmap: &'i mut [u8],
        table: &'i mut [u8],
        tally: DirectoryTally,
    ) -> Groups<'i, 'd> {
        Groups { image, bitmap, table, tally, free: Free::default() }
    }

    /// Writes it all; the super block behind a flush of all else.
    pub(super) fn write(mut self) -> Result<()> {
        self.image.flush()?;
        let g = self.image.g;
        let per_block = g.block_size / g.desc_size;
        for index in 0..g.desc_blocks {
            self.descriptors(index, per_block)?;
        }
        self.image.flush()?;
        self.super_blocks()
    }

    /// Completes block `index` of the descriptors, and what its groups have.
    fn descriptors(&mut self, index: u32, per_block: u32) -> Result<()> {
        let g = self.image.g;
        let first = index * per_block;
        let at = descriptor_at(self.image, first);
        self.table.fill(0);
        if first <= self.tally.group {
            self.image.device.read_at(at, &mut [IoSliceMut::new(self.table)])?;
        }
        for n in 0..per_block {
            let group = first + n;
            let place = n as usize * g.desc_size as usize..(n as usize + 1) * g.desc_size as usize;
            if group >= g.group_count {
                self.table[place].fill(0);
                continue;
            }
            let directories = self.directories(group, &self.table[place.clone()]);
            let raw = self.group(group, directories)?;
            self.table[place.clone()].fill(0);
            let len = (g.desc_size as usize).min(GROUP_LONG_BYTES);
            self.table[place.start..place.start + len].copy_from_slice(&raw.as_bytes()[..len]);
            let sum = self.image.group_checksum(group, &self.table[place.clone()]);
            let at = place.start + GROUP_CHECKSUM_OFFSET;
            self.table[at..at + 2].copy_from_slice(&sum.to_le_bytes());
        }
        for group in (0..g.group_count).filter(|&group| g.has_super_block(group)) {
            let block = g.group_start(group) + 1 + u64::from(index);
            self.image.device.write_at(block << g.block_log, &mut [IoSlice::new(self.table)])?;
        }
        Ok(())
    }

    /// Directories in `group`, from the tally or from where it left them.
    fn directories(&self, group: u32, stored: &[u8]) -> u32 {
        if group == self.tally.group {
            return self.tally.count;
        }
        let mut raw = RawGroup::new_zeroed();
        let len = stored.len().min(GROUP_LONG_BYTES);
        raw.as_mut_bytes()[..len].copy_from_slice(&stored[..len]);
        if group > self.tally.group {
            return 0;
        }
        u32::from(raw.used_directories_lo.get()) | u32::from(raw.used_directories_hi.get()) << 16
    }

    /// Writes the bitmaps of `group`; its descriptor, without checksum.
    fn group(&mut self, group: u32, directories: u32) -> Result<RawGroup> {
        let places = Places::of(&self.image.g, group);
        let mut raw = RawGroup::new_zeroed();
        places.put(&mut raw);
        raw.used_directories_lo.set(directories as u16);
        let has_flags = self.image.g.features.has_group_csum();
        let follows = self.fill_block_bitmap(group);
        let blocks_free = self.count_free_blocks(group);
        raw.free_blocks_lo.set(blocks_free as u16);
        let mut flags = 0;
        if has_flags && follows {
            flags |= BLOCK_UNINIT;
        } else {
            let sum = self.image.bitmap_checksum(self.bitmap, self.image.g.blocks_per_group);
            raw.block_bitmap_checksum_lo.set(sum as u16);
            raw.block_bitmap_checksum_hi.set((sum >> 16) as u16);
            let at = places.block_bitmap << self.image.g.block_log;
            self.image.blocks.put(self.image.device, at, self.bitmap)?;
        }
        let inodes = self.fill_inode_bitmap(group);
        let inodes_free = self.image.g.inodes_per_group - inodes;
        self.free.inodes += inodes_free;
        raw.free_inodes_lo.set(inodes_free as u16);
        if has_flags {
            raw.unused_inodes_lo.set(inodes_free as u16);
        }
        if has_flags && inodes == 0 {
            flags |= GROUP_INODE_UNINIT;
        } else {
            let sum = self.image.bitmap_checksum(self.bitmap, self.image.g.inodes_per_group);
            raw.inode_bitmap_checksum_lo.set(sum as u16);
            raw.inode_bitmap_checksum_hi.set((sum >> 16) as u16);
            let at = places.inode_bitmap << self.image.g.block_log;
            self.image.inodes.put(self.image.device, at, self.bitmap)?;
        }
        if self.clear_table(places.inode_table, inodes)? && has_flags {
            flags |= INODE_ZEROED;
        }
        raw.flags.set(flags);
        Ok(raw)
    }

    /// Fills the bitmap with the blocks of `group` in use (MK-1). True if they follow from the group's own metadata; of the
    /// last group they never do, for its bitmap says where it ends.
    fn fill_block_bitmap(&mut self, group: u32) -> bool {
        let g = &self.image.g;
        let (start, end) = (g.group_start(group), g.group_end(group));
        let next = self.image.space.next_block;
        let mut follows = group + 1 < g.group_count && next <= start;
        self.bitmap.fill(0);
        for run in Walk::of_group(g, group) {
            let (from, to) = (run.start.max(start), run.end().min(end));
            if from < to {
                set_bits(self.bitmap, (from - start) as usize, (to - start) as usize);
                follows &= run.group == group;
            }
        }
        set_bits(self.bitmap, 0, (next.clamp(start, end) - start) as usize);
        follows
    }

    /// Counts what is free in the bitmap of `group`, and then sets the bits behind the group's end.
    fn count_free_blocks(&mut self, group: u32) -> u32 {
        let len = (self.image.g.group_end(group) - self.image.g.group_start(group)) as u32;
        let used: u32 = self.bitmap.iter().map(|byte| byte.count_ones()).sum();
        self.free.blocks += u64::from(len - used);
        let bits = self.bitmap.len() * 8;
        set_bits(self.bitmap, len as usize, bits);
        len - used
    }

    /// Fills the bitmap with the inodes of `group` in use (MK-2); gives their number.
    fn fill_inode_bitmap(&mut self, group: u32) -> u32 {
        let per_group = self.image.g.inodes_per_group;
        let first = u64::from(group) * u64::from(per_group) + 1;
        let inodes = u64::from(self.image.space.next_inode).saturating_sub(first);
        let inodes = inodes.min(u64::from(per_group)) as u32;
        let bits = self.bitmap.len() * 8;
        self.bitmap.fill(0);
        set_bits(self.bitmap, 0, inodes as usize);
        set_bits(self.bitmap, per_group as usize, bits);
        inodes
    }

    /// Sees to it that the inode table at `table`, of which `inodes` are in use, holds nothing else as far as anybody looks. True if
    /// that is all of it.
    fn clear_table(&mut self, table: u64, inodes: u32) -> Result<bool> {
        let g = self.image.g;
        if self.image.prior == Prior::Zeros {
            return Ok(true);
        }
        let is_lazy = self.image.lazy_tables && g.features.has_group_csum();
        let used = u64::from(inodes) * u64::from(g.inode_size);
        let end = if is_lazy {
            used.next_multiple_of(u64::from(g.block_size))
        } else {
            u64::from(g.table_blocks) << g.block_log
        };
        self.image.clear_bytes((table << g.block_log) + used, end - used)?;
        Ok(!is_lazy)
    }

    fn super_blocks(&mut self) -> Result<()> {
        let g = self.image.g;
        let primary = super_block::primary(self.image, self.free);
        for group in (1..g.group_count).filter(|&group| g.has_super_block(group)) {
            let copy = super_block::backup(&primary, group);
            let at = g.group_start(group) << g.block_log;
            self.image.device.write_at(at, &mut [IoSlice::new(copy.as_bytes())])?;
        }
        self.image.device.flush()?;
        self.image.device.write_at(SUPER_BLOCK_OFFSET, &mut [IoSlice::new(primary.as_bytes())])?;
        self.image.device.flush()?;
        // What the parser of this crate does not take is an error of this module.
        let bytes = zerocopy::transmute_ref!(&primary);
        crate::SuperBlock::parse(bytes, SUPER_BLOCK_OFFSET).map(drop)
    }
}

/// Where the metadata of a group are.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: u64,
}

impl Places {
    fn of(g: &Geometry, group: u32) -> Places {
        let mut places = Places::default();
        for run in Walk::of_group(g, group).filter(|run| run.group == group) {
            match run.content {
                Content::Super => {}
                Content::BlockBitmap => places.block_bitmap = run.start,
                Content::InodeBitmap => places.inode_bitmap = run.start,
                Content::InodeTable => places.inode_table = run.start,
            }
        }
        places
    }

    /// Writes them into a descriptor; of a short one the upper halves, which are 0, are cut off later.
    fn put(&self, raw: &mut RawGroup) {
        raw.block_bitmap_lo.set(self.block_bitmap as u32);
        raw.block_bitmap_hi.set((self.block_bitmap >> 32) as u32);
        raw.inode_bitmap_lo.set(self.inode_bitmap as u32);
        raw.inode_bitmap_hi.set((self.inode_bitmap >> 32) as u32);
        raw.inode_table_lo.set(self.inode_table as u32);
        raw.inode_table_hi.set((self.inode_table >> 32) as u32);
    }
}

impl Image<'_> {
    /// Checksum of the first `bits` of a bitmap.
    fn bitmap_checksum(&self, bitmap: &[u8], bits: u32) -> u32 {
        let covered = &bitmap[..bits as usize / 8];
        if self.g.features.has_metadata_csum() { crc32c(self.csum_seed, covered) } else { 0 }
    }

    /// Checksum of the descriptor of `group`, in which it is zero.
    fn group_checksum(&self, group: u32, bytes: &[u8]) -> u16 {
        let number = group.to_le_bytes();
        if self.g.features.has_metadata_csum() {
            crc32c(crc32c(self.csum_seed, &number), bytes) as u16
        } else if self.g.features.has_gdt_csum() {
            let (before, behind) = bytes.split_at(GROUP_CHECKSUM_OFFSET);
            crc16(crc16(crc16(crc16(!0, &self.uuid), &number), before), &behind[2..])
        } else {
            0
        }
    }

    /// First block of the inode table of `group`.
    pub(super) fn inode_table(&self, group: u32) -> Result<u64> {
        let mut walk = Walk::of_group(&self.g, group);
        let table = walk.find(|run| run.content == Content::InodeTable && run.group == group);
        table.map(|run| run.start).ok_or(Error::InvalidInput { what: "number of an inode" })
    }
}

/// Sets the bits from `from` to before `to`.
fn set_bits(bytes: &mut [u8], from: usize, to: usize) {
    let (first, last) = (from.div_ceil(8), to / 8);
    if first > last {
        for bit in from..to {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
        return;
    }
    for bit in (from..first * 8).chain(last * 8..to) {
        bytes[bit / 8] |= 1 << (bit % 8);
    }
    bytes[first..last].fill(0xFF);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_any_range() {
        for from in 0..40 {
            for to in from..40 {
                let mut bytes = [0; 5];
                set_bits(&mut bytes, from, to);
                for bit in 0..40 {
                    let is_set = bytes[bit / 8] >> (bit % 8) & 1 == 1;
                    assert_eq!(is_set, (from..to).contains(&bit), "{from}..{to}: {bit}");
                }
            }
        }
    }
}
