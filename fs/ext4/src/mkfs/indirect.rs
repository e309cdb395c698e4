//! [`Indirect`]: the block map of ext2 and ext3: twelve blocks in the inode, and trees of one, two and three levels.
//!
//! Who calls it: `mapping`. Blocks of the file ascend, so of each level only one block is open; it is written when the file goes on
//! to another.
//!
//! Memory: one block for each of three levels.

use super::maker::Image;
use crate::layout::BLOCK_WORDS;
use rumpcap_host::{Error, Result};

const DIRECT: u32 = 12;
const LEVELS: usize = 3;

/// A block of pointers that is open.
struct Node {
    bytes: Box<[u8]>,
    /// Its block, 0 if none is open.
    block: u64,
    /// Which pointer of the node above leads to it.
    slot: u32,
}

/// The map that is being built.
pub(super) struct Indirect {
    words: [u32; BLOCK_WORDS],
    nodes: [Node; LEVELS],
    /// Levels of the tree that is open; 0 for none.
    depth: usize,
    blocks: u64,
}

impl Indirect {
    pub(super) fn new(block_size: u32) -> Indirect {
        let node = || Node { bytes: vec![0; block_size as usize].into_boxed_slice(), block: 0, slot: 0 };
        Indirect { words: [0; BLOCK_WORDS], nodes: core::array::from_fn(|_| node()), depth: 0, blocks: 0 }
    }

    pub(super) fn begin(&mut self) {
        self.words = [0; BLOCK_WORDS];
        self.depth = 0;
        self.blocks = 0;
        for node in &mut self.nodes {
            node.block = 0;
        }
    }

    pub(super) fn add(&mut self, image: &mut Image<'_>, logical: u32, start: u64, len: u32) -> Result<()> {
        self.blocks += u64::from(len);
        for n in 0..len {
            self.add_one(image, logical + n, start + u64::from(n))?;
        }
        Ok(())
    }

    fn add_one(&mut self, image: &mut Image<'_>, logical: u32, block: u64) -> Result<()> {
        let pointer = u32::try_from(block).map_err(|_| Error::NoSpace { what: "blocks below 2^32" })?;
        if logical < DIRECT {
            self.words[logical as usize] = pointer;
            return Ok(());
        }
        let (depth, slots) = path(logical - DIRECT, image.g.block_log - 2)?;
        if self.depth != depth {
            self.close_from(image, 0)?;
            self.depth = depth;
            self.words[DIRECT as usize + depth - 1] = self.open(image, 0, 0)?;
        }
        for level in 1..depth {
            let slot = slots[level - 1];
            if self.nodes[level].block == 0 || self.nodes[level].slot != slot {
                self.close_from(image, level)?;
                let child = self.open(image, level, slot)?;
                self.nodes[level - 1].put(slot, child);
            }
        }
        self.nodes[depth - 1].put(slots[depth - 1], pointer);
        Ok(())
    }

    /// Takes a block for the node of `level`, empty.
    fn open(&mut self, image: &mut Image<'_>, level: usize, slot: u32) -> Result<u32> {
        let block = image.space.blocks(1)?.start;
        self.blocks += 1;
        let node = &mut self.nodes[level];
        node.bytes.fill(0);
        (node.block, node.slot) = (block, slot);
        u32::try_from(block).map_err(|_| Error::NoSpace { what: "blocks below 2^32" })
    }

    /// Writes the open nodes of `level` and below.
    fn close_from(&mut self, image: &mut Image<'_>, level: usize) -> Result<()> {
        for node in &mut self.nodes[level..] {
            if node.block != 0 {
                image.put_block(node.block, &node.bytes)?;
                node.block = 0;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, image: &mut Image<'_>) -> Result<([u32; BLOCK_WORDS], u64)> {
        self.close_from(image, 0)?;
        Ok((self.words, self.blocks))
    }
}

impl Node {
    fn put(&mut self, slot: u32, pointer: u32) {
        let at = slot as usize * 4;
        self.bytes[at..at + 4].copy_from_slice(&pointer.to_le_bytes());
    }
}

/// How many levels lead to block `index` behind the direct ones, and the pointer to take at each. A node has `1 << log`.
fn path(index: u32, log: u32) -> Result<(usize, [u32; LEVELS])> {
    let mut index = u64::from(index);
    let mask = (1 << log) - 1;
    for depth in 1..=LEVELS {
        let covered = 1u64 << (log * depth as u32);
        if index < covered {
            let slot = |level: usize| ((index >> (log * (depth - 1 - level) as u32)) & mask) as u32;
            return Ok((depth, core::array::from_fn(|level| if level < depth { slot(level) } else { 0 })));
        }
        index -= covered;
    }
    Err(Error::InvalidInput { what: "file: larger than a block map can map" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_through_one_two_and_three_levels() {
        assert_eq!(path(255, 8), Ok((1, [255, 0, 0])));
        assert_eq!(path(256, 8), Ok((2, [0, 0, 0])));
        assert_eq!(path(256 + 65_535, 8), Ok((2, [255, 255, 0])));
        assert_eq!(path(256 + 65_536 + 257, 8), Ok((3, [0, 1, 1])));
        assert!(path(256 + 65_536 + (1 << 24), 8).is_err());
    }
}
