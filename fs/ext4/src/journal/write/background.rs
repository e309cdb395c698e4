//! The checkpoint in the background: in portions, while commits go on.
//!
//! Who calls it: `device`, for a thread that nobody waits for. Whom it calls: `compound` to make durable, `checkpoint` to bring home.
//!
//! ```text
//!   none ── half full: record, flush ──► under way ── portions ──► all home ── record, flush, super block ──► none
//!                                            └───────── a checkpoint of all, by a commit that found no room ──► none
//! ```
//! What is brought home is what lay in the log when it began: up to a mark between two compounds, and all of that is durable (LW-3). A block that
//! is logged again meanwhile is left out; its newer copy lies behind the mark. The tail then moves to the mark, which takes the older copy
//! away: so everything is made durable before (BG-1), or a power cut would find neither.
//!
//! BG-1. The tail moves to the mark after a flush that followed the writes home and the record of what was logged meanwhile. BG-2. The map says
//! where a block is in the log until the tail has moved, so one that is freed meanwhile gets its record (LW-6).
//!
//! Locks: the writer's for one portion, [`PORTION_BLOCKS`] at most, or for one record with its flushes. Memory: the writer's buffer; a
//! descriptor that is in it is written before, and the next commit begins another. Failure: aborts the journal.

use super::super::format::Tid;
use super::super::log::LogBlock;
use super::device::Memory;
use super::log_map::LogMap;
use super::writer::{Tail, Writer};
use rumpcap_host::Result;
use rumpcap_host::sync::RwLock;
use rumpcap_vfs::Timestamp;

/// Blocks that one portion brings home at most: a commit that comes meanwhile waits for so many reads and writes.
const PORTION_BLOCKS: u32 = 64;

/// A checkpoint that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Homeward {
    /// Blocks of the log from the tail to the mark.
    blocks: u32,
    /// The mark, and the transaction that begins there.
    mark: (LogBlock, Tid),
    /// Homes before this block are done.
    from: u64,
}

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// The log is not half full.
    NothingToDo,
    /// A portion: call again.
    More,
    /// The last portion.
    Done,
}

impl<M: Memory> Writer<M> {
    /// Whether log or map are half full: then half is left for those who commit while the other half goes home.
    pub(super) fn is_half_full(&self, map: &LogMap<M>) -> bool {
        self.placement.is_half_full() || map.len().saturating_mul(2) >= map.capacity()
    }

    /// Does one portion.
    pub(super) fn background(&mut self, map: &RwLock<LogMap<M>>, now: Timestamp) -> Result<Background> {
        self.check_running()?;
        let Some(homeward) = self.homeward else {
            if !self.is_half_full(&map.read()) {
                return Ok(Background::NothingToDo);
            }
            self.sync(map, now)?;
            let mark = (self.placement.head(), self.running);
            self.homeward = Some(Homeward { blocks: self.placement.live(), mark, from: 0 });
            return Ok(Background::More);
        };
        let brought = self.bring_portion_home(&map.read(), homeward);
        self.homeward = self.or_abort(brought)?;
        if self.homeward.is_some() {
            return Ok(Background::More);
        }
        self.arrive(map, homeward, now)?;
        Ok(Background::Done)
    }

    /// Gives what is left, `None` if all is home.
    fn bring_portion_home(&mut self, map: &LogMap<M>, homeward: Homeward) -> Result<Option<Homeward>> {
        self.write_descriptor(map)?;
        self.placement.close_descriptor();
        let (mut from, mut blocks) = (homeward.from, 0u32);
        while blocks < PORTION_BLOCKS {
            let Some(run) = self.bring_run_home(map, from, homeward.blocks)? else { return Ok(None) };
            blocks = blocks.saturating_add(u32::try_from(run.end.saturating_sub(run.start)).unwrap_or(1));
            from = run.end;
        }
        Ok(Some(Homeward { from, ..homeward }))
    }

    /// All is home: the tail moves to the mark (BG-1, BG-2).
    fn arrive(&mut self, map: &RwLock<LogMap<M>>, homeward: Homeward, now: Timestamp) -> Result<()> {
        self.sync(map, now)?;
        let (head, next) = homeward.mark;
        let moved = self.write_super_block(Tail::At(head, next));
        self.or_abort(moved)?;
        let placement = self.placement;
        map.write().forget(|place| placement.distance(place) < homeward.blocks);
        self.placement.retire(homeward.blocks);
        self.background_checkpoints = self.background_checkpoints.saturating_add(1);
        Ok(())
    }
}
