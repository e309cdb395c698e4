//! Where the next block of the log goes: the free part of the ring, and the room in the descriptor that is open.
//!
//! Who calls it: `compound`, twice for each commit, which places its blocks once to write them and once to enter them
//! into the map; `writer`, to give back what a checkpoint freed. A few words, copied freely.
//!
//! The ring, in order: `live` blocks from the tail to the head, the free ones, and `retired` ones, which a checkpoint
//! left behind the tail, but whose new tail is not durable yet (LW-4). One block is always free, so that a full ring
//! is not taken for an empty one.

use super::super::log::LogBlock;
use std::ops::Range;

/// Where the next blocks go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    first: u32,
    len: u32,
    /// Blocks of the ring from `first` to the head.
    head: u32,
    live: u32,
    retired: u32,
    /// Tags that the open descriptor still takes, 0 if none is open.
    room: u32,
    tags_per_descriptor: u32,
}

/// Places for one more block of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A descriptor that begins here; the one before is full.
    pub(super) descriptor: Option<LogBlock>,
    pub(super) copy: LogBlock,
}

impl Placement {
    /// An empty log that begins with the first block of `ring`.
    pub(super) fn new(ring: &Range<u32>, tags_per_descriptor: u32) -> Placement {
        let len = ring.end.saturating_sub(ring.start);
        Placement { first: ring.start, len, head: 0, live: 0, retired: 0, room: 0, tags_per_descriptor }
    }

    /// Blocks that can be taken.
    pub(super) fn free(&self) -> u32 {
        self.len.saturating_sub(1).saturating_sub(self.live).saturating_sub(self.retired)
    }

    /// Blocks between tail and head.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// Whether a flush makes more blocks free.
    pub(super) fn has_retired(&self) -> bool {
        self.retired > 0
    }

    /// The block that is taken next.
    pub(super) fn head(&self) -> LogBlock {
        LogBlock(self.first.saturating_add(self.head))
    }

    /// Takes one block.
    pub(super) fn take(&mut self) -> LogBlock {
        assert!(self.free() > 0, "LW-1: room in the log is made before it is taken");
        let block = self.head();
        let next = self.head.saturating_add(1);
        self.head = if next >= self.len { 0 } else { next };
        self.live = self.live.saturating_add(1);
        block
    }

    /// Takes the places for one more block of the file system.
    pub(super) fn place(&mut self) -> Place {
        let mut descriptor = None;
        if self.room == 0 {
            descriptor = Some(self.take());
            self.room = self.tags_per_descriptor;
        }
        self.room = self.room.saturating_sub(1);
        Place { descriptor, copy: self.take() }
    }

    /// The open descriptor takes no more.
    pub(super) fn close_descriptor(&mut self) {
        self.room = 0;
    }

    /// Blocks that `blocks` more of the file system need, with their descriptors.
    pub(super) fn need(&self, blocks: u32) -> u32 {
        let beyond = blocks.saturating_sub(self.room);
        blocks.saturating_add(beyond.div_ceil(self.tags_per_descriptor.max(1)))
    }

    /// The most blocks of the file system that fit into an empty ring, with their descriptors and a commit block.
    pub(super) fn max_blocks(&self) -> u32 {
        let room = u64::from(self.len.saturating_sub(2));
        let tags = u64::from(self.tags_per_descriptor);
        let whole = room.checked_div(tags.saturating_add(1)).unwrap_or(0);
        let rest = room.saturating_sub(whole.saturating_mul(tags.saturating_add(1))).saturating_sub(1);
        u32::try_from(whole.saturating_mul(tags).saturating_add(rest)).unwrap_or(u32::MAX)
    }

    /// Whether half of the ring is live.
    pub(super) fn is_half_full(&self) -> bool {
        self.live > self.len / 2
    }

    /// Blocks from the tail to `block`.
    pub(super) fn distance(&self, block: LogBlock) -> u32 {
        let (len, at) = (u64::from(self.len), u64::from(block.0.saturating_sub(self.first)));
        let tail = u64::from(self.head).saturating_add(len).saturating_sub(u64::from(self.live));
        let ahead = at.saturating_add(len).saturating_add(len).saturating_sub(tail);
        u32::try_from(ahead.checked_rem(len).unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// The tail moves by so many live blocks, which are free after [`Placement::reclaim`].
    pub(super) fn retire(&mut self, blocks: u32) {
        let blocks = blocks.min(self.live);
        self.retired = self.retired.saturating_add(blocks);
        self.live = self.live.saturating_sub(blocks);
    }

    /// The tail is durable.
    pub(super) fn reclaim(&mut self) {
        self.retired = 0;
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_what_is_taken() {
        for (len, tags) in [(16, 3), (17, 3), (18, 3), (19, 3), (40, 100), (101, 1)] {
            let empty = Placement::new(&(1..1 + len), tags);
            let max = empty.max_blocks();
            assert!(empty.need(max) < empty.free() && empty.need(max + 1) >= empty.free(), "{len} {tags}");
            for before in 0..max {
                let mut placement = empty;
                (0..before).for_each(|_| _ = placement.place());
                let (need, free) = (placement.need(max - before), placement.free());
                (before..max).for_each(|_| _ = placement.place());
                assert_eq!(free - placement.free(), need, "{len} {tags} {before}");
            }
        }
    }

    #[test]
    fn goes_around_and_gives_back_in_two_steps() {
        let mut placement = Placement::new(&(5..15), 3);
        let taken: Vec<u32> = (0..9).map(|_| placement.take().0).collect();
        assert_eq!((taken, placement.free()), ((5..14).collect(), 0));
        placement.retire(9);
        assert_eq!((placement.free(), placement.live(), placement.has_retired()), (0, 0, true));
        placement.reclaim();
        let places = [placement.place(), placement.place()];
        let place = |descriptor: Option<u32>, copy| Place { descriptor: descriptor.map(LogBlock), copy };
        assert_eq!(places, [place(Some(14), LogBlock(5)), place(None, LogBlock(6))]);
        assert_eq!((placement.free(), placement.live()), (6, 3));
        // The three that are live: 14, 5 and 6.
        assert_eq!([14, 5, 6, 7].map(|block| placement.distance(LogBlock(block))), [0, 1, 2, 3]);
        placement.retire(2);
        assert_eq!((placement.free(), placement.live(), placement.distance(LogBlock(6))), (6, 1, 0));
        placement.reclaim();
        assert_eq!(placement.free(), 8);
    }
}
