//! The block map of ext2 and ext3: twelve direct blocks, then blocks of block numbers, up to three deep.
//!
//! Who calls it: `map`. Whom it calls: `vm` for the blocks of block numbers.
//!
//! Memory: one page pinned at a time. A lookup reads at most three pages; runs are gathered within the last of them.
//! Blocks of a map carry no checksum.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::map::{Run, TO_THE_END};
use crate::node::Ext4Node;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;
use rumpcap_vm::{PAGE_SIZE, Reservation};

/// Blocks that the inode names itself.
const DIRECT: usize = 12;
/// Bytes of a block number.
const NUMBER_BYTES: u32 = 4;
/// Most entries that one lookup looks at to gather a run: 1 MiB of data in blocks of 4 KiB. More would only delay a lookup that
/// wants one block.
const RUN_MAX: usize = 256;

/// The run that begins with block `logical` of `node`.
pub(crate) fn find(fs: &Ext4, r: &Reservation<'_>, node: &Node, logical: u64) -> Result<Run> {
    let (direct, indirect) = node.block_words().split_at(DIRECT);
    let Some(mut rest) = logical.checked_sub(DIRECT as u64) else {
        let numbers = direct.get(logical as usize..).unwrap_or_default();
        return gather(fs, node, numbers.iter().copied(), Below { span: 1, into: 0 });
    };
    let entries_log = entries_log(fs);
    for (levels, slot) in (1..).zip(0..indirect.len()) {
        // Entries of all levels below: at most 2^42.
        let span = 1u64 << entries_log.saturating_mul(levels);
        if rest >= span {
            rest = rest.saturating_sub(span);
            continue;
        }
        let slots = indirect.get(slot..).unwrap_or_default();
        return match slots.first() {
            Some(&number) if number != 0 => descend(fs, r, node, number, levels, rest),
            _ if slots.iter().all(|&number| number == 0) => Ok(Run::Hole { count: TO_THE_END }),
            _ => Ok(Run::Hole { count: span.saturating_sub(rest) }),
        };
    }
    Ok(Run::Hole { count: TO_THE_END })
}

/// log2 of the numbers in a block: 8 to 14.
fn entries_log(fs: &Ext4) -> u32 {
    fs.sb.block_log.saturating_sub(NUMBER_BYTES.trailing_zeros())
}

/// Follows `levels` (1 to 3) blocks of block numbers, the first being `number`, to the data block `rest` below them.
fn descend(fs: &Ext4, r: &Reservation<'_>, node: &Node, number: u32, levels: u32, rest: u64) -> Result<Run> {
    let mut block = u64::from(number);
    for level in (0..levels).rev() {
        let span_log = entries_log(fs).saturating_mul(level);
        let at = (rest >> span_log) as u32 & !(u32::MAX << entries_log(fs));
        let within = at.saturating_mul(NUMBER_BYTES);
        let page = fs.block_page(r, block, within)?;
        let part = fs.block_part(&page, block);
        // A block larger than a page is seen page by page; a smaller one is seen whole.
        let start = within as usize % PAGE_SIZE;
        let numbers = part.get(start..).unwrap_or_default().as_chunks().0;
        let numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
        let next = numbers.clone().next().unwrap_or(0);
        if level == 0 || next == 0 {
            let below = Below { span: 1 << span_log, into: rest & !(u64::MAX << span_log) };
            return gather(fs, node, numbers, below);
        }
        block = u64::from(next);
    }
    Err(Error::Corrupt { what: "block map: depth", at: node.attributes.ino.0 })
}

/// What is below each of the entries that a run is gathered from.
struct Below {
    /// Blocks below each entry.
    span: u64,
    /// How far into those of the first entry the run begins.
    into: u64,
}

/// Gathers the run that `numbers` begin with. Only entries of data blocks (a span of 1) may begin with one that is not 0.
fn gather(fs: &Ext4, node: &Node, numbers: impl Iterator<Item = u32>, below: Below) -> Result<Run> {
    let mut numbers = numbers.take(RUN_MAX);
    let first = u64::from(numbers.next().unwrap_or(0));
    if first == 0 {
        let holes = (numbers.take_while(|&number| number == 0).count() as u64).saturating_add(1);
        return Ok(Run::Hole { count: holes.saturating_mul(below.span).saturating_sub(below.into) });
    }
    let following = first.saturating_add(1)..;
    let rest = numbers.zip(following).take_while(|&(number, next)| u64::from(number) == next).count();
    let count = (rest as u64).saturating_add(1);
    if first <= fs.sb.first_data_block || first.saturating_add(count) > fs.sb.blocks_count {
        return Err(Error::Corrupt {
            what: "block map: block outside the file system",
            at: node.attributes.ino.0,
        });
    }
    Ok(Run::Blocks { first, count })
}
