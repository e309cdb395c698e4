//! The hash tree of a directory: counts, order, that each block has its place in it once, and names where their hash says.
//!
//! Who calls it: `pass2`, once for each indexed directory. Whom it calls: `map` for blocks, `hash` and `dir` for hashes.
//!
//! Bounds: three levels; a block that was reached before is not entered again. A bit stands for each block of a directory of up to
//! 32,768; of a larger one blocks are only counted.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, u16_at, u32_at};
use super::directory::is_node;
use super::finding::{Detail, Place};
use super::live::Live;
use super::memory::Scratch;
use crate::dir::Wanted;
use crate::dir::checksum::{NODE_COUNTS, ROOT_COUNTS};
use crate::dir::entry::Rules;
use crate::hash::{CharSign, HashVersion, NameHasher};
use crate::htree::RawRootHead;
use crate::layout::inode_flags;
use core::ops::RangeInclusive;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node};
use zerocopy::FromBytes;

/// Hash that is above that of every name.
const HASH_END: u32 = 0xFFFF_FFFE;
/// Bytes of a pointer.
const POINTER: usize = 8;
const BLOCK_MASK: u32 = 0x0FFF_FFFF;

/// A tree that is being checked.
struct Tree<'t> {
    live: &'t Live,
    node: Node,
    hasher: NameHasher,
    blocks: u64,
    reached: u64,
}

/// A node of it.
struct Inner {
    logical: u64,
    physical: u64,
    counts: u32,
    /// Levels below it, the leaves not counted.
    levels: u8,
}

/// Checks the tree of `live`.
pub(super) fn check(cx: &mut Context<'_, '_>, live: &Live, scratch: &mut Scratch<'_>) -> Result<()> {
    let place = Place::Directory { ino: live.ino, block: 0 };
    // A directory that cannot be read by its inode has been told about.
    let Some(node) = if_sound(cx.fs.inode(cx.r, InodeNo(live.ino.into()), 0))? else { return Ok(()) };
    let Some(physical) = if_sound(cx.fs.map_block(cx.r, &node, 0))?.flatten() else { return Ok(()) };
    cx.read(physical, scratch.block)?;
    let Ok((head, _)) = RawRootHead::ref_from_prefix(scratch.block) else { return Ok(()) };
    let info = head.info;
    if live.has_flag(inode_flags::ENCRYPT) && live.has_flag(inode_flags::CASEFOLD) {
        return Ok(());
    }
    let most = if cx.sb.features.has_large_dir() { 2 } else { 1 };
    let Some(version) = HashVersion::from_raw(info.hash_version) else {
        cx.find(place, "index: hash function", Detail::Is(info.hash_version.into()));
        return Ok(());
    };
    if !head.is_root(cx.sb.block_size) {
        cx.find(place, "index: no root", Detail::Nothing);
        return Ok(());
    }
    if info.indirect_levels > most {
        cx.find(place, "index: levels", Detail::Is(info.indirect_levels.into()));
        return Ok(());
    }
    let sign = if cx.sb.hash_unsigned { CharSign::Unsigned } else { CharSign::Signed };
    let hasher = NameHasher { version, sign, seed: cx.sb.hash_seed };
    let blocks = live.size() >> cx.sb.block_log;
    scratch.seen.fill(0);
    let mut tree = Tree { live, node, hasher, blocks, reached: 1 };
    let root = Inner { logical: 0, physical, counts: ROOT_COUNTS, levels: info.indirect_levels };
    let _ = tree.is_first_visit(scratch.seen, 0);
    tree.inner(cx, scratch, &root, 0..=HASH_END)?;
    if tree.reached < blocks {
        let missing = (0..blocks).find(|block| tree.is_first_visit(scratch.seen, *block));
        cx.find(place, "index: block without a place in the tree:", Detail::Number(missing.unwrap_or(0)));
    }
    Ok(())
}

/// What a reader of this crate found; `None` where it met damage, which the passes tell by themselves. That the device failed is an
/// error.
fn if_sound<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ (Error::Io { .. } | Error::ShortDevice { .. })) => Err(error),
        Err(_) => Ok(None),
    }
}

impl Tree<'_> {
    fn place(&self, block: u64) -> Place {
        Place::Directory { ino: self.live.ino, block }
    }

    /// Notes `block`; whether it had not been noted, as far as there are bits.
    fn is_first_visit(&self, seen: &mut [u8], block: u64) -> bool {
        let Some(byte) = seen.get_mut((block >> 3) as usize) else { return true };
        let bit = 1 << (block & 7);
        let was = *byte & bit != 0;
        *byte |= bit;
        !was
    }

    fn pointer(&self, cx: &Context<'_, '_>, node: &Inner, at: u32) -> Result<(u32, u64)> {
        let mut word = [0; POINTER];
        let within = node.counts.saturating_add(at.saturating_mul(POINTER as u32));
        cx.fs.device.copy(cx.r, cx.fs.byte_of(node.physical, within)?, &mut word)?;
        Ok((u32_at(&word, 0), u64::from(u32_at(&word, 4) & BLOCK_MASK)))
    }

    fn inner(
        &mut self,
        cx: &mut Context<'_, '_>,
        scratch: &mut Scratch<'_>,
        node: &Inner,
        range: RangeInclusive<u32>,
    ) -> Result<()> {
        let mut counts = [0; 4];
        cx.fs.device.copy(cx.r, cx.fs.byte_of(node.physical, node.counts)?, &mut counts)?;
        let (limit, count) = (u32::from(u16_at(&counts, 0)), u32::from(u16_at(&counts, 2)));
        let tail = if cx.sb.features.has_metadata_csum() { POINTER as u32 } else { 0 };
        let room =
            cx.sb.block_size.saturating_sub(node.counts).saturating_sub(tail) >> POINTER.trailing_zeros();
        if limit != room {
            let detail = Detail::ShouldBe { is: limit.into(), should_be: room.into() };
            cx.find(self.place(node.logical), "index: limit", detail);
            return Ok(());
        }
        if count == 0 || count > limit {
            cx.find(self.place(node.logical), "index: count", Detail::Is(count.into()));
            return Ok(());
        }
        let mut before = *range.start();
        for at in 0..count {
            let (hash, block) = self.pointer(cx, node, at)?;
            let first = if at == 0 { *range.start() } else { hash & !1 };
            let last = match at.saturating_add(1) {
                behind if behind < count => self.pointer(cx, node, behind)?.0 & !1,
                _ => *range.end(),
            };
            if first < before || first > *range.end() {
                cx.find(
                    self.place(node.logical),
                    "index: hash out of order at pointer",
                    Detail::Number(at.into()),
                );
            }
            before = first;
            self.child(cx, scratch, node, block, first..=last)?;
            if cx.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        cx: &mut Context<'_, '_>,
        scratch: &mut Scratch<'_>,
        node: &Inner,
        block: u64,
        range: RangeInclusive<u32>,
    ) -> Result<()> {
        let place = self.place(node.logical);
        if block >= self.blocks {
            cx.find(place, "index: pointer past the directory:", Detail::Number(block));
            return Ok(());
        }
        if !self.is_first_visit(scratch.seen, block) || self.reached > self.blocks {
            cx.find(place, "index: a second pointer to block", Detail::Number(block));
            return Ok(());
        }
        self.reached = self.reached.saturating_add(1);
        // A hole has been told about.
        let found = if_sound(cx.fs.map_block(cx.r, &self.node, block))?;
        let Some(physical) = found.flatten() else { return Ok(()) };
        cx.read(physical, scratch.block)?;
        let is_inner = is_node(cx, scratch.block);
        let Some(levels) = node.levels.checked_sub(1) else {
            if is_inner {
                cx.find(self.place(block), "index: a node where a leaf should be", Detail::Nothing);
            } else {
                self.leaf(cx, block, scratch.block, range);
            }
            return Ok(());
        };
        if !is_inner {
            cx.find(self.place(block), "index: no node where one should be", Detail::Nothing);
            return Ok(());
        }
        self.inner(cx, scratch, &Inner { logical: block, physical, counts: NODE_COUNTS, levels }, range)
    }

    /// All names of a leaf have their hash in `range`.
    fn leaf(&self, cx: &mut Context<'_, '_>, logical: u64, bytes: &[u8], range: RangeInclusive<u32>) {
        let rules = Rules { limit: bytes.len() as u32, inodes_count: u32::MAX };
        let mut outside = [0_u8; 255];
        let mut found = None;
        let mut at = 0;
        let _ = rules.walk(bytes, 0, &mut at, 0, |entry| {
            if !range.contains(&self.hash(cx, entry.name)) {
                let len = entry.name.len().min(outside.len());
                outside.iter_mut().zip(entry.name).for_each(|(to, from)| *to = *from);
                found = Some(len);
                return core::ops::ControlFlow::Break(());
            }
            core::ops::ControlFlow::Continue(())
        });
        if let Some(len) = found {
            let name = outside.get(..len).unwrap_or_default();
            cx.find_named(
                self.place(logical),
                "index: name in a leaf that has other hashes",
                Detail::Nothing,
                name,
            );
        }
    }

    fn hash(&self, cx: &Context<'_, '_>, name: &[u8]) -> u32 {
        if !self.live.has_flag(inode_flags::CASEFOLD) || !cx.sb.features.has_casefold() {
            return self.hasher.hash(name);
        }
        match Wanted::folded(name, cx.sb.encoding, cx.sb.encoding_flags) {
            Ok(wanted) => self.hasher.hash(wanted.hashed_bytes()),
            Err(_) => self.hasher.hash(name),
        }
    }
}
