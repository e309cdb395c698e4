//! The log map: for every block that has a copy in the log, where the newest is; and where the log is on the device.
//!
//! Who calls it: `device` for reads, `compound` to enter blocks, `checkpoint` in order of their homes.
//!
//! A sorted array in the owner's memory: the blocks of a request are found together, a checkpoint has its order, and
//! no space is lost. A new block moves those behind it, which the bound of the journal's share of memory keeps short.
//! In front of it stand the pieces of the journal's inode.
//!
//! An entry is *logged*, or *revoked*: the running compound freed the block, and its record is yet to be written
//! (LW-5). `insert` makes logged, `revoke` makes revoked, `forget_revoked`, `forget` and `clear` remove. A revoked block is not
//! found.

use super::super::Run;
use super::super::log::LogBlock;
use super::device::Memory;
use rumpcap_host::{Error, Result};
use zerocopy::native_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A piece of the journal: blocks that lie one behind the other on the device.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Piece {
    first: U32,
    len: U32,
    device_block: U64,
}

/// A block of the file system and the place of its newest copy.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Entry {
    /// The block, below 2^48, and the flags.
    home: U64,
    place: U32,
}

const ESCAPED: u64 = 1 << 63;
const REVOKED: u64 = 1 << 62;
const HOME: u64 = REVOKED - 1;

impl Entry {
    fn home(&self) -> u64 {
        self.home.get() & HOME
    }

    fn is_revoked(&self) -> bool {
        self.home.get() & REVOKED != 0
    }

    fn logged(&self) -> Option<Logged> {
        let is_escaped = self.home.get() & ESCAPED != 0;
        let logged = Logged { home: self.home(), place: LogBlock(self.place.get()), is_escaped };
        Some(logged).filter(|_| !self.is_revoked())
    }
}

/// A block of the file system that has a copy in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) home: u64,
    pub(super) place: LogBlock,
    /// The copy begins with zeros where the block has the journal's magic.
    pub(super) is_escaped: bool,
}

/// The map, in the owner's memory.
pub(super) struct LogMap<M> {
    memory: M,
    pieces: usize,
    len: usize,
    revoked: usize,
}

impl<M: Memory> LogMap<M> {
    /// An empty map.
    pub(super) fn new(memory: M) -> LogMap<M> {
        LogMap { memory, pieces: 0, len: 0, revoked: 0 }
    }

    /// Adds the next piece of the journal. Only before the first entry.
    ///
    /// # Errors
    /// `Unsupported` when the memory is too small for all pieces.
    pub(super) fn add_piece(&mut self, first: LogBlock, run: Run) -> Result<()> {
        let at = self.pieces.saturating_mul(size_of::<Piece>());
        let bytes = self.memory.get_mut(at..).unwrap_or_default();
        let device_block = run.first_block.into();
        let piece = Piece { first: first.0.into(), len: run.len_blocks.into(), device_block };
        let too_many = Error::Unsupported { what: "journal in so many pieces with so little memory" };
        piece.write_to_prefix(bytes).map_err(|_| too_many)?;
        self.pieces = self.pieces.saturating_add(1);
        Ok(())
    }

    fn pieces(&self) -> &[Piece] {
        let pieces = <[Piece]>::ref_from_prefix_with_elems(&self.memory, self.pieces);
        pieces.map_or(&[], |(pieces, _)| pieces)
    }

    /// The block of the device that `block` is, and how many follow there, itself included.
    ///
    /// # Errors
    /// `Corrupt` for a block that the journal does not have.
    pub(super) fn locate(&self, block: LogBlock) -> Result<Run> {
        let pieces = self.pieces();
        let behind = pieces.partition_point(|piece| piece.first.get() <= block.0);
        let piece = behind.checked_sub(1).and_then(|at| pieces.get(at));
        let found = piece.and_then(|piece| {
            let within = block.0.saturating_sub(piece.first.get());
            let len_blocks = piece.len.get().checked_sub(within).filter(|left| *left > 0)?;
            Some(Run { first_block: piece.device_block.get().saturating_add(within.into()), len_blocks })
        });
        found.ok_or(Error::Corrupt { what: "journal: block behind its end", at: block.0.into() })
    }

    /// Whether `block` is one of the journal's own.
    pub(super) fn is_own(&self, block: u64) -> bool {
        let inside = |piece: &Piece| {
            let within = block.checked_sub(piece.device_block.get());
            within.is_some_and(|within| within < u64::from(piece.len.get()))
        };
        self.pieces().iter().any(inside)
    }

    /// The runs of blocks that are the journal's own.
    pub(super) fn own_runs(&self) -> impl Iterator<Item = std::ops::Range<u64>> {
        self.pieces().iter().map(|piece| {
            let first = piece.device_block.get();
            first..first.saturating_add(piece.len.get().into())
        })
    }

    fn table(&self) -> &[Entry] {
        let from = self.pieces.saturating_mul(size_of::<Piece>());
        let bytes = self.memory.get(from..).unwrap_or_default();
        let room = bytes.len().checked_div(size_of::<Entry>()).unwrap_or(0);
        <[Entry]>::ref_from_prefix_with_elems(bytes, room).map_or(&[], |(table, _)| table)
    }

    fn table_mut(&mut self) -> &mut [Entry] {
        let from = self.pieces.saturating_mul(size_of::<Piece>());
        let bytes = self.memory.get_mut(from..).unwrap_or_default();
        let room = bytes.len().checked_div(size_of::<Entry>()).unwrap_or(0);
        match <[Entry]>::mut_from_prefix_with_elems(bytes, room) {
            Ok((table, _)) => table,
            Err(_) => &mut [],
        }
    }

    fn entries(&self) -> &[Entry] {
        self.table().get(..self.len).unwrap_or_default()
    }

    /// How many entries fit.
    pub(super) fn capacity(&self) -> usize {
        self.table().len()
    }

    /// Entries of both kinds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Entries that are revoked.
    pub(super) fn revoked_len(&self) -> usize {
        self.revoked
    }

    /// The first logged block in `blocks`.
    pub(super) fn first_in(&self, blocks: std::ops::Range<u64>) -> Option<Logged> {
        let entries = self.entries();
        let from = entries.partition_point(|entry| entry.home() < blocks.start);
        let behind = entries.get(from..).unwrap_or_default();
        let inside = behind.iter().take_while(|entry| entry.home() < blocks.end);
        inside.into_iter().find_map(Entry::logged)
    }

    /// The revoked blocks, in order.
    pub(super) fn revoked(&self) -> impl Iterator<Item = u64> {
        self.entries().iter().filter(|entry| entry.is_revoked()).map(Entry::home)
    }

    fn search(&self, home: u64) -> core::result::Result<usize, usize> {
        self.entries().binary_search_by_key(&home, Entry::home)
    }

    /// Enters the newest copy of a block; a record that it was revoked is cancelled.
    pub(super) fn insert(&mut self, logged: Logged) {
        let flags = if logged.is_escaped { ESCAPED } else { 0 };
        let entry = Entry { home: (logged.home | flags).into(), place: logged.place.0.into() };
        match self.search(logged.home) {
            Ok(at) => {
                if let Some(old) = self.table_mut().get_mut(at) {
                    let was_revoked = old.is_revoked();
                    *old = entry;
                    self.revoked = self.revoked.saturating_sub(usize::from(was_revoked));
                }
            }
            Err(at) => {
                let end = self.len;
                assert!(end < self.capacity(), "room in the map is made before it is taken");
                let table = self.table_mut();
                table.copy_within(at..end, at.saturating_add(1));
                if let Some(slot) = table.get_mut(at) {
                    *slot = entry;
                }
                self.len = end.saturating_add(1);
            }
        }
    }

    /// Makes a block revoked, if it has a copy in the log.
    pub(super) fn revoke(&mut self, home: u64) {
        let Ok(at) = self.search(home) else { return };
        let Some(entry) = self.table_mut().get_mut(at).filter(|entry| !entry.is_revoked()) else { return };
        entry.home = (home | REVOKED).into();
        self.revoked = self.revoked.saturating_add(1);
    }

    /// Removes the revoked entries: their records are in the log.
    pub(super) fn forget_revoked(&mut self) {
        if self.revoked > 0 {
            self.retain(|entry| !entry.is_revoked());
        }
    }

    /// Removes the logged entries whose place `is_gone`: their blocks are home.
    pub(super) fn forget(&mut self, is_gone: impl Fn(LogBlock) -> bool) {
        self.retain(|entry| entry.logged().is_none_or(|logged| !is_gone(logged.place)));
    }

    fn retain(&mut self, is_kept: impl Fn(&Entry) -> bool) {
        let len = self.len;
        let mut revoked: usize = 0;
        let table = self.table_mut();
        let mut kept: usize = 0;
        for at in 0..len {
            let Some(entry) = table.get(at).copied().filter(&is_kept) else { continue };
            if let Some(slot) = table.get_mut(kept) {
                *slot = entry;
            }
            kept = kept.saturating_add(1);
            revoked = revoked.saturating_add(usize::from(entry.is_revoked()));
        }
        (self.len, self.revoked) = (kept, revoked);
    }

    /// Removes all entries: every block is home.
    pub(super) fn clear(&mut self) {
        (self.len, self.revoked) = (0, 0);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u32, bool),
        Revoke(u64),
        Forget,
        ForgetBefore(u32),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0u64..60, any::<u32>(), any::<bool>()).prop_map(|(b, p, e)| Step::Insert(b, p, e)),
            4 => (0u64..60).prop_map(Step::Revoke),
            1 => Just(Step::Forget),
            1 => any::<u32>().prop_map(Step::ForgetBefore),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn as_a_map_and_a_set(steps in prop::collection::vec(step(), 0..200), scale in 1u64..1 << 40) {
            let mut map = LogMap::new(vec![0u8; 3 * 16 + 60 * 12 + 11]);
            for piece in 0..3 {
                map.add_piece(LogBlock(piece * 10), Run { first_block: 500 + 100 * u64::from(piece), len_blocks: 10 })
                    .unwrap();
            }
            prop_assert_eq!(map.capacity(), 60);
            let (mut logged, mut revoked) = (BTreeMap::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(block, place, is_escaped) => {
                        let new = Logged { home: block * scale, place: LogBlock(place), is_escaped };
                        map.insert(new);
                        logged.insert(new.home, new);
                        revoked.remove(&new.home);
                    }
                    Step::Revoke(block) => {
                        map.revoke(block * scale);
                        if logged.remove(&(block * scale)).is_some() {
                            revoked.insert(block * scale);
                        }
                    }
                    Step::Forget => {
                        map.forget_revoked();
                        revoked.clear();
                    }
                    Step::ForgetBefore(place) => {
                        map.forget(|at| at.0 < place);
                        logged.retain(|_, entry: &mut Logged| entry.place.0 >= place);
                    }
                    Step::Clear => {
                        map.clear();
                        logged.clear();
                        revoked.clear();
                    }
                }
                prop_assert_eq!(map.len(), logged.len() + revoked.len());
                prop_assert_eq!(map.revoked_len(), revoked.len());
                prop_assert!(map.revoked().eq(revoked.iter().copied()));
                for from in [0, 7, 30] {
                    let range = from * scale..(from + 11) * scale;
                    let expected = logged.range(range.clone()).next().map(|(_, found)| *found);
                    prop_assert_eq!(map.first_in(range), expected);
                }
            }
            prop_assert_eq!(map.locate(LogBlock(13)), Ok(Run { first_block: 603, len_blocks: 7 }));
            prop_assert!(map.locate(LogBlock(30)).is_err());
            prop_assert!(map.is_own(709) && !map.is_own(710) && !map.is_own(499));
        }
    }
}
