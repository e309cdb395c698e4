//! The working memory of a check: one run of wired frames, cut into scratch and a map.
//!
//! Who calls it: `check`. Whom it calls: `vm`.
//!
//! Scratch holds an inode, a block, and a page each for the blocks of a directory and for its names. The map is the
//! bitmaps of a window of blocks in one pass, the slots of a window of inodes in another. It takes what all of the file system needs,
//! but at most half of the kernel's frames, and at least what the smallest window needs: a group's bitmaps.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::claims::BITMAPS;
use super::context::Context;
use super::slots::SLOT_BYTES;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{PAGE_SIZE, Vm, WiredRun};
use std::sync::Arc;

/// Bytes of the map that the table of shared attribute blocks takes: an eighth, at least a page.
const TABLE_SHARE: usize = 8;
/// A page of bits for the blocks of a directory, another for its names.
const BITS_BYTES: usize = PAGE_SIZE;

/// The memory of a check.
pub(super) struct Memory {
    run: WiredRun,
    inode_bytes: usize,
    block_bytes: usize,
}

/// Room for one of each.
pub(super) struct Scratch<'w> {
    /// The inode that is looked at.
    pub inode: &'w mut [u8],
    /// A block of it.
    pub block: &'w mut [u8],
    /// A bit for each block of a directory.
    pub seen: &'w mut [u8],
    /// A bit for each hash of a name.
    pub names: &'w mut [u8],
}

impl Memory {
    /// Wires as much as there is a use for and the kernel can spare.
    ///
    /// # Errors
    /// `NoMemory` when not even the smallest window fits.
    pub fn wire(vm: &Arc<Vm>, cx: &Context<'_, '_>) -> Result<Memory> {
        let (inode_bytes, block_bytes) =
            (page_up(cx.sb.inode_size as usize), page_up(cx.sb.block_size as usize));
        let scratch = inode_bytes.saturating_add(block_bytes).saturating_add(2 * BITS_BYTES);
        let bitmaps = |clusters: u64| (clusters.div_ceil(8) as usize).saturating_mul(BITMAPS);
        let group = u64::from(cx.clusters_per_group());
        let least = page_up(bitmaps(group).saturating_add(2 * PAGE_SIZE)).saturating_add(PAGE_SIZE);
        let slots = (cx.sb.inodes_count as usize).saturating_mul(SLOT_BYTES);
        let slots =
            slots.saturating_add((cx.sb.group_count as usize).saturating_mul(4)).saturating_add(PAGE_SIZE);
        let all = bitmaps(cx.clusters().next_multiple_of(group.max(1))).max(slots);
        let all = all.saturating_add(all / 4).saturating_add(2 * PAGE_SIZE);
        let frames =
            |map: usize| u32::try_from(scratch.saturating_add(map).div_ceil(PAGE_SIZE)).unwrap_or(u32::MAX);
        let (least, half) = (frames(least), vm.plan().frames / 2);
        let mut wanted = frames(all).min(half).max(least);
        loop {
            match WiredRun::buffer(vm, wanted, "a check") {
                Err(Error::NoMemory { .. }) if wanted > least => {
                    wanted = wanted.saturating_sub(wanted / 4).saturating_sub(1).max(least);
                }
                run => return Ok(Memory { run: run?, inode_bytes, block_bytes }),
            }
        }
    }

    /// The parts: scratch, and the map with its table.
    pub fn cut(&mut self, cx: &Context<'_, '_>) -> (Scratch<'_>, &mut [u8]) {
        let (inode, rest) = self.run.split_at_mut(self.inode_bytes);
        let (block, rest) = rest.split_at_mut(self.block_bytes);
        let (seen, rest) = rest.split_at_mut(BITS_BYTES);
        let (names, map) = rest.split_at_mut(BITS_BYTES);
        let inode = inode.get_mut(..cx.sb.inode_size as usize).unwrap_or_default();
        let block = block.get_mut(..cx.sb.block_size as usize).unwrap_or_default();
        (Scratch { inode, block, seen, names }, map)
    }
}

/// Cuts the map of a pass over blocks into the table of shared blocks and the bitmaps.
pub(super) fn table_and_bitmaps(map: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    let table = (map.len() / TABLE_SHARE).max(PAGE_SIZE).min(map.len());
    map.split_at_mut(table & !15)
}

fn page_up(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_SIZE)
}
