//! [`TreeNode`]: one node of an extent tree, in the inode or in a block, with its entries.
//!
//! Who calls it: `extent`. Whom it calls: `vm`.
//!
//! Invariants of a block of the tree, verified when a page of it is first seen and noted on the page:
//! - EXT-1 its checksum is right, where the file system has them;
//! - EXT-2 keys ascend, and leaves do not overlap.
//!
//! The header, and that every entry is within the node, are checked at every use: a page that was noted wrongly (because a
//! broken file system uses one block for two things) can give a wrong answer, but no panic and no endless walk.
//!
//! Memory: one page pinned at a time. A block larger than a page is noted on each of its pages; where one has been evicted since, the
//! whole block is verified again.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Leaf;
use crate::Ext4;
use crate::block::{UNIT_SHIFT, within_page};
use crate::checksum::crc32c;
use crate::layout::{BLOCK_BYTES, EXTENT_ENTRY_BYTES, EXTENT_MAGIC, RawExtentHeader};
use crate::node::Ext4Node;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;
use rumpcap_vm::{PAGE_SHIFT, PAGE_SIZE, PageRef, Reservation};
use zerocopy::transmute;

/// Levels below the root: five of 340 entries each cover more than the 2^32 blocks that a file can have.
pub(crate) const DEPTH_MAX: u16 = 5;

/// An entry's bytes, of an index or a leaf.
pub(crate) type Entry = [u8; EXTENT_ENTRY_BYTES];

/// A checked header.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub entries: u16,
    pub max: u16,
    pub depth: u16,
}

/// First logical block of an entry, of an index or a leaf.
pub(crate) fn key_of(entry: &Entry) -> u32 {
    let [b0, b1, b2, b3, ..] = *entry;
    u32::from_le_bytes([b0, b1, b2, b3])
}

/// Where a node of the tree is.
enum Source<'r> {
    Root([u8; BLOCK_BYTES]),
    /// The page that was read last, pinned, and its number on the device.
    Block(Option<(u64, PageRef<'r>)>),
}

/// A node of the tree.
pub(crate) struct TreeNode<'r, 'vm> {
    pub fs: &'r Ext4,
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
    pub fn root(fs: &'r Ext4, r: &'r Reservation<'vm>, node: &Node) -> TreeNode<'r, 'vm> {
        TreeNode::root_of(fs, r, node.block_bytes(), node.attributes.ino.0)
    }

    /// The root with these bytes, of inode number `number`.
    pub fn root_of(
        fs: &'r Ext4,
        r: &'r Reservation<'vm>,
        bytes: [u8; BLOCK_BYTES],
        number: u64,
    ) -> TreeNode<'r, 'vm> {
        TreeNode { fs, r, seed: 0, source: Source::Root(bytes), number, place: 0, is_trusted: true }
    }

    pub fn block(
        fs: &'r Ext4,
        r: &'r Reservation<'vm>,
        node: &Node,
        number: u64,
    ) -> Result<TreeNode<'r, 'vm>> {
        TreeNode::block_of(fs, r, node.checksum_seed(), number)
    }

    /// Block `number`, whose checksum begins with `seed`.
    pub fn block_of(
        fs: &'r Ext4,
        r: &'r Reservation<'vm>,
        seed: u32,
        number: u64,
    ) -> Result<TreeNode<'r, 'vm>> {
        let place = fs.byte_of(number, 0)?;
        let source = Source::Block(None);
        Ok(TreeNode { fs, r, seed, source, number, place, is_trusted: false })
    }

    pub fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { what, at: self.number }
    }

    fn len_bytes(&self) -> usize {
        match self.source {
            Source::Root(_) => BLOCK_BYTES,
            Source::Block(_) => self.fs.sb.block_size as usize,
        }
    }

    /// The header: its magic number, and counts that fit the node.
    pub fn header(&mut self) -> Result<Header> {
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
    pub fn entry(&mut self, at: u16) -> Result<Entry> {
        self.piece(usize::from(at).saturating_add(1).saturating_mul(EXTENT_ENTRY_BYTES))
    }

    /// First logical block of entry `at`; `None` behind the last.
    pub fn key(&mut self, header: &Header, at: u16) -> Result<Option<u32>> {
        if at >= header.entries {
            return Ok(None);
        }
        Ok(Some(key_of(&self.entry(at)?)))
    }

    /// The last entry whose key is not above `target`: at most 16 probes.
    pub fn last_not_above(&mut self, header: &Header, target: u32) -> Result<Option<u16>> {
        if let Some(entries) = self.entries_in_a_row(header)? {
            let above = entries.partition_point(|entry| key_of(entry) <= target);
            return Ok((above as u16).checked_sub(1));
        }
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

    /// All entries, where they are in a row in memory: not in a block of several pages.
    fn entries_in_a_row(&mut self, header: &Header) -> Result<Option<&[Entry]>> {
        if matches!(self.source, Source::Block(_)) {
            if self.fs.sb.block_size as usize > PAGE_SIZE {
                return Ok(None);
            }
            self.pin(self.place)?;
        }
        let bytes = match &self.source {
            Source::Root(bytes) => &bytes[..],
            Source::Block(Some((_, page))) => page.get(within_page(self.place)..).unwrap_or_default(),
            Source::Block(None) => &[],
        };
        // The header is as long as an entry.
        let entries = bytes.as_chunks().0.get(1..).and_then(|all| all.get(..usize::from(header.entries)));
        Ok(Some(entries.unwrap_or_default()))
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
        self.pin(at)?;
        match &self.source {
            Source::Block(Some((_, page))) => Ok(page.get(within_page(at)..).unwrap_or_default()),
            _ => Ok(&[]),
        }
    }

    /// Pins the page of byte `at` of the device, after giving up the one before.
    fn pin(&mut self, at: u64) -> Result<()> {
        let index = at >> PAGE_SHIFT;
        if !matches!(&self.source, Source::Block(Some((pinned, _))) if *pinned == index) {
            self.source = Source::Block(None);
            self.source = Source::Block(Some((index, self.checked_page(at)?)));
        }
        Ok(())
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
        within_page(self.place) as u32 >> UNIT_SHIFT
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
    pub fn check_order(&mut self, header: &Header) -> Result<()> {
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
