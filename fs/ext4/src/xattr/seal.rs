//! What a place of attributes says of itself: magic numbers, hashes, checksums.
//!
//! Who calls it: `store`, `draft` for hashes of entries; `mkfs`. Pure functions.
//!
//! Names are hashed as of unsigned characters, as the kernel does it everywhere by now.
#![deny(clippy::indexing_slicing)]
// What is added here are offsets of fields.
#![allow(clippy::arithmetic_side_effects)]

use super::draft::{Draft, Form};
use super::{BLOCK_HEAD, INODE_HEAD};
use crate::checksum::crc32c;
use crate::layout::{RawXattrHeader, XATTR_MAGIC};
use core::mem::offset_of;
use core::ops::Range;
use zerocopy::IntoBytes;

impl Draft {
    /// Puts what comes before the entries: in a block its hash and its checksum for block `number` too, and that nobody shares it.
    pub fn seal(&mut self, number: u64, checksum_seed: Option<u32>) {
        if self.form == Form::Inode {
            let magic = if self.is_empty() { 0 } else { XATTR_MAGIC };
            self.part(0..INODE_HEAD as usize).copy_from_slice(&magic.to_le_bytes());
            return;
        }
        let head = RawXattrHeader {
            magic: XATTR_MAGIC.into(),
            reference_count: 1.into(),
            blocks: 1.into(),
            hash: self.block_hash().into(),
            checksum: 0.into(),
            reserved: [0.into(); 3],
        };
        self.part(0..BLOCK_HEAD as usize).copy_from_slice(head.as_bytes());
        if let Some(seed) = checksum_seed {
            let sum = block_checksum(self.bytes(), number, seed);
            self.part(CHECKSUM).copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// The hash by which the kernel finds blocks that can be shared; 0 if an entry has none.
    fn block_hash(&self) -> u32 {
        let hashes = self.entries().map(|entry| entry.head.hash.get());
        let sum = hashes.map(|hash| (hash != 0).then_some(hash));
        sum.reduce(|sum, hash| Some(sum?.rotate_left(16) ^ hash?)).flatten().unwrap_or(0)
    }
}

/// Where the checksum of a block is.
const CHECKSUM: Range<usize> = offset_of!(RawXattrHeader, checksum)..offset_of!(RawXattrHeader, checksum) + 4;

/// The checksum of block `number`: over its number, and its bytes with the checksum taken as 0.
pub(super) fn block_checksum(bytes: &[u8], number: u64, seed: u32) -> u32 {
    let sum = crc32c(seed, &number.to_le_bytes());
    let sum = crc32c(sum, bytes.get(..CHECKSUM.start).unwrap_or_default());
    crc32c(crc32c(sum, &[0; 4]), bytes.get(CHECKSUM.end..).unwrap_or_default())
}

/// The hash of an entry: five bits for each byte of the name behind its prefix, sixteen for each word of the value.
pub(crate) fn entry_hash(suffix: &[u8], padded_value: &[u8]) -> u32 {
    let hash = suffix.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    let words = padded_value.as_chunks().0.iter();
    words.fold(hash, |hash, word| hash.rotate_left(16) ^ u32::from_le_bytes(*word))
}
