//! Files that are mapped by block numbers: twelve in the inode, the rest in blocks of numbers, up to three deep.
//!
//! Who calls it: `mod`. Whom it calls: `alloc`, `transaction`.
//!
//! IN-1. A block of numbers that has become empty is freed, and its number taken out of what is above. IN-2. Numbers are of 32 bits: a block
//! beyond is refused. IN-3. Nothing but its number says that a block is one of numbers: before one is changed it is known not to be one of
//! the file system's own.
//!
//! Memory: one page pinned at a time; the numbers of one block on the stack.
#![deny(clippy::indexing_slicing)]

use super::budget::Budget;
use super::{Fill, Mapped, Was};
use crate::Ext4;
use crate::alloc::Use;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::PAGE_SIZE;

/// Numbers of blocks of content in the inode.
const DIRECT: u64 = 12;
/// Bytes of a number.
const NUMBER_BYTES: usize = 4;
/// Most numbers in a block, which is no larger than a page here.
const NUMBERS: usize = PAGE_SIZE / NUMBER_BYTES;
/// Levels of blocks of numbers.
const LEVELS: u32 = 3;

/// log2 of the numbers in a block.
fn numbers_log(fs: &Ext4) -> u32 {
    fs.sb.block_log - NUMBER_BYTES.trailing_zeros()
}

/// Blocks that a file can have.
pub(super) fn blocks_max(fs: &Ext4) -> u64 {
    let tree = (1..=LEVELS).fold(DIRECT, |sum, level| sum + (1 << (numbers_log(fs) * level)));
    tree.min(super::extents::BLOCKS_MAX)
}

/// Blocks of numbers that a file of `blocks` blocks without a hole takes at most.
pub(super) fn numbers_of(fs: &Ext4, blocks: u64) -> u64 {
    (1..=LEVELS).map(|level| blocks.div_ceil(1 << (numbers_log(fs) * level))).sum()
}

/// Where the number of a block is: in which word of the inode the way to it begins, how many blocks of numbers are on the way, and what is
/// left of its own number below that word.
#[derive(Clone, Copy)]
struct Spot {
    word: usize,
    levels: u32,
    rest: u64,
}

impl Spot {
    fn of(fs: &Ext4, logical: u64) -> Result<Spot> {
        let Some(mut rest) = logical.checked_sub(DIRECT) else {
            return Ok(Spot { word: logical as usize, levels: 0, rest: 0 });
        };
        for levels in 1..=LEVELS {
            let span = 1 << (numbers_log(fs) * levels);
            if rest < span {
                return Ok(Spot { word: (DIRECT as u32 + levels - 1) as usize, levels, rest });
            }
            rest -= span;
        }
        Err(Error::FileTooLarge)
    }

    /// Which number of the block that is `level` above the last ones.
    fn at(&self, fs: &Ext4, level: u32) -> usize {
        (self.rest >> (numbers_log(fs) * level)) as usize & ((1 << numbers_log(fs)) - 1)
    }
}

/// Where a number is kept.
#[derive(Clone, Copy)]
enum Kept {
    Inode(usize),
    Block(u64, usize),
}

/// How far numbers from the first on are of one kind.
fn look(numbers: &[u32], most: u32) -> (u32, u32) {
    let numbers = numbers.iter().take(most as usize);
    let first = numbers.clone().next().copied().unwrap_or(0);
    let count = if first == 0 {
        numbers.take_while(|&&number| number == 0).count()
    } else {
        numbers.zip(first..).take_while(|&(&number, next)| number == next).count()
    };
    (first, count as u32)
}

fn word(inode: &Inode, at: usize) -> u32 {
    inode.raw.block.get(at).map_or(0, |word| word.get())
}

impl Handle<'_> {
    /// The numbers of a block.
    fn numbers(&self, block: u64) -> Result<ArrayVec<u32, NUMBERS>> {
        let page = self.fs.block_page(self.r, block, 0)?;
        let part = self.fs.block_part(&page, block).as_chunks().0;
        Ok(part.iter().take(NUMBERS).map(|number| u32::from_le_bytes(*number)).collect())
    }

    fn number(&self, kept: Kept, inode: &Inode) -> Result<u32> {
        match kept {
            Kept::Inode(at) => Ok(word(inode, at)),
            Kept::Block(block, at) => {
                let page = self.fs.block_page(self.r, block, 0)?;
                let part = self.fs.block_part(&page, block).as_chunks().0;
                Ok(part.get(at).map_or(0, |number| u32::from_le_bytes(*number)))
            }
        }
    }

    /// Stores numbers in a row from `kept` on: `first` and those that follow it, or zeros if it is 0.
    fn store_numbers(&mut self, inode: &mut Inode, kept: Kept, first: u32, count: usize) -> Result<()> {
        let value = |at: usize| if first == 0 { 0 } else { first.wrapping_add(at as u32) };
        match kept {
            Kept::Inode(start) => {
                for (at, to) in inode.raw.block.iter_mut().skip(start).take(count).enumerate() {
                    *to = value(at).into();
                }
                Ok(())
            }
            Kept::Block(block, start) => {
                let bytes = start * NUMBER_BYTES..(start + count) * NUMBER_BYTES;
                self.edit(block, &[bytes], |bytes| {
                    for (at, to) in bytes.as_chunks_mut().0.iter_mut().skip(start).take(count).enumerate() {
                        *to = value(at).to_le_bytes();
                    }
                })
            }
        }
    }

    /// Allocates up to `most` blocks whose numbers fit (IN-2), and counts them.
    fn allocate_numbered(&mut self, inode: &mut Inode, goal: u64, most: u32) -> Result<(u32, u32)> {
        let run = self.allocate_blocks(goal, most)?;
        let first = u32::try_from(run.first).ok();
        let first = first.filter(|first| first.checked_add(run.count).is_some());
        let first = first.ok_or(Error::NoSpace { what: "blocks below the 32nd bit" })?;
        inode.add_blocks(&self.fs.sb, i64::from(run.count))?;
        Ok((first, run.count))
    }

    /// See [`Handle::map_blocks`].
    pub(super) fn map_numbered(
        &mut self,
        inode: &mut Inode,
        logical: u32,
        most: u32,
        fill: Fill,
    ) -> Result<Mapped> {
        let spot = Spot::of(self.fs, u64::from(logical))?;
        let mut kept = Kept::Inode(spot.word);
        for level in (0..spot.levels).rev() {
            let mut block = self.number(kept, inode)?;
            if block == 0 {
                let goal = self.goal_of_numbered(inode, kept)?;
                (block, _) = self.allocate_numbered(inode, goal, 1)?;
                self.create_block(u64::from(block), |_| ())?;
                self.store_numbers(inode, kept, block, 1)?;
            } else {
                // IN-3.
                self.require_unowned(u64::from(block), 1)?;
            }
            kept = Kept::Block(u64::from(block), spot.at(self.fs, level));
        }
        let (first, count) = match kept {
            Kept::Inode(at) => {
                let words = inode.raw.block.map(|word| word.get());
                look(words.get(at..DIRECT as usize).unwrap_or_default(), most)
            }
            Kept::Block(block, at) => look(self.numbers(block)?.get(at..).unwrap_or_default(), most),
        };
        if first != 0 {
            return Ok(Mapped { first: u64::from(first), count, was: Was::Written });
        }
        if fill == Fill::Unwritten {
            return Err(Error::Unsupported { what: "space that is not written, in a file without extents" });
        }
        let goal = self.goal_of_numbered(inode, kept)?;
        let (first, count) = self.allocate_numbered(inode, goal, count)?;
        self.store_numbers(inode, kept, first, count as usize)?;
        Ok(Mapped { first: u64::from(first), count, was: Was::Hole })
    }

    /// Behind the last block before in the same place of numbers, else behind that place's own block, else where the inode's content begins.
    fn goal_of_numbered(&self, inode: &Inode, kept: Kept) -> Result<u64> {
        let last = |numbers: &[u32]| numbers.iter().rev().find(|&&number| number != 0).copied();
        let near = match kept {
            Kept::Inode(at) => {
                let words = inode.raw.block.map(|word| word.get());
                last(words.get(..at).unwrap_or_default()).map(u64::from)
            }
            Kept::Block(block, at) => {
                let before = last(self.numbers(block)?.get(..at).unwrap_or_default());
                before.map(u64::from).or(Some(block))
            }
        };
        let near = near.map(|block| block + 1).filter(|&block| block < self.fs.sb.blocks_count);
        Ok(near.unwrap_or_else(|| self.goal_of_inode(inode)))
    }

    /// See [`Handle::unmap_blocks`].
    pub(super) fn unmap_numbered(&mut self, inode: &mut Inode, range: Range<u64>, of: Use) -> Result<u64> {
        let mut budget = Budget::new(of);
        let mut end = range.end.min(blocks_max(self.fs));
        while end > range.start && !budget.is_spent() {
            let stop = self.unmap_last(inode, range.start..end, of, &mut budget)?;
            if stop.is_at == end {
                break;
            }
            end = stop.is_at;
            if stop.is_forced {
                break;
            }
        }
        Ok(end.max(range.start))
    }

    /// Frees, of the last block of numbers that the range reaches into, what is in the range; or passes a hole over.
    fn unmap_last(
        &mut self,
        inode: &mut Inode,
        range: Range<u64>,
        of: Use,
        budget: &mut Budget,
    ) -> Result<Stop> {
        let spot = Spot::of(self.fs, range.end - 1)?;
        if spot.levels == 0 {
            return self.unmap_direct(inode, range, of, budget);
        }
        // Where the numbers on the way are kept, the one in the inode first; and the blocks that they are of.
        let mut way: ArrayVec<Kept, { LEVELS as usize }> = ArrayVec::new();
        let mut blocks: ArrayVec<u64, { LEVELS as usize }> = ArrayVec::new();
        let mut kept = Kept::Inode(spot.word);
        for level in (0..spot.levels).rev() {
            way.push(kept);
            let block = u64::from(self.number(kept, inode)?);
            if block == 0 {
                // Nothing is below: behind it is the first block that this number would lead to.
                let span = 1u64 << (numbers_log(self.fs) * (level + 1));
                let base = range.end - 1 - (spot.rest & (span - 1));
                return Ok(Stop::passed(self.pass_zeros(kept, base, span)?.max(range.start)));
            }
            self.require_unowned(block, 1)?;
            blocks.push(block);
            kept = Kept::Block(block, spot.at(self.fs, level));
        }
        if !budget.take_way(&self.fs.sb, &blocks) {
            return Ok(Stop { is_at: range.end, is_forced: true });
        }
        let Kept::Block(block, last) = kept else { return Err(Error::FileTooLarge) };
        let base = range.end - 1 - last as u64;
        let first = range.start.saturating_sub(base) as usize;
        let numbers = self.numbers(block)?;
        let wanted = numbers.get(first..=last).unwrap_or_default();
        let kept_from = self.free_numbers(inode, wanted, of, budget)?;
        let at = first + kept_from;
        let is_empty =
            |numbers: Option<&[u32]>| numbers.unwrap_or_default().iter().all(|&number| number == 0);
        if is_empty(numbers.get(..at)) && is_empty(numbers.get(last + 1..)) {
            self.free_branch(inode, &way, block)?;
        } else if wanted.get(kept_from..).unwrap_or_default().iter().any(|&number| number != 0) {
            self.store_numbers(inode, Kept::Block(block, at), 0, last + 1 - at)?;
        }
        let is_forced = kept_from > 0;
        Ok(Stop { is_at: base + at as u64, is_forced })
    }

    fn unmap_direct(
        &mut self,
        inode: &mut Inode,
        range: Range<u64>,
        of: Use,
        budget: &mut Budget,
    ) -> Result<Stop> {
        let words = inode.raw.block.map(|word| word.get());
        let wanted = words.get(range.start as usize..range.end as usize).unwrap_or_default();
        let kept_from = self.free_numbers(inode, wanted, of, budget)?;
        let at = range.start as usize + kept_from;
        self.store_numbers(inode, Kept::Inode(at), 0, range.end as usize - at)?;
        Ok(Stop { is_at: at as u64, is_forced: kept_from > 0 })
    }

    /// The number at `kept` is 0, and would lead to the `span` blocks from `base` on: passes over zeros before it in the same block.
    fn pass_zeros(&self, kept: Kept, base: u64, span: u64) -> Result<u64> {
        let Kept::Block(block, at) = kept else { return Ok(base) };
        let numbers = self.numbers(block)?;
        let before = numbers.get(..at).unwrap_or_default();
        let zeros = before.iter().rev().take_while(|&&number| number == 0).count() as u64;
        Ok(base.saturating_sub(zeros * span))
    }

    /// Frees the blocks with these numbers from the last on, as far as the step may; gives how many numbers are kept.
    fn free_numbers(
        &mut self,
        inode: &mut Inode,
        numbers: &[u32],
        of: Use,
        budget: &mut Budget,
    ) -> Result<usize> {
        let mut kept = numbers.len();
        while let Some(last) = kept.checked_sub(1).and_then(|at| numbers.get(at)).copied() {
            if last == 0 {
                kept -= 1;
                continue;
            }
            let before = numbers.get(..kept).unwrap_or_default().iter().rev();
            let run =
                before.zip((0..=last).rev()).take_while(|&(&number, want)| number == want && number != 0);
            let run = run.count() as u64;
            let first = u64::from(last) + 1 - run;
            let count = budget.take(&self.fs.sb, first, run);
            if count == 0 {
                break;
            }
            self.free_blocks(first + run - u64::from(count), u64::from(count), of)?;
            inode.add_blocks(&self.fs.sb, -i64::from(count))?;
            kept -= count as usize;
        }
        Ok(kept)
    }

    /// Frees block of numbers `block`, which is empty and whose number is kept at the end of `way`, and those above that are then (IN-1):
    /// what is freed is not changed before.
    fn free_branch(&mut self, inode: &mut Inode, way: &[Kept], block: u64) -> Result<()> {
        let mut block = block;
        for &kept in way.iter().rev() {
            self.free_blocks(block, 1, Use::Metadata)?;
            inode.add_blocks(&self.fs.sb, -1)?;
            match kept {
                Kept::Block(above, at) if self.has_one_number(above, at)? => block = above,
                _ => return self.store_numbers(inode, kept, 0, 1),
            }
        }
        Ok(())
    }

    /// Whether a block of numbers has none but at most that at `at`.
    fn has_one_number(&self, block: u64, at: usize) -> Result<bool> {
        let numbers = self.numbers(block)?;
        Ok(numbers.iter().enumerate().all(|(other, &number)| number == 0 || other == at))
    }
}

/// Where a part of a step of freeing ended.
struct Stop {
    /// All from here on is free.
    is_at: u64,
    /// The step may free no more.
    is_forced: bool,
}

impl Stop {
    fn passed(is_at: u64) -> Stop {
        Stop { is_at, is_forced: false }
    }
}
