//! [`Descriptor`]: a group descriptor that is being changed, and what it says of its two bitmaps.
//!
//! Who calls it: the rest of `alloc`. Whom it calls: `group` to read and for the checksum, `transaction`.
//!
//! DE-1. One [`Descriptor`] of a group at a time: what was put is what the next one finds.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::SuperBlock;
use crate::group::{descriptor_checksum, descriptor_place};
use crate::layout::{
    GROUP_BLOCK_UNINIT, GROUP_CHECKSUM_OFFSET, GROUP_INODE_UNINIT, GROUP_LONG_BYTES, RawGroup,
};
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// A group descriptor.
#[derive(Clone, Copy)]
pub(super) struct Descriptor {
    /// The group.
    pub group: u32,
    raw: RawGroup,
}

/// Which of a group's two bitmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// That of its blocks (clusters, with bigalloc).
    Blocks,
    /// That of its inodes.
    Inodes,
}

impl Map {
    /// The name in errors.
    pub fn name(self) -> &'static str {
        match self {
            Map::Blocks => "block bitmap",
            Map::Inodes => "inode bitmap",
        }
    }

    /// The flag of a descriptor that says that the bitmap was never written.
    fn uninit(self) -> u16 {
        match self {
            Map::Blocks => GROUP_BLOCK_UNINIT,
            Map::Inodes => GROUP_INODE_UNINIT,
        }
    }

    /// Bits of a bitmap that its checksum covers.
    pub fn covered_bits(self, sb: &SuperBlock) -> u32 {
        match self {
            Map::Blocks => sb.blocks_per_group >> sb.cluster_log,
            Map::Inodes => sb.inodes_per_group,
        }
    }

    /// Bits of the bitmap of `group` that stand for something; those behind are set.
    pub fn bits(self, sb: &SuperBlock, group: u32) -> u32 {
        match self {
            Map::Blocks => {
                let left = sb.blocks_count.saturating_sub(sb.group_first_block(group));
                let blocks = left.min(u64::from(sb.blocks_per_group)) as u32;
                blocks.div_ceil(1 << sb.cluster_log)
            }
            Map::Inodes => {
                let before = u64::from(group).saturating_mul(u64::from(sb.inodes_per_group));
                u64::from(sb.inodes_count).saturating_sub(before).min(u64::from(sb.inodes_per_group)) as u32
            }
        }
    }
}

fn wide(lo: U16, hi: U16) -> u32 {
    u32::from(lo.get()) | u32::from(hi.get()) << 16
}

fn put_wide(lo: &mut U16, hi: &mut U16, value: u32) {
    lo.set(value as u16);
    hi.set((value >> 16) as u16);
}

fn block(lo: U32, hi: U32) -> u64 {
    u64::from(lo.get()) | u64::from(hi.get()) << 32
}

impl Descriptor {
    /// The block of a bitmap.
    pub fn bitmap(&self, map: Map) -> u64 {
        match map {
            Map::Blocks => block(self.raw.block_bitmap_lo, self.raw.block_bitmap_hi),
            Map::Inodes => block(self.raw.inode_bitmap_lo, self.raw.inode_bitmap_hi),
        }
    }

    /// The first block of the inode table.
    pub fn inode_table(&self) -> u64 {
        block(self.raw.inode_table_lo, self.raw.inode_table_hi)
    }

    /// How many bits of a bitmap are free.
    pub fn free(&self, map: Map) -> u32 {
        match map {
            Map::Blocks => wide(self.raw.free_blocks_lo, self.raw.free_blocks_hi),
            Map::Inodes => wide(self.raw.free_inodes_lo, self.raw.free_inodes_hi),
        }
    }

    pub fn set_free(&mut self, map: Map, free: u32) {
        let raw = &mut self.raw;
        match map {
            Map::Blocks => put_wide(&mut raw.free_blocks_lo, &mut raw.free_blocks_hi, free),
            Map::Inodes => put_wide(&mut raw.free_inodes_lo, &mut raw.free_inodes_hi, free),
        }
    }

    /// Whether a bitmap was never written.
    pub fn is_uninit(&self, sb: &SuperBlock, map: Map) -> bool {
        sb.features.has_group_csum() && self.raw.flags.get() & map.uninit() != 0
    }

    /// A bitmap is written now.
    pub fn set_init(&mut self, map: Map) {
        self.raw.flags = (self.raw.flags.get() & !map.uninit()).into();
    }

    /// Whether `sum` is the checksum of a bitmap, of which a short descriptor has the lower half.
    pub fn is_checksum(&self, sb: &SuperBlock, map: Map, sum: u32) -> bool {
        let raw = &self.raw;
        let stored = match map {
            Map::Blocks => wide(raw.block_bitmap_checksum_lo, raw.block_bitmap_checksum_hi),
            Map::Inodes => wide(raw.inode_bitmap_checksum_lo, raw.inode_bitmap_checksum_hi),
        };
        if is_long(sb) { stored == sum } else { stored as u16 == sum as u16 }
    }

    pub fn set_checksum(&mut self, map: Map, sum: u32) {
        let raw = &mut self.raw;
        let (lo, hi) = match map {
            Map::Blocks => (&mut raw.block_bitmap_checksum_lo, &mut raw.block_bitmap_checksum_hi),
            Map::Inodes => (&mut raw.inode_bitmap_checksum_lo, &mut raw.inode_bitmap_checksum_hi),
        };
        put_wide(lo, hi, sum);
    }

    /// Directories among the group's inodes.
    pub fn directories(&self) -> u32 {
        wide(self.raw.used_directories_lo, self.raw.used_directories_hi)
    }

    pub fn set_directories(&mut self, count: u32) {
        put_wide(&mut self.raw.used_directories_lo, &mut self.raw.used_directories_hi, count);
    }

    /// Inodes at the end of the table that were never used; only with checksums does the field exist.
    pub fn unused_inodes(&self, sb: &SuperBlock) -> u32 {
        if !sb.features.has_group_csum() {
            return 0;
        }
        if self.is_uninit(sb, Map::Inodes) {
            return sb.inodes_per_group;
        }
        wide(self.raw.unused_inodes_lo, self.raw.unused_inodes_hi).min(sb.inodes_per_group)
    }

    pub fn set_unused_inodes(&mut self, sb: &SuperBlock, count: u32) {
        if sb.features.has_group_csum() {
            put_wide(&mut self.raw.unused_inodes_lo, &mut self.raw.unused_inodes_hi, count);
        }
    }

    /// The blocks of the bitmaps and of the inode table.
    pub fn fixed_blocks(&self, sb: &SuperBlock) -> [Range<u64>; 3] {
        let table_blocks = u64::from(sb.inode_table_blocks());
        let run = |first: u64, count| first..first.saturating_add(count);
        [
            run(self.bitmap(Map::Blocks), 1),
            run(self.bitmap(Map::Inodes), 1),
            run(self.inode_table(), table_blocks),
        ]
    }
}

fn is_long(sb: &SuperBlock) -> bool {
    sb.desc_size as usize >= GROUP_LONG_BYTES
}

impl Handle<'_> {
    /// The descriptor of `group`.
    ///
    /// # Errors
    /// `Checksum`, `Corrupt` (at: the group), `Io`.
    pub(super) fn descriptor(&self, group: u32) -> Result<Descriptor> {
        let raw = self.fs.raw_group(self.r, group)?;
        let descriptor = Descriptor { group, raw };
        let sb = &self.fs.sb;
        let corrupt = |what| Error::Corrupt { what, at: u64::from(group) };
        for place in descriptor.fixed_blocks(sb) {
            if place.start <= sb.first_data_block || place.end > sb.blocks_count {
                return Err(corrupt("group descriptor: place of a bitmap or the inode table"));
            }
        }
        if [Map::Blocks, Map::Inodes].iter().any(|&map| descriptor.free(map) > map.bits(sb, group)) {
            return Err(corrupt("group descriptor: free count"));
        }
        Ok(descriptor)
    }

    /// Stores a descriptor, with its checksum.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub(super) fn put_descriptor(&mut self, descriptor: &Descriptor) -> Result<()> {
        let sb = &self.fs.sb;
        let (block, within) = descriptor_place(sb, descriptor.group)?;
        let start = within as usize;
        let size = sb.desc_size as usize;
        let changed = start..start.saturating_add(size.min(GROUP_LONG_BYTES));
        let place = start..start.saturating_add(size);
        self.edit(block, &[changed], |bytes| {
            let bytes = bytes.get_mut(place).unwrap_or_default();
            let known = size.min(GROUP_LONG_BYTES);
            bytes.iter_mut().zip(descriptor.raw.as_bytes()).take(known).for_each(|(to, from)| *to = *from);
            let sum = descriptor_checksum(sb, bytes, descriptor.group);
            let to = bytes.get_mut(GROUP_CHECKSUM_OFFSET..).and_then(|rest| rest.first_chunk_mut::<2>());
            if let (Some(sum), Some(to)) = (sum, to) {
                *to = sum.to_le_bytes();
            }
        })
    }
}
