//! Extended attributes of an inode: entries, values, hashes, and how many references blocks and value inodes have.
//!
//! Who calls it: `pass1` for each inode. Whom it calls: `live` for inodes that hold values.
//!
//! Bounds: an entry takes at least 16 bytes of the inode or block that holds it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, u16_at, u32_at};
use super::finding::{Detail, Place};
use super::live::{self, Live};
use crate::layout::{INODE_BASE_BYTES, XATTR_MAGIC, inode_flags};
use rumpcap_host::Result;
use rumpcap_vfs::FileKind;

/// Bytes of an entry without its name, of a block's header, and of the header in an inode.
const ENTRY: usize = 16;
const BLOCK_HEAD: usize = 32;
const INODE_HEAD: usize = 4;
/// Index of `system.`, and what inline content is called there.
const SYSTEM: u8 = 7;
const INLINE: &[u8] = b"data";

/// What a place of attributes came to.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    /// Where `system.data` is in the place, and its length.
    pub inline: Option<(usize, usize)>,
    /// Units of 512 bytes that values in inodes of their own count for.
    pub value_sectors: u64,
}

/// A place that holds attributes.
struct Area<'b> {
    place: Place,
    bytes: &'b [u8],
    /// Offset of the first entry.
    entries: usize,
    /// What offsets of values count from.
    values: usize,
    is_in_inode: bool,
    owner: Live,
}

/// What is told of each value that is in an inode of its own.
pub(super) type OnValue<'f> = dyn FnMut(u32) + 'f;

/// Checks the attributes behind an inode's own fields. `bytes` is all of the inode; `buf` is room for another.
pub(super) fn in_inode(
    cx: &mut Context<'_, '_>,
    live: &Live,
    bytes: &[u8],
    buf: &mut [u8],
    on_value: &mut OnValue<'_>,
) -> Result<Found> {
    let Some(area) = inode_area(live, bytes) else { return Ok(Found::default()) };
    let start = bytes.len().saturating_sub(area.bytes.len());
    let mut found = area.check(cx, buf, on_value)?;
    found.inline = found.inline.map(|(at, len)| (at.saturating_add(start), len));
    Ok(found)
}

/// The attributes in an inode; `None` when there are none.
fn inode_area<'b>(live: &Live, bytes: &'b [u8]) -> Option<Area<'b>> {
    let extra = usize::from(live.raw.extra_isize.get());
    let start = INODE_BASE_BYTES.saturating_add(extra);
    let has_room =
        bytes.len() > INODE_BASE_BYTES && extra >= 4 && start.saturating_add(INODE_HEAD) < bytes.len();
    let bytes = bytes.get(start..).filter(|area| has_room && u32_at(area, 0) == XATTR_MAGIC)?;
    let place = Place::Inode(live.ino);
    Some(Area { place, bytes, entries: INODE_HEAD, values: INODE_HEAD, is_in_inode: true, owner: *live })
}

/// What a block of attributes says of itself.
pub(super) struct Block {
    pub references: u32,
    pub found: Found,
}

/// Checks the block of attributes `block`, the bytes of which are in `bytes`; `None` when it is none.
pub(super) fn in_block(
    cx: &mut Context<'_, '_>,
    live: &Live,
    block: u64,
    bytes: &[u8],
    buf: &mut [u8],
    on_value: &mut OnValue<'_>,
) -> Result<Option<Block>> {
    let place = Place::InodeBlock { ino: live.ino, block };
    if u32_at(bytes, 0) != XATTR_MAGIC {
        cx.find_here(place, "attribute block: no magic number", Detail::Nothing, b"");
        return Ok(None);
    }
    if u32_at(bytes, 8) != 1 {
        cx.find_here(place, "attribute block: number of blocks", Detail::Is(u32_at(bytes, 8).into()), b"");
        return Ok(None);
    }
    if cx.sb.features.has_metadata_csum() && checksum(cx, block, bytes) != u32_at(bytes, 16) {
        cx.find_here(place, "attribute block: wrong checksum", Detail::Nothing, b"");
    }
    let references = u32_at(bytes, 4);
    let area = Area { place, bytes, entries: BLOCK_HEAD, values: 0, is_in_inode: false, owner: *live };
    Ok(Some(Block { references, found: area.check(cx, buf, on_value)? }))
}

fn checksum(cx: &Context<'_, '_>, block: u64, bytes: &[u8]) -> u32 {
    use crate::checksum::crc32c;
    let sum = crc32c(cx.sb.csum_seed, &block.to_le_bytes());
    let sum = crc32c(sum, bytes.get(..16).unwrap_or_default());
    crc32c(crc32c(sum, &[0; 4]), bytes.get(20..).unwrap_or_default())
}

/// An entry of an area.
struct Entry<'b> {
    name: &'b [u8],
    index: u8,
    value_offset: usize,
    value_inode: u32,
    value_len: usize,
    hash: u32,
    next: usize,
}

impl<'b> Area<'b> {
    /// The entry at `at`: `Ok(None)` at the end, `Err` when it is past the area.
    fn entry(&self, at: usize) -> core::result::Result<Option<Entry<'b>>, ()> {
        let head = self.bytes.get(at..).filter(|rest| rest.len() >= 4).ok_or(())?;
        if u32_at(head, 0) == 0 {
            return Ok(None);
        }
        let (&[name_len, index], _) = head.split_first_chunk().ok_or(())?;
        let name_end = ENTRY.saturating_add(name_len.into());
        let name = head.get(ENTRY..name_end).ok_or(())?;
        Ok(Some(Entry {
            name,
            index,
            value_offset: usize::from(u16_at(head, 2)),
            value_inode: u32_at(head, 4),
            value_len: u32_at(head, 8) as usize,
            hash: u32_at(head, 12),
            next: at.saturating_add(name_end.next_multiple_of(4)),
        }))
    }

    fn check(&self, cx: &mut Context<'_, '_>, buf: &mut [u8], on_value: &mut OnValue<'_>) -> Result<Found> {
        let Some(end) = self.end(cx) else { return Ok(Found::default()) };
        let mut found = Found::default();
        let mut at = self.entries;
        while let Ok(Some(entry)) = self.entry(at) {
            self.check_entry(cx, &entry, end, buf, on_value, &mut found)?;
            self.check_overlap(cx, at, &entry);
            at = entry.next;
        }
        Ok(found)
    }

    /// The byte behind the end of the entries.
    fn end(&self, cx: &mut Context<'_, '_>) -> Option<usize> {
        let mut at = self.entries;
        loop {
            match self.entry(at) {
                Ok(None) => return Some(at.saturating_add(4)),
                Ok(Some(entry)) => at = entry.next,
                Err(()) => {
                    cx.find_here(self.place, "attributes: entry past the end", Detail::Nothing, b"");
                    return None;
                }
            }
        }
    }

    fn check_entry(
        &self,
        cx: &mut Context<'_, '_>,
        entry: &Entry<'_>,
        end: usize,
        buf: &mut [u8],
        on_value: &mut OnValue<'_>,
        found: &mut Found,
    ) -> Result<()> {
        if entry.name.contains(&0) {
            cx.find_here(self.place, "attribute: name with a NUL", Detail::Nothing, entry.name);
        }
        if entry.value_inode != 0 {
            on_value(entry.value_inode);
            let unit = u64::from(cx.sb.block_size) << cx.sb.cluster_log;
            let sectors = (entry.value_len as u64).next_multiple_of(unit) >> 9;
            found.value_sectors = found.value_sectors.saturating_add(sectors);
            return self.check_value_inode(cx, entry, buf);
        }
        let start = self.values.saturating_add(entry.value_offset);
        let padded = entry.value_len.checked_next_multiple_of(4).unwrap_or(usize::MAX);
        let value = self.bytes.get(start..start.saturating_add(padded));
        if entry.value_len > 0 && (start < end || value.is_none()) {
            cx.find_here(self.place, "attribute: place of the value", Detail::Is(start as u64), entry.name);
            return Ok(());
        }
        let value = if entry.value_len > 0 { value.unwrap_or_default() } else { &[] };
        if self.is_in_inode && entry.index == SYSTEM && entry.name == INLINE {
            found.inline = Some((start, entry.value_len));
        }
        let is_right = self.is_in_inode && entry.hash == 0 || hash_matches(entry, value);
        if !is_right {
            cx.find_here(self.place, "attribute: wrong hash", Detail::Nothing, entry.name);
        }
        Ok(())
    }

    /// Tells when the value of `entry` shares bytes with that of an entry before it.
    fn check_overlap(&self, cx: &mut Context<'_, '_>, at: usize, entry: &Entry<'_>) {
        if entry.value_inode != 0 || entry.value_len == 0 {
            return;
        }
        let end = entry.value_offset.saturating_add(entry.value_len);
        let mut before = self.entries;
        while before < at {
            let Ok(Some(other)) = self.entry(before) else { return };
            let other_end = other.value_offset.saturating_add(other.value_len);
            let has_value = other.value_inode == 0 && other.value_len > 0;
            if has_value && entry.value_offset < other_end && other.value_offset < end {
                cx.find_here(
                    self.place,
                    "attribute: value shares bytes with another",
                    Detail::Nothing,
                    entry.name,
                );
                return;
            }
            before = other.next;
        }
    }

    fn check_value_inode(&self, cx: &mut Context<'_, '_>, entry: &Entry<'_>, buf: &mut [u8]) -> Result<()> {
        let number = Detail::Number(entry.value_inode.into());
        if !cx.sb.features.has_ea_inode() {
            cx.find_here(
                self.place,
                "attribute: value in an inode, without the feature:",
                number,
                entry.name,
            );
            return Ok(());
        }
        let is_regular = entry.value_inode >= cx.first_inode();
        let value = if is_regular { live::one(cx, entry.value_inode, buf)? } else { None };
        let Some(value) = value.filter(|v| v.is_linked() && v.kind() == FileKind::Regular) else {
            cx.find_here(self.place, "attribute: no inode for the value:", number, entry.name);
            return Ok(());
        };
        if !value.has_flag(inode_flags::EA_INODE) {
            cx.find_here(
                self.place,
                "attribute: inode is not marked as that of a value:",
                number,
                entry.name,
            );
        }
        if value.size() != entry.value_len as u64 {
            cx.find_here(self.place, "attribute: length of the value in inode", number, entry.name);
        }
        // Lustre's older ones name their owner instead of a hash.
        let of_owner = value.raw.mtime.get() == self.owner.ino
            && value.raw.generation.get() == self.owner.raw.generation.get();
        let hash = value.raw.atime.get();
        let is_right =
            of_owner || name_hashes(entry.name).iter().any(|name| name.rotate_left(16) ^ hash == entry.hash);
        if !is_right {
            cx.find_here(self.place, "attribute: wrong hash of the value in inode", number, entry.name);
        }
        Ok(())
    }
}

/// The hash of a name, with its bytes unsigned and, as some machines made it, signed.
fn name_hashes(name: &[u8]) -> [u32; 2] {
    let unsigned = name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    let number = |byte: u8| i32::from(byte.cast_signed()).cast_unsigned();
    let signed = name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ number(*byte));
    [unsigned, signed]
}

fn hash_matches(entry: &Entry<'_>, padded_value: &[u8]) -> bool {
    name_hashes(entry.name).iter().any(|name| {
        let words = padded_value.as_chunks::<4>().0;
        words.iter().fold(*name, |hash, word| hash.rotate_left(16) ^ u32::from_le_bytes(*word)) == entry.hash
    })
}

/// Where the attribute that holds the rest of inline content is in `bytes`, all of the inode, and its length; it has been checked.
pub(super) fn inline_data(cx: &Context<'_, '_>, live: &Live, bytes: &[u8]) -> Option<(usize, usize)> {
    let area = inode_area(live, bytes)?;
    let start = bytes.len().saturating_sub(area.bytes.len());
    let mut at = area.entries;
    while let Ok(Some(entry)) = area.entry(at) {
        if entry.index == SYSTEM && entry.name == INLINE && entry.value_inode == 0 {
            let value = start.saturating_add(area.values).saturating_add(entry.value_offset);
            let end = value.saturating_add(entry.value_len);
            return (end <= cx.sb.inode_size as usize).then_some((value, entry.value_len));
        }
        at = entry.next;
    }
    None
}
