//! Zones: blocks that are the file system's own, which nobody is given and nobody frees.
//!
//! Who calls it: `maps` makes and verifies bitmaps by them, `blocks` looks before it frees.
//!
//! ZO-1. A group's zones are: the copies of super block and descriptors at its beginning, with the room kept for more; bitmaps and inode
//! tables of the groups of its flex group (its own, without flex_bg) as far as they are in it.
//! ZO-2. At most [`MATES_MAX`] descriptors are looked at for a flex group. mke2fs makes larger ones only when asked to; of those the
//! bitmap alone protects the rest.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::hints::Unowned;
use crate::SuperBlock;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};

/// See ZO-2.
const MATES_MAX: u32 = 256;

impl SuperBlock {
    /// Blocks at the beginning of `group` that hold a super block, descriptors, and room for more of them.
    pub(crate) fn base_blocks(&self, group: u32) -> u32 {
        let has_super = self.has_super_block(group);
        let per_block_log = self.block_log.saturating_sub(self.desc_size.trailing_zeros());
        let mut blocks = u32::from(has_super);
        if group == 0 {
            // Clusters larger than 1 KiB blocks: the boot block is in group 0, before the super block.
            blocks = blocks.saturating_add(u32::from(self.block_log == 10 && self.first_data_block == 0));
        }
        let meta_group = group >> per_block_log;
        if self.features.has_meta_bg() && meta_group >= self.first_meta_bg {
            let index = group & !(u32::MAX << per_block_log);
            let has_copy = index < 2 || index == !(u32::MAX << per_block_log);
            return blocks.saturating_add(u32::from(has_copy));
        }
        if !has_super {
            return blocks;
        }
        let all = u64::from(self.group_count).div_ceil(1 << per_block_log) as u32;
        let descriptors = if self.features.has_meta_bg() { self.first_meta_bg.min(all) } else { all };
        blocks.saturating_add(descriptors).saturating_add(self.reserved_gdt_blocks)
    }

    /// The groups whose bitmaps and inode tables may be in `group` (ZO-1, ZO-2).
    pub(crate) fn flex_mates(&self, group: u32) -> Range<u32> {
        let mask = u32::MAX << self.flex_log;
        let first = group & mask;
        let mates = (1u32 << self.flex_log).min(MATES_MAX);
        let end = first.saturating_add(mates).min(self.group_count);
        // Of a flex group that is too large, at least the group itself.
        if group < end { first..end } else { group..group.saturating_add(1) }
    }

    /// The group of block `block`, which is in the file system, and the block's number within the group.
    pub(crate) fn group_of(&self, block: u64) -> (u32, u32) {
        let behind = block.saturating_sub(self.first_data_block);
        // SB-3: not 0. Quotients are below the number of groups.
        let per_group = u64::from(self.blocks_per_group);
        let group = behind.checked_div(per_group).unwrap_or(0);
        (group as u32, behind.checked_rem(per_group).unwrap_or(0) as u32)
    }
}

impl Handle<'_> {
    /// Blocks of a file, which are about to be written, are none of the file system's own.
    ///
    /// # Errors
    /// `Corrupt` (at: the first block); as [`Handle::descriptor`].
    pub(crate) fn require_unowned(&mut self, first: u64, count: u64) -> Result<()> {
        let end = first.saturating_add(count);
        let mut at = first;
        while at < end {
            let known = self.hints().unowned;
            let unowned =
                if (known.from..known.end).contains(&at) { known } else { self.unowned_around(at)? };
            self.hints().unowned = unowned;
            // The block itself is among them.
            at = unowned.end.max(at.saturating_add(1));
        }
        Ok(())
    }

    /// Blocks of the group of `block` around it that are not the file system's own.
    fn unowned_around(&self, block: u64) -> Result<Unowned> {
        let sb = &self.fs.sb;
        let (group, within) = sb.group_of(block);
        let mut around = 0..sb.blocks_per_group;
        self.zones(group, &mut |zone| {
            if zone.contains(&within) {
                return Err(Error::Corrupt {
                    what: "block of a file is one of the file system's own",
                    at: block,
                });
            }
            if zone.end <= within {
                around.start = around.start.max(zone.end);
            } else {
                around.end = around.end.min(zone.start);
            }
            Ok(())
        })?;
        let first = sb.group_first_block(group);
        let place = |within: u32| first.saturating_add(u64::from(within));
        Ok(Unowned { from: place(around.start), end: place(around.end) })
    }

    /// Calls `found` with each zone of `group`, clipped to the group, as block numbers within it.
    ///
    /// # Errors
    /// As [`Handle::descriptor`] of any of the flex group; what `found` gives.
    pub(super) fn zones(&self, group: u32, found: &mut dyn FnMut(Range<u32>) -> Result<()>) -> Result<()> {
        let sb = &self.fs.sb;
        let first = sb.group_first_block(group);
        let end = first.saturating_add(u64::from(sb.blocks_per_group)).min(sb.blocks_count);
        let mut clipped = |zone: Range<u64>| {
            let (from, to) = (zone.start.max(first), zone.end.min(end));
            // Both are within a group.
            if from < to {
                found(from.saturating_sub(first) as u32..to.saturating_sub(first) as u32)
            } else {
                Ok(())
            }
        };
        clipped(first..first.saturating_add(u64::from(sb.base_blocks(group))))?;
        if let Some(journal) = self.fs.writer.as_ref().and_then(|writer| writer.journal.as_ref()) {
            journal.own_blocks(&mut clipped)?;
        }
        for mate in sb.flex_mates(group) {
            for zone in self.descriptor(mate)?.fixed_blocks(sb) {
                clipped(zone)?;
            }
        }
        Ok(())
    }
}
