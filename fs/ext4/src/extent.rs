//! The extent tree: from a logical block to a run, through at most five levels of blocks below the inode.
//!
//! Who calls it: `map`. Whom it calls: `vm` for the tree's blocks.
//!
//! Memory: one page pinned at a time. A tree that is all in the inode touches no page.
//!
//! Invariants of a block of the tree, verified when a page of it is first seen and noted on the page:
//! - EXT-1 its checksum is right, where the file system has them;
//! - EXT-2 keys ascend, and leaves do not overlap.
//!
//! What is cheap is checked at every use: the header, that the depth falls by one from level to level (so that a walk
//! ends), that blocks are within the file system. So a page that was noted wrongly (because a broken file system uses one block
//! for two things) can give a wrong answer, but no panic and no endless walk.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::checksum::crc32c;
use crate::layout::{
    BLOCK_BYTES, EXTENT_ENTRY_BYTES, EXTENT_INITIALIZED_MAX, EXTENT_MAGIC, RawExtentHeader, RawExtentIndex,
    RawExtentLeaf,
};
use crate::map::{Run, TO_THE_END};
use crate::node::Ext4Node;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;
use rumpcap_vm::{PAGE_SHIFT, PAGE_SIZE, PageRef, Reservation};
use zerocopy::transmute;

/// Levels below the root: five of 340 entries each cover more than the 2^32 blocks that a file can have.
const DEPTH_MAX: u16 = 5;

type Entry = [u8; EXTENT_ENTRY_BYTES];

/// A checked header.
#[derive(Clone, Copy)]
struct Header {
    entries: u16,
    max: u16,
    depth: u16,
}

/// The run that begins with block `logical` of `node`.
pub(crate) fn find(fs: &Ext4, r: &Reservation<'_>, node: &Node, logical: u64) -> Result<Run> {
    let Ok(target) = u32::try_from(logical) else { return Ok(Run::Hole { count: TO_THE_END }) };
    let mut tree = TreeNode::root(fs, r, node);
    let mut header = tree.header()?;
    tree.check_order(&header)?;
    // First logical block behind what the present node covers.
    let mut behind = None;
    while header.depth > 0 {
        let at = tree.last_not_above(&header, target)?.unwrap_or(0);
        if let Some(next) = tree.key(&header, at.saturating_add(1))? {
            behind = Some(next);
        }
        let child: RawExtentIndex = transmute!(tree.entry(at)?);
        let block = u64::from(child.child_lo.get()) | u64::from(child.child_hi.get()) << 32;
        let depth = header.depth.saturating_sub(1);
        tree = TreeNode::block(fs, r, node, block)?;
        header = tree.header()?;
        if header.depth != depth {
            return Err(tree.corrupt("extent tree: depth"));
        }
    }
    find_in_leaf(&mut tree, &header, target, behind)
}

fn find_in_leaf(
    tree: &mut TreeNode<'_, '_>,
    header: &Header,
    target: u32,
    behind: Option<u32>,
) -> Result<Run> {
    let at = tree.last_not_above(header, target)?;
    if let Some(at) = at {
        let leaf = Leaf::new(tree.entry(at)?);
        let into = u64::from(target.saturating_sub(leaf.logical));
        if let Some(count) = leaf.len.checked_sub(into).filter(|&count| count > 0) {
            return leaf.run(tree, into, count);
        }
    }
    let next = tree.key(header, at.map_or(0, |at| at.saturating_add(1)))?.or(behind);
    let Some(next) = next else { return Ok(Run::Hole { count: TO_THE_END }) };
    match next.checked_sub(target) {
        None | Some(0) => Err(tree.corrupt("extent tree: order of keys")),
        Some(count) => Ok(Run::Hole { count: u64::from(count) }),
    }
}

/// A leaf entry, its length and flag taken apart.
struct Leaf {
    logical: u32,
    len: u64,
    first: u64,
    is_written: bool,
}

impl Leaf {
    fn new(entry: Entry) -> Leaf {
        let raw: RawExtentLeaf = transmute!(entry);
        let len = raw.len.get();
        let is_written = len <= EXTENT_INITIALIZED_MAX;
        let len = if is_written { len } else { len.saturating_sub(EXTENT_INITIALIZED_MAX) };
        let first = u64::from(raw.start_lo.get()) | u64::from(raw.start_hi.get()) << 32;
        Leaf { logical: raw.logical.get(), len: u64::from(len), first, is_written }
    }

    /// The run of `count` blocks from block `into` of the leaf on, checked to be in the file system.
    fn run(&self, tree: &TreeNode<'_, '_>, into: u64, count: u64) -> Result<Run> {
        let sb = &tree.fs.sb;
        let end = self.first.saturating_add(self.len);
        if self.first <= sb.first_data_block || end > sb.blocks_count {
            return Err(tree.corrupt("extent outside the file system"));
        }
        if !self.is_written {
            return Ok(Run::Hole { count });
        }
        Ok(Run::Blocks { first: self.first.saturating_add(into), count })
    }
}

/// Where a node of the tree is.
enum Source<'r> {
    Root([u8; BLOCK_BYTES]),
    /// The page that was read last, pinned, and its number on the device.
    Block(Option<(u64, PageRef<'r>)>),
}

/// A node of the tree.
struct TreeNode<'r, 'vm> {
    fs: &'r Ext4,
    r: &'r Reservation<'vm>,
    /// Seed of the block's checksum.
    seed: u32,
    source: Source<'r>,
    /// Block number, or that of the inode for the root: for errors.
    number: u64,
    /// First byte on the device.
    place: u64,
    /// Whether this lookup has verified the block, or is doing so.
    is_trusted: bool,
}

impl<'r, 'vm> TreeNode<'r, 'vm> {
    fn root(fs: &'r Ext4, r: &'r Reservation<'vm>, node: &Node) -> TreeNode<'r, 'vm> {
        let (seed, number) = (node.checksum_seed(), node.attributes.ino.0);
        let source = Source::Root(node.block_bytes());
        TreeNode { fs, r, seed, source, number, place: 0, is_trusted: true }
    }

    fn block(fs: &'r Ext4, r: &'r Reservation<'vm>, node: &Node, number: u64) -> Result<TreeNode<'r, 'vm>> {
        let place = fs.byte_of(number, 0)?;
        let (seed, source) = (node.checksum_seed(), Source::Block(None));
        Ok(TreeNode { fs, r, seed, source, number, place, is_trusted: false })
    }

    fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { what, at: self.number }
    }

    fn len_bytes(&self) -> usize {
        match self.source {
            Source::Root(_) => BLOCK_BYTES,
            Source::Block(_) => self.fs.sb.block_size as usize,
        }
    }

    /// The header: its magic number, and counts that fit the node.
    fn header(&mut self) -> Result<Header> {
        let raw: RawExtentHeader = transmute!(self.piece(0)?);
        let (entries, max, depth) = (raw.entries.get(), raw.max.get(), raw.depth.get());
        let capacity = self.len_bytes().saturating_sub(EXTENT_ENTRY_BYTES) / EXTENT_ENTRY_BYTES;
        if raw.magic.get() != EXTENT_MAGIC {
            return Err(self.corrupt("extent tree: magic number"));
        }
        if entries > max || max == 0 || usize::from(max) > capacity {
            return Err(self.corrupt("extent tree: number of entries"));
        }
        if depth > DEPTH_MAX || depth > 0 && entries == 0 {
            return Err(self.corrupt("extent tree: depth"));
        }
        Ok(Header { entries, max, depth })
    }

    /// Entry number `at`.
    fn entry(&mut self, at: u16) -> Result<Entry> {
        self.piece(usize::from(at).saturating_add(1).saturating_mul(EXTENT_ENTRY_BYTES))
    }

    /// First logical block of entry `at`; `None` behind the last.
    fn key(&mut self, header: &Header, at: u16) -> Result<Option<u32>> {
        if at >= header.entries {
            return Ok(None);
        }
        let [b0, b1, b2, b3, ..] = self.entry(at)?;
        Ok(Some(u32::from_le_bytes([b0, b1, b2, b3])))
    }

    /// The last entry whose key is not above `target`: at most 16 probes.
    fn last_not_above(&mut self, header: &Header, target: u32) -> Result<Option<u16>> {
        let (mut low, mut high) = (0, header.entries);
        while low < high {
            let middle = low.midpoint(high);
            match self.key(header, middle)? {
                Some(key) if key <= target => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low.checked_sub(1))
    }

    /// Twelve bytes from byte `at` of the node on.
    fn piece(&mut self, at: usize) -> Result<Entry> {
        if let Source::Root(bytes) = &self.source {
            let piece = bytes.get(at..).and_then(<[u8]>::first_chunk);
            return piece.copied().ok_or_else(|| self.corrupt("extent tree: number of entries"));
        }
        let at = self.place.saturating_add(at as u64);
        let head = self.rest_of_page(at)?;
        if let Some(piece) = head.first_chunk() {
            return Ok(*piece);
        }
        // In a block of several pages an entry may begin in one and end in the next.
        let mut piece = Entry::default();
        let len = head.len();
        let (front, back) = piece.split_at_mut(len);
        front.copy_from_slice(head);
        let tail = self.rest_of_page(at.saturating_add(len as u64))?;
        back.copy_from_slice(tail.get(..back.len()).unwrap_or_default());
        Ok(piece)
    }

    /// The bytes from byte `at` of the device to the end of its page, which is pinned for it.
    fn rest_of_page(&mut self, at: u64) -> Result<&[u8]> {
        let index = at >> PAGE_SHIFT;
        if !matches!(&self.source, Source::Block(Some((pinned, _))) if *pinned == index) {
            self.source = Source::Block(None);
            self.source = Source::Block(Some((index, self.checked_page(at)?)));
        }
        let Source::Block(Some((_, page))) = &self.source else {
            return Err(self.corrupt("extent tree: depth"));
        };
        Ok(page.get((at % PAGE_SIZE as u64) as usize..).unwrap_or_default())
    }

    /// The page of byte `at`, after the block has been verified.
    fn checked_page(&mut self, at: u64) -> Result<PageRef<'r>> {
        let page = self.fs.device.page(self.r, at, 0)?;
        if self.is_trusted || page.is_checked(self.unit()) {
            return Ok(page);
        }
        drop(page);
        self.is_trusted = true;
        self.verify()?;
        self.fs.device.page(self.r, at, 0)
    }

    /// The unit of 1 KiB that stands for the block in each of its pages: the first one of the block.
    fn unit(&self) -> u32 {
        (self.place % PAGE_SIZE as u64 / 1024) as u32
    }

    /// Verifies EXT-1 and EXT-2 and notes it on every page of the block.
    fn verify(&mut self) -> Result<()> {
        let header = self.header()?;
        self.verify_checksum(&header)?;
        self.check_order(&header)?;
        self.source = Source::Block(None);
        for at in self.pages() {
            self.fs.device.page(self.r, at, 0)?.set_checked(self.unit());
        }
        Ok(())
    }

    /// A byte of each page of the block; at most 16 pages.
    fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        (self.place..self.place.saturating_add(u64::from(self.fs.sb.block_size))).step_by(PAGE_SIZE)
    }

    /// Sums up the block to its tail, behind the room for `max` entries, and compares (EXT-1).
    fn verify_checksum(&mut self, header: &Header) -> Result<()> {
        if !self.fs.sb.features.has_metadata_csum() {
            return Ok(());
        }
        let tail = usize::from(header.max).saturating_add(1).saturating_mul(EXTENT_ENTRY_BYTES);
        let mut left = tail;
        let mut sum = self.seed;
        for at in self.pages() {
            let part = self.rest_of_page(at)?;
            let part = part.get(..left.min(part.len())).unwrap_or_default();
            sum = crc32c(sum, part);
            left = left.saturating_sub(part.len());
        }
        let stored = self.word(tail)?;
        if stored == sum {
            return Ok(());
        }
        Err(Error::Checksum { what: "extent tree block", at: self.number })
    }

    /// The word at byte `at`, a multiple of four within the node: the header has been checked to leave room for it.
    fn word(&mut self, at: usize) -> Result<u32> {
        let rest = self.rest_of_page(self.place.saturating_add(at as u64))?;
        Ok(rest.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)))
    }

    /// Keys ascend, leaves do not overlap and do not pass the last possible block (EXT-2).
    fn check_order(&mut self, header: &Header) -> Result<()> {
        let mut free = 0;
        for at in 0..header.entries {
            let entry = self.entry(at)?;
            let leaf = Leaf::new(entry);
            let len = if header.depth == 0 { leaf.len } else { 1 };
            let end = u64::from(leaf.logical).saturating_add(len);
            if len == 0 || u64::from(leaf.logical) < free || end > 1 << 32 {
                return Err(self.corrupt("extent tree: order of keys"));
            }
            free = end;
        }
        Ok(())
    }
}
