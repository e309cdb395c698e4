//! Records of a directory's block: finding room, putting and taking entries. Pure: bytes in, bytes out.
//!
//! Who calls it: the rest of `dir_change`. A record is an entry with the room behind it that no other has; one without an entry has inode 0.
//!
//! DR-1. Records follow each other and fill `0..limit` of their block to the end, before and behind every change. DR-2. Nothing outside of
//! the ranges that [`Room::changed`] and [`Found::changed`] name is touched by a change.
#![deny(clippy::indexing_slicing)]

use crate::dir::entry::{Broken, RECORD_MIN, Rules};
use core::ops::Range;
use rumpcap_vfs::{FileKind, InodeNo};

/// Bytes of a record before the name.
pub(super) const HEAD: usize = 8;

/// An entry to be put.
#[derive(Clone, Copy)]
pub(super) struct NewEntry<'n> {
    pub name: &'n [u8],
    pub ino: u32,
    /// File type as the device has it; 0 without the filetype feature.
    pub file_type: u8,
}

impl<'n> NewEntry<'n> {
    pub fn new(name: &'n [u8], ino: InodeNo, kind: FileKind, has_types: bool) -> NewEntry<'n> {
        NewEntry { name, ino: ino.0 as u32, file_type: if has_types { type_of(kind) } else { 0 } }
    }

    /// Bytes that it takes.
    pub fn len(&self) -> usize {
        record_len(self.name.len())
    }
}

/// Bytes that an entry with a name of `name_len` bytes takes.
pub(super) fn record_len(name_len: usize) -> usize {
    (HEAD + name_len).next_multiple_of(4)
}

/// The file type of the device that stands for a kind.
pub(super) fn type_of(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
        FileKind::Unknown => 0,
    }
}

/// A record: where it is, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub at: usize,
    pub len: usize,
    pub ino: u32,
    pub name_len: usize,
}

impl Record {
    pub fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.at + HEAD..).and_then(|bytes| bytes.get(..self.name_len)).unwrap_or_default()
    }

    /// Bytes that its entry takes.
    pub fn used(&self) -> usize {
        if self.ino == 0 { 0 } else { record_len(self.name_len) }
    }

    /// Bytes that another entry could have.
    pub fn room(&self) -> usize {
        self.len - self.used()
    }
}

/// The records of a block (DR-1); ends behind the first that breaks a rule.
pub(super) struct Records<'b> {
    bytes: &'b [u8],
    rules: Rules,
    at: usize,
}

impl<'b> Records<'b> {
    /// Those in the first `limit` bytes of `bytes`.
    pub fn new(bytes: &'b [u8], rules: &Rules, limit: usize) -> Records<'b> {
        Records { bytes, rules: Rules { limit: limit as u32, ..*rules }, at: 0 }
    }

    fn read(&self) -> Result<Record, Broken> {
        let limit = self.rules.limit as usize;
        let head = self.bytes.get(self.at..).and_then(|bytes| bytes.first_chunk::<HEAD>());
        let Some(&[i0, i1, i2, i3, l0, l1, name_len, _]) = head else {
            return Err(Broken("directory block: length of an entry"));
        };
        let len = self.rules.record_len(u16::from_le_bytes([l0, l1])) as usize;
        let ino = u32::from_le_bytes([i0, i1, i2, i3]);
        let record = Record { at: self.at, len, ino, name_len: usize::from(name_len) };
        let left = limit.checked_sub(self.at + len);
        let is_end_good = left.is_some_and(|left| left == 0 || left >= RECORD_MIN as usize);
        let least = record_len(record.name_len).max(RECORD_MIN as usize);
        if len < least || !len.is_multiple_of(4) || !is_end_good {
            return Err(Broken("directory block: length of an entry"));
        }
        if ino > self.rules.inodes_count {
            return Err(Broken("directory block: inode number of an entry"));
        }
        if ino != 0 && name_len == 0 {
            return Err(Broken("directory block: entry without a name"));
        }
        Ok(record)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.rules.limit as usize {
            return None;
        }
        let record = self.read();
        self.at = record.map_or(usize::MAX, |record| record.at + record.len);
        Some(record)
    }
}

/// A record with room for an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(pub Record);

impl Room {
    /// What of the block [`Room::put`] changes.
    pub fn changed(&self, entry: &NewEntry<'_>) -> [Range<usize>; 2] {
        let at = self.0.at + self.0.used();
        [self.0.at + 4..self.0.at + 6, at..at + entry.len()]
    }

    /// Puts `entry`, which fits.
    pub fn put(&self, bytes: &mut [u8], entry: &NewEntry<'_>) {
        let Room(record) = *self;
        let used = record.used();
        if used != 0 {
            put_len(bytes, record.at, used);
        }
        put_record(bytes, record.at + used, record.len - used, entry);
    }
}

/// A record with an entry that is to go or to change, and the one before it in its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub record: Record,
    pub before: Option<Record>,
}

impl Found {
    /// What of the block [`Found::take`] and [`Found::set`] change.
    pub fn changed(&self) -> [Range<usize>; 2] {
        let before = self.before.map_or(0..0, |before| before.at + 4..before.at + 6);
        [before, self.record.at..self.record.at + self.record.used()]
    }

    /// Takes the entry away: its bytes are zeros, its room is of the record before.
    pub fn take(&self, bytes: &mut [u8]) {
        let Found { record, before } = *self;
        if let Some(entry) = bytes.get_mut(record.at..record.at + record.used()) {
            entry.fill(0);
        }
        match before {
            Some(before) => put_len(bytes, before.at, before.len + record.len),
            None => put_len(bytes, record.at, record.len),
        }
    }

    /// Has the entry name another inode.
    pub fn set(&self, bytes: &mut [u8], ino: u32, file_type: u8) {
        put(bytes, self.record.at, &ino.to_le_bytes());
        put(bytes, self.record.at + 7, &[file_type]);
    }
}

/// Writes a whole record at `at`.
pub(super) fn put_record(bytes: &mut [u8], at: usize, len: usize, entry: &NewEntry<'_>) {
    put(bytes, at, &entry.ino.to_le_bytes());
    put_len(bytes, at, len);
    put(bytes, at + 6, &[entry.name.len() as u8, entry.file_type]);
    put(bytes, at + HEAD, entry.name);
    let end = at + HEAD + entry.name.len();
    let padding = bytes.get_mut(end..at + entry.len()).unwrap_or_default();
    padding.fill(0);
}

/// Writes the length of the record at `at`. 64 KiB, which 16 bits cannot tell, is all ones.
pub(super) fn put_len(bytes: &mut [u8], at: usize, len: usize) {
    put(bytes, at + 4, &u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
}

/// Writes `value` at `at`; nothing if it is not all within `bytes`.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

/// Fills a block with records, one after the other; the last one reaches to the end (DR-1).
pub(super) struct Filler<'b> {
    bytes: &'b mut [u8],
    limit: usize,
    at: usize,
    last: usize,
}

impl<'b> Filler<'b> {
    /// Over the first `limit` bytes of `bytes`, which are zeros.
    pub fn new(bytes: &'b mut [u8], limit: usize) -> Filler<'b> {
        Filler { bytes, limit, at: 0, last: 0 }
    }

    /// Puts an entry; false if there is no room.
    pub fn put(&mut self, entry: &NewEntry<'_>) -> bool {
        if self.at + entry.len() > self.limit {
            return false;
        }
        put_record(self.bytes, self.at, entry.len(), entry);
        self.last = self.at;
        self.at += entry.len();
        true
    }

    /// Puts the bytes of an entry, its inode to name included; false if there is no room.
    pub fn copy(&mut self, entry: &[u8]) -> bool {
        if self.at + entry.len() > self.limit {
            return false;
        }
        put(self.bytes, self.at, entry);
        put_len(self.bytes, self.at, entry.len());
        self.last = self.at;
        self.at += entry.len();
        true
    }

    /// Lets the last record reach to the end.
    pub fn close(self) {
        put_len(self.bytes, self.last, self.limit - self.last);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { limit: 1024, inodes_count: 1000 };

    fn all(bytes: &[u8], limit: usize) -> Vec<Record> {
        Records::new(bytes, &RULES, limit).collect::<Result<_, _>>().expect("all records are good")
    }

    fn entries(bytes: &[u8], limit: usize) -> Vec<(Vec<u8>, u32)> {
        let used = all(bytes, limit).into_iter().filter(|record| record.ino != 0);
        used.map(|record| (record.name(bytes).to_vec(), record.ino)).collect()
    }

    proptest! {
        // Against a list; and what no range names stays as it was (DR-2).
        #[test]
        fn entries_come_and_go(steps in proptest::collection::vec((any::<bool>(), 1..255_usize, any::<u8>()), 1..200), limit in 256..257_usize) {
            let limit = limit * 4 - 12;
            let mut bytes = vec![0; 1024];
            Filler::new(&mut bytes, limit).close();
            let mut model: Vec<(Vec<u8>, u32)> = Vec::new();
            for (number, (is_put, len, byte)) in steps.into_iter().enumerate() {
                let before = bytes.clone();
                let changed = if is_put {
                    let name = vec![byte; len];
                    let entry = NewEntry { name: &name, ino: number as u32 + 1, file_type: 1 };
                    let room = all(&bytes, limit).into_iter().find(|record| record.room() >= entry.len());
                    let Some(room) = room.map(Room) else { continue };
                    room.put(&mut bytes, &entry);
                    model.push((name.clone(), entry.ino));
                    room.changed(&entry)
                } else {
                    let records = all(&bytes, limit);
                    let used: Vec<usize> = (0..records.len()).filter(|&at| records[at].ino != 0).collect();
                    if used.is_empty() { continue }
                    let at = used[len % used.len()];
                    let found = Found { record: records[at], before: at.checked_sub(1).map(|at| records[at]) };
                    model.retain(|(_, ino)| *ino != found.record.ino);
                    found.take(&mut bytes);
                    found.changed()
                };
                for at in (0..1024).filter(|at| !changed.iter().any(|range| range.contains(at))) {
                    prop_assert_eq!(bytes[at], before[at], "byte {}", at);
                }
                let mut found = entries(&bytes, limit);
                let mut want = model.clone();
                found.sort();
                want.sort();
                prop_assert_eq!(found, want);
            }
        }

        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), limit in 0..1200_usize) {
            prop_assert!(Records::new(&bytes, &RULES, limit).count() <= 100);
        }
    }
}
