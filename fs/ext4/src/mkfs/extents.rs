//! [`Extents`]: an extent tree, built from its leaves up.
//!
//! Who calls it: `mapping`. Entries come in ascending order: a node that is full is written, and an entry for it goes to the level
//! above. What is left at the end becomes the root, in the inode.
//!
//! Memory: one block for each level. Five levels of 84 entries (blocks of 1 KiB) hold more than 2^32 blocks.

use super::maker::Image;
use crate::checksum::crc32c;
use crate::layout::{
    BLOCK_BYTES, BLOCK_WORDS, EXTENT_ENTRY_BYTES, EXTENT_INITIALIZED_MAX, EXTENT_MAGIC, RawExtentHeader,
    RawExtentIndex, RawExtentLeaf,
};
use rumpcap_host::Result;
use zerocopy::IntoBytes;

const LEVELS: usize = 5;
const ROOT_ENTRIES: u16 = (BLOCK_BYTES / EXTENT_ENTRY_BYTES - 1) as u16;

type Entry = [u8; EXTENT_ENTRY_BYTES];

/// A run of blocks that is not yet in the tree.
#[derive(Clone, Copy)]
struct Extent {
    logical: u32,
    start: u64,
    len: u32,
}

/// The node of a level that is being filled.
struct Level {
    bytes: Box<[u8]>,
    entries: u16,
}

/// The tree that is being built.
pub(super) struct Extents {
    seed: u32,
    levels: [Level; LEVELS],
    last: Option<Extent>,
    /// Blocks of data and of the tree.
    blocks: u64,
}

impl Extents {
    pub(super) fn new(block_size: u32) -> Extents {
        let level = || Level { bytes: vec![0; block_size as usize].into_boxed_slice(), entries: 0 };
        Extents { seed: 0, levels: core::array::from_fn(|_| level()), last: None, blocks: 0 }
    }

    pub(super) fn begin(&mut self, seed: u32) {
        self.seed = seed;
        self.last = None;
        self.blocks = 0;
        for level in &mut self.levels {
            level.entries = 0;
        }
    }

    pub(super) fn add(&mut self, image: &mut Image<'_>, logical: u32, start: u64, len: u32) -> Result<()> {
        self.blocks += u64::from(len);
        let mut rest = Extent { logical, start, len };
        if let Some(last) = &mut self.last
            && last.logical + last.len == logical
            && last.start + u64::from(last.len) == start
        {
            let more = len.min(u32::from(EXTENT_INITIALIZED_MAX) - last.len);
            last.len += more;
            rest = rest.behind(more);
        }
        while rest.len > 0 {
            self.push_last(image)?;
            let len = rest.len.min(u32::from(EXTENT_INITIALIZED_MAX));
            self.last = Some(Extent { len, ..rest });
            rest = rest.behind(len);
        }
        Ok(())
    }

    fn push_last(&mut self, image: &mut Image<'_>) -> Result<()> {
        let Some(extent) = self.last.take() else { return Ok(()) };
        let leaf = RawExtentLeaf {
            logical: extent.logical.into(),
            len: (extent.len as u16).into(),
            start_hi: ((extent.start >> 32) as u16).into(),
            start_lo: (extent.start as u32).into(),
        };
        self.push(image, 0, zerocopy::transmute!(leaf))
    }

    /// Appends `entry` to the node of `level`; a full one is written first.
    fn push(&mut self, image: &mut Image<'_>, level: usize, entry: Entry) -> Result<()> {
        if self.levels[level].entries == self.levels[level].capacity() {
            self.close(image, level)?;
        }
        self.levels[level].put(entry);
        Ok(())
    }

    /// Writes the node of `level` into a block of its own, and tells the level above.
    fn close(&mut self, image: &mut Image<'_>, level: usize) -> Result<()> {
        let block = image.space.blocks(1)?.start;
        self.blocks += 1;
        let node = &mut self.levels[level];
        let first = node.first_key();
        node.seal(level as u16, image.g.features.has_metadata_csum().then_some(self.seed));
        image.put_block(block, &node.bytes)?;
        node.entries = 0;
        let index = RawExtentIndex {
            logical: first.into(),
            child_lo: (block as u32).into(),
            child_hi: ((block >> 32) as u16).into(),
            unused: 0.into(),
        };
        self.push(image, level + 1, zerocopy::transmute!(index))
    }

    /// The root, and the blocks of data and of the tree.
    pub(super) fn finish(&mut self, image: &mut Image<'_>) -> Result<([u32; BLOCK_WORDS], u64)> {
        self.push_last(image)?;
        let mut top = 0;
        while self.levels[top].entries > ROOT_ENTRIES || self.levels[top + 1..].iter().any(|l| l.entries > 0)
        {
            self.close(image, top)?;
            top += 1;
        }
        let node = &self.levels[top];
        let mut root = [0; BLOCK_BYTES];
        let used = node.used_bytes();
        root[..used].copy_from_slice(&node.bytes[..used]);
        let head = header(node.entries, ROOT_ENTRIES, top as u16);
        root[..EXTENT_ENTRY_BYTES].copy_from_slice(head.as_bytes());
        let mut words = [0; BLOCK_WORDS];
        for (word, bytes) in words.iter_mut().zip(root.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Ok((words, self.blocks))
    }
}

impl Extent {
    fn behind(self, len: u32) -> Extent {
        Extent { logical: self.logical + len, start: self.start + u64::from(len), len: self.len - len }
    }
}

fn header(entries: u16, max: u16, depth: u16) -> RawExtentHeader {
    RawExtentHeader {
        magic: EXTENT_MAGIC.into(),
        entries: entries.into(),
        max: max.into(),
        depth: depth.into(),
        generation: 0.into(),
    }
}

impl Level {
    fn capacity(&self) -> u16 {
        (self.bytes.len() / EXTENT_ENTRY_BYTES - 1) as u16
    }

    fn used_bytes(&self) -> usize {
        (usize::from(self.entries) + 1) * EXTENT_ENTRY_BYTES
    }

    fn put(&mut self, entry: Entry) {
        let at = self.used_bytes();
        self.bytes[at..at + EXTENT_ENTRY_BYTES].copy_from_slice(&entry);
        self.entries += 1;
    }

    fn first_key(&self) -> u32 {
        let key = &self.bytes[EXTENT_ENTRY_BYTES..EXTENT_ENTRY_BYTES + 4];
        key.first_chunk().map_or(0, |key| u32::from_le_bytes(*key))
    }

    /// Completes the block: header, zeros behind the entries, checksum behind the room for entries.
    fn seal(&mut self, depth: u16, seed: Option<u32>) {
        let head = header(self.entries, self.capacity(), depth);
        self.bytes[..EXTENT_ENTRY_BYTES].copy_from_slice(head.as_bytes());
        let used = self.used_bytes();
        self.bytes[used..].fill(0);
        if let Some(seed) = seed {
            let tail = (usize::from(self.capacity()) + 1) * EXTENT_ENTRY_BYTES;
            let sum = crc32c(seed, &self.bytes[..tail]);
            self.bytes[tail..tail + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }
}
