//! [`Budget`]: what one step of freeing may free, so that it changes few pages.
//!
//! Who calls it: `extents`, `indirect`.
//!
//! A group that is touched costs the pages of its bitmap and its descriptor; a run costs an entry of the list of freed blocks, of which the
//! smallest mount has 256; a block of metadata costs a record of its revocation, of which there are 512.

use crate::SuperBlock;
use crate::alloc::Use;
use arrayvec::ArrayVec;

/// Most groups of content: with those of two blocks of the map, ten pages.
const GROUPS: usize = 3;
/// Most runs.
const RUNS: u32 = 128;
/// Most blocks of metadata.
const METADATA_BLOCKS: u64 = 256;

/// What is left.
pub(super) struct Budget {
    groups: ArrayVec<u64, GROUPS>,
    runs: u32,
    blocks: u64,
}

impl Budget {
    pub(super) fn new(of: Use) -> Budget {
        let blocks = if of == Use::Metadata { METADATA_BLOCKS } else { u64::MAX };
        Budget { groups: ArrayVec::new(), runs: RUNS, blocks }
    }

    /// How many of the `count` blocks from `first` on may be freed, counted from their end.
    pub(super) fn take(&mut self, sb: &SuperBlock, first: u64, count: u64) -> u32 {
        if self.runs == 0 {
            return 0;
        }
        let most = count.min(self.blocks).min(u64::from(u32::MAX));
        let mut taken = 0;
        while taken < most {
            let last = first.saturating_add(count - taken - 1).saturating_sub(sb.first_data_block);
            let group = last / u64::from(sb.blocks_per_group);
            if !self.groups.contains(&group) && self.groups.try_push(group).is_err() {
                break;
            }
            taken += (last % u64::from(sb.blocks_per_group) + 1).min(most - taken);
        }
        self.runs -= u32::from(taken > 0);
        self.blocks -= taken;
        taken as u32
    }

    /// Whether nothing more may be freed.
    pub(super) fn is_spent(&self) -> bool {
        self.runs == 0 || self.blocks == 0
    }
}
