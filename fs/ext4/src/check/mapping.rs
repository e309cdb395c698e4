//! Walks over all that an inode maps, block map or extent tree, and goes on behind damage.
//!
//! Who calls it: `inode` to claim blocks, `directory` to read them. Whom it calls: `vm`.
//!
//! What cannot be followed is told and passed over. Bounds: keys of an extent tree ascend strictly, and a node is entered only where
//! its first key is the one that led to it, so each is entered once for each level; a block map may not have more
//! entries than the file system has blocks. Recursion: five levels at most.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, Telling, u16_at, u32_at};
use super::finding::{Detail, Place};
use super::live::Live;
use crate::layout::{BLOCK_BYTES, EXTENT_ENTRY_BYTES, EXTENT_INITIALIZED_MAX, EXTENT_MAGIC, inode_flags};
use crate::region::Region;
use core::ops::{ControlFlow, Range};
use rumpcap_host::Result;
use rumpcap_vm::PAGE_SIZE;

/// Levels of an extent tree below its root.
const DEPTH_MAX: u16 = 5;
/// Blocks that an inode's block map names itself, and how.
const DIRECT: usize = 12;
const INDIRECT_LEVELS: u32 = 3;

/// What an inode takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A block of the map itself.
    Tree(u64),
    /// Blocks of content.
    Data { logical: u64, first: u64, count: u64, written: Written },
}

/// Whether content has been written, or only has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    No,
}

/// Takes pieces; may break to end the walk.
pub(super) type Visit<'f> = dyn FnMut(&mut Context<'_, '_>, Piece) -> Result<ControlFlow<()>> + 'f;

/// Hands all pieces of `live` to `visit`.
pub(super) fn for_each(cx: &mut Context<'_, '_>, live: &Live, visit: &mut Visit<'_>) -> Result<()> {
    if live.has_flag(inode_flags::EXTENTS) {
        let root = Node { live, block: None, first_key: None, depth: None };
        let _ = root.walk(cx, 0..1 << 32, visit)?;
        return Ok(());
    }
    let mut map = BlockMap { live, left: cx.sb.blocks_count };
    map.walk(cx, visit)
}

/// As [`for_each`], of an inode whose map has been told about before.
pub(super) fn for_each_silently(cx: &mut Context<'_, '_>, live: &Live, visit: &mut Visit<'_>) -> Result<()> {
    let telling = cx.telling;
    cx.telling = Telling::Repeated;
    let mut visit = |cx: &mut Context<'_, '_>, piece| {
        cx.telling = telling;
        let flow = visit(cx, piece);
        cx.telling = Telling::Repeated;
        flow
    };
    let result = for_each(cx, live, &mut visit);
    cx.telling = telling;
    result
}

/// The block of the device that holds the first of `live`, whatever else its map has wrong.
pub(super) fn first_block(cx: &mut Context<'_, '_>, live: &Live) -> Result<Option<u64>> {
    let mut found = None;
    for_each_silently(cx, live, &mut |_, piece| match piece {
        Piece::Data { logical: 0, first, .. } => {
            found = Some(first);
            Ok(ControlFlow::Break(()))
        }
        Piece::Data { .. } => Ok(ControlFlow::Break(())),
        Piece::Tree(_) => Ok(ControlFlow::Continue(())),
    })?;
    Ok(found)
}

/// A node of an extent tree.
struct Node<'l> {
    live: &'l Live,
    /// Its block; `None` for the root.
    block: Option<u64>,
    /// The key that led to it.
    first_key: Option<u32>,
    /// What its depth must be.
    depth: Option<u16>,
}

/// A checked header.
struct Header {
    entries: u16,
    depth: u16,
}

impl Node<'_> {
    fn place(&self) -> Place {
        match self.block {
            None => Place::Inode(self.live.ino),
            Some(block) => Place::InodeBlock { ino: self.live.ino, block },
        }
    }

    fn piece(&self, cx: &Context<'_, '_>, at: u16) -> Result<[u8; EXTENT_ENTRY_BYTES]> {
        let at = usize::from(at).saturating_mul(EXTENT_ENTRY_BYTES);
        let mut piece = [0; EXTENT_ENTRY_BYTES];
        match self.block {
            None => {
                let bytes = self.live.block_bytes();
                let from = bytes.get(at..).unwrap_or_default();
                piece.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            Some(block) => {
                let start = cx.fs.byte_of(block, 0)?.saturating_add(at as u64);
                cx.fs.device.copy(cx.r, start, &mut piece)?;
            }
        }
        Ok(piece)
    }

    fn header(&self, cx: &mut Context<'_, '_>) -> Result<Option<Header>> {
        let raw = self.piece(cx, 0)?;
        let (magic, entries, max, depth) =
            (u16_at(&raw, 0), u16_at(&raw, 2), u16_at(&raw, 4), u16_at(&raw, 6));
        let bytes = if self.block.is_none() { BLOCK_BYTES } else { cx.sb.block_size as usize };
        let capacity = bytes.saturating_sub(EXTENT_ENTRY_BYTES) / EXTENT_ENTRY_BYTES;
        if magic != EXTENT_MAGIC {
            cx.find(self.place(), "extent tree: no magic number", Detail::Nothing);
        } else if entries > max || max == 0 || usize::from(max) > capacity {
            cx.find(self.place(), "extent tree: number of entries", Detail::Is(entries.into()));
        } else if depth > DEPTH_MAX || self.depth.is_some_and(|expected| expected != depth) {
            cx.find(self.place(), "extent tree: depth", Detail::Is(depth.into()));
        } else {
            if entries == 0 && (depth > 0 || self.block.is_some()) {
                cx.find(self.place(), "extent tree: node without entries", Detail::Nothing);
            }
            self.check_sum(cx, max)?;
            return Ok(Some(Header { entries, depth }));
        }
        Ok(None)
    }

    fn check_sum(&self, cx: &mut Context<'_, '_>, max: u16) -> Result<()> {
        let Some(block) = self.block.filter(|_| cx.sb.features.has_metadata_csum()) else { return Ok(()) };
        let covered = u32::from(max).saturating_add(1).saturating_mul(EXTENT_ENTRY_BYTES as u32);
        let region = Region { start: cx.fs.byte_of(block, 0)?, len: cx.sb.block_size };
        let (Some(sum), Some(covered)) = (region.part(covered, 4), region.part(0, covered)) else {
            return Ok(());
        };
        let mut stored = [0; 4];
        sum.read(cx.fs, cx.r, &mut stored)?;
        if covered.crc32c(cx.fs, cx.r, self.live.seed)? != u32::from_le_bytes(stored) {
            cx.find(self.place(), "extent tree: wrong checksum", Detail::Nothing);
        }
        Ok(())
    }

    /// Hands what is below to `visit`; `range` are the logical blocks that it may map.
    fn walk(
        &self,
        cx: &mut Context<'_, '_>,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let Some(header) = self.header(cx)? else { return Ok(ControlFlow::Continue(())) };
        let mut free = range.start;
        for at in 1..=header.entries {
            let entry = self.piece(cx, at)?;
            let key = u32_at(&entry, 0);
            let logical = u64::from(key);
            if at == 1 && self.first_key.is_some_and(|first| first != key) {
                let should_be = self.first_key.unwrap_or(0).into();
                cx.find(self.place(), "extent tree: first key", Detail::ShouldBe { is: logical, should_be });
                return Ok(ControlFlow::Continue(()));
            }
            if logical < free || logical >= range.end {
                cx.find(self.place(), "extent tree: key out of order:", Detail::Number(logical));
                continue;
            }
            let flow = if header.depth == 0 {
                let (end, flow) = self.leaf(cx, &entry, range.end, visit)?;
                free = end;
                flow
            } else {
                free = logical.saturating_add(1);
                let behind = match at < header.entries {
                    true => u64::from(u32_at(&self.piece(cx, at.saturating_add(1))?, 0)),
                    false => range.end,
                };
                self.child(cx, &entry, header.depth, logical..behind.min(range.end), visit)?
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn child(
        &self,
        cx: &mut Context<'_, '_>,
        entry: &[u8],
        depth: u16,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let block = u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32;
        if !cx.is_block(block) {
            cx.find(self.place(), "extent tree: block outside of the file system:", Detail::Number(block));
            return Ok(ControlFlow::Continue(()));
        }
        let flow = visit(cx, Piece::Tree(block))?;
        if flow.is_break() {
            return Ok(flow);
        }
        let first_key = Some(u32_at(entry, 0));
        let node = Node { live: self.live, block: Some(block), first_key, depth: depth.checked_sub(1) };
        node.walk(cx, range, visit)
    }

    /// Hands a leaf over; gives the logical block behind it.
    fn leaf(
        &self,
        cx: &mut Context<'_, '_>,
        entry: &[u8],
        end: u64,
        visit: &mut Visit<'_>,
    ) -> Result<(u64, ControlFlow<()>)> {
        let (logical, len) = (u64::from(u32_at(entry, 0)), u16_at(entry, 4));
        let written = if len <= EXTENT_INITIALIZED_MAX { Written::Yes } else { Written::No };
        let count =
            u64::from(if written == Written::Yes { len } else { len.wrapping_sub(EXTENT_INITIALIZED_MAX) });
        let first = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
        let (behind, last) = (logical.saturating_add(count), first.saturating_add(count).saturating_sub(1));
        let done = Ok((behind.max(logical.saturating_add(1)), ControlFlow::Continue(())));
        if count == 0 || behind > end {
            cx.find(self.place(), "extent: length", Detail::Is(count));
            return done;
        }
        if !cx.is_block(first) || !cx.is_block(last) {
            cx.find(self.place(), "extent: blocks outside of the file system", Detail::Run { first, count });
            return done;
        }
        let mask = (1u64 << cx.sb.cluster_log).saturating_sub(1);
        if (first ^ logical) & mask != 0 {
            cx.find(self.place(), "extent: not aligned in its cluster:", Detail::Number(first));
        }
        Ok((behind, visit(cx, Piece::Data { logical, first, count, written })?))
    }
}

/// A block map.
struct BlockMap<'l> {
    live: &'l Live,
    /// Entries that it may yet have.
    left: u64,
}

impl BlockMap<'_> {
    fn walk(&mut self, cx: &mut Context<'_, '_>, visit: &mut Visit<'_>) -> Result<()> {
        let per_block = u64::from(cx.sb.block_size / 4);
        let words = self.live.raw.block;
        let mut logical = 0_u64;
        for (slot, word) in words.iter().enumerate() {
            let levels = slot.saturating_add(1).saturating_sub(DIRECT) as u32;
            if self.entry(cx, word.get(), levels, logical, visit)?.is_break() {
                return Ok(());
            }
            logical = logical.saturating_add(per_block.saturating_pow(levels));
        }
        Ok(())
    }

    /// Hands over what is below `number`, `levels` blocks of numbers deep.
    fn entry(
        &mut self,
        cx: &mut Context<'_, '_>,
        number: u32,
        levels: u32,
        logical: u64,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let block = u64::from(number);
        let place = Place::Inode(self.live.ino);
        if number == 0 || levels > INDIRECT_LEVELS {
            return Ok(ControlFlow::Continue(()));
        }
        if !cx.is_block(block) {
            cx.find(place, "block map: block outside of the file system:", Detail::Number(block));
            return Ok(ControlFlow::Continue(()));
        }
        let Some(left) = self.left.checked_sub(1) else {
            cx.find(place, "block map: more entries than there are blocks", Detail::Nothing);
            return Ok(ControlFlow::Break(()));
        };
        self.left = left;
        if levels == 0 {
            return visit(cx, Piece::Data { logical, first: block, count: 1, written: Written::Yes });
        }
        let flow = visit(cx, Piece::Tree(block))?;
        if flow.is_break() {
            return Ok(flow);
        }
        self.below(cx, block, levels, logical, visit)
    }

    fn below(
        &mut self,
        cx: &mut Context<'_, '_>,
        block: u64,
        levels: u32,
        logical: u64,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        /// Numbers that are copied at a time.
        const CHUNK: usize = 64;
        let deeper = levels.saturating_sub(1);
        let span = u64::from(cx.sb.block_size / 4).saturating_pow(deeper);
        let start = cx.fs.byte_of(block, 0)?;
        let mut logical = logical;
        for at in (0..u64::from(cx.sb.block_size)).step_by(CHUNK.saturating_mul(4)) {
            let mut chunk = [0; CHUNK * 4];
            const _: () = assert!(PAGE_SIZE.is_multiple_of(CHUNK * 4));
            cx.fs.device.copy(cx.r, start.saturating_add(at), &mut chunk)?;
            for word in chunk.as_chunks::<4>().0 {
                let number = u32::from_le_bytes(*word);
                let flow = self.entry(cx, number, deeper, logical, visit)?;
                if flow.is_break() {
                    return Ok(flow);
                }
                logical = logical.saturating_add(span);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
