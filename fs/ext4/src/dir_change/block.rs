//! Blocks of a directory: read, changed with their checksums, appended.
//!
//! Who calls it: the rest of `dir_change`. Whom it calls: `transaction`, `map_change`, `dir` to read.
//!
//! DB-1. A block that is changed through here has the right checksum behind it. Pins: one page at a time.
#![deny(clippy::indexing_slicing)]

use super::record::{self, Found, NewEntry, Record, Records, Room, put};
use crate::Ext4;
use crate::checksum::crc32c;
use crate::dir::entry::{Broken, Rules};
use crate::dir::{BlockPlace, Dir, Verdict, Wanted};
use crate::htree::IndexNode;
use crate::htree::node::POINTER;
use crate::inode_edit::Inode;
use crate::layout::DIR_TAIL_FILE_TYPE;
use crate::map_change::Fill;
use crate::transaction::Handle;
use core::ops::{ControlFlow, Range};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;

/// Bytes of the fake last record with a leaf's checksum.
const LEAF_TAIL: usize = 12;
/// Most bytes of a block that can be written (`mount_write`).
pub(super) const BLOCK_MAX: usize = 4096;
/// Without large_dir, directories are shorter than 2 GiB.
const SMALL_DIR_BYTES: u64 = 1 << 31;

/// How the blocks of one directory are laid out and summed up.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub block_size: usize,
    /// Bytes of a leaf that records fill.
    pub usable: usize,
    pub has_sums: bool,
    pub has_types: bool,
    /// Seed of the checksums.
    pub seed: u32,
}

impl Form {
    pub fn of(fs: &Ext4, node: &Node) -> Form {
        let (block_size, has_sums) = (fs.sb.block_size as usize, fs.sb.features.has_metadata_csum());
        let usable = block_size - if has_sums { LEAF_TAIL } else { 0 };
        let has_types = fs.sb.features.has_filetype();
        Form { block_size, usable, has_sums, has_types, seed: fs.inode_checksum_seed(node) }
    }

    /// What of a leaf [`Form::seal_leaf`] changes.
    pub fn leaf_sum(&self) -> Range<usize> {
        self.usable..self.block_size
    }

    /// Puts the fake last record with the checksum.
    pub fn seal_leaf(&self, bytes: &mut [u8]) {
        if !self.has_sums {
            return;
        }
        let sum = crc32c(self.seed, bytes.get(..self.usable).unwrap_or_default());
        let tail = NewEntry { name: b"", ino: 0, file_type: DIR_TAIL_FILE_TYPE };
        record::put_record(bytes, self.usable, LEAF_TAIL, &tail);
        put(bytes, self.usable + record::HEAD, &sum.to_le_bytes());
    }

    /// Pointers that a node has room for whose counts are at `counts`.
    pub fn pointers(&self, counts: u32) -> u32 {
        let tail = if self.has_sums { POINTER as usize } else { 0 };
        ((self.block_size - counts as usize - tail) / POINTER as usize) as u32
    }

    /// What of a node [`Form::seal_index`] changes.
    pub fn index_sum(&self, node: &IndexNode) -> Range<usize> {
        let at = (node.counts + node.limit * POINTER) as usize;
        if self.has_sums { at..at + POINTER as usize } else { 0..0 }
    }

    /// Puts the checksum behind the room for pointers of a node that has `count`.
    pub fn seal_index(&self, bytes: &mut [u8], node: &IndexNode, count: u32) {
        if !self.has_sums {
            return;
        }
        let used = (node.counts + count * POINTER) as usize;
        let sum = crc32c(self.seed, bytes.get(..used).unwrap_or_default());
        // The tail's reserved word, and the place of the sum itself.
        let sum = crc32c(sum, &[0; POINTER as usize]);
        let tail = self.index_sum(node).start;
        put(bytes, tail, &[0; 4]);
        put(bytes, tail + 4, &sum.to_le_bytes());
    }
}

/// What one look at a block found: of an entry that is to be put.
#[derive(Clone, Copy, Debug)]
pub(super) enum Looked {
    /// The name is there.
    There,
    /// The first record with room.
    Room(Room),
    Full,
}

/// A block's bytes, copied: what a split works on.
pub(super) struct Copied {
    bytes: [u8; BLOCK_MAX],
    len: usize,
}

impl Copied {
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// An error that names a block.
pub(super) fn broken(place: BlockPlace) -> impl Fn(Broken) -> Error {
    move |Broken(what)| Error::Corrupt { what, at: place.physical }
}

impl Dir<'_, '_> {
    /// Calls `look` with each block in turn, until it breaks; holes are passed over.
    pub(super) fn for_each_block<T>(
        &self,
        mut look: impl FnMut(BlockPlace) -> Result<ControlFlow<T>>,
    ) -> Result<Option<T>> {
        let mut logical = 0;
        while logical < self.blocks {
            match self.fs.run(self.r, self.node, logical)? {
                crate::map::Run::Hole { count } => logical = logical.saturating_add(count.max(1)),
                crate::map::Run::Blocks { first, count } => {
                    let end = first + count.min(self.blocks - logical);
                    for physical in first..end {
                        let place = BlockPlace { logical, physical, ahead: self.pages_behind(physical, end) };
                        if let ControlFlow::Break(value) = look(place)? {
                            return Ok(Some(value));
                        }
                        logical += 1;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Hands the verified bytes of a block to `see`.
    pub(super) fn see<T>(&self, place: BlockPlace, see: impl FnOnce(&[u8]) -> T) -> Result<T> {
        Ok(see(self.block_window(place, 0, &mut Verdict::Unknown)?.bytes()))
    }

    /// A copy of a block, verified.
    pub(super) fn copied(&self, place: BlockPlace) -> Result<Copied> {
        let mut copied = Copied { bytes: [0; BLOCK_MAX], len: 0 };
        self.see(place, |bytes| {
            put(&mut copied.bytes, 0, bytes);
            copied.len = bytes.len().min(BLOCK_MAX);
        })?;
        Ok(copied)
    }

    /// Whether `wanted` is in a leaf, or where an entry of `len` bytes would fit.
    pub(super) fn look(
        &self,
        place: BlockPlace,
        form: &Form,
        wanted: &Wanted<'_>,
        len: usize,
    ) -> Result<Looked> {
        self.see(place, |bytes| look_in(bytes, &self.rules, form.usable, wanted, len))?.map_err(broken(place))
    }

    /// The record of `wanted` in a block, if it is there.
    pub(super) fn find_in(&self, place: BlockPlace, wanted: &Wanted<'_>) -> Result<Option<Found>> {
        let limit = self.rules.limit as usize;
        self.see(place, |bytes| find_record(bytes, &self.rules, limit, wanted))?.map_err(broken(place))
    }
}

/// As [`Dir::look`], in the first `limit` bytes of `bytes`.
pub(super) fn look_in(
    bytes: &[u8],
    rules: &Rules,
    limit: usize,
    wanted: &Wanted<'_>,
    len: usize,
) -> core::result::Result<Looked, Broken> {
    let mut found = Looked::Full;
    for record in Records::new(bytes, rules, limit) {
        let record = record?;
        if record.ino != 0 && wanted.matches(record.name(bytes)) {
            return Ok(Looked::There);
        }
        if matches!(found, Looked::Full) && record.room() >= len {
            found = Looked::Room(Room(record));
        }
    }
    Ok(found)
}

/// As [`Dir::find_in`], in the first `limit` bytes of `bytes`.
pub(super) fn find_record(
    bytes: &[u8],
    rules: &Rules,
    limit: usize,
    wanted: &Wanted<'_>,
) -> core::result::Result<Option<Found>, Broken> {
    let mut before: Option<Record> = None;
    for record in Records::new(bytes, rules, limit) {
        let record = record?;
        if record.ino != 0 && wanted.matches(record.name(bytes)) {
            return Ok(Some(Found { record, before }));
        }
        before = Some(record);
    }
    Ok(None)
}

impl Handle<'_> {
    /// Puts an entry where there is room for it in a leaf.
    pub(super) fn put_entry(
        &mut self,
        place: BlockPlace,
        form: &Form,
        room: Room,
        entry: &NewEntry<'_>,
    ) -> Result<()> {
        let [len, own] = room.changed(entry);
        self.edit(place.physical, &[len, own, form.leaf_sum()], |bytes| {
            room.put(bytes, entry);
            form.seal_leaf(bytes);
        })
    }

    /// Changes the record `found` of a leaf.
    pub(super) fn change_entry(
        &mut self,
        place: BlockPlace,
        form: &Form,
        found: Found,
        change: impl FnOnce(&Found, &mut [u8]),
    ) -> Result<()> {
        let [before, own] = found.changed();
        self.edit(place.physical, &[before, own, form.leaf_sum()], |bytes| {
            change(&found, bytes);
            form.seal_leaf(bytes);
        })
    }

    /// Appends a block to a directory, which is longer then; its content is not there yet.
    pub(super) fn append_block(&mut self, inode: &mut Inode) -> Result<BlockPlace> {
        let sb = &self.fs.sb;
        let (size, block_size) = (inode.size_bytes(), u64::from(sb.block_size));
        let end = size + block_size;
        let logical = size >> sb.block_log;
        let is_too_long = end >= SMALL_DIR_BYTES && !sb.features.has_large_dir();
        if is_too_long || logical >= u64::from(crate::htree::node::BLOCK_MASK) {
            return Err(Error::NoSpace { what: "blocks that a directory may have" });
        }
        let mapped = self.map_blocks(inode, logical as u32, 1, Fill::Written)?;
        inode.set_size_bytes(end);
        Ok(BlockPlace { logical, physical: mapped.first, ahead: 0 })
    }
}
