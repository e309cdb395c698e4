//! [`Maker`]: a file system that is being made.
//!
//! Who calls it: front ends, in this order: [`Maker::new`]; then for each file [`Maker::inode`] for its number and one of
//! [`Maker::file`], [`Maker::symlink`], [`Maker::special`], [`Maker::directory`]; [`Maker::finish`] at the end. Every number that
//! was taken must be made, and every directory be given entries for numbers that were or will be taken; the root and
//! `lost+found` are numbers that are there from the beginning.
//!
//! ```
//! use rumpcap_block::MemoryDevice;
//! use rumpcap_ext4::mkfs::{Attributes, Entry, Kind, LOST_FOUND_INODE, Maker, Options, ROOT_INODE};
//! use rumpcap_vfs::FileKind;
//!
//! let device = MemoryDevice::new(4 << 20);
//! let mut maker = Maker::new(&device, &Options::new(Kind::Ext4))?;
//! let ino = maker.inode(FileKind::Regular)?;
//! let mut file = maker.file(ino)?;
//! file.write(0, b"hello")?;
//! file.finish(&Attributes { size_bytes: 5, ..Attributes::made_at(0, 0o100_644) }, &mut [])?;
//! let mut entries = [
//!     Entry::new(b"hello.txt", ino, FileKind::Regular),
//!     Entry::new(b"lost+found", LOST_FOUND_INODE, FileKind::Directory),
//! ];
//! maker.directory(ROOT_INODE, ROOT_INODE, &mut entries, &Attributes::made_at(0, 0o040_755), &mut [])?;
//! let lost_found = Attributes::made_at(0, 0o040_700);
//! maker.directory(LOST_FOUND_INODE, ROOT_INODE, &mut [], &lost_found, &mut [])?;
//! maker.finish()?;
//! # Ok::<(), rumpcap_host::Error>(())
//! ```

use super::attributes::{self, Xattr};
use super::defaults::{Options, Prior};
use super::directory::{Directory, Entry, Identity};
use super::geometry::Geometry;
use super::groups::{DirectoryTally, Groups};
use super::inode::{self, Attributes};
use super::mapping::{Mapping, Root};
use super::space::Space;
use super::stream::{STREAM_BYTES, Stream};
use crate::checksum::crc32c;
use crate::hash::{CharSign, HashVersion, NameHasher};
use crate::layout::{BLOCK_BYTES, BLOCK_WORDS, RawInode, SUPER_BLOCK_OFFSET};
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::FileKind;
use std::io::IoSliceMut;
use zerocopy::{FromZeros, IntoBytes};

/// Inode of the root directory.
pub const ROOT_INODE: u32 = 2;
/// Inode of `lost+found`.
pub const LOST_FOUND_INODE: u32 = super::geometry::FIRST_INODE;
/// Bytes that `lost+found` has room for, so that a repair need not look for space.
const LOST_FOUND_BYTES: u32 = 16 * 1024;
const LOST_FOUND_BLOCKS_MAX: u32 = 12;
/// A directory with a hash tree.
const INDEX_FLAG: u32 = crate::layout::inode_flags::INDEX;
/// Zeros for clearing, and for the rest of a block, of which the largest has as many bytes.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// Bytes at the beginning that older file systems and partition tables are known by.
const WIPED_BYTES: u64 = 4096;

/// The device, what is taken of it, and what everything written depends on.
pub(super) struct Image<'d> {
    pub device: &'d dyn BlockDevice,
    pub g: Geometry,
    pub space: Space,
    /// Blocks, and inodes (at the end: inode bitmaps), on their way to the device.
    pub blocks: Stream,
    pub inodes: Stream,
    pub csum_seed: u32,
    pub hasher: NameHasher,
    pub uuid: [u8; 16],
    pub label: [u8; 16],
    pub time: u64,
    pub prior: Prior,
    pub lazy_tables: bool,
    /// The map of the journal.
    pub journal_words: [u32; BLOCK_WORDS],
}

impl Image<'_> {
    pub(super) fn put_block(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.put_bytes(block, bytes)
    }

    /// Puts `bytes` at the beginning of `block`.
    pub(super) fn put_bytes(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.blocks.put(self.device, block << self.g.block_log, bytes)
    }

    /// Makes zeros of `len` blocks from `start` on, unless they are.
    pub(super) fn clear(&mut self, start: u64, len: u64) -> Result<()> {
        self.clear_bytes(start << self.g.block_log, len << self.g.block_log)
    }

    pub(super) fn clear_bytes(&mut self, mut at: u64, mut len: u64) -> Result<()> {
        if self.prior == Prior::Zeros {
            return Ok(());
        }
        while len > 0 {
            let piece = len.min(ZEROS.len() as u64);
            self.blocks.put(self.device, at, &ZEROS[..piece as usize])?;
            at += piece;
            len -= piece;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.blocks.flush(self.device)?;
        self.inodes.flush(self.device)
    }

    /// Seed of the checksums of inode `ino` and what belongs to it; its generation is 0.
    pub(super) fn inode_seed(&self, ino: u32) -> u32 {
        crc32c(crc32c(self.csum_seed, &ino.to_le_bytes()), &[0; 4])
    }
}

/// A file system that is being made.
pub struct Maker<'d> {
    pub(super) image: Image<'d>,
    pub(super) map: Mapping,
    directory: Directory,
    /// One inode; what stands behind the fixed fields of one; a block of attributes.
    inode: Box<[u8]>,
    behind: Box<[u8]>,
    block: Box<[u8]>,
    tally: DirectoryTally,
    /// Group of the inode that was put last, and its table.
    table: (u32, u64),
}

impl<'d> Maker<'d> {
    /// Begins a file system on all of `device`, which is none from then on.
    ///
    /// # Errors
    /// As [`Geometry::new`]; `Io`.
    pub fn new(device: &'d dyn BlockDevice, options: &Options) -> Result<Maker<'d>> {
        let g = Geometry::new(options, device.len_bytes())?;
        let mut hash_seed = [0; 4];
        for (word, bytes) in hash_seed.iter_mut().zip(options.hash_seed.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let hasher = NameHasher { version: HashVersion::HalfMd4, sign: CharSign::Signed, seed: hash_seed };
        let image = Image {
            device,
            g,
            space: Space::new(&g),
            blocks: Stream::new(STREAM_BYTES),
            inodes: Stream::new(STREAM_BYTES / 4),
            csum_seed: crc32c(!0, &options.uuid),
            hasher,
            uuid: options.uuid,
            label: options.label,
            time: options.time,
            prior: options.prior,
            lazy_tables: options.lazy_tables,
            journal_words: [0; BLOCK_WORDS],
        };
        let mut maker = Maker {
            image,
            map: Mapping::new(g.features.has_extent(), g.block_size),
            directory: Directory::new(g.block_size),
            inode: vec![0; g.inode_size as usize].into_boxed_slice(),
            behind: vec![0; (g.inode_size as usize).saturating_sub(size_of::<RawInode>())].into_boxed_slice(),
            block: vec![0; g.block_size as usize].into_boxed_slice(),
            // The root.
            tally: DirectoryTally { group: 0, count: 1 },
            table: (0, 0),
        };
        maker.begin()?;
        Ok(maker)
    }

    fn begin(&mut self) -> Result<()> {
        self.table = (0, self.image.inode_table(0)?);
        let wiped = WIPED_BYTES.max(SUPER_BLOCK_OFFSET + 1024).min(self.image.g.len_bytes());
        self.image.clear_bytes(0, wiped)?;
        self.image.blocks.flush(self.image.device)?;
        if self.image.prior == Prior::Unknown {
            for reserved in 1..LOST_FOUND_INODE {
                self.clear_inode(reserved)?;
            }
        }
        let lost_found = self.inode(FileKind::Directory)?;
        debug_assert_eq!(lost_found, LOST_FOUND_INODE);
        self.make_resize_inode()?;
        self.make_journal()
    }

    fn clear_inode(&mut self, ino: u32) -> Result<()> {
        let at = self.inode_place(ino)?;
        self.inode.fill(0);
        self.image.inodes.put(self.image.device, at, &self.inode)
    }

    /// The numbers of this file system.
    pub fn geometry(&self) -> &Geometry {
        &self.image.g
    }

    /// Takes a number for a file of `kind`.
    ///
    /// # Errors
    /// `NoSpace`; `Io`.
    pub fn inode(&mut self, kind: FileKind) -> Result<u32> {
        let ino = self.image.space.inode()?;
        self.tally.count(&self.image, ino, kind == FileKind::Directory)?;
        Ok(ino)
    }

    /// Begins the content of regular file `ino`.
    ///
    /// # Errors
    /// None so far.
    pub fn file(&mut self, ino: u32) -> Result<FileMaker<'_, 'd>> {
        self.map.begin(self.image.inode_seed(ino));
        Ok(FileMaker { maker: self, ino, next: 0 })
    }

    /// Makes symbolic link `ino`.
    ///
    /// # Errors
    /// `InvalidInput` for a target that does not fit a block; `NoSpace`, `Io`.
    pub fn symlink(
        &mut self,
        ino: u32,
        target: &[u8],
        attributes: &Attributes,
        xattrs: &mut [Xattr<'_>],
    ) -> Result<()> {
        let attributes = Attributes { size_bytes: target.len() as u64, ..*attributes };
        if target.is_empty() || target.len() >= self.image.g.block_size as usize {
            return Err(Error::InvalidInput { what: "target of a symbolic link" });
        }
        if target.len() >= BLOCK_BYTES {
            let mut content = self.file(ino)?;
            content.write(0, target)?;
            return content.finish(&attributes, xattrs);
        }
        let mut bytes = [0; BLOCK_BYTES];
        bytes[..target.len()].copy_from_slice(target);
        let mut root = Root::default();
        for (word, bytes) in root.words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        self.make(ino, &attributes, &root, 0, xattrs)
    }

    /// Makes device, pipe or socket `ino`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub fn special(&mut self, ino: u32, attributes: &Attributes, xattrs: &mut [Xattr<'_>]) -> Result<()> {
        let words = match attributes.kind() {
            FileKind::CharDevice | FileKind::BlockDevice => inode::device_words(attributes.rdev),
            _ => [0; BLOCK_WORDS],
        };
        self.make(ino, attributes, &Root { words, ..Root::default() }, 0, xattrs)
    }

    /// Makes directory `ino` in `parent` (the root's own is itself). `entries` are all but `.` and `..`, in any order.
    ///
    /// # Errors
    /// `InvalidInput` for a name that cannot be, is there twice, or more sub-directories than there may be; `NoSpace`, `Io`.
    pub fn directory(
        &mut self,
        ino: u32,
        parent: u32,
        entries: &mut [Entry<'_>],
        attributes: &Attributes,
        xattrs: &mut [Xattr<'_>],
    ) -> Result<()> {
        let block_size = self.image.g.block_size;
        let lost_found = (LOST_FOUND_BYTES / block_size).clamp(2, LOST_FOUND_BLOCKS_MAX);
        let blocks_min = if ino == LOST_FOUND_INODE { lost_found } else { 1 };
        let id = Identity { ino, parent, seed: self.image.inode_seed(ino), blocks_min };
        let links = 2 + entries.iter().filter(|entry| entry.is_directory()).count();
        let made = self.directory.make(&mut self.image, &mut self.map, id, entries)?;
        let attributes = Attributes {
            size_bytes: u64::from(made.blocks) * u64::from(block_size),
            links: u32::try_from(links).unwrap_or(u32::MAX),
            ..*attributes
        };
        let flags = if made.has_index { INDEX_FLAG } else { 0 };
        self.make(ino, &attributes, &made.root, flags, xattrs)
    }

    /// Puts the attributes in their places, then the inode.
    fn make(
        &mut self,
        ino: u32,
        attributes: &Attributes,
        root: &Root,
        flags: u32,
        xattrs: &mut [Xattr<'_>],
    ) -> Result<()> {
        let root = Root { flags: root.flags | flags, ..*root };
        if xattrs.is_empty() {
            return self.put_inode(ino, attributes, &root, 0, &[]);
        }
        self.behind.fill(0);
        self.block.fill(0);
        let mut number = 0;
        if attributes::place(xattrs, &mut self.behind, &mut self.block)? {
            number = self.image.space.blocks(1)?.start;
            if self.image.g.features.has_metadata_csum() {
                attributes::seal(&mut self.block, number, self.image.csum_seed);
            }
            self.image.put_block(number, &self.block)?;
        }
        // On loan while the inode is put together.
        let behind = core::mem::take(&mut self.behind);
        let done = self.put_inode(ino, attributes, &root, number, &behind);
        self.behind = behind;
        done
    }

    /// Puts inode `ino`; `behind` is what stands behind its fixed fields.
    pub(super) fn put_inode(
        &mut self,
        ino: u32,
        attributes: &Attributes,
        root: &Root,
        xattr_block: u64,
        behind: &[u8],
    ) -> Result<()> {
        let g = &self.image.g;
        let raw = inode::raw(g, attributes, root, xattr_block)?;
        let seed = g.features.has_metadata_csum().then(|| self.image.inode_seed(ino));
        let at = self.inode_place(ino)?;
        let from = self.inode.len() - behind.len();
        self.inode.fill(0);
        self.inode[from..].copy_from_slice(behind);
        inode::seal(&mut self.inode, &raw, seed);
        self.image.inodes.put(self.image.device, at, &self.inode)
    }

    /// Changes the number of names of inode `ino`, which has been made.
    ///
    /// # Errors
    /// `InvalidInput` for more than an inode can count; `Io`.
    pub fn set_links(&mut self, ino: u32, links: u32) -> Result<()> {
        let at = self.inode_place(ino)?;
        self.image.inodes.flush(self.image.device)?;
        self.image.device.read_at(at, &mut [IoSliceMut::new(&mut self.inode)])?;
        let mut raw = RawInode::new_zeroed();
        let fixed = self.inode.len().min(size_of::<RawInode>());
        raw.as_mut_bytes()[..fixed].copy_from_slice(&self.inode[..fixed]);
        raw.links.set(u16::try_from(links).map_err(|_| Error::InvalidInput { what: "number of links" })?);
        raw.checksum_lo.set(0);
        raw.checksum_hi.set(0);
        let seed = self.image.g.features.has_metadata_csum().then(|| self.image.inode_seed(ino));
        inode::seal(&mut self.inode, &raw, seed);
        self.image.inodes.put(self.image.device, at, &self.inode)
    }

    fn inode_place(&mut self, ino: u32) -> Result<u64> {
        let g = &self.image.g;
        let (group, index) = ((ino - 1) / g.inodes_per_group, (ino - 1) % g.inodes_per_group);
        if group != self.table.0 {
            self.table = (group, self.image.inode_table(group)?);
        }
        Ok((self.table.1 << self.image.g.block_log) + u64::from(index) * u64::from(self.image.g.inode_size))
    }

    /// Writes what remains: bitmaps, descriptors, super blocks. Then, and only then, there is a file system.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(self) -> Result<()> {
        let Maker { mut image, mut block, tally, .. } = self;
        let mut table = block.clone();
        Groups::new(&mut image, &mut block, &mut table, tally).write()
    }
}

/// The content of a file that is being made.
pub struct FileMaker<'m, 'd> {
    maker: &'m mut Maker<'d>,
    ino: u32,
    /// The first block of the file that has not been passed.
    next: u64,
}

impl FileMaker<'_, '_> {
    /// Writes `bytes` at byte `offset`. Offsets ascend and are multiples of a block's size; so is the length, except of the last
    /// piece. What is left out is a hole.
    ///
    /// # Errors
    /// `InvalidInput` for other offsets, and a file that is larger than its map; `NoSpace`, `Io`.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Maker { image, map, .. } = &mut *self.maker;
        let block_size = u64::from(image.g.block_size);
        let logical = offset >> image.g.block_log;
        let blocks = (bytes.len() as u64).div_ceil(block_size);
        if !offset.is_multiple_of(block_size) || logical < self.next {
            return Err(Error::InvalidInput { what: "offset of a file's piece" });
        }
        if logical.saturating_add(blocks) > map.blocks_max(image.g.block_size) {
            return Err(Error::InvalidInput { what: "file: larger than its file system allows" });
        }
        self.next = logical + blocks;
        let (mut logical, mut rest) = (logical as u32, bytes);
        while !rest.is_empty() {
            let blocks = (rest.len() as u64).div_ceil(block_size).min(u64::from(u32::MAX)) as u32;
            let taken = image.space.blocks(blocks)?;
            let room = u64::from(taken.len) * block_size;
            let (piece, behind) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            image.put_bytes(taken.start, piece)?;
            // Always, so that the next file's blocks follow in the same request.
            let at = (taken.start << image.g.block_log) + piece.len() as u64;
            let rest_of_block = (room - piece.len() as u64) as usize;
            image.blocks.put(image.device, at, &ZEROS[..rest_of_block])?;
            map.add(image, logical, taken.start, taken.len)?;
            logical += taken.len;
            rest = behind;
        }
        Ok(())
    }

    /// Makes the inode of the file.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub fn finish(self, attributes: &Attributes, xattrs: &mut [Xattr<'_>]) -> Result<()> {
        let root = self.maker.map.finish(&mut self.maker.image)?;
        self.maker.make(self.ino, attributes, &root, 0, xattrs)
    }
}
