//! Blocks that were freed by a transaction which is not durable yet: a power cut may give them back to their file, so
//! they are not to be written in place before.
//!
//! Who calls it: `alloc` asks before it takes a block and tells what it frees; `commit` forgets what has become durable.
//!
//! FR-1. A block between two runs of the list, or in none, may be used. FR-2. The runs `0..committed` were freed by commits up to
//! `tid`; those behind by the running transaction. Memory: one wired run, 16 bytes a run of blocks. A list that is full refuses; the
//! operation is then tried again when all is durable, and the list empty.

use crate::journal::format::Tid;
use core::ops::Range;
use rumpcap_vm::WiredRun;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Freed {
    first: u64,
    count: u64,
}

impl Freed {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// The list.
pub(crate) struct FreedBlocks {
    memory: WiredRun,
    len: usize,
    /// What is behind was freed by the operation that runs, which may be taken back.
    sealed: usize,
    committed: usize,
    tid: Option<Tid>,
}

impl FreedBlocks {
    pub(super) fn new(memory: WiredRun) -> FreedBlocks {
        FreedBlocks { memory, len: 0, sealed: 0, committed: 0, tid: None }
    }

    fn all(&self) -> &[Freed] {
        let room = self.memory.len() / size_of::<Freed>() * size_of::<Freed>();
        let all = self.memory.get(..room).and_then(|bytes| <[Freed]>::ref_from_bytes(bytes).ok());
        all.and_then(|all| all.get(..self.len)).unwrap_or_default()
    }

    fn room(&mut self) -> &mut [Freed] {
        let room = self.memory.len() / size_of::<Freed>() * size_of::<Freed>();
        let all = self.memory.get_mut(..room).and_then(|bytes| <[Freed]>::mut_from_bytes(bytes).ok());
        all.unwrap_or_default()
    }

    /// Notes blocks that are freed now; false if the list is full.
    #[must_use]
    pub(super) fn add(&mut self, first: u64, count: u64) -> bool {
        let (len, sealed) = (self.len, self.sealed);
        let all = self.room();
        if let Some(last) = all.get_mut(sealed..len).and_then(|own| own.last_mut()) {
            if last.end() == first {
                last.count = last.count.saturating_add(count);
                return true;
            }
            if first.saturating_add(count) == last.first {
                *last = Freed { first, count: last.count.saturating_add(count) };
                return true;
            }
        }
        let Some(free) = all.get_mut(len) else { return false };
        *free = Freed { first, count };
        self.len = len + 1;
        true
    }

    /// The end of a run that has a block of `blocks`, if one has: nothing before that end is to be taken.
    pub(crate) fn in_the_way(&self, blocks: Range<u64>) -> Option<Range<u64>> {
        let all = self.all();
        let hit = all.iter().find(|freed| freed.first < blocks.end && blocks.start < freed.end())?;
        Some(hit.first..hit.end())
    }

    /// Whether any block waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The operation is done: it is not taken back any more.
    pub(super) fn seal(&mut self) {
        self.sealed = self.len;
    }

    /// Takes the operation back.
    pub(super) fn take_back(&mut self) {
        self.len = self.sealed;
    }

    /// All that is in the list now was committed by `tid`, or by one before; without a journal there is none to wait for.
    pub(super) fn committed(&mut self, tid: Option<Tid>) {
        (self.committed, self.tid) = (self.len, tid);
        if tid.is_none() {
            self.forget_committed();
        }
    }

    /// The transaction that all that was committed waits for.
    pub(super) fn waits_for(&self) -> Option<Tid> {
        self.tid.filter(|_| self.committed > 0)
    }

    /// What was committed has become durable.
    pub(super) fn forget_committed(&mut self) {
        let (committed, len) = (self.committed, self.len);
        self.room().copy_within(committed..len, 0);
        self.len = len - committed;
        self.sealed = self.sealed.saturating_sub(committed);
        self.committed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_vm::{BootOptions, Vm};

    #[test]
    fn runs_merge_within_an_operation_and_go_when_they_are_durable() {
        let vm = Vm::boot(BootOptions { limit_bytes: Some(1 << 20), ..Default::default() }).unwrap();
        let mut freed = FreedBlocks::new(WiredRun::buffer(&vm, 1, "a test").unwrap());
        assert!(freed.add(10, 5) && freed.add(15, 1) && freed.add(8, 2));
        assert_eq!((freed.len, freed.in_the_way(0..9)), (1, Some(8..16)));
        freed.seal();
        assert!(freed.add(16, 4));
        freed.take_back();
        assert_eq!(freed.in_the_way(16..30), None);
        freed.committed(Some(Tid(3)));
        assert!(freed.add(100, 1));
        freed.seal();
        assert_eq!(freed.waits_for(), Some(Tid(3)));
        freed.forget_committed();
        assert_eq!((freed.in_the_way(0..50), freed.in_the_way(90..101)), (None, Some(100..101)));
        assert!((0..255).all(|n| freed.add(1000 + 2 * n, 1)));
        assert!(!freed.add(1, 1));
    }
}
