//! The checksums of a journal.
//!
//! CRC-32C here is without the inversions before and after, as ext4 and JBD2 chain it.

use super::format::{MAGIC, SuperBlock};
use crc::{CRC_32_MPEG_2, Crc, Digest};
use zerocopy::IntoBytes;

/// CRC-32C of `bytes` going on from `crc`.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}

/// Most significant bit first, begins with all ones, ends as it is: what checksum version 1 takes.
static CRC32_BIG_ENDIAN: Crc<u32> = Crc::<u32>::new(&CRC_32_MPEG_2);

/// A checksum of version 1, over the descriptors and blocks of one transaction.
pub(super) fn version1() -> Digest<'static, u32> {
    CRC32_BIG_ENDIAN.digest()
}

/// CRC-32C of a block in which a field of four bytes at `field` counts as zero; fed with the block piece by piece.
pub(super) struct BlockChecksum {
    crc: u32,
    at: usize,
    field: usize,
}

impl BlockChecksum {
    pub(super) fn new(seed: u32, field: usize) -> BlockChecksum {
        BlockChecksum { crc: seed, at: 0, field }
    }

    /// Takes the next piece, which lies on whole words as all pieces do.
    pub(super) fn update(&mut self, piece: &[u8]) {
        let end = self.at.saturating_add(piece.len());
        if self.field < self.at || self.field >= end {
            self.crc = crc32c(self.crc, piece);
        } else {
            let (before, rest) = piece.split_at(self.field.saturating_sub(self.at));
            let behind = rest.get(4..).unwrap_or_default();
            self.crc = crc32c(crc32c(crc32c(self.crc, before), &[0; 4]), behind);
        }
        self.at = end;
    }

    pub(super) fn finish(self) -> u32 {
        self.crc
    }
}

/// The checksum that a journal's super block should have.
pub(super) fn of_super_block(sb: &SuperBlock) -> u32 {
    debug_assert_eq!(sb.magic.get(), MAGIC);
    let mut sum = BlockChecksum::new(!0, core::mem::offset_of!(SuperBlock, checksum));
    sum.update(sb.as_bytes());
    sum.finish()
}
