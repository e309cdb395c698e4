//! [`Walk`]: the groups in the order in which they are looked at: from a goal upwards, around to it.
//!
//! Who calls it: `blocks`, `inodes`. Remembers which groups it found full from its beginning on, so that the next walk that begins there
//! goes on behind them.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::hints::Groups;

/// A walk over all groups.
pub(super) struct Walk {
    next: u32,
    groups: u32,
    /// Groups that are left to look at.
    left: u32,
    known: Groups,
    full: Groups,
}

impl Walk {
    /// From `goal` on, over `groups` groups, of which `known` are known to be full.
    pub fn new(goal: u32, groups: u32, known: Groups) -> Walk {
        let full = if known.contains(goal) { known } else { Groups { from: goal, end: goal } };
        let left = groups.saturating_sub(full.end.saturating_sub(goal));
        Walk { next: full.end, groups, left, known, full }
    }

    /// Notes that the group that [`Walk::next`] gave last is full.
    pub fn is_full(&mut self, group: u32) {
        if group == self.full.end {
            self.full.end = group.saturating_add(1);
        }
    }

    /// What the next walk is to know.
    pub fn known(&self) -> Groups {
        if self.full.from < self.full.end { self.full } else { self.known }
    }
}

impl Iterator for Walk {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let group = if self.next < self.groups { self.next } else { 0 };
        self.next = group.saturating_add(1);
        Some(group)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn every_group_once_but_those_known_to_be_full() {
        let walk = |goal, known| Walk::new(goal, 5, known).collect::<Vec<_>>();
        let none = Groups::default();
        assert_eq!(walk(3, none), [3, 4, 0, 1, 2]);
        assert_eq!(walk(3, Groups { from: 2, end: 4 }), [4, 0, 1, 2]);
        assert_eq!(walk(3, Groups { from: 1, end: 5 }), [0, 1, 2]);
        assert_eq!(walk(0, Groups { from: 0, end: 5 }), []);
    }

    #[test]
    fn full_groups_in_a_row_are_remembered() {
        let mut walk = Walk::new(1, 5, Groups { from: 3, end: 4 });
        assert_eq!(walk.known(), Groups { from: 3, end: 4 });
        for full in [1, 2] {
            assert_eq!(walk.next(), Some(full));
            walk.is_full(full);
        }
        assert_eq!((walk.next(), walk.next()), (Some(3), Some(4)));
        walk.is_full(4);
        assert_eq!(walk.known(), Groups { from: 1, end: 3 });
    }
}
