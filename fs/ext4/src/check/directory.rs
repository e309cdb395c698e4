//! A directory's blocks and entries: records, names, `.` and `..`, file types, checksums.
//!
//! Who calls it: `pass2`, for each directory once for each window of inodes. Whom it calls: `mapping`, `slots`.
//!
//! What entries have wrong by themselves is told in the first window; what the inodes that they name say is told in the
//! window that has those inodes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::attributes;
use super::context::{Context, Telling, u16_at, u32_at};
use super::finding::{Detail, Place};
use super::live::{Live, number};
use super::mapping::{self, Piece};
use super::slots::{Slots, state};
use crate::checksum::crc32c;
use crate::dir::checksum::{NODE_COUNTS, ROOT_COUNTS};
use crate::dir::entry::{Rules, is_path_component};
use crate::layout::{BLOCK_BYTES, DIR_TAIL_FILE_TYPE, inode_flags};
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};

/// Bytes of a record's head, and the least of all of it.
const HEAD: usize = 8;
const RECORD_MIN: usize = 12;
/// Bytes of the fake entry with the checksum.
const TAIL: usize = 12;
/// Bytes of an inline directory's parent number.
const PARENT: usize = 4;
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A directory that is being scanned.
pub(super) struct Scan<'s, 'w> {
    pub live: &'s Live,
    pub slots: &'s mut Slots<'w>,
    /// Bits of the hashes of the names of a block.
    pub names: &'s mut [u8],
    /// The inode of `lost+found`, in the root.
    pub lost_and_found: u32,
    /// Blocks by the size.
    blocks: u64,
    /// First logical block that has not come yet.
    next: u64,
    /// What the device said when a descriptor was looked at.
    failure: Option<Error>,
}

/// A record in use.
struct Entry<'b> {
    ino: u32,
    file_type: u8,
    name: &'b [u8],
    /// Which of the directory it is, counted from 0; those not in use count.
    number: usize,
    len: usize,
}

impl<'s, 'w> Scan<'s, 'w> {
    pub fn new(
        cx: &Context<'_, '_>,
        live: &'s Live,
        slots: &'s mut Slots<'w>,
        names: &'s mut [u8],
    ) -> Scan<'s, 'w> {
        let blocks = live.size() >> cx.sb.block_log;
        Scan { live, slots, names, lost_and_found: 0, blocks, next: 0, failure: None }
    }

    fn place(&self, logical: u64) -> Place {
        Place::Directory { ino: self.live.ino, block: logical }
    }

    /// Scans all of it. `bytes` is all of the inode, `block` room for a block.
    pub fn run(&mut self, cx: &mut Context<'_, '_>, bytes: &mut [u8], block: &mut [u8]) -> Result<()> {
        if self.live.has_flag(inode_flags::INLINE_DATA) {
            self.inline(cx, bytes, block);
            return self.failure.map_or(Ok(()), Err);
        }
        let live = *self.live;
        mapping::for_each_silently(cx, &live, &mut |cx, piece| {
            let Piece::Data { logical, first, count, .. } = piece else {
                return Ok(ControlFlow::Continue(()));
            };
            for (logical, physical) in (logical..).zip(first..first.saturating_add(count)) {
                if logical >= self.blocks || cx.is_stopped() {
                    return Ok(ControlFlow::Break(()));
                }
                self.hole(cx, logical);
                cx.read(physical, block)?;
                self.block(cx, logical, block);
                self.next = logical.saturating_add(1);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.hole(cx, self.blocks);
        if self.next == 0 {
            cx.find(self.place(0), "a directory without blocks", Detail::Nothing);
        }
        self.failure.map_or(Ok(()), Err)
    }

    /// Tells of blocks missing before `logical`.
    fn hole(&self, cx: &mut Context<'_, '_>, logical: u64) {
        if logical > self.next {
            let count = logical.saturating_sub(self.next);
            cx.find(
                Place::Inode(self.live.ino),
                "blocks of a directory are missing",
                Detail::Run { first: self.next, count },
            );
        }
    }

    fn block(&mut self, cx: &mut Context<'_, '_>, logical: u64, bytes: &[u8]) {
        let is_indexed = self.live.has_flag(inode_flags::INDEX) && cx.sb.features.has_dir_index();
        let has_sums = cx.sb.features.has_metadata_csum();
        if is_indexed && (logical == 0 || is_node(cx, bytes)) {
            let counts = if logical == 0 { ROOT_COUNTS } else { NODE_COUNTS };
            if has_sums && !self.is_node_sum_right(bytes, counts as usize) {
                cx.find(self.place(logical), "index: wrong checksum", Detail::Nothing);
            }
            if logical == 0 {
                self.records(cx, logical, bytes.get(..counts as usize).unwrap_or_default(), bytes.len());
            }
            return;
        }
        if has_sums {
            self.check_leaf_sum(cx, logical, bytes);
        }
        self.records(cx, logical, bytes, bytes.len());
    }

    fn check_leaf_sum(&self, cx: &mut Context<'_, '_>, logical: u64, bytes: &[u8]) {
        let (covered, tail) = bytes.split_at_checked(bytes.len().saturating_sub(TAIL)).unwrap_or_default();
        let is_tail = u32_at(tail, 0) == 0
            && usize::from(u16_at(tail, 4)) == TAIL
            && tail.get(6..8) == Some(&[0, DIR_TAIL_FILE_TYPE]);
        if !is_tail {
            cx.find(self.place(logical), "no checksum at the end of the block", Detail::Nothing);
        } else if crc32c(self.live.seed, covered) != u32_at(tail, 8) {
            cx.find(self.place(logical), "wrong checksum", Detail::Nothing);
        }
    }

    fn is_node_sum_right(&self, bytes: &[u8], counts: usize) -> bool {
        let end = |n: u16| usize::from(n).saturating_mul(8).saturating_add(counts);
        let covered = bytes.get(..end(u16_at(bytes, counts.saturating_add(2))));
        let tail = bytes.get(end(u16_at(bytes, counts))..).and_then(|rest| rest.get(..8));
        let (Some(covered), Some(tail)) = (covered, tail) else { return false };
        let sum = crc32c(self.live.seed, covered);
        let sum = crc32c(crc32c(sum, tail.get(..4).unwrap_or_default()), &[0; 4]);
        sum == u32_at(tail, 4)
    }

    /// The records of `bytes`; lengths may go up to `limit`, beyond what is in `bytes`.
    fn records(&mut self, cx: &mut Context<'_, '_>, logical: u64, bytes: &[u8], limit: usize) {
        let rules = Rules { limit: limit as u32, inodes_count: cx.sb.inodes_count };
        let (mut at, mut number) = (0_usize, 0_usize);
        self.names.fill(0);
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.len() < HEAD {
                cx.find(self.place(logical), "entry past the end, at byte", Detail::Number(at as u64));
                return;
            }
            let len = rules.record_len(u16_at(rest, 4)) as usize;
            let (name_len, file_type) =
                (rest.get(6).copied().unwrap_or(0), rest.get(7).copied().unwrap_or(0));
            let end = at.saturating_add(len);
            let left = limit.saturating_sub(end);
            let name = rest.get(HEAD..HEAD.saturating_add(name_len.into()));
            let is_whole = len >= RECORD_MIN
                && len.is_multiple_of(4)
                && end <= limit
                && (left == 0 || left >= RECORD_MIN)
                && len >= HEAD.saturating_add(name_len.into());
            let Some(name) = name.filter(|_| is_whole) else {
                cx.find(self.place(logical), "length of the entry at byte", Detail::Number(at as u64));
                return;
            };
            let entry = Entry { ino: u32_at(rest, 0), file_type, name, number, len };
            self.entry(cx, logical, bytes, at, &entry);
            number = number.saturating_add(1);
            at = end;
        }
    }

    fn entry(&mut self, cx: &mut Context<'_, '_>, logical: u64, bytes: &[u8], at: usize, entry: &Entry<'_>) {
        let place = self.place(logical);
        match (logical, entry.number) {
            (0, 0) => return self.dot(cx, entry),
            (0, 1) => return self.dotdot(cx, entry.ino, Some(entry)),
            _ if entry.ino == 0 => return,
            _ => {}
        }
        let named = |cx: &mut Context<'_, '_>, what, detail| cx.find_named(place, what, detail, entry.name);
        let is_encrypted = self.live.has_flag(inode_flags::ENCRYPT);
        if entry.name.is_empty() {
            named(cx, "entry without a name", Detail::Nothing);
        } else if entry.name == b"." || entry.name == b".." {
            named(cx, "a second entry of this name", Detail::Nothing);
        } else if !is_encrypted && !is_path_component(entry.name) {
            named(cx, "name with a slash or NUL", Detail::Nothing);
        }
        let is_number = entry.ino <= cx.sb.inodes_count;
        if !is_number || (entry.ino < cx.first_inode() && entry.ino != number::ROOT) {
            named(cx, "entry names the inode", Detail::Number(entry.ino.into()));
            return;
        }
        if entry.ino == number::ROOT {
            named(cx, "entry names the root", Detail::Nothing);
            return;
        }
        if cx.telling == Telling::First && self.is_second(bytes, at, entry) {
            named(cx, "a second entry of this name", Detail::Nothing);
        }
        if self.live.ino == number::ROOT && entry.name == LOST_AND_FOUND {
            self.lost_and_found = entry.ino;
        }
        self.link(cx, place, entry);
    }

    /// Whether an entry before `at` in this block has the name of `entry`.
    fn is_second(&mut self, bytes: &[u8], at: usize, entry: &Entry<'_>) -> bool {
        let hash = crc32c(0, entry.name) as usize;
        let bit = 1 << (hash & 7);
        let index = (hash >> 3).checked_rem(self.names.len()).unwrap_or(0);
        let Some(byte) = self.names.get_mut(index) else { return false };
        let may_be = *byte & bit != 0;
        *byte |= bit;
        let (mut before, limit) = (0_usize, bytes.len());
        while may_be && before < at {
            let rest = bytes.get(before..).unwrap_or_default();
            let len = usize::from(rest.get(6).copied().unwrap_or(0));
            if u32_at(rest, 0) != 0 && rest.get(HEAD..HEAD.saturating_add(len)) == Some(entry.name) {
                return true;
            }
            let rules = Rules { limit: limit as u32, inodes_count: 0 };
            before = before.saturating_add((rules.record_len(u16_at(rest, 4)) as usize).max(RECORD_MIN));
        }
        false
    }

    /// Counts the entry with the inode that it names.
    fn link(&mut self, cx: &mut Context<'_, '_>, place: Place, entry: &Entry<'_>) {
        let parent = self.live.ino;
        let number = Detail::Number(entry.ino.into());
        let Some(slot) = self.slots.of(entry.ino) else {
            if cx.telling == Telling::First {
                match is_never_used(cx, entry.ino) {
                    Ok(true) => {
                        cx.find_named(place, "entry names the inode that was never used:", number, entry.name)
                    }
                    Ok(false) => {}
                    Err(error) => self.failure = Some(error),
                }
            }
            return;
        };
        if slot.state & state::USED == 0 {
            return cx.find_here(place, "entry names the free inode", number, entry.name);
        }
        slot.found = slot.found.saturating_add(1);
        if slot.state & state::FILE == 0 {
            return cx.find_here(place, "entry names what is no file, inode", number, entry.name);
        }
        let expected = if cx.sb.features.has_filetype() { slot.file_type } else { 0 };
        let is_second = slot.state & state::DIRECTORY != 0 && slot.parent != 0;
        if slot.state & state::DIRECTORY != 0 && slot.parent == 0 {
            slot.parent = parent;
        }
        if is_second {
            cx.find_here(place, "a second entry for the directory", number, entry.name);
        }
        if entry.file_type != expected {
            let detail = Detail::ShouldBe { is: entry.file_type.into(), should_be: expected.into() };
            match entry.file_type {
                // A type that is not told is looked up in the inode.
                0 => cx.note_here(place, "file type of the entry", detail, entry.name),
                _ => cx.find_here(place, "file type of the entry", detail, entry.name),
            }
        }
    }

    fn dot(&mut self, cx: &mut Context<'_, '_>, entry: &Entry<'_>) {
        let place = self.place(0);
        let ino = self.live.ino;
        if entry.name != b"." || entry.ino == 0 {
            cx.find(place, "the first entry is not \".\"", Detail::Nothing);
        } else if entry.ino != ino {
            let detail = Detail::ShouldBe { is: entry.ino.into(), should_be: ino.into() };
            cx.find_named(place, "inode of the entry", detail, b".");
        } else if entry.len != RECORD_MIN {
            cx.find_named(place, "length of the entry", Detail::Is(entry.len as u64), b".");
        }
        self.count(ino);
    }

    fn dotdot(&mut self, cx: &mut Context<'_, '_>, ino: u32, entry: Option<&Entry<'_>>) {
        let place = self.place(0);
        if entry.is_some_and(|entry| entry.name != b"..") {
            cx.find(place, "the second entry is not \"..\"", Detail::Nothing);
        }
        if ino == 0 || ino > cx.sb.inodes_count {
            return cx.find_named(place, "entry names the inode", Detail::Number(ino.into()), b"..");
        }
        let own = self.live.ino;
        if let Some(slot) = self.slots.of(own) {
            slot.dotdot = ino;
        }
        self.count(ino);
    }

    fn count(&mut self, ino: u32) {
        if let Some(slot) = self.slots.of(ino) {
            slot.found = slot.found.saturating_add(1);
        }
    }

    /// A directory that is kept in its inode: the parent's number, records in what is left of `i_block`, and more in an attribute.
    fn inline(&mut self, cx: &mut Context<'_, '_>, bytes: &mut [u8], block: &mut [u8]) {
        let own = self.live.block_bytes();
        self.count(self.live.ino);
        self.dotdot(cx, u32_at(&own, 0), None);
        let found = attributes::inline_data(cx, self.live, bytes);
        // Numbered as blocks behind the first, which has the two dots.
        self.records(
            cx,
            1,
            own.get(PARENT..BLOCK_BYTES).unwrap_or_default(),
            BLOCK_BYTES.saturating_sub(PARENT),
        );
        if let Some((at, len)) = found.filter(|(_, len)| *len > 0) {
            let rest = bytes.get(at..).and_then(|rest| rest.get(..len)).unwrap_or_default();
            let copy = block.get_mut(..rest.len()).unwrap_or_default();
            copy.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            let len = copy.len();
            self.records(cx, 2, block.get(..len).unwrap_or_default(), len);
        }
    }
}

/// Whether a block of an indexed directory is a node of the index: one record that is not in use fills it, and its count of
/// places is that of a node.
pub(super) fn is_node(cx: &Context<'_, '_>, bytes: &[u8]) -> bool {
    let rules = Rules { limit: bytes.len() as u32, inodes_count: 0 };
    let is_empty = u32_at(bytes, 0) == 0 && bytes.get(6) == Some(&0);
    let fills = rules.record_len(u16_at(bytes, 4)) as usize == bytes.len();
    let tail = if cx.sb.features.has_metadata_csum() { HEAD } else { 0 };
    let room = bytes.len().saturating_sub(NODE_COUNTS as usize).saturating_sub(tail) / 8;
    is_empty && fills && usize::from(u16_at(bytes, NODE_COUNTS as usize)) == room
}

/// Whether `ino` lies in the part of its group's table that was never used.
fn is_never_used(cx: &Context<'_, '_>, ino: u32) -> Result<bool> {
    let number = ino.saturating_sub(1);
    let (Some(group), Some(index)) =
        (number.checked_div(cx.sb.inodes_per_group), number.checked_rem(cx.sb.inodes_per_group))
    else {
        return Ok(false);
    };
    cx.group(group).map(|places| index >= cx.used_inodes(&places))
}
