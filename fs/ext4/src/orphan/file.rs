//! The orphan file: an inode's blocks, each full of inode numbers, 0 where there is none, with a magic number and a checksum at its end.
//!
//! Who calls it: `mod`, `finish`. Whom it calls: `map` for its blocks, `transaction`.
//!
//! OF-1. The super block says `orphan_present` when the file has entries: set with the first, cleared with the last. (The kernel sets
//! it for as long as a mount lasts; it means that there may be some.)
//! OF-2. Entries go to the first free place, and how many there are is remembered; so a search for one ends when all were seen, in the first
//! block as a rule.
//!
//! Source: the Linux kernel's documentation of the format, "Orphan file".
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::block::{UNIT_SHIFT, within_page};
use crate::checksum::crc32c;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `ob_magic`.
const MAGIC: u32 = 0x0B10_CA04;
/// The most blocks that the kernel takes.
const BLOCKS_MAX: u64 = 512;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 4;
/// `s_feature_ro_compat`: the orphan file has entries.
const ORPHAN_PRESENT: u32 = 0x1_0000;

/// What is at the end of a block.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Tail {
    magic: U32,
    checksum: U32,
}

const TAIL_BYTES: usize = size_of::<Tail>();

/// The orphan file.
pub(super) struct OrphanFile {
    node: Node,
    blocks: u64,
}

/// A place for an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    block: u64,
    /// Byte in the block.
    at: usize,
}

/// Bytes of a block that are entries.
fn entries(bytes: &[u8]) -> &[U32] {
    let len = bytes.len().saturating_sub(TAIL_BYTES);
    bytes.get(..len).and_then(|bytes| <[U32]>::ref_from_bytes(bytes).ok()).unwrap_or_default()
}

/// Checksum of block `block` of the file of seed `seed`.
fn checksum(seed: u32, block: u64, bytes: &[u8]) -> u32 {
    let covered = bytes.get(..bytes.len().saturating_sub(TAIL_BYTES)).unwrap_or_default();
    crc32c(crc32c(seed, U64::new(block).as_bytes()), covered)
}

impl Handle<'_> {
    /// The orphan file, where there is one.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub(super) fn orphan_file(&self) -> Result<Option<OrphanFile>> {
        if !self.fs.sb.features.has_orphan_file() {
            return Ok(None);
        }
        let ino = InodeNo(u64::from(self.super_block()?.orphan_file_inode.get()));
        let corrupt = |what| Error::Corrupt { what, at: ino.0 };
        let node = self.fs.inode(self.r, ino, 0).map_err(|error| match error {
            Error::NotFound => corrupt("orphan file: its inode is none"),
            error => error,
        })?;
        let size = node.attributes.size_bytes;
        let blocks = size >> self.fs.sb.block_log;
        if blocks == 0 || blocks > BLOCKS_MAX || blocks << self.fs.sb.block_log != size {
            return Err(corrupt("orphan file: length"));
        }
        Ok(Some(OrphanFile { node, blocks }))
    }

    /// Has `look` look at the entries of blocks of the file, until it gives something.
    fn in_orphan_blocks<T>(
        &self,
        file: &OrphanFile,
        blocks: Range<u64>,
        mut look: impl FnMut(&[U32]) -> Option<(usize, T)>,
    ) -> Result<Option<(Place, T)>> {
        let fs = self.fs;
        for logical in blocks {
            let hole = Error::Corrupt { what: "orphan file: a hole", at: file.node.attributes.ino.0 };
            let block = fs.map_block(self.r, &file.node, logical)?.ok_or(hole)?;
            let page = fs.block_page(self.r, block, 0)?;
            let bytes = fs.block_part(&page, block);
            let note = (within_page(block << fs.sb.block_log) >> UNIT_SHIFT) as u32;
            if !page.is_checked(note) {
                self.verify_orphan_block(file, block, bytes)?;
                page.set_checked(note);
            }
            if let Some((index, value)) = look(entries(bytes)) {
                return Ok(Some((Place { block, at: index.saturating_mul(ENTRY_BYTES) }, value)));
            }
        }
        Ok(None)
    }

    fn verify_orphan_block(&self, file: &OrphanFile, block: u64, bytes: &[u8]) -> Result<()> {
        let tail = bytes.last_chunk::<TAIL_BYTES>().and_then(|tail| Tail::ref_from_bytes(tail).ok());
        let Some(tail) = tail.filter(|tail| tail.magic.get() == MAGIC) else {
            return Err(Error::Corrupt { what: "orphan file: magic number", at: block });
        };
        let sum = checksum(self.fs.inode_checksum_seed(&file.node), block, bytes);
        if self.fs.sb.features.has_metadata_csum() && tail.checksum.get() != sum {
            return Err(Error::Checksum { what: "orphan file", at: block });
        }
        Ok(())
    }

    /// How many entries there are.
    pub(super) fn count_orphan_file(&mut self, file: &OrphanFile) -> Result<u32> {
        if let Some(count) = self.hints().orphans.in_file {
            return Ok(count);
        }
        let mut count = 0u32;
        let may_have_some = self.super_block()?.features_ro_compat.get() & ORPHAN_PRESENT != 0;
        let blocks = if may_have_some { file.blocks } else { 0 };
        self.in_orphan_blocks(file, 0..blocks, |entries| {
            let used = entries.iter().filter(|entry| entry.get() != 0).count();
            count = count.saturating_add(used as u32);
            None::<(usize, ())>
        })?;
        self.hints().orphans.in_file = Some(count);
        Ok(count)
    }

    /// Where inode `ino` is in the file.
    pub(super) fn find_in_orphan_file(&mut self, file: &OrphanFile, ino: InodeNo) -> Result<Option<Place>> {
        Ok(self.find_orphan_entry(file, |entry| u64::from(entry) == ino.0)?.map(|(place, _)| place))
    }

    /// The first entry that is `wanted`, and what it is; none when all entries were seen.
    pub(super) fn find_orphan_entry(
        &mut self,
        file: &OrphanFile,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Option<(Place, u32)>> {
        let mut left = self.count_orphan_file(file)?;
        for logical in 0..file.blocks {
            if left == 0 {
                break;
            }
            let found = self.in_orphan_blocks(file, logical..logical.saturating_add(1), |entries| {
                for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.get() != 0) {
                    left = left.saturating_sub(1);
                    if wanted(entry.get()) {
                        return Some((index, entry.get()));
                    }
                }
                None
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Enters inode `ino`, which is not in the file.
    ///
    /// # Errors
    /// `NoSpace` when the file is full; `Corrupt`, `Checksum`, `Io`.
    pub(super) fn add_to_orphan_file(&mut self, file: &OrphanFile, ino: InodeNo) -> Result<()> {
        let count = self.count_orphan_file(file)?;
        let free = self.in_orphan_blocks(file, 0..file.blocks, |entries| {
            entries.iter().position(|entry| entry.get() == 0).map(|index| (index, ()))
        })?;
        let (place, ()) = free.ok_or(Error::NoSpace { what: "places in the orphan file" })?;
        self.put_orphan_entry(file, place, ino.0 as u32)?;
        self.set_count_of_orphan_file(count.saturating_add(1))
    }

    /// Takes the entry at `place` out.
    pub(super) fn remove_from_orphan_file(&mut self, file: &OrphanFile, place: Place) -> Result<()> {
        let count = self.count_orphan_file(file)?;
        self.put_orphan_entry(file, place, 0)?;
        self.set_count_of_orphan_file(count.saturating_sub(1))
    }

    /// See OF-1.
    pub(super) fn set_count_of_orphan_file(&mut self, count: u32) -> Result<()> {
        self.hints().orphans.in_file = Some(count);
        let features = self.super_block()?.features_ro_compat.get();
        let wanted = if count > 0 { features | ORPHAN_PRESENT } else { features & !ORPHAN_PRESENT };
        if wanted == features {
            return Ok(());
        }
        self.edit_super(|raw| raw.features_ro_compat = wanted.into())
    }

    fn put_orphan_entry(&mut self, file: &OrphanFile, place: Place, ino: u32) -> Result<()> {
        let size = self.fs.sb.block_size as usize;
        let has_sum = self.fs.sb.features.has_metadata_csum();
        let seed = self.fs.inode_checksum_seed(&file.node);
        let entry = place.at..place.at.saturating_add(ENTRY_BYTES);
        let tail = size.saturating_sub(TAIL_BYTES)..size;
        self.edit(place.block, &[entry.clone(), tail.clone()], |bytes| {
            if let Some(entry) = bytes.get_mut(entry) {
                entry.copy_from_slice(&ino.to_le_bytes());
            }
            if has_sum {
                let sum = checksum(seed, place.block, bytes);
                let tail = bytes.get_mut(tail).and_then(|tail| Tail::mut_from_bytes(tail).ok());
                if let Some(tail) = tail {
                    tail.checksum = sum.into();
                }
            }
        })
    }
}
