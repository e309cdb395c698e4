//! [`Ext4Node`]: what this file system keeps in the private words of a `Node`, and how to get at it.
//!
//! Who calls it: `inode` packs, everybody else unpacks. Pure functions, no memory.
//!
//! | words | content |
//! |---|---|
//! | 0–14 | `i_block` (values, host order) |
//! | 15 | `i_file_acl`, low half |
//! | 16 | `i_file_acl`, high 16 bits, in the low half; `i_extra_isize` in the high half |
//! | 17 | seed of the inode's checksums |
//! | 18–19 | byte of the device at which the inode is, low word first; bit 0, which is 0 in every such place, tells an inode that holds the value of an attribute |
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::layout::{BLOCK_BYTES, BLOCK_WORDS, inode_flags};
use rumpcap_vfs::{Node, NodePrivate};

/// What is kept in a node for this file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Private {
    /// `i_block`.
    pub block: [u32; BLOCK_WORDS],
    /// Block of extended attributes, 0 for none.
    pub file_acl: u64,
    /// Bytes of the inode in use behind the first 128; 0 for an inode of 128 bytes.
    pub extra_isize: u16,
    /// Seed of the inode's checksums.
    pub checksum_seed: u32,
    /// Byte of the device at which the inode is, a multiple of 128.
    pub place: u64,
    /// Whether it holds the value of an attribute: the one flag that is acted on and not shown to users.
    pub is_ea_inode: bool,
}

/// Bit of the low word of the place that keeps `is_ea_inode`.
const EA_INODE_BIT: u32 = 1;

impl Private {
    /// Packs it into the words of a node.
    pub fn pack(&self) -> NodePrivate {
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14] = self.block;
        let acl_hi = (self.file_acl >> 32) as u32 & 0xFFFF | u32::from(self.extra_isize) << 16;
        let place_lo = self.place as u32 & !EA_INODE_BIT | u32::from(self.is_ea_inode);
        let place_hi = (self.place >> 32) as u32;
        let (acl_lo, seed) = (self.file_acl as u32, self.checksum_seed);
        [
            b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, acl_lo, acl_hi, seed, place_lo,
            place_hi,
        ]
    }
}

/// The view of a node that this file system has.
pub trait Ext4Node {
    /// `i_block`: block map, root of the extents, short link target, device number, or inline data.
    fn block_words(&self) -> &[u32; BLOCK_WORDS];
    /// `i_block` as the bytes that it is on the device.
    fn block_bytes(&self) -> [u8; BLOCK_BYTES];
    /// Block of extended attributes, 0 for none.
    fn file_acl(&self) -> u64;
    /// Bytes of the inode in use behind the first 128; the in-inode attributes begin there.
    fn extra_isize(&self) -> u16;
    /// Seed of checksums of what belongs to this inode: directory and extent blocks.
    fn checksum_seed(&self) -> u32;
    /// Byte of the device at which the inode is.
    fn place(&self) -> u64;
    /// Whether all bits of `flag` (of `layout::inode_flags`, but `HUGE_FILE`, which is not kept) are set.
    fn has_flag(&self, flag: u32) -> bool;
    /// Whether the content is in the inode.
    fn is_inline(&self) -> bool {
        self.has_flag(inode_flags::INLINE_DATA)
    }
}

impl Ext4Node for Node {
    fn block_words(&self) -> &[u32; BLOCK_WORDS] {
        self.private.first_chunk().expect("20 private words hold 15")
    }

    fn block_bytes(&self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        for (to, word) in bytes.chunks_exact_mut(4).zip(self.block_words()) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn file_acl(&self) -> u64 {
        let [.., lo, hi, _, _, _] = self.private;
        u64::from(lo) | u64::from(hi & 0xFFFF) << 32
    }

    fn extra_isize(&self) -> u16 {
        let [.., hi, _, _, _] = self.private;
        (hi >> 16) as u16
    }

    fn checksum_seed(&self) -> u32 {
        let [.., seed, _, _] = self.private;
        seed
    }

    fn place(&self) -> u64 {
        let [.., lo, hi] = self.private;
        u64::from(lo & !EA_INODE_BIT) | u64::from(hi) << 32
    }

    fn has_flag(&self, flag: u32) -> bool {
        let [.., lo, _] = self.private;
        let hidden = if lo & EA_INODE_BIT != 0 { inode_flags::EA_INODE } else { 0 };
        (self.attributes.flags | hidden) & flag == flag
    }
}
