//! The checkpoint: every block in the log goes home, and the log is empty.
//!
//! Who calls it: `compound` when map or log are full, `device` at the end; `background` brings a part home. LW-3, LW-4.
//!
//! In order of the homes, a buffer at a time: homes that lie together are written together. Readers go on: until the map
//! is emptied they read from the log, which nobody changes meanwhile.

use super::super::format::MAGIC_BYTES;
use super::super::log::LogBlock;
use super::device::Memory;
use super::log_map::{LogMap, Logged};
use super::writer::{Tail, Writer};
use core::ops::Range;
use rumpcap_host::Result;
use rumpcap_host::sync::RwLock;
use std::io::{IoSlice, IoSliceMut};

impl<M: Memory> Writer<M> {
    /// Brings all blocks home and moves the tail, after a `sync`. Durable with the next flush.
    pub(super) fn checkpoint(&mut self, map: &RwLock<LogMap<M>>, tail: Tail) -> Result<()> {
        self.check_running()?;
        assert!(self.durable == self.recorded && self.since.is_none(), "LW-3: synced before");
        let empty = self.placement.live() == 0;
        if empty && tail == Tail::AtHead {
            return Ok(());
        }
        // It takes what one in the background has left.
        self.homeward = None;
        let done = self.bring_home(&map.read()).and_then(|()| {
            self.placement.retire(self.placement.live());
            self.write_super_block(tail)
        });
        self.or_abort(done)?;
        self.checkpoints = self.checkpoints.saturating_add(1);
        map.write().clear();
        Ok(())
    }

    fn bring_home(&mut self, map: &LogMap<M>) -> Result<()> {
        let mut from = 0;
        while let Some(run) = self.bring_run_home(map, from, self.placement.live())? {
            from = run.end;
        }
        self.flush()
    }

    /// Brings home blocks that lie together, of those from `from` on that are within the oldest `within` blocks of the log: as many as fit
    /// the buffer. `None` if there is none.
    pub(super) fn bring_run_home(
        &mut self,
        map: &LogMap<M>,
        from: u64,
        within: u32,
    ) -> Result<Option<Range<u64>>> {
        let placement = self.placement;
        let is_meant = |logged: &Logged| placement.distance(logged.place) < within;
        let mut first = map.first_in(from..self.geometry.blocks);
        while let Some(other) = first.filter(|logged| !is_meant(logged)) {
            first = map.first_in(other.home.saturating_add(1)..self.geometry.blocks);
        }
        let Some(first) = first else { return Ok(None) };
        let room = self.buffer.len().checked_div(self.codec.block_size).unwrap_or(1) as u64;
        let mut end = first.home;
        while end < first.home.saturating_add(room)
            && let Some(logged) = map.first_in(end..end.saturating_add(1)).filter(is_meant)
        {
            self.fetch(map, logged, end.saturating_sub(first.home))?;
            end = end.saturating_add(1);
        }
        let len = self.codec.block_size.saturating_mul(end.saturating_sub(first.home) as usize);
        let bytes = self.buffer.get(..len).unwrap_or_default();
        self.base.write_at(self.byte(first.home), &mut [IoSlice::new(bytes)])?;
        Ok(Some(first.home..end))
    }

    /// Reads the copy of a block into the buffer, as its block number `index`.
    fn fetch(&mut self, map: &LogMap<M>, logged: Logged, index: u64) -> Result<()> {
        let Logged { place, is_escaped, .. } = logged;
        let at = self.log_byte(map, place)?;
        let size = self.codec.block_size;
        let from = size.saturating_mul(index as usize);
        let Some(block) = self.buffer.get_mut(from..from.saturating_add(size)) else { return Ok(()) };
        self.base.read_at(at, &mut [IoSliceMut::new(block)])?;
        if let Some(begin) = block.get_mut(..MAGIC_BYTES.len()).filter(|_| is_escaped) {
            begin.copy_from_slice(&MAGIC_BYTES);
        }
        Ok(())
    }

    fn log_byte(&self, map: &LogMap<M>, place: LogBlock) -> Result<u64> {
        Ok(self.byte(map.locate(place)?.first_block))
    }
}
