//! Checksums of directory blocks.
//!
//! Who calls it: `dir::block` and `htree`, once for a block while its pages stay. Whom it calls: `region`.
//!
//! A leaf has its checksum in a fake last entry of 12 bytes; a block of the tree has it behind the room for its
//! pointers, and the sum covers the pointers in use only. Which of the two a block is, it tells itself: block 0 of
//! an indexed directory is the root, and a block whose first record fills it all is a node.
//!
//! Pins: one page. Source: "ext4 Data Structures and Algorithms", directory entries and hash tree directories.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{BlockPlace, Dir};
use crate::checksum::crc32c;
use crate::htree::RawRootHead;
use crate::layout::{DIR_TAIL_FILE_TYPE, RawDirTail};
use crate::region::Region;
use rumpcap_host::{Error, Result};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Bytes of a leaf's tail.
const TAIL: u32 = size_of::<RawDirTail>() as u32;
/// Bytes of the head of a root: entries for `.` and `..`, then what the tree is, then counts.
const ROOT_HEAD: usize = 36;
/// Offset of the counts in a root, and in another node.
pub(crate) const ROOT_COUNTS: u32 = 32;
pub(crate) const NODE_COUNTS: u32 = 8;

impl Dir<'_, '_> {
    /// Verifies the checksum of a block.
    ///
    /// # Errors
    /// `Checksum` naming the block on the device; `Io`.
    pub(crate) fn verify(&self, place: BlockPlace) -> Result<()> {
        let region = self.region(place);
        let mut head = [0; ROOT_HEAD];
        region.read(self.fs, self.r, &mut head)?;
        match self.counts_offset(place.logical, &head) {
            Counts::Leaf => self.verify_leaf(place, region),
            Counts::At(at) => self.verify_index(place, region, at),
            Counts::Nowhere => Err(index_mismatch(place)),
        }
    }

    fn verify_leaf(&self, place: BlockPlace, region: Region) -> Result<()> {
        let mismatch = Error::Checksum { what: "directory block", at: place.physical };
        let covered = region.len.saturating_sub(TAIL);
        let mut tail = RawDirTail::new_zeroed();
        region.part(covered, TAIL).ok_or(mismatch)?.read(self.fs, self.r, tail.as_mut_bytes())?;
        let is_tail = tail.reserved_inode.get() == 0
            && u32::from(tail.record_len.get()) == TAIL
            && tail.reserved_name_len == 0
            && tail.reserved_file_type == DIR_TAIL_FILE_TYPE;
        let covered = region.part(0, covered).ok_or(mismatch)?;
        let sum = covered.crc32c(self.fs, self.r, self.fs.inode_checksum_seed(self.node))?;
        if is_tail && sum == tail.checksum.get() { Ok(()) } else { Err(mismatch) }
    }

    fn verify_index(&self, place: BlockPlace, region: Region, counts: u32) -> Result<()> {
        let mismatch = index_mismatch(place);
        let word = |at: u32| -> Result<[u8; 8]> {
            let mut word = [0; 8];
            region.part(at, 8).ok_or(mismatch)?.read(self.fs, self.r, &mut word)?;
            Ok(word)
        };
        let [limit0, limit1, count0, count1, ..] = word(counts)?;
        let end_of = |n: [u8; 2]| u32::from(u16::from_le_bytes(n)).saturating_mul(8).saturating_add(counts);
        let covered = region.part(0, end_of([count0, count1])).ok_or(mismatch)?;
        let [reserved0, reserved1, reserved2, reserved3, sum @ ..] = word(end_of([limit0, limit1]))?;
        let computed = covered.crc32c(self.fs, self.r, self.fs.inode_checksum_seed(self.node))?;
        // The place of the sum itself counts as zeros.
        let computed = crc32c(computed, &[reserved0, reserved1, reserved2, reserved3, 0, 0, 0, 0]);
        if computed == u32::from_le_bytes(sum) { Ok(()) } else { Err(mismatch) }
    }

    fn counts_offset(&self, logical: u64, head: &[u8; ROOT_HEAD]) -> Counts {
        let Ok((head, _)) = RawRootHead::ref_from_prefix(head) else {
            return Counts::Nowhere;
        };
        let first = self.rules.record_len(head.dot_record_len.get());
        if !self.is_indexed() || (logical != 0 && first != self.rules.limit) {
            Counts::Leaf
        } else if first == self.rules.limit {
            Counts::At(NODE_COUNTS)
        } else if head.is_root(self.rules.limit) {
            Counts::At(ROOT_COUNTS)
        } else {
            Counts::Nowhere
        }
    }
}

fn index_mismatch(place: BlockPlace) -> Error {
    Error::Checksum { what: "directory index block", at: place.physical }
}

/// Where a block has the counts of its pointers.
enum Counts {
    Leaf,
    At(u32),
    Nowhere,
}
