//! [`Budget`]: what one step of freeing may free, so that it changes few pages.
//!
//! Who calls it: `extents`, `indirect`.
//!
//! A group that is touched costs the pages of its bitmap and its descriptor; a run costs an entry of the list of freed blocks, of which the
//! smallest mount has 256; a block of metadata costs a record of its revocation, of which there are 512. A block of numbers above others
//! costs a page, since numbers are taken out of it one by one.
//!
//! Where content is spread over groups, and blocks of numbers over other ones, a step changes at most: two pages for each of [`GROUPS`],
//! one for each of [`UPPER`], the blocks of numbers at both ends of what it frees, the inode, and two for an orphan (the inode before it,
//! the super block): 17 of the 19 that the smallest transaction has.

use crate::SuperBlock;
use crate::alloc::Use;
use arrayvec::ArrayVec;

/// Most groups of content: with those of two blocks of the map, ten pages.
const GROUPS_OF_CONTENT: usize = 3;
/// Most groups: those of the three blocks of numbers on a way, and two.
const GROUPS: usize = 5;
/// Most blocks of numbers above the last ones: those of one way.
const UPPER: usize = 2;
/// Most runs.
const RUNS: u32 = 128;
/// Most blocks of metadata as content, and as many again of numbers.
const METADATA_BLOCKS: u64 = 224;

/// What is left.
pub(super) struct Budget {
    groups: ArrayVec<u64, GROUPS>,
    groups_of_content: usize,
    upper: ArrayVec<u64, UPPER>,
    runs: u32,
    blocks: u64,
    numbers: u64,
}

fn group_of(sb: &SuperBlock, block: u64) -> u64 {
    block.saturating_sub(sb.first_data_block) / u64::from(sb.blocks_per_group)
}

/// Whether `one` is in `all`, or now put there.
fn add<const MOST: usize>(all: &mut ArrayVec<u64, MOST>, one: u64) -> bool {
    all.contains(&one) || all.try_push(one).is_ok()
}

impl Budget {
    pub(super) fn new(of: Use) -> Budget {
        let blocks = if of == Use::Metadata { METADATA_BLOCKS } else { u64::MAX };
        Budget {
            groups: ArrayVec::new(),
            groups_of_content: GROUPS_OF_CONTENT,
            upper: ArrayVec::new(),
            runs: RUNS,
            blocks,
            numbers: METADATA_BLOCKS,
        }
    }

    /// How many of the `count` blocks from `first` on may be freed, counted from their end.
    pub(super) fn take(&mut self, sb: &SuperBlock, first: u64, count: u64) -> u32 {
        if self.runs == 0 {
            return 0;
        }
        let most = count.min(self.blocks).min(u64::from(u32::MAX));
        let mut taken = 0;
        while taken < most {
            let last = first.saturating_add(count - taken - 1);
            let group = group_of(sb, last);
            if !self.groups.contains(&group) {
                if self.groups_of_content == 0 || self.groups.is_full() {
                    break;
                }
                self.groups_of_content -= 1;
                self.groups.push(group);
            }
            let within = last.saturating_sub(sb.first_data_block) % u64::from(sb.blocks_per_group);
            taken += (within + 1).min(most - taken);
        }
        self.runs -= u32::from(taken > 0);
        self.blocks -= taken;
        taken as u32
    }

    /// Whether the blocks of numbers `way`, the lowest last, may be freed or changed. Those of one way always may, first in a step.
    pub(super) fn take_way(&mut self, sb: &SuperBlock, way: &[u64]) -> bool {
        let Some(left) = self.numbers.checked_sub(way.len() as u64) else { return false };
        self.numbers = left;
        let above = way.len().saturating_sub(1);
        way.iter().take(above).all(|&block| add(&mut self.upper, block))
            && way.iter().all(|&block| add(&mut self.groups, group_of(sb, block)))
    }

    /// Whether nothing more may be freed.
    pub(super) fn is_spent(&self) -> bool {
        self.runs == 0 || self.blocks == 0
    }
}
