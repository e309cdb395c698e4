//! Blocks: allocated near a goal and in a row, and freed.
//!
//! Who calls it: `map_change`, `dir_change`, `xattr`. Whom it calls: the rest of `alloc`.
//!
//! Where a run is looked for: at the goal, whatever is free there, since it continues what is before it; then in the goal's group, in
//! front of the goal last; then in the following groups. The first run that is long enough is taken. Where there
//! is none in [`LOOKED_AT_MAX`] groups with free blocks, the longest of what was found is.
//!
//! BL-1. Blocks that were freed and are not durable are not handed out. BL-2. An allocation changes one bitmap and one descriptor.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::bitmap::{To, first_free, free_run};
use super::descriptor::{Descriptor, Map};
use super::walk::Walk;
use super::{BlockRun, Use};
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::FileKind;

/// Groups of which the bitmap is looked at for a run that is long enough.
const LOOKED_AT_MAX: u32 = 4;

/// A run of a group this part of it is long enough for any wish.
const LONG_ENOUGH_SHARE: u32 = 8;

/// Flex groups of at least so many groups keep their first group's blocks for directories, as the kernel's do.
const FLEX_LOG_FOR_DIRECTORIES: u32 = 2;

/// A free run of a group's clusters.
struct Found {
    descriptor: Descriptor,
    bits: Range<u32>,
}

fn len(bits: &Range<u32>) -> u32 {
    bits.end.saturating_sub(bits.start)
}

/// What a run is to be.
#[derive(Clone, Copy)]
struct Wish {
    /// Where in the group it is to begin.
    from: u32,
    /// The length that is enough.
    enough: u32,
    /// Whether anything at `from` is enough.
    is_goal: bool,
}

impl Handle<'_> {
    /// Allocates up to `most` blocks in a row, as near behind `goal` as can be; at least one. With bigalloc whole clusters.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt`, `Checksum` of a bitmap or descriptor; `Io`.
    pub fn allocate_blocks(&mut self, goal: u64, most: u32) -> Result<BlockRun> {
        let sb = &self.fs.sb;
        let no_space = Error::NoSpace { what: "blocks" };
        if self.counts().blocks_free == 0 {
            return Err(no_space);
        }
        let most = self.bits_of(&(0..most.max(1))).end;
        let goal = if goal < sb.blocks_count { goal } else { sb.first_data_block };
        let Found { descriptor, mut bits } = self.find_run(goal, most)?.ok_or(no_space)?;
        bits.end = bits.end.min(bits.start.saturating_add(most));
        self.take_blocks(descriptor, bits)
    }

    fn find_run(&mut self, goal: u64, most: u32) -> Result<Option<Found>> {
        let sb = &self.fs.sb;
        let (goal_group, goal_block) = sb.group_of(goal);
        let goal_bit = goal_block >> sb.cluster_log;
        let enough = most.min(Map::Blocks.covered_bits(sb) / LONG_ENOUGH_SHARE).max(1);
        let mut walk = Walk::new(goal_group, sb.group_count, self.hints().no_blocks);
        let mut longest: Option<Found> = None;
        let mut looked_at = 0u32;
        while let Some(group) = walk.next() {
            let descriptor = self.descriptor(group)?;
            if descriptor.free(Map::Blocks) == 0 {
                walk.is_full(group);
                continue;
            }
            let is_goal = group == goal_group;
            let wish = Wish { from: if is_goal { goal_bit } else { 0 }, enough, is_goal };
            if let Some(bits) = self.run_in_group(&descriptor, wish)? {
                let is_enough = len(&bits) >= enough || (is_goal && bits.start == goal_bit);
                if longest.as_ref().is_none_or(|longest| is_enough || len(&bits) > len(&longest.bits)) {
                    longest = Some(Found { descriptor, bits });
                }
                if is_enough {
                    break;
                }
            }
            looked_at = looked_at.saturating_add(1);
            if looked_at >= LOOKED_AT_MAX && longest.is_some() {
                break;
            }
        }
        self.hints().no_blocks = walk.known();
        Ok(longest)
    }

    /// The run of a group that comes nearest to `wish`.
    fn run_in_group(&self, descriptor: &Descriptor, wish: Wish) -> Result<Option<Range<u32>>> {
        let end = Map::Blocks.bits(&self.fs.sb, descriptor.group);
        self.look_at_bitmap(descriptor, Map::Blocks, |bitmap| {
            let mut longest: Option<Range<u32>> = None;
            for part in [wish.from..end, 0..wish.from.min(end)] {
                let mut at = part.start;
                while let Some(run) = free_run(bitmap, at, part.end) {
                    let run = self.usable_run(descriptor.group, run);
                    at = run.end;
                    let is_at_goal = wish.is_goal && run.start == wish.from && !run.is_empty();
                    if len(&run) >= wish.enough || is_at_goal {
                        return Ok(Some(run));
                    }
                    if len(&run) > longest.as_ref().map_or(0, len) {
                        longest = Some(run);
                    }
                }
            }
            Ok(longest)
        })
    }

    /// The first part of the free clusters `run` that may be used (BL-1). If none may it is empty, and is where to go on.
    fn usable_run(&self, group: u32, mut run: Range<u32>) -> Range<u32> {
        let sb = &self.fs.sb;
        let first = sb.group_first_block(group);
        let within = |block: u64| block.saturating_sub(first).min(u64::from(sb.blocks_per_group)) as u32;
        while let Some(freed) = self.freed_in_the_way(self.blocks_of(group, &run)) {
            let freed = self.bits_of(&(within(freed.start)..within(freed.end)));
            // What is in the way has a block of the run, so each round makes it shorter.
            if freed.start <= run.start {
                run.start = freed.end.max(run.start.saturating_add(1));
            } else {
                run.end = freed.start;
            }
            if run.start >= run.end {
                return run.start..run.start;
            }
        }
        run
    }

    /// The blocks of clusters `bits` of a group, as far as they are in the file system.
    fn blocks_of(&self, group: u32, bits: &Range<u32>) -> Range<u64> {
        let sb = &self.fs.sb;
        let first = sb.group_first_block(group);
        let block = |bit: u32| first.saturating_add(u64::from(bit) << sb.cluster_log).min(sb.blocks_count);
        block(bits.start)..block(bits.end)
    }

    fn take_blocks(&mut self, mut descriptor: Descriptor, bits: Range<u32>) -> Result<BlockRun> {
        let blocks = self.blocks_of(descriptor.group, &bits);
        let count = blocks.end.saturating_sub(blocks.start);
        let clusters = u64::from(len(&bits));
        self.change_bits(&mut descriptor, Map::Blocks, bits, To::Used)?;
        self.put_descriptor(&descriptor)?;
        let cluster_log = self.fs.sb.cluster_log;
        let counts = self.counts();
        counts.blocks_free = counts.blocks_free.saturating_sub(clusters << cluster_log);
        // No longer than a group.
        Ok(BlockRun { first: blocks.start, count: count as u32 })
    }

    /// Frees blocks that are in use, all within the file system, and with bigalloc the rest of their clusters; may cross groups.
    ///
    /// # Errors
    /// `Corrupt` for a block that is free, or one of the file system's own structures; `Io`.
    pub fn free_blocks(&mut self, first: u64, count: u64, of: Use) -> Result<()> {
        let log = self.fs.sb.cluster_log;
        let end = first.saturating_add(count);
        let clusters = first >> log << log..end.div_ceil(1 << log).saturating_mul(1 << log);
        self.free_clusters(clusters, first..end, of)
    }

    /// Frees whole clusters, given as blocks; `blocks` are those that were mapped until now, some of them perhaps in clusters that stay.
    ///
    /// # Errors
    /// As [`Handle::free_blocks`].
    pub fn free_clusters(&mut self, clusters: Range<u64>, blocks: Range<u64>, of: Use) -> Result<()> {
        let sb = &self.fs.sb;
        let is_within =
            |range: &Range<u64>| range.start >= sb.first_data_block && range.end <= sb.blocks_count;
        if !is_within(&clusters) || !is_within(&blocks) {
            let at = blocks.start;
            return Err(Error::Corrupt { what: "freed block past the end of the file system", at });
        }
        let (mut at, end) = (clusters.start, clusters.end);
        while at < end {
            let (group, block) = sb.group_of(at);
            let left =
                end.saturating_sub(at).min(u64::from(sb.blocks_per_group.saturating_sub(block))) as u32;
            self.free_in_group(group, block..block.saturating_add(left))?;
            at = at.saturating_add(u64::from(left));
        }
        match of {
            // One of them is metadata again only in another file, behind the commit.
            Use::Metadata => blocks.clone().try_for_each(|block| self.revoke(block))?,
            // Until the whole cluster is free only this file can have them, and newer content in the log is behind the older.
            Use::Content => self.revoke_content(clusters.clone())?,
        }
        if !clusters.is_empty() {
            self.note_freed(clusters.start, clusters.end.saturating_sub(clusters.start));
        }
        Ok(())
    }

    /// Frees blocks of a group, numbered within it.
    fn free_in_group(&mut self, group: u32, blocks: Range<u32>) -> Result<()> {
        let at = self.fs.sb.group_first_block(group).saturating_add(u64::from(blocks.start));
        let mut descriptor = self.descriptor(group)?;
        self.zones(group, &mut |zone| {
            if zone.start < blocks.end && blocks.start < zone.end {
                return Err(Error::Corrupt { what: "freed block is one of the file system's own", at });
            }
            Ok(())
        })?;
        let bits = self.bits_of(&blocks);
        self.look_at_bitmap(&descriptor, Map::Blocks, |bitmap| {
            if first_free(bitmap, bits.start, bits.end) < bits.end {
                return Err(Error::Corrupt { what: "freed block is free", at });
            }
            Ok(())
        })?;
        let clusters = u64::from(len(&bits));
        self.change_bits(&mut descriptor, Map::Blocks, bits, To::Free)?;
        self.put_descriptor(&descriptor)?;
        let cluster_log = self.fs.sb.cluster_log;
        self.hints().no_blocks.forget(group);
        let counts = self.counts();
        counts.blocks_free = counts.blocks_free.saturating_add(clusters << cluster_log);
        Ok(())
    }

    /// The block near which content of `inode` goes when it has none yet: the beginning of its flex group. Regular files leave the
    /// first group of a large one to directories and what belongs to them, so that these stay near each other.
    pub fn goal_of_inode(&self, inode: &Inode) -> u64 {
        let sb = &self.fs.sb;
        let group = self.group_of_inode(inode.ino);
        if sb.flex_log < FLEX_LOG_FOR_DIRECTORIES {
            return sb.group_first_block(group);
        }
        let first = group & u32::MAX << sb.flex_log;
        let is_file = inode.kind() == FileKind::Regular;
        let goal = first.saturating_add(u32::from(is_file)).min(sb.group_count.saturating_sub(1));
        sb.group_first_block(goal)
    }
}
