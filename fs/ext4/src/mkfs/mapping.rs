//! [`Mapping`]: from blocks of a file to blocks of the device, built while the file is written.
//!
//! Who calls it: `FileMaker`, `directory`, `journal`. Blocks of the file ascend; holes are what is left out.
//! Memory: the nodes that are open, one a level, made once and used for every file.

use super::extents::Extents;
use super::indirect::Indirect;
use super::maker::Image;
use crate::layout::{BLOCK_WORDS, inode_flags};
use rumpcap_host::Result;

/// The map of the file that is being made.
pub(super) enum Mapping {
    /// A tree of extents.
    Extents(Extents),
    /// Direct and indirect blocks.
    Indirect(Indirect),
}

/// What the inode keeps of a map.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Root {
    pub words: [u32; BLOCK_WORDS],
    /// Flags of the inode that say how to read them.
    pub flags: u32,
    /// Blocks of data and of the map.
    pub blocks: u64,
}

impl Mapping {
    pub(super) fn new(has_extents: bool, block_size: u32) -> Mapping {
        if has_extents {
            Mapping::Extents(Extents::new(block_size))
        } else {
            Mapping::Indirect(Indirect::new(block_size))
        }
    }

    /// Begins the map of a file whose blocks' checksums begin with `seed`.
    pub(super) fn begin(&mut self, seed: u32) {
        match self {
            Mapping::Extents(extents) => extents.begin(seed),
            Mapping::Indirect(indirect) => indirect.begin(),
        }
    }

    /// Maps `len` blocks of the file from `logical` on to those of the device from `start` on.
    pub(super) fn add(&mut self, image: &mut Image<'_>, logical: u32, start: u64, len: u32) -> Result<()> {
        match self {
            Mapping::Extents(extents) => extents.add(image, logical, start, len),
            Mapping::Indirect(indirect) => indirect.add(image, logical, start, len),
        }
    }

    /// Writes what is open.
    pub(super) fn finish(&mut self, image: &mut Image<'_>) -> Result<Root> {
        match self {
            Mapping::Extents(extents) => {
                let (words, blocks) = extents.finish(image)?;
                Ok(Root { words, flags: inode_flags::EXTENTS, blocks })
            }
            Mapping::Indirect(indirect) => {
                let (words, blocks) = indirect.finish(image)?;
                Ok(Root { words, flags: 0, blocks })
            }
        }
    }

    /// Blocks that a file can have, holes counted.
    pub(super) fn blocks_max(&self, block_size: u32) -> u64 {
        match self {
            Mapping::Extents(_) => u64::from(u32::MAX),
            Mapping::Indirect(_) => {
                let pointers = u64::from(block_size / 4);
                let mapped = 12 + pointers + pointers.pow(2) + pointers.pow(3);
                mapped.min(u64::from(u32::MAX))
            }
        }
    }
}
