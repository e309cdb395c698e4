//! Nodes of a directory's hash tree: the raw head, and pointers read through pages.
//!
//! Who calls it: `htree` (and `dir::checksum` for the head). Pins one page, and one more while it verifies the block.
//!
//! A pointer is a hash and the block (of the directory) where names of that hash and above begin. The first pointer
//! has no hash: its place holds how many pointers there are (`count`) and could be (`limit`).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::dir::checksum::{NODE_COUNTS, ROOT_COUNTS};
use crate::dir::{BlockPlace, Dir, Verdict};
use crate::region::Window;
use rumpcap_host::{Error, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a pointer, and of the tail with the checksum.
pub(crate) const POINTER: u32 = 8;
/// Bits of a pointer that are a block number.
pub(crate) const BLOCK_MASK: u32 = 0x0FFF_FFFF;
/// Offset in a root of what the tree is.
pub(crate) const ROOT_INFO: u32 = 24;
/// Length of that, as it says itself.
pub(crate) const ROOT_INFO_LEN: u8 = 8;

/// The first bytes of a root.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RawRootHead {
    pub dot_inode: U32,
    pub dot_record_len: U16,
    pub dot_name: [u8; 6],
    pub dotdot_inode: U32,
    pub dotdot_record_len: U16,
    pub dotdot_name: [u8; 6],
    pub info: RawRootInfo,
    pub limit: U16,
    pub count: U16,
}

/// What a tree is.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RawRootInfo {
    pub reserved: U32,
    pub hash_version: u8,
    pub len: u8,
    pub indirect_levels: u8,
    pub flags: u8,
}

impl RawRootHead {
    /// Whether it is that of a root in blocks of `block_size` bytes.
    pub(crate) fn is_root(&self, block_size: u32) -> bool {
        u32::from(self.dot_record_len.get()) == 12
            && u32::from(self.dotdot_record_len.get()) == block_size.wrapping_sub(12)
            && self.info.is_known()
    }
}

impl RawRootInfo {
    fn is_known(&self) -> bool {
        self.reserved.get() == 0 && self.len == ROOT_INFO_LEN && self.flags & 1 == 0
    }
}

/// A pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer {
    pub hash: u32,
    pub block: u64,
}

/// A node, checked: `1 <= count <= limit`, and `limit` pointers fit into the block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexNode {
    pub place: BlockPlace,
    /// Offset of the counts, which take the place of the first pointer's hash.
    pub counts: u32,
    pub count: u32,
    /// Pointers that there is room for.
    pub limit: u32,
}

/// Reads pointers of one node; keeps the page of the last one pinned.
pub(super) struct Reader<'d, 'v> {
    dir: &'d Dir<'d, 'v>,
    place: BlockPlace,
    verdict: Verdict,
    window: Option<Window<'d>>,
}

impl<'d, 'v> Reader<'d, 'v> {
    pub(super) fn new(dir: &'d Dir<'d, 'v>, place: BlockPlace) -> Reader<'d, 'v> {
        Reader { dir, place, verdict: Verdict::Unknown, window: None }
    }

    /// The eight bytes at `at`, a multiple of eight: never across two pages.
    fn word(&mut self, at: u32) -> Result<[u8; POINTER as usize]> {
        let word_of = |window: &Window<'_>| {
            let within = at.checked_sub(window.base)? as usize;
            window.bytes().get(within..)?.first_chunk().copied()
        };
        if let Some(word) = self.window.as_ref().and_then(word_of) {
            return Ok(word);
        }
        // The page held so far is let go first: one pin at a time.
        self.window = None;
        let window = self.dir.block_window(self.place, at, &mut self.verdict)?;
        let word = word_of(&window);
        self.window = Some(window);
        word.ok_or(Error::Corrupt {
            what: "directory index: pointer past its block",
            at: self.place.physical,
        })
    }

    /// The root, and what its tree is; `None` when it is none.
    pub(super) fn root(&mut self) -> Result<Option<(IndexNode, RawRootInfo)>> {
        let info = RawRootInfo::read_from_bytes(&self.word(ROOT_INFO)?).ok();
        let Some(info) = info.filter(RawRootInfo::is_known) else {
            return Ok(None);
        };
        Ok(self.node(ROOT_COUNTS)?.map(|node| (node, info)))
    }

    /// A node that is not the root; `None` when it is none.
    pub(super) fn inner(&mut self) -> Result<Option<IndexNode>> {
        self.node(NODE_COUNTS)
    }

    fn node(&mut self, counts: u32) -> Result<Option<IndexNode>> {
        let [limit0, limit1, count0, count1, ..] = self.word(counts)?;
        let limit = u32::from(u16::from_le_bytes([limit0, limit1]));
        let count = u32::from(u16::from_le_bytes([count0, count1]));
        let tail = if self.dir.fs.sb.features.has_metadata_csum() { POINTER } else { 0 };
        let room = self.dir.rules.limit.saturating_sub(counts).saturating_sub(tail) / POINTER;
        let holds = limit == room && (1..=limit).contains(&count);
        Ok(holds.then_some(IndexNode { place: self.place, counts, count, limit }))
    }

    /// Pointer `index` of `node`, which is this reader's; the hash of pointer 0 is none.
    pub(super) fn pointer(&mut self, node: &IndexNode, index: u32) -> Result<Pointer> {
        let [h0, h1, h2, h3, b0, b1, b2, b3] =
            self.word(node.counts.saturating_add(index.saturating_mul(POINTER)))?;
        let block = u64::from(u32::from_le_bytes([b0, b1, b2, b3]) & BLOCK_MASK);
        Ok(Pointer { hash: u32::from_le_bytes([h0, h1, h2, h3]), block })
    }
}

const _: () = assert!(size_of::<RawRootHead>() == 36);
