//! Where directories go: Orlov's way. Those at the top are spread over the device, with all that will be below them; others stay near their
//! parent while there is room for what they will hold.
//!
//! Who calls it: `inodes`. Whom it calls: `descriptor`.
//!
//! The unit is the flex group (a group, without flex_bg). At most [`LOOKED_AT_MAX`] descriptors are looked at, so that a large file system
//! costs what a small one does. Source: `find_group_orlov` of Linux, which keeps sums of all flex groups in memory.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::descriptor::Map;
use crate::SuperBlock;
use crate::checksum::crc32c;
use crate::layout::inode_flags;
use crate::transaction::{Counts, Handle};
use rumpcap_host::Result;
use rumpcap_vfs::InodeNo;

/// Descriptors that are looked at for one directory.
const LOOKED_AT_MAX: u32 = 512;

/// A flex group takes directories for this part of its inodes before others get some.
const DIRECTORIES_SHARE: u64 = 16;

/// What a flex group may have less than the average, as part of all that it could have.
const DEBT_SHARE: u64 = 4;

/// Inode of the root directory.
const ROOT: InodeNo = InodeNo(2);

/// Sums over a flex group.
#[derive(Clone, Copy, Default)]
struct Sums {
    inodes_free: u64,
    clusters_free: u64,
    directories: u64,
}

/// What flex groups are measured by: what is free in one on average, and what one has at most.
struct Measure {
    flex_groups: u32,
    average: Sums,
    most: Sums,
}

impl Measure {
    fn of(sb: &SuperBlock, counts: &Counts) -> Measure {
        let flex_groups = u64::from(sb.group_count).div_ceil(1 << sb.flex_log) as u32;
        let average = |total: u64| total.checked_div(u64::from(flex_groups)).unwrap_or(0);
        let inodes = u64::from(sb.inodes_per_group) << sb.flex_log;
        let clusters = u64::from(Map::Blocks.covered_bits(sb)) << sb.flex_log;
        Measure {
            flex_groups,
            average: Sums {
                inodes_free: average(u64::from(counts.inodes_free)),
                clusters_free: average(counts.blocks_free >> sb.cluster_log),
                directories: 0,
            },
            most: Sums {
                inodes_free: inodes,
                clusters_free: clusters,
                directories: (inodes / DIRECTORIES_SHARE).max(1),
            },
        }
    }

    /// Whether a directory with much below it may go there: there is as much room as elsewhere.
    fn has_room_for_a_tree(&self, sums: &Sums) -> bool {
        sums.inodes_free >= self.average.inodes_free.max(1)
            && sums.clusters_free >= self.average.clusters_free
    }

    /// Whether a directory may go there because it is near: not many did already, and there is not much less room than elsewhere.
    fn has_room_for_one(&self, sums: &Sums) -> bool {
        let inodes = self.average.inodes_free.saturating_sub(self.most.inodes_free / DEBT_SHARE);
        let clusters = self.average.clusters_free.saturating_sub(self.most.clusters_free / DEBT_SHARE);
        sums.directories < self.most.directories
            && sums.inodes_free >= inodes.max(1)
            && sums.clusters_free >= clusters
    }

    /// `offset` flex groups behind `flex`, around the end.
    fn behind(&self, flex: u32, offset: u32) -> u32 {
        let behind = u64::from(flex).saturating_add(u64::from(offset));
        behind.checked_rem(u64::from(self.flex_groups)).unwrap_or(0) as u32
    }
}

impl Handle<'_> {
    /// The group at which the search for an inode of a directory in `parent` begins.
    ///
    /// # Errors
    /// As [`Handle::descriptor`].
    pub(super) fn group_for_directory(&mut self, parent: InodeNo) -> Result<u32> {
        let flex_log = self.fs.sb.flex_log;
        let measure = Measure::of(&self.fs.sb, self.counts());
        let near = self.group_of_inode(parent) >> flex_log;
        let is_top = parent == ROOT || self.inode(parent)?.has_flag(inode_flags::TOP_DIR);
        let flex = if is_top { self.flex_for_a_tree(&measure)? } else { self.flex_near(&measure, near)? };
        Ok(flex.unwrap_or(near) << flex_log)
    }

    /// Of the flex groups with room for a tree, the one with the fewest directories.
    fn flex_for_a_tree(&mut self, measure: &Measure) -> Result<Option<u32>> {
        let first = self.any_flex_group(measure.flex_groups);
        let mut fewest: Option<(u64, u32)> = None;
        for offset in 0..self.looked_at(measure) {
            let flex = measure.behind(first, offset);
            let sums = self.flex_sums(flex)?;
            let is_fewer = fewest.is_none_or(|(directories, _)| sums.directories < directories);
            if is_fewer && measure.has_room_for_a_tree(&sums) {
                fewest = Some((sums.directories, flex));
            }
        }
        Ok(fewest.map(|(_, flex)| flex))
    }

    /// The flex group that comes first from `near` on with room for a directory; else the first with an inode free above the average.
    fn flex_near(&mut self, measure: &Measure, near: u32) -> Result<Option<u32>> {
        let mut second = None;
        for offset in 0..self.looked_at(measure) {
            let flex = measure.behind(near, offset);
            let sums = self.flex_sums(flex)?;
            if measure.has_room_for_one(&sums) {
                return Ok(Some(flex));
            }
            if second.is_none() && sums.inodes_free >= measure.average.inodes_free.max(1) {
                second = Some(flex);
            }
        }
        Ok(second)
    }

    /// Flex groups that are looked at.
    fn looked_at(&self, measure: &Measure) -> u32 {
        (LOOKED_AT_MAX >> self.fs.sb.flex_log).clamp(1, measure.flex_groups)
    }

    /// A flex group that is another for every directory, and follows from what was done before.
    fn any_flex_group(&mut self, flex_groups: u32) -> u32 {
        let counts = *self.counts();
        let sum = crc32c(!0, &counts.inodes_free.to_le_bytes());
        crc32c(sum, &self.fs.sb.uuid).checked_rem(flex_groups).unwrap_or(0)
    }

    fn flex_sums(&self, flex: u32) -> Result<Sums> {
        let sb = &self.fs.sb;
        let first = flex << sb.flex_log;
        let mut sums = Sums::default();
        let end = u64::from(first).saturating_add(1 << sb.flex_log).min(u64::from(sb.group_count)) as u32;
        for group in (first..end).take(LOOKED_AT_MAX as usize) {
            let descriptor = self.descriptor(group)?;
            sums.inodes_free = sums.inodes_free.saturating_add(descriptor.free(Map::Inodes).into());
            sums.clusters_free = sums.clusters_free.saturating_add(descriptor.free(Map::Blocks).into());
            sums.directories = sums.directories.saturating_add(descriptor.directories().into());
        }
        Ok(sums)
    }
}
