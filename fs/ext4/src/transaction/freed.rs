//! Blocks that were freed by a transaction which is not durable yet: a power cut may give them back to their file, so
//! they are not to be written in place before.
//!
//! Who calls it: `alloc` asks before it takes a block and tells what it frees; `commit` forgets what has become durable.
//!
//! FR-1. A block in no run of the list, and in no group that is marked, may be used. FR-2. The runs `0..committed` were freed by commits
//! up to `tid`; those behind by the running transaction.
//!
//! Memory: one wired run: 512 bytes of marks, then 16 bytes a run of blocks. When the list is full, whole groups are marked instead:
//! nothing of them is used until all is durable, which is asked for when there is no space elsewhere. So freeing much never waits
//! for the device.

use crate::journal::format::Tid;
use crate::super_block::SuperBlock;
use core::ops::Range;
use rumpcap_vm::WiredRun;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of marks, a bit for each group; groups a multiple of 4,096 apart share one.
const MARK_BYTES: usize = 512;

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

/// Whether groups are marked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marks {
    None,
    /// By commits.
    Committed,
    /// By the running transaction too.
    Running,
}

/// The list.
pub(crate) struct FreedBlocks {
    memory: WiredRun,
    first_data_block: u64,
    blocks_per_group: u64,
    len: usize,
    /// What is behind was freed by the operation that runs, which may be taken back.
    sealed: usize,
    committed: usize,
    tid: Option<Tid>,
    marks: Marks,
}

impl FreedBlocks {
    pub(super) fn new(memory: WiredRun, sb: &SuperBlock) -> FreedBlocks {
        let (len, sealed, committed, tid, marks) = (0, 0, 0, None, Marks::None);
        let blocks_per_group = u64::from(sb.blocks_per_group).max(1);
        let first_data_block = sb.first_data_block;
        let mut new =
            FreedBlocks { memory, first_data_block, blocks_per_group, len, sealed, committed, tid, marks };
        new.mark_bytes().fill(0);
        new
    }

    fn mark_bytes(&mut self) -> &mut [u8] {
        self.memory.get_mut(..MARK_BYTES).unwrap_or_default()
    }

    fn all(&self) -> &[Freed] {
        let all = self.memory.get(MARK_BYTES..).and_then(|bytes| <[Freed]>::ref_from_bytes(bytes).ok());
        all.and_then(|all| all.get(..self.len)).unwrap_or_default()
    }

    fn room(&mut self) -> &mut [Freed] {
        let all = self.memory.get_mut(MARK_BYTES..).and_then(|bytes| <[Freed]>::mut_from_bytes(bytes).ok());
        all.unwrap_or_default()
    }

    fn group(&self, block: u64) -> u64 {
        block.saturating_sub(self.first_data_block) / self.blocks_per_group
    }

    /// Byte and bit of a group's mark.
    fn mark(group: u64) -> (usize, u8) {
        let bit = group as usize % (8 * MARK_BYTES);
        (bit / 8, 1 << (bit % 8))
    }

    /// Notes blocks that are freed now.
    pub(super) fn add(&mut self, first: u64, count: u64) {
        let (len, sealed) = (self.len, self.sealed);
        let all = self.room();
        if let Some(last) = all.get_mut(sealed..len).and_then(|own| own.last_mut()) {
            if last.end() == first {
                last.count = last.count.saturating_add(count);
                return;
            }
            if first.saturating_add(count) == last.first {
                *last = Freed { first, count: last.count.saturating_add(count) };
                return;
            }
        }
        match all.get_mut(len) {
            Some(free) => {
                *free = Freed { first, count };
                self.len = len + 1;
            }
            None => self.mark_groups(first, count),
        }
    }

    /// Marks the groups of blocks. A mark outlives an operation that is taken back: it may be set without need.
    fn mark_groups(&mut self, first: u64, count: u64) {
        let last = first.saturating_add(count.saturating_sub(1));
        for group in (self.group(first)..=self.group(last)).take(8 * MARK_BYTES) {
            let (byte, bit) = FreedBlocks::mark(group);
            if let Some(byte) = self.mark_bytes().get_mut(byte) {
                *byte |= bit;
            }
        }
        self.marks = Marks::Running;
    }

    /// A run that has a block of `blocks` and cannot be used yet, if there is one: nothing before its end is to be taken.
    pub(crate) fn in_the_way(&self, blocks: Range<u64>) -> Option<Range<u64>> {
        let hit = self.all().iter().find(|freed| freed.first < blocks.end && blocks.start < freed.end());
        hit.map(|hit| hit.first..hit.end()).or_else(|| self.marked_in(blocks))
    }

    fn marked_in(&self, blocks: Range<u64>) -> Option<Range<u64>> {
        if self.marks == Marks::None || blocks.is_empty() {
            return None;
        }
        let is_marked = |group: &u64| {
            let (byte, bit) = FreedBlocks::mark(*group);
            self.memory.get(byte).is_some_and(|byte| byte & bit != 0)
        };
        let group = (self.group(blocks.start)..=self.group(blocks.end.saturating_sub(1))).find(is_marked)?;
        let start = self.first_data_block.saturating_add(group.saturating_mul(self.blocks_per_group));
        Some(start..start.saturating_add(self.blocks_per_group))
    }

    /// Whether any block waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && self.marks == Marks::None
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
        if self.marks == Marks::Running {
            self.marks = Marks::Committed;
        }
        if tid.is_none() {
            self.forget_committed();
        }
    }

    /// The transaction that all that was committed waits for.
    pub(super) fn waits_for(&self) -> Option<Tid> {
        self.tid.filter(|_| self.committed > 0 || self.marks == Marks::Committed)
    }

    /// All has become durable, and no transaction is running.
    pub(super) fn forget_all(&mut self) {
        self.committed = self.len;
        if self.marks == Marks::Running {
            self.marks = Marks::Committed;
        }
        self.forget_committed();
    }

    /// What was committed has become durable.
    pub(super) fn forget_committed(&mut self) {
        let (committed, len) = (self.committed, self.len);
        self.room().copy_within(committed..len, 0);
        self.len = len - committed;
        self.sealed = self.sealed.saturating_sub(committed);
        self.committed = 0;
        if self.marks == Marks::Committed {
            self.mark_bytes().fill(0);
            self.marks = Marks::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_vm::{BootOptions, Vm};

    fn list() -> FreedBlocks {
        let vm = Vm::boot(BootOptions { limit_bytes: Some(1 << 20), ..Default::default() }).unwrap();
        let memory = WiredRun::buffer(&vm, 1, "a test").unwrap();
        let (len, sealed, committed, tid, marks) = (0, 0, 0, None, Marks::None);
        let mut new = FreedBlocks {
            memory,
            first_data_block: 1,
            blocks_per_group: 1000,
            len,
            sealed,
            committed,
            tid,
            marks,
        };
        new.mark_bytes().fill(0);
        new
    }

    #[test]
    fn runs_merge_within_an_operation_and_go_when_they_are_durable() {
        let mut freed = list();
        for (first, count) in [(10, 5), (15, 1), (8, 2)] {
            freed.add(first, count);
        }
        assert_eq!((freed.len, freed.in_the_way(0..9)), (1, Some(8..16)));
        freed.seal();
        freed.add(16, 4);
        freed.take_back();
        assert_eq!(freed.in_the_way(16..30), None);
        freed.committed(Some(Tid(3)));
        freed.add(100, 1);
        freed.seal();
        assert_eq!(freed.waits_for(), Some(Tid(3)));
        freed.forget_committed();
        assert_eq!((freed.in_the_way(0..50), freed.in_the_way(90..101)), (None, Some(100..101)));
    }

    #[test]
    fn a_full_list_marks_groups_until_all_is_durable() {
        let mut freed = list();
        (0..(4096 - 512) / 16).for_each(|n| freed.add(10 + 2 * n, 1));
        assert!(freed.in_the_way(3000..9000).is_none());
        freed.add(4000, 2);
        assert_eq!(freed.in_the_way(3500..9000), Some(3001..4001));
        assert_eq!(freed.in_the_way(4999..9000), Some(4001..5001));
        assert_eq!(freed.in_the_way(5001..9000), None);
        freed.seal();
        freed.committed(Some(Tid(1)));
        freed.add(7000, 1);
        freed.forget_committed();
        // A mark of the running transaction keeps those of the one before.
        assert_eq!((freed.len, freed.in_the_way(4200..4201)), (0, Some(4001..5001)));
        freed.committed(Some(Tid(2)));
        freed.forget_committed();
        assert!(freed.is_empty() && freed.in_the_way(0..u64::MAX).is_none());
        // An operation that is taken back leaves its marks, which go when there is nothing that they can be of.
        (0..(4096 - 512) / 16 + 1).for_each(|n| freed.add(10 + 2 * n, 1));
        freed.take_back();
        assert!(!freed.is_empty());
        freed.forget_all();
        assert!(freed.is_empty() && freed.in_the_way(0..u64::MAX).is_none());
    }
}
