//! Finds the structures of an undamaged image: where the corruptor can aim.
//!
//! Written for this purpose alone and from the format's documentation, without a look at the project's own parser: it
//! trusts the image, which the real tools made, and knows only as much as is needed to aim.
//! Source: "ext4 Data Structures and Algorithms" in the kernel's documentation.

use super::checksum;
use std::collections::BTreeSet;

/// What a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structure {
    /// The super block.
    SuperBlock,
    /// A group descriptor.
    GroupDescriptor,
    /// A bitmap of blocks or of inodes.
    Bitmap,
    /// An inode in use.
    Inode,
    /// A block of an extent tree.
    ExtentBlock,
    /// A block of block numbers.
    IndirectBlock,
    /// A block of directory entries.
    DirectoryBlock,
    /// A block of a directory's index.
    IndexBlock,
    /// A block of extended attributes.
    AttributeBlock,
    /// A block of the journal.
    JournalBlock,
}

/// All structures. Those with more to get wrong are there more than once.
pub const KINDS: [Structure; 14] = [
    Structure::SuperBlock,
    Structure::GroupDescriptor,
    Structure::Bitmap,
    Structure::Inode,
    Structure::Inode,
    Structure::Inode,
    Structure::ExtentBlock,
    Structure::IndirectBlock,
    Structure::DirectoryBlock,
    Structure::DirectoryBlock,
    Structure::IndexBlock,
    Structure::AttributeBlock,
    Structure::JournalBlock,
    Structure::JournalBlock,
];

/// A structure of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What it is.
    pub structure: Structure,
    /// Its first byte on the device.
    pub offset: usize,
    /// Its bytes.
    pub len: usize,
    /// The inode, or the group, that it belongs to.
    pub owner: u32,
}

/// What is needed of the super block.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Bytes of a block.
    pub block: usize,
    /// Bytes of an inode.
    pub inode: usize,
    /// Bytes of a group descriptor.
    pub descriptor: usize,
    /// Blocks of the device.
    pub blocks: u64,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Groups.
    pub groups: u32,
    /// The block of the super block.
    pub first_block: u64,
    /// Incompatible features.
    pub incompatible: u32,
    /// Read-only compatible features.
    pub read_only: u32,
    /// The image's UUID.
    pub uuid: [u8; 16],
    /// What every checksum begins with.
    pub seed: u32,
    /// Byte of each group's descriptor on the device.
    descriptors: Vec<usize>,
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

const META_BG: u32 = 0x10;
const SEED_IN_SUPER_BLOCK: u32 = 0x2000;
const IS_64BIT: u32 = 0x80;

impl Geometry {
    /// Reads the super block of `image`; `None` when it has none.
    pub fn of(image: &[u8]) -> Option<Geometry> {
        let sb = image.get(1024..2048)?;
        if u16_at(sb, 0x38) != 0xef53 {
            return None;
        }
        let (block, incompatible) = (1024 << u32_at(sb, 0x18), u32_at(sb, 0x60));
        let wide = incompatible & IS_64BIT != 0;
        // With bigalloc the first data block is 0 at every block size; the super block is at byte 1024 all the same.
        let (first_data, first_block) = (u64::from(u32_at(sb, 0x14)), u64::from(block == 1024));
        let blocks = u64::from(u32_at(sb, 4)) | if wide { u64::from(u32_at(sb, 0x150)) << 32 } else { 0 };
        let per_group = u64::from(u32_at(sb, 0x20));
        let groups = (blocks - first_data).div_ceil(per_group) as u32;
        let descriptor = if wide { usize::from(u16_at(sb, 0xfe)) } else { 32 };
        let uuid: [u8; 16] = sb[0x68..0x78].try_into().ok()?;
        let stored = incompatible & SEED_IN_SUPER_BLOCK != 0;
        let seed = if stored { u32_at(sb, 0x270) } else { checksum::crc32c(!0, &uuid) };
        let inode = if u32_at(sb, 0x4c) == 0 { 128 } else { usize::from(u16_at(sb, 0x58)) };
        let mut geometry = Geometry {
            block,
            inode,
            descriptor,
            blocks,
            inodes_per_group: u32_at(sb, 0x28),
            groups,
            first_block,
            incompatible,
            read_only: u32_at(sb, 0x64),
            uuid,
            seed,
            descriptors: Vec::new(),
        };
        let first_meta = u64::from(u32_at(sb, 0x104));
        geometry.descriptors =
            (0..groups).map(|g| geometry.descriptor_at(g, per_group, first_meta)).collect();
        Some(geometry)
    }

    fn descriptor_at(&self, group: u32, blocks_per_group: u64, first_meta: u64) -> usize {
        let per_block = (self.block / self.descriptor) as u32;
        let (number, within) = (u64::from(group / per_block), (group % per_block) as usize);
        let block = if self.incompatible & META_BG != 0 && number >= first_meta {
            let first_group = number * u64::from(per_block);
            // A copy of the super block comes first in such a group where there is one; good enough to aim: group
            // 0 and 1 have one, and the powers of 3, 5 and 7.
            let group = first_group as u32;
            self.first_block + first_group * blocks_per_group + u64::from(has_super_block(group))
        } else {
            self.first_block + 1 + number
        };
        block as usize * self.block + within * self.descriptor
    }

    /// Whether metadata carries CRC32C checksums.
    pub fn metadata_csum(&self) -> bool {
        self.read_only & 0x400 != 0
    }

    /// Whether group descriptors carry CRC16 checksums.
    pub fn gdt_csum(&self) -> bool {
        self.read_only & 0x10 != 0
    }

    /// Byte of inode `ino` on the device.
    pub fn inode_at(&self, image: &[u8], ino: u32) -> usize {
        let (group, within) = ((ino - 1) / self.inodes_per_group, (ino - 1) % self.inodes_per_group);
        let table = self.pointer(image, group, 8, 0x28);
        table as usize * self.block + within as usize * self.inode
    }

    /// A block number in a descriptor, its upper half at `high`.
    fn pointer(&self, image: &[u8], group: u32, low: usize, high: usize) -> u64 {
        let at = self.descriptors[group as usize];
        let upper = if self.descriptor >= 64 { u64::from(u32_at(image, at + high)) << 32 } else { 0 };
        u64::from(u32_at(image, at + low)) | upper
    }
}

fn has_super_block(group: u32) -> bool {
    let power_of = |base: u32| {
        std::iter::successors(Some(base), |n| n.checked_mul(base))
            .take_while(|n| *n <= group)
            .any(|n| n == group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(power_of)
}

/// Finds all structures of `image`.
pub fn find(image: &[u8], geometry: &Geometry) -> Vec<Place> {
    let mut finder = Finder { image, geometry, places: BTreeSet::new() };
    finder.add(Structure::SuperBlock, 1024, 1024, 0);
    for group in 0..geometry.groups {
        finder.group(group);
    }
    finder.places.into_iter().collect()
}

struct Finder<'a> {
    image: &'a [u8],
    geometry: &'a Geometry,
    places: BTreeSet<Place>,
}

impl Finder<'_> {
    fn add(&mut self, structure: Structure, offset: usize, len: usize, owner: u32) {
        if offset + len <= self.image.len() {
            self.places.insert(Place { structure, offset, len, owner });
        }
    }

    fn add_block(&mut self, structure: Structure, block: u64, owner: u32) {
        self.add(structure, block as usize * self.geometry.block, self.geometry.block, owner);
    }

    fn group(&mut self, group: u32) {
        let geometry = self.geometry;
        let at = geometry.descriptors[group as usize];
        self.add(Structure::GroupDescriptor, at, geometry.descriptor, group);
        let flags = u16_at(self.image, at + 0x12);
        self.add_block(Structure::Bitmap, geometry.pointer(self.image, group, 0, 0x20), group);
        self.add_block(Structure::Bitmap, geometry.pointer(self.image, group, 4, 0x24), group);
        if flags & 1 != 0 && geometry.read_only & 0x410 != 0 {
            return;
        }
        for within in 0..geometry.inodes_per_group {
            self.inode(group * geometry.inodes_per_group + within + 1);
        }
    }

    fn inode(&mut self, ino: u32) {
        let at = self.geometry.inode_at(self.image, ino);
        let Some(inode) = self.image.get(at..at + self.geometry.inode) else { return };
        let (mode, links) = (u16_at(inode, 0), u16_at(inode, 0x1a));
        if mode == 0 || (links == 0 && ino > 11) {
            return;
        }
        self.add(Structure::Inode, at, self.geometry.inode, ino);
        let attributes = u64::from(u32_at(inode, 0x68)) | (u64::from(u16_at(inode, 0x76)) << 32);
        if attributes != 0 {
            self.add_block(Structure::AttributeBlock, attributes, ino);
        }
        let flags = u32_at(inode, 0x20);
        let kind = mode & 0xf000;
        let inline = flags & 0x1000_0000 != 0 || (kind == 0xa000 && u32_at(inode, 4) < 60);
        if inline || !matches!(kind, 0x4000 | 0x8000 | 0xa000) {
            return;
        }
        let mut data = Vec::new();
        if flags & 0x8_0000 != 0 {
            self.extents(&inode[0x28..0x64], ino, &mut data);
        } else {
            self.block_map(inode, ino, &mut data);
        }
        match kind {
            0x4000 => self.directory(ino, flags, &data),
            0x8000 if ino == 8 => self.journal(ino, &data),
            _ => {}
        }
    }

    fn extents(&mut self, node: &[u8], ino: u32, data: &mut Vec<u64>) {
        let (entries, depth) = (usize::from(u16_at(node, 2)), u16_at(node, 6));
        for entry in 1..=entries {
            let at = entry * 12;
            if depth == 0 {
                let start = u64::from(u32_at(node, at + 8)) | (u64::from(u16_at(node, at + 6)) << 32);
                let len = u64::from(u16_at(node, at + 4));
                data.extend(start..start + if len > 32_768 { 0 } else { len });
            } else {
                let child = u64::from(u32_at(node, at + 4)) | (u64::from(u16_at(node, at + 8)) << 32);
                self.add_block(Structure::ExtentBlock, child, ino);
                let from = child as usize * self.geometry.block;
                let image = self.image;
                if let Some(node) = image.get(from..from + self.geometry.block) {
                    self.extents(node, ino, data);
                }
            }
        }
    }

    fn block_map(&mut self, inode: &[u8], ino: u32, data: &mut Vec<u64>) {
        for n in 0..15 {
            let block = u32_at(inode, 0x28 + 4 * n);
            self.indirect(block.into(), n.saturating_sub(11) as u32, ino, data);
        }
    }

    fn indirect(&mut self, block: u64, levels: u32, ino: u32, data: &mut Vec<u64>) {
        if block == 0 {
            return;
        }
        if levels == 0 {
            data.push(block);
            return;
        }
        self.add_block(Structure::IndirectBlock, block, ino);
        let from = block as usize * self.geometry.block;
        for n in 0..self.geometry.block / 4 {
            self.indirect(u32_at(self.image, from + 4 * n).into(), levels - 1, ino, data);
        }
    }

    /// Blocks of an index begin with an entry that spans the block and names no inode; the first block with `.`.
    fn directory(&mut self, ino: u32, flags: u32, data: &[u64]) {
        for (n, block) in data.iter().enumerate() {
            let at = *block as usize * self.geometry.block;
            let indexed = flags & 0x1000 != 0;
            let node =
                u32_at(self.image, at) == 0 && usize::from(u16_at(self.image, at + 4)) == self.geometry.block;
            let structure =
                if indexed && (n == 0 || node) { Structure::IndexBlock } else { Structure::DirectoryBlock };
            self.add_block(structure, *block, ino);
        }
    }

    fn journal(&mut self, ino: u32, data: &[u64]) {
        for block in data {
            let at = *block as usize * self.geometry.block;
            if self.image.get(at..at + 4) == Some(&[0xc0, 0x3b, 0x39, 0x98]) {
                self.add_block(Structure::JournalBlock, *block, ino);
            }
        }
    }
}
