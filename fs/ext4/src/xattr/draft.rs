//! [`Draft`]: a copy of one place of attributes, on the stack, in which they are set and removed.
//!
//! Who calls it: `xattr::place`; `xattr::store` stores it, sealed by `xattr::seal`. Pure functions; a draft that has no room for something is as it was before.
//!
//! Entries follow one another from the beginning, four zero bytes behind the last; values grow from the end, without gaps between them
//! (those that others left stay). In a block entries are sorted by index, length of the name, name, as the kernel looks for them.
//!
//! DR-1. `first entry <= entries_end`, `entries_end + 4 <= values <= len <= PAGE_SIZE`: a block or an inode of a file system that is
//! written fits a page. DR-2. Values that are here lie in `values..len`, and no two overlap. Both are checked when a place is
//! copied (with XA-1 to XA-3 of `area`), and kept.
#![deny(clippy::indexing_slicing)]
// What is added here was checked to lie within a page, or counts blocks of a value.
#![allow(clippy::arithmetic_side_effects)]

use super::area::Area;
use super::name::Name;
use super::seal::entry_hash;
use super::{BLOCK_HEAD, INODE_HEAD};
use crate::layout::RawXattrEntry;
use arrayvec::ArrayVec;
use core::cmp::Ordering;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::PAGE_SIZE;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of an entry without its name.
const HEAD: usize = size_of::<RawXattrEntry>();
/// Bytes of the end of the entries.
const END: usize = 4;
/// Most entries of a page.
pub(super) const ENTRIES_MAX: usize = PAGE_SIZE / HEAD;

/// What kind of place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The end of an inode.
    Inode,
    /// A block.
    Block,
}

/// What an attribute is to have as its value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The content of an inode of its own, with its hash.
    Inode { ino: u32, len: u32, hash: u32 },
}

impl Content<'_> {
    /// Bytes that it takes in the place.
    fn stored_len(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len().next_multiple_of(4),
            Content::Inode { .. } => 0,
        }
    }
}

/// There is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// An entry that was found.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    at: usize,
    pub head: RawXattrEntry,
}

impl Entry {
    fn len(&self) -> usize {
        HEAD + usize::from(self.head.name_len).next_multiple_of(4)
    }

    /// The inode that has the value; 0 for none.
    pub fn value_inode(&self) -> u32 {
        self.head.value_inode.get()
    }
}

/// The copy.
#[derive(Clone)]
pub(super) struct Draft {
    bytes: [u8; PAGE_SIZE],
    len: usize,
    pub(super) form: Form,
    /// Offset of the end of the entries.
    entries_end: usize,
    /// Offset of the first value.
    values: usize,
    /// How far entries and values have ever reached: only there the place and its copy differ.
    reach: Range<usize>,
    is_changed: bool,
}

impl Draft {
    /// A place of `len` bytes without attributes.
    pub fn empty(form: Form, len: usize) -> Draft {
        let len = len.min(PAGE_SIZE);
        let first = first_entry(form);
        let reach = first..len;
        Draft { bytes: [0; PAGE_SIZE], len, form, entries_end: first, values: len, reach, is_changed: false }
    }

    /// Copies a place that was checked.
    ///
    /// # Errors
    /// `Corrupt` for values that overlap; `Io`.
    pub fn of(area: &Area<'_, '_>, form: Form) -> Result<Draft> {
        let mut draft = Draft::empty(form, area.region.len as usize);
        area.region.read(area.fs, area.r, &mut draft.bytes)?;
        draft.entries_end = draft.len;
        let mut end = first_entry(form);
        let mut values: ArrayVec<(usize, usize), ENTRIES_MAX> = ArrayVec::new();
        while let Some(entry) = draft.entry(end) {
            if let Some(value) = draft.value_of(&entry) {
                let _ = values.try_push((value.start, value.end));
            }
            end += entry.len();
        }
        draft.entries_end = end;
        values.sort_unstable();
        let overlap = values.windows(2).any(|pair| matches!(pair, [a, b] if a.1 > b.0));
        draft.values = values.first().map_or(draft.len, |first| first.0);
        let outside = values.last().is_some_and(|last| last.1 > draft.len);
        if overlap || outside || draft.entries_end + END > draft.values {
            return Err(Error::Corrupt { what: "extended attributes: values that overlap", at: area.at });
        }
        draft.reach = draft.entries_end..draft.values;
        Ok(draft)
    }

    /// Whether it has no attributes.
    pub fn is_empty(&self) -> bool {
        self.entries_end == first_entry(self.form)
    }

    /// Whether it differs from what was copied.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Its bytes. Those of a block lack the checksum ([`Draft::seal`]).
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The bytes that may differ from those of the place.
    pub fn changed(&self) -> [Range<usize>; 2] {
        [0..self.reach.start + END, self.reach.end..self.len]
    }

    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut at = first_entry(self.form);
        core::iter::from_fn(move || {
            let entry = self.entry(at)?;
            at += entry.len();
            Some(entry)
        })
    }

    /// Finds an attribute.
    pub fn find(&self, name: Name<'_>) -> Option<Entry> {
        self.entries().find(|entry| self.name_of(entry) == name)
    }

    /// The value of an attribute that is kept here.
    pub fn value(&self, entry: &Entry) -> &[u8] {
        let len = entry.head.value_len.get() as usize;
        let range = self.value_of(entry).unwrap_or_default();
        self.bytes.get(range).and_then(|bytes| bytes.get(..len)).unwrap_or_default()
    }

    /// As [`Draft::value`], to be changed.
    pub fn value_mut(&mut self, entry: &Entry) -> &mut [u8] {
        let len = entry.head.value_len.get() as usize;
        let range = self.value_of(entry).unwrap_or_default();
        self.is_changed = true;
        self.bytes.get_mut(range).and_then(|bytes| bytes.get_mut(..len)).unwrap_or_default()
    }

    /// Bytes that a value of `name` may have at most; `None` if there is not even room for its entry.
    pub fn room_for(&self, name: Name<'_>) -> Option<usize> {
        let old = self.find(name);
        let kept = old.and_then(|old| self.value_of(&old)).map_or(0, |value| value.len());
        let entry = if old.is_some() { 0 } else { entry_len(name) };
        let room = (self.values + kept).checked_sub(self.entries_end + END + entry)?;
        Some(room / 4 * 4)
    }

    /// Sets an attribute, leaving `reserve` bytes before the values free.
    ///
    /// # Errors
    /// [`Full`].
    pub fn set(
        &mut self,
        name: Name<'_>,
        content: Content<'_>,
        reserve: usize,
    ) -> core::result::Result<(), Full> {
        let new_len = content.stored_len();
        let room = self.room_for(name).ok_or(Full)?;
        let old = self.find(name);
        let old_len = old.and_then(|old| self.value_of(&old)).map_or(0, |value| value.len());
        if new_len > room || new_len > old_len && self.values + old_len < reserve + new_len {
            return Err(Full);
        }
        let at = match old {
            Some(old) => {
                self.drop_value(&old);
                old.at
            }
            None => self.insert_entry(name),
        };
        self.put_value(at, name, content);
        self.moved();
        Ok(())
    }

    /// Removes an attribute; gives its entry as it was.
    pub fn remove(&mut self, name: Name<'_>) -> Option<Entry> {
        let entry = self.find(name)?;
        self.drop_value(&entry);
        let (at, len, end) = (entry.at, entry.len(), self.entries_end);
        self.bytes.copy_within(at + len..end, at);
        self.part(end - len..end).fill(0);
        self.entries_end -= len;
        self.moved();
        Some(entry)
    }

    /// Notes that something has moved.
    fn moved(&mut self) {
        self.is_changed = true;
        self.reach = self.reach.start.max(self.entries_end)..self.reach.end.min(self.values);
        debug_assert!(self.entries_end + END <= self.values && self.values <= self.len, "DR-1");
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        if at >= self.entries_end || self.bytes.get(at..)?.first_chunk::<END>()? == &[0; END] {
            return None;
        }
        let (head, _) = RawXattrEntry::read_from_prefix(self.bytes.get(at..)?).ok()?;
        Some(Entry { at, head })
    }

    /// The name of an entry.
    pub fn name_of(&self, entry: &Entry) -> Name<'_> {
        let name = self.bytes.get(entry.at + HEAD..);
        let suffix = name.and_then(|name| name.get(..usize::from(entry.head.name_len))).unwrap_or_default();
        Name { index: entry.head.name_index, suffix }
    }

    /// Where the value of an entry is, with its padding; `None` when it takes no place here.
    fn value_of(&self, entry: &Entry) -> Option<Range<usize>> {
        let head = &entry.head;
        let len = (head.value_len.get() as usize).next_multiple_of(4);
        if head.value_inode.get() != 0 || len == 0 {
            return None;
        }
        let start = values_base(self.form) + usize::from(head.value_offset.get());
        Some(start..start + len)
    }

    /// Bytes to be changed.
    pub(super) fn part(&mut self, range: Range<usize>) -> &mut [u8] {
        self.bytes.get_mut(range).expect("DR-1: entries and values are within the page")
    }

    /// Makes an entry with an empty value, sorted in a block; gives its offset.
    fn insert_entry(&mut self, name: Name<'_>) -> usize {
        let is_behind = |entry: &Entry| self.form == Form::Block && order(self.name_of(entry), name).is_gt();
        let at = self.entries().find(is_behind).map_or(self.entries_end, |behind| behind.at);
        let len = entry_len(name);
        self.bytes.copy_within(at..self.entries_end, at + len);
        self.entries_end += len;
        self.part(at..at + len).fill(0);
        self.part(at + HEAD..at + HEAD + name.suffix.len()).copy_from_slice(name.suffix);
        at
    }

    /// Gives the value's bytes to the free space, and moves those before it.
    fn drop_value(&mut self, entry: &Entry) {
        let Some(value) = self.value_of(entry) else { return };
        let (first, len) = (self.values, value.len());
        self.bytes.copy_within(first..value.start, first + len);
        self.part(first..first + len).fill(0);
        self.values += len;
        let mut at = first_entry(self.form);
        while let Some(mut other) = self.entry(at) {
            let next = at + other.len();
            if self.value_of(&other).is_some_and(|range| range.start < value.start) {
                other.head.value_offset = (other.head.value_offset.get() + len as u16).into();
                self.put_head(at, &other.head);
            }
            at = next;
        }
    }

    /// Gives the entry at `at`, which has no value, one for which there is room.
    fn put_value(&mut self, at: usize, name: Name<'_>, content: Content<'_>) {
        let len = content.stored_len();
        self.values -= len;
        let start = self.values;
        let (inode, value_len, hash) = match content {
            Content::Bytes(bytes) => {
                let to = self.part(start..start + len);
                to.fill(0);
                for (to, from) in to.iter_mut().zip(bytes) {
                    *to = *from;
                }
                // The kernel keeps no hash of what is in the inode.
                let is_hashed = self.form == Form::Block;
                let hash = if is_hashed { entry_hash(name.suffix, self.part(start..start + len)) } else { 0 };
                (0, bytes.len() as u32, hash)
            }
            Content::Inode { ino, len, hash } => (ino, len, entry_hash(name.suffix, &hash.to_le_bytes())),
        };
        let offset = if len == 0 { 0 } else { start - values_base(self.form) };
        let head = RawXattrEntry {
            name_len: name.suffix.len() as u8,
            name_index: name.index,
            value_offset: (offset as u16).into(),
            value_inode: inode.into(),
            value_len: value_len.into(),
            hash: hash.into(),
        };
        self.put_head(at, &head);
    }

    fn put_head(&mut self, at: usize, head: &RawXattrEntry) {
        self.part(at..at + HEAD).copy_from_slice(head.as_bytes());
    }
}

fn first_entry(form: Form) -> usize {
    match form {
        Form::Inode => INODE_HEAD as usize,
        Form::Block => BLOCK_HEAD as usize,
    }
}

/// Offset that values' offsets count from.
fn values_base(form: Form) -> usize {
    match form {
        Form::Inode => INODE_HEAD as usize,
        Form::Block => 0,
    }
}

fn entry_len(name: Name<'_>) -> usize {
    HEAD + name.suffix.len().next_multiple_of(4)
}

fn order(a: Name<'_>, b: Name<'_>) -> Ordering {
    (a.index, a.suffix.len(), a.suffix).cmp(&(b.index, b.suffix.len(), b.suffix))
}
