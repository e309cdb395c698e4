//! Where directories go: Orlov's way. Those at the top are spread over the device, with all that will be below them; others stay near their
//! parent while there is room for what they will hold.
//!
//! Who calls it: `inodes`. Whom it calls: `descriptor`.
//!
//! The unit is the flex group (a group, without flex_bg). At most [`LOOKED_AT_MAX`] descriptors are looked at, so that a large file system
//! costs what a small one does. Source: `find_group_orlov` of Linux, which keeps sums of all flex groups in memory.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::descriptor::Map;
use crate::checksum::crc32c;
use crate::layout::inode_flags;
use crate::transaction::Handle;
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

impl Handle<'_> {
    /// The group at which the search for an inode of a directory in `parent` begins.
    ///
    /// # Errors
    /// As [`Handle::descriptor`].
    pub(super) fn group_for_directory(&mut self, parent: InodeNo) -> Result<u32> {
        let sb = &self.fs.sb;
        let near = self.group_of_inode(parent) >> sb.flex_log;
        let flex_groups = (u64::from(sb.group_count)).div_ceil(1 << sb.flex_log) as u32;
        let is_top = parent == ROOT || self.inode(parent)?.has_flag(inode_flags::TOP_DIR);
        let first = if is_top { self.any_flex_group(flex_groups) } else { near };
        let looked_at = (LOOKED_AT_MAX >> sb.flex_log).clamp(1, flex_groups);
        let counts = *self.counts();
        let average = |total: u64| total.checked_div(u64::from(flex_groups)).unwrap_or(0);
        let inodes = average(u64::from(counts.inodes_free));
        let clusters = average(counts.blocks_free >> sb.cluster_log);
        let per_flex = |per_group: u32| u64::from(per_group) << sb.flex_log;
        let (inodes_of, clusters_of) =
            (per_flex(sb.inodes_per_group), per_flex(Map::Blocks.covered_bits(sb)));
        let mut fewest: Option<(u64, u32)> = None;
        for offset in 0..looked_at {
            let flex = (u64::from(first).saturating_add(u64::from(offset)))
                .checked_rem(u64::from(flex_groups))
                .unwrap_or(0) as u32;
            let sums = self.flex_sums(flex)?;
            if is_top {
                let is_fine =
                    sums.inodes_free > 0 && sums.inodes_free >= inodes && sums.clusters_free >= clusters;
                if is_fine && fewest.is_none_or(|(directories, _)| sums.directories < directories) {
                    fewest = Some((sums.directories, flex));
                }
            } else if sums.directories < inodes_of / DIRECTORIES_SHARE
                && sums.inodes_free >= inodes.saturating_sub(inodes_of / DEBT_SHARE).max(1)
                && sums.clusters_free >= clusters.saturating_sub(clusters_of / DEBT_SHARE)
            {
                return Ok(flex << sb.flex_log);
            } else if sums.inodes_free >= inodes.max(1) && fewest.is_none() {
                fewest = Some((sums.directories, flex));
            }
        }
        Ok(fewest.map_or(near, |(_, flex)| flex) << sb.flex_log)
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
