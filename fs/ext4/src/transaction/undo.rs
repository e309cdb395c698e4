//! Old bytes of pages that the running transaction had changed before the operation that changes them now, and which of their units it had
//! changed.
//!
//! Who calls it: `handle` saves, `mod` restores. A page that the operation is the first to change needs nothing here: it is forgotten
//! and read again.
//!
//! Records are stacked: the bytes, then where they were. Memory: one wired run, as long as [`Undo::new`] is given. UN-1. A record
//! that does not fit is refused before anything was changed; the operation is then tried again in an empty transaction, where it
//! needs no record.

use core::ops::Range;
use rumpcap_vm::WiredRun;

/// Bytes behind a record's bytes: the byte of the device, how many they are, and the page's units.
const HEAD: usize = 12;

/// The saved bytes.
pub(super) struct Undo {
    memory: WiredRun,
    used: usize,
}

impl Undo {
    pub(super) fn new(memory: WiredRun) -> Undo {
        Undo { memory, used: 0 }
    }

    /// Saves `bytes`, which are at byte `at` of the device, in a page of which these units were changed and are new; false if they do
    /// not fit (UN-1).
    #[must_use]
    pub(super) fn save(&mut self, at: u64, bytes: &[u8], (changed, created): (u8, u8)) -> bool {
        let Some(room) = self.memory.get_mut(self.used..) else { return false };
        let Some((to, rest)) = room.split_at_mut_checked(bytes.len()) else { return false };
        let Some(head) = rest.first_chunk_mut::<HEAD>() else { return false };
        to.copy_from_slice(bytes);
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..10].copy_from_slice(&(bytes.len() as u16).to_le_bytes());
        head[10..].copy_from_slice(&[changed, created]);
        self.used += bytes.len() + HEAD;
        true
    }

    /// Whether anything is saved.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Takes the record that was saved last: where its bytes were, the page's units, and the bytes.
    pub(super) fn pop(&mut self) -> Option<(u64, (u8, u8), &[u8])> {
        let head_at = self.used.checked_sub(HEAD)?;
        let (at, units, len) = self.head(head_at)?;
        let bytes_at = head_at.checked_sub(len)?;
        self.used = bytes_at;
        let bytes: Range<usize> = bytes_at..head_at;
        Some((at, units, self.memory.get(bytes)?))
    }

    fn head(&self, head_at: usize) -> Option<(u64, (u8, u8), usize)> {
        let head = self.memory.get(head_at..)?.first_chunk::<HEAD>()?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, changed, created] = *head;
        let at = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
        Some((at, (changed, created), u16::from_le_bytes([l0, l1]).into()))
    }

    /// Forgets all records: the operation is done.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_vm::{BootOptions, Vm};

    #[test]
    fn the_last_comes_first_and_what_does_not_fit_is_refused() {
        let vm = Vm::boot(BootOptions { limit_bytes: Some(1 << 20), ..Default::default() }).unwrap();
        let mut undo = Undo::new(WiredRun::buffer(&vm, 1, "a test").unwrap());
        assert!(undo.save(1 << 40, b"first", (15, 1)) && undo.save(7, b"", (2, 0)));
        assert!(undo.save(9, &[3; 4096 - 5 - 3 * HEAD], (1, 1)));
        assert!(!undo.save(0, b"", (0, 0)));
        assert_eq!(undo.pop().map(|(at, _, bytes)| (at, bytes.len())), Some((9, 4096 - 5 - 3 * HEAD)));
        assert_eq!(undo.pop(), Some((7, (2, 0), &b""[..])));
        assert_eq!(undo.pop(), Some((1 << 40, (15, 1), &b"first"[..])));
        assert_eq!(undo.pop(), None);
        assert!(undo.is_empty());
    }
}
