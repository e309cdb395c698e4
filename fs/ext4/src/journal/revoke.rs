//! Revoke records: "do not replay older copies of this block", in a table of fixed size.
//!
//! A block that was metadata and then was freed may be data now, written without the journal. So the transaction that
//! freed it revokes it, and copies of the block in that and earlier transactions are left out.
//!
//! The table is a sorted array in the caller's scratch. When there are more records than it takes, a pass of
//! recovery keeps those of the lowest block numbers, and covers only blocks up to there; the next pass goes on behind. A
//! table of `n` entries takes at least `n / 2` blocks in each pass but the last, whatever the block numbers are, so
//! that there are at most `2 * records / n + 1` passes. (Classes by a hash would need a bound on how badly the
//! numbers of a hostile image share a class; ranges that are chosen from the records need none.)
//!
//! Invariant: RV-1 for every block in `from..end` the table has the last transaction that revoked it.

use super::format::{HEADER_BYTES, Kind, Tid};
use super::log::{Log, LogBlock};
use super::scan::Extent;
use super::walk::{Walk, Window};
use rumpcap_host::{Error, Result};
use zerocopy::native_endian;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian};

/// Bytes in front of the records: the header and their length in bytes, header included.
const RECORDS_OFFSET: usize = HEADER_BYTES + 4;

/// A block and how many transactions behind the first it was revoked.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Entry {
    block: native_endian::U64,
    age: native_endian::U32,
}

impl Entry {
    fn key(&self) -> (u64, u32) {
        (self.block.get(), self.age.get())
    }
}

/// The revoked blocks of one range of block numbers.
pub(super) struct RevokeTable<'s> {
    entries: &'s mut [Entry],
    len: usize,
    from: u64,
    end: u64,
}

impl<'s> RevokeTable<'s> {
    /// A table of as many entries as fit into `scratch`, which is room for at least 2.
    pub(super) fn new(scratch: &'s mut [u8]) -> RevokeTable<'s> {
        let room = scratch.len().checked_div(size_of::<Entry>()).unwrap_or(0);
        let entries = match <[Entry]>::mut_from_prefix_with_elems(scratch, room) {
            Ok((entries, _)) => entries,
            Err(_) => &mut [],
        };
        RevokeTable { entries, len: 0, from: 0, end: u64::MAX }
    }

    /// Empties the table for a pass over the blocks from `from` on.
    pub(super) fn begin(&mut self, from: u64) {
        (self.len, self.from, self.end) = (0, from, u64::MAX);
    }

    /// The end of the range that the table covers; `u64::MAX` when it covers all from its start on.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether `block` is in the range of this pass.
    pub(super) fn covers(&self, block: u64) -> bool {
        (self.from..self.end).contains(&block)
    }

    /// Notes that `block` was revoked by the transaction `age` behind the first.
    pub(super) fn insert(&mut self, block: u64, age: u32) {
        if !self.covers(block) {
            return;
        }
        if self.len >= self.entries.len() {
            self.sort();
            self.cut();
            if !self.covers(block) {
                return;
            }
        }
        if let Some(entry) = self.entries.get_mut(self.len) {
            *entry = Entry { block: block.into(), age: age.into() };
            self.len = self.len.saturating_add(1);
        }
    }

    /// Sorts the entries and keeps the youngest of each block. To be called before the first lookup.
    pub(super) fn sort(&mut self) {
        let Some(entries) = self.entries.get_mut(..self.len) else { return };
        entries.sort_unstable_by_key(Entry::key);
        let mut kept: usize = 0;
        for at in 0..entries.len() {
            let Some(entry) = entries.get(at).copied() else { break };
            let is_same = kept
                .checked_sub(1)
                .and_then(|last| entries.get(last))
                .is_some_and(|last| last.block == entry.block);
            let slot = if is_same { kept.saturating_sub(1) } else { kept };
            if let Some(place) = entries.get_mut(slot) {
                *place = entry;
            }
            kept = slot.saturating_add(1);
        }
        self.len = kept;
    }

    /// Makes room in a sorted table that is more than half full: the upper half is for a later pass.
    fn cut(&mut self) {
        let half = self.entries.len() >> 1;
        if self.len <= half {
            return;
        }
        if let Some(first_out) = self.entries.get(half) {
            self.end = first_out.block.get();
            self.len = half;
        }
    }

    /// Whether copies of `block` of the transaction `age` behind the first are revoked.
    pub(super) fn is_revoked(&self, block: u64, age: u32) -> bool {
        let entries = self.entries.get(..self.len).unwrap_or_default();
        let found = entries.binary_search_by_key(&block, |entry| entry.block.get());
        found.ok().and_then(|at| entries.get(at)).is_some_and(|entry| entry.age.get() >= age)
    }
}

/// The byte behind the last record of the revoke block `block`.
fn records_end(log: &mut Log<'_>, window: &mut Window<'_>, block: LogBlock) -> Result<usize> {
    let bytes = window.bytes(log, block, HEADER_BYTES, 4)?;
    let used = big_endian::U32::read_from_bytes(bytes).map_or(0, |used| used.get() as usize);
    let room = log.block_size().saturating_sub(log.features().tail_bytes());
    if used > room {
        let what = "journal: length of a revoke block";
        return Err(Error::Corrupt { what, at: u64::from(block.0) });
    }
    Ok(used)
}

/// How many records the revoke block `block` has.
pub(super) fn count(log: &mut Log<'_>, window: &mut Window<'_>, block: LogBlock) -> Result<u64> {
    let used = records_end(log, window, block)?.saturating_sub(RECORDS_OFFSET);
    Ok(used.checked_div(log.features().revoke_bytes()).unwrap_or(0) as u64)
}

/// Collects the records of all of `extent` that are in the range of `table`.
///
/// # Errors
/// `Corrupt`; errors of device and map.
pub(super) fn collect(
    log: &mut Log<'_>,
    window: &mut Window<'_>,
    extent: &Extent,
    table: &mut RevokeTable<'_>,
) -> Result<()> {
    let mut walk = Walk::new(extent.start);
    let mut tid = extent.first;
    while tid != extent.end {
        let Some((block, kind)) = walk.block(log, window, tid)? else { return Err(changed(tid)) };
        match kind {
            Kind::Descriptor => {
                let tags = super::tags::Tags::count(log, window, block)?;
                walk.skip(log, tags);
            }
            Kind::Commit => tid = tid.next(),
            Kind::Revoke => insert_all(log, window, block, tid.since(extent.first), table)?,
        }
    }
    table.sort();
    Ok(())
}

fn insert_all(
    log: &mut Log<'_>,
    window: &mut Window<'_>,
    block: LogBlock,
    age: u32,
    table: &mut RevokeTable<'_>,
) -> Result<()> {
    let record = log.features().revoke_bytes();
    let end = records_end(log, window, block)?;
    let mut at = RECORDS_OFFSET;
    while at.saturating_add(record) <= end {
        let bytes = window.bytes(log, block, at, record)?;
        let target = match big_endian::U64::read_from_bytes(bytes) {
            Ok(wide) => wide.get(),
            Err(_) => big_endian::U32::read_from_bytes(bytes).map_or(u64::MAX, |narrow| narrow.get().into()),
        };
        table.insert(target, age);
        at = at.saturating_add(record);
    }
    Ok(())
}

/// The error of a log that is not as it was when it was scanned.
pub(super) fn changed(tid: Tid) -> Error {
    Error::Corrupt { what: "journal: transaction not as it was scanned", at: u64::from(tid.0) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// All passes together know of every block exactly what a map of any size knows.
        #[test]
        fn passes_cover_everything_once(
            records in prop::collection::vec((0u64..200, 0u32..20), 0..400),
            scale in prop::sample::select(vec![1u64, 1 << 20, 1 << 55]),
            room in 2usize..60,
        ) {
            let mut model: BTreeMap<u64, u32> = BTreeMap::new();
            for (block, age) in &records {
                let youngest = model.entry(block * scale).or_default();
                *youngest = (*youngest).max(*age);
            }
            let mut scratch = vec![0; room * size_of::<Entry>() + 5];
            let mut table = RevokeTable::new(&mut scratch);
            let (mut from, mut passes) = (0, 0);
            while from != u64::MAX {
                table.begin(from);
                records.iter().for_each(|(block, age)| table.insert(block * scale, *age));
                table.sort();
                prop_assert!(table.end() > from);
                for block in (0..201).map(|b| b * scale).filter(|b| table.covers(*b)) {
                    for age in 0..21 {
                        let expected = model.get(&block).is_some_and(|youngest| *youngest >= age);
                        prop_assert_eq!(table.is_revoked(block, age), expected);
                    }
                }
                from = table.end();
                passes += 1;
            }
            prop_assert!(passes <= 2 * model.len() / (room - 1) + 1);
        }
    }
}
