//! [`Stripes`]: no two calls change one directory, or one file, at once, so that the attributes before and after a change that a client is
//! told are those of this change alone (RFC 1813, 1.2: else it would take another's change for its own).
//!
//! ST-1. Locks are taken in the order of their places, before anything of the kernel; nobody who has some takes more.
//! ST-2. Nobody waits for a client, or for what was changed to be durable, with a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks: as many as make it unlikely that two of some ten calls meet.
const STRIPES: usize = 64;

/// Locks that inodes share.
pub struct Stripes([Mutex<()>; STRIPES]);

/// Locks, while it lives.
pub struct Held<'a> {
    _first: MutexGuard<'a, ()>,
    _second: Option<MutexGuard<'a, ()>>,
}

impl Stripes {
    /// All free.
    pub fn new() -> Stripes {
        Stripes([const { Mutex::new(()) }; STRIPES])
    }

    fn place(ino: u64) -> usize {
        // Numbers of inodes that are used together are near each other.
        usize::try_from(ino % STRIPES as u64).unwrap_or(0)
    }

    fn at(&self, place: usize) -> MutexGuard<'_, ()> {
        // Nothing is behind the lock that a panic could have left undone.
        self.0[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks one inode.
    pub fn one(&self, ino: u64) -> Held<'_> {
        Held { _first: self.at(Stripes::place(ino)), _second: None }
    }

    /// Locks two.
    pub fn two(&self, a: u64, b: u64) -> Held<'_> {
        let (a, b) = (Stripes::place(a), Stripes::place(b));
        let _first = self.at(a.min(b));
        Held { _first, _second: (a != b).then(|| self.at(a.max(b))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_round_end() {
        let stripes = Stripes::new();
        std::thread::scope(|scope| {
            for (a, b) in [(1, 2), (2, 1), (1, 65), (66, 1)] {
                let stripes = &stripes;
                scope.spawn(move || (0..1_000).for_each(|_| drop(stripes.two(a, b))));
            }
        });
        drop(stripes.one(3));
    }
}
