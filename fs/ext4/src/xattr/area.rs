//! [`Area`]: one place that holds extended attributes, the end of an inode or a block, checked as a whole.
//!
//! Who calls it: `xattr`. Whom it calls: `region`. Pins one page at a time.
//!
//! Entries follow one another, each with its name, up to four zero bytes; values are behind them, found by offset.
//!
//! Invariants, established by [`Area::check`] before anything is handed out, relied on by the rest:
//! - XA-1 the entries and the four zero bytes behind them are within the area, and no name holds a NUL;
//! - XA-2 the value of an entry is within the area, behind the end of the entries, or in an inode of its own;
//! - XA-3 no value is longer than 16 MiB.
//!
//! Bounds: an entry takes at least 16 bytes, so there are at most 4,096 in 64 KiB.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::name::Name;
use crate::Ext4;
use crate::layout::RawXattrEntry;
use crate::region::Region;
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};
use rumpcap_vm::Reservation;
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of an entry without its name.
const HEAD: u32 = size_of::<RawXattrEntry>() as u32;
/// Bytes of the end of the entries.
const END: u32 = 4;
/// XA-3.
const VALUE_MAX: u32 = 1 << 24;

/// Where attributes are.
#[derive(Clone, Copy)]
pub(super) struct Area<'a, 'v> {
    pub fs: &'a Ext4,
    pub r: &'a Reservation<'v>,
    /// All of it: entries' and values' offsets are relative to parts of this.
    pub region: Region,
    /// Offset of the first entry.
    pub entries: u32,
    /// Offset that values' offsets count from.
    pub values: u32,
    /// Inode or block, for errors.
    pub at: u64,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// On the device, in one piece.
    Here(Region),
    /// It is the content of an inode.
    Inode { ino: u32, len: u32 },
}

impl Value {
    pub(super) fn len(&self) -> u32 {
        match *self {
            Value::Here(region) => region.len,
            Value::Inode { len, .. } => len,
        }
    }
}

/// An entry, copied; its name is in the caller's buffer.
struct Raw {
    head: RawXattrEntry,
    next: u32,
}

impl Area<'_, '_> {
    fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { what, at: self.at }
    }

    /// Checks all entries (XA-1 to XA-3).
    pub(super) fn check(&self) -> Result<()> {
        let mut name = [0; 255];
        let mut at = self.entries;
        while let Some(raw) = self.entry(at, &mut name)? {
            let name = name.get(..usize::from(raw.head.name_len)).unwrap_or_default();
            if name.contains(&0) {
                return Err(self.corrupt("extended attributes: name with a NUL"));
            }
            at = raw.next;
        }
        let end = at;
        at = self.entries;
        while let Some(raw) = self.entry(at, &mut name)? {
            self.check_value(&raw.head, end)?;
            at = raw.next;
        }
        Ok(())
    }

    fn check_value(&self, head: &RawXattrEntry, end: u32) -> Result<()> {
        let len = head.value_len.get();
        if len > VALUE_MAX {
            return Err(self.corrupt("extended attributes: length of a value"));
        }
        if head.value_inode.get() != 0 {
            let ino = head.value_inode.get();
            let holds = self.fs.sb.features.has_ea_inode() && ino <= self.fs.sb.inodes_count;
            return if holds { Ok(()) } else { Err(self.corrupt("extended attributes: inode of a value")) };
        }
        let padded = len.next_multiple_of(4);
        let start = self.values.saturating_add(u32::from(head.value_offset.get()));
        let behind_entries = start >= end.saturating_add(END);
        if len == 0 || (behind_entries && self.region.part(start, padded).is_some()) {
            return Ok(());
        }
        Err(self.corrupt("extended attributes: place of a value"))
    }

    /// Hands names and values to `visit` until it breaks. [`Area::check`] comes first.
    pub(super) fn for_each(
        &self,
        visit: &mut impl FnMut(Name<'_>, Value) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut name = [0; 255];
        let mut at = self.entries;
        while let Some(raw) = self.entry(at, &mut name)? {
            let suffix = name.get(..usize::from(raw.head.name_len)).unwrap_or_default();
            let value = self.value(&raw.head)?;
            if visit(Name { index: raw.head.name_index, suffix }, value).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at = raw.next;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn value(&self, head: &RawXattrEntry) -> Result<Value> {
        let len = head.value_len.get();
        if head.value_inode.get() != 0 {
            return Ok(Value::Inode { ino: head.value_inode.get(), len });
        }
        // The offset of an empty value means nothing.
        let offset = if len == 0 { 0 } else { u32::from(head.value_offset.get()) };
        let part = self.region.part(self.values.saturating_add(offset), len);
        part.map(Value::Here).ok_or_else(|| self.corrupt("extended attributes: place of a value"))
    }

    /// The entry at `at`, its name copied to the beginning of `name`; `None` at the end of the entries.
    fn entry(&self, at: u32, name: &mut [u8; 255]) -> Result<Option<Raw>> {
        let outside = self.corrupt("extended attributes: entry past the end");
        let mut end = [0; END as usize];
        self.region.part(at, END).ok_or(outside)?.read(self.fs, self.r, &mut end)?;
        if end == [0; END as usize] {
            return Ok(None);
        }
        let mut head = RawXattrEntry::new_zeroed();
        self.region.part(at, HEAD).ok_or(outside)?.read(self.fs, self.r, head.as_mut_bytes())?;
        let name_len = u32::from(head.name_len);
        let name_at = at.saturating_add(HEAD);
        self.region.part(name_at, name_len).ok_or(outside)?.read(self.fs, self.r, name)?;
        Ok(Some(Raw { head, next: name_at.saturating_add(name_len.next_multiple_of(4)) }))
    }
}
