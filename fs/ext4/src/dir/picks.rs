//! [`Picks`]: the next entries in order, of more than fit. Pure.
//!
//! Who calls it: `dir::by_hash`, which shows it all entries in any order, several times if need be.
//!
//! PI-1. What is in the table is all that was shown between `from` and `until`. A full table lets go of its upper half, and is not
//! shown what is above from then on; so each pass gives at least half a table, and costs each entry a comparison or two.
//!
//! Memory: 5 KiB, on the stack; a leaf of 4 KiB fits.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::entry::RECORD_MIN;
use super::hash_cookie::Order;
use arrayvec::ArrayVec;
use rumpcap_vm::PAGE_SIZE;

/// Entries of the largest block that is written.
const PICKS_MAX: usize = PAGE_SIZE / RECORD_MIN as usize;

/// An entry: its order and where it is. Names of one order are in the order of their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pick {
    pub order: Order,
    /// Block of the directory.
    pub block: u32,
    /// Offset in the block; in an inline directory its position.
    pub at: u32,
}

/// The lowest entries that are not below `from`.
pub(super) struct Picks {
    from: Pick,
    until: Option<Pick>,
    table: ArrayVec<Pick, PICKS_MAX>,
}

impl Picks {
    pub fn new(from: Order) -> Picks {
        Picks { from: Pick { order: from, block: 0, at: 0 }, until: None, table: ArrayVec::new() }
    }

    /// Begins anew, behind all before.
    pub fn restart(&mut self, from: Order) {
        self.from = Pick { order: from, block: 0, at: 0 };
        self.forget();
    }

    /// Forgets what was shown since `from`.
    pub fn forget(&mut self) {
        self.until = None;
        self.table.clear();
    }

    /// Where it begins.
    pub fn from(&self) -> Order {
        self.from.order
    }

    /// Shows an entry.
    #[inline]
    pub fn offer(&mut self, pick: Pick) {
        if pick < self.from || self.until.is_some_and(|until| pick >= until) {
            return;
        }
        if self.table.is_full() {
            const HALF: usize = PICKS_MAX / 2;
            let (_, &mut until, _) = self.table.select_nth_unstable(HALF);
            self.table.truncate(HALF);
            self.until = Some(until);
            if pick >= until {
                return;
            }
        }
        self.table.push(pick);
    }

    /// What was picked, in order.
    pub fn sorted(&mut self) -> &[Pick] {
        self.table.sort_unstable();
        &self.table
    }

    /// Goes on behind what was picked; false if that was all.
    pub fn go_on(&mut self) -> bool {
        let until = self.until;
        self.forget();
        until.inspect(|&until| self.from = until).is_some()
    }
}

const _: () = assert!(PICKS_MAX > 2, "half a table is something");

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_come_in_order(shown in proptest::collection::vec(0..3000_u32, 0..2000), from in 0..3000_u32) {
            // Different in something: the number of each.
            let pick = |(at, &minor): (usize, &u32)| Pick { order: Order::new(0, minor), block: 7, at: at as u32 };
            let all: Vec<Pick> = shown.iter().enumerate().map(pick).collect();
            let from = Order::new(0, from);
            let mut want: Vec<Pick> = all.iter().copied().filter(|pick| pick.order >= from).collect();
            want.sort();
            let (mut picks, mut found, mut passes) = (Picks::new(from), Vec::new(), 0);
            loop {
                all.iter().for_each(|&pick| picks.offer(pick));
                found.extend_from_slice(picks.sorted());
                passes += 1;
                if !picks.go_on() {
                    break;
                }
            }
            prop_assert_eq!(found, want);
            prop_assert!(passes <= 1 + 2 * all.len() / PICKS_MAX);
        }
    }
}
