//! The compound transaction: commits are appended to it, and it is closed with a commit block.
//!
//! Who calls it: `device`, under the lock. See the header of the folder for when and why; LW-1, LW-2, LW-5.
//!
//! Layout: descriptor, copies, descriptor, copies ..., revoke blocks, commit block. A descriptor stays in the buffer,
//! its place taken, until it is full or the compound is recorded; so small commits share one.

use super::super::format::{MAGIC_BYTES, Tid};
use super::device::Memory;
use super::encode::Descriptor;
use super::log_map::{LogMap, Logged};
use super::writer::{Tail, Writer};
use arrayvec::ArrayVec;
use rumpcap_block::{BlockDevice, MAX_PIECES};
use rumpcap_host::clock::{self, Moment};
use rumpcap_host::sync::RwLock;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Timestamp;
use std::io::IoSlice;

/// A block of the file system and its new content.
#[derive(Clone, Copy, Debug)]
pub struct LoggedBlock<'a> {
    /// Number of the block.
    pub home: u64,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

impl<'a> LoggedBlock<'a> {
    /// The content as it is in the log: a block must not look like one of the journal's own.
    fn copy(&self) -> ([&'a [u8]; 2], bool) {
        match self.bytes.split_at_checked(MAGIC_BYTES.len()) {
            Some((begin, rest)) if begin == MAGIC_BYTES => ([&[0; MAGIC_BYTES.len()], rest], true),
            _ => ([self.bytes, &[]], false),
        }
    }
}

impl<M: Memory> Writer<M> {
    /// Appends a commit to the compound; gives the id of its transaction.
    pub(super) fn commit<'b>(
        &mut self,
        map: &RwLock<LogMap<M>>,
        blocks: impl ExactSizeIterator<Item = LoggedBlock<'b>> + Clone,
        revoked: &[u64],
        now: Timestamp,
    ) -> Result<Tid> {
        self.check_running()?;
        self.check(&map.read(), blocks.clone(), revoked)?;
        self.make_room(map, blocks.len(), revoked.len(), now)?;
        let mut placement = self.placement;
        let appended = self.append(&map.read(), blocks.clone());
        self.or_abort(appended)?;
        let mut map_alone = map.write();
        revoked.iter().for_each(|home| map_alone.revoke(*home));
        for block in blocks {
            let place = placement.place().copy;
            map_alone.insert(Logged { home: block.home, place, is_escaped: block.copy().1 });
        }
        drop(map_alone);
        let tid = self.running;
        self.since.get_or_insert_with(clock::now);
        self.record_if_due(map, now)?;
        Ok(tid)
    }

    fn check<'b>(
        &self,
        map: &LogMap<M>,
        mut blocks: impl ExactSizeIterator<Item = LoggedBlock<'b>>,
        revoked: &[u64],
    ) -> Result<()> {
        if blocks.len() > self.max_commit_blocks(map) {
            return Err(Error::InvalidInput { what: "commit: more blocks than map and log take" });
        }
        let is_bad = |home: u64| home >= self.geometry.blocks || map.is_own(home);
        let is_bad_block =
            |block: LoggedBlock<'_>| is_bad(block.home) || block.bytes.len() != self.codec.block_size;
        if blocks.any(is_bad_block) || revoked.iter().any(|home| is_bad(*home)) {
            return Err(Error::InvalidInput {
                what: "commit: block outside the file system, or the journal's",
            });
        }
        Ok(())
    }

    /// The most blocks that one commit can have.
    pub(super) fn max_commit_blocks(&self, map: &LogMap<M>) -> usize {
        map.capacity().min(self.placement.max_blocks() as usize)
    }

    /// Sees to it that so many blocks can be appended and the compound then be closed.
    fn make_room(
        &mut self,
        map: &RwLock<LogMap<M>>,
        blocks: usize,
        revoked: usize,
        now: Timestamp,
    ) -> Result<()> {
        if self.has_room(&map.read(), blocks, revoked) {
            return Ok(());
        }
        if self.placement.has_retired() {
            let flushed = self.flush();
            self.or_abort(flushed)?;
            if self.has_room(&map.read(), blocks, revoked) {
                return Ok(());
            }
        }
        self.sync(map, now)?;
        self.checkpoint(map, Tail::AtHead)?;
        if !self.has_room(&map.read(), blocks, revoked) {
            let flushed = self.flush();
            self.or_abort(flushed)?;
        }
        assert!(self.has_room(&map.read(), blocks, revoked), "an empty log takes what `check` lets pass");
        Ok(())
    }

    fn has_room(&self, map: &LogMap<M>, blocks: usize, revoked: usize) -> bool {
        // Only what the map has gets a record.
        let records = map.revoked_len().saturating_add(revoked).min(map.len());
        let closing = records.div_ceil(self.codec.records_per_revoke_block().max(1)).saturating_add(1);
        let need = self.placement.need(u32::try_from(blocks).unwrap_or(u32::MAX)) as usize;
        let slots = map.capacity().saturating_sub(map.len());
        need.saturating_add(closing) <= self.placement.free() as usize && blocks <= slots
    }

    /// Writes the copies, and the descriptors that become full.
    fn append<'b>(&mut self, map: &LogMap<M>, blocks: impl Iterator<Item = LoggedBlock<'b>>) -> Result<()> {
        let mut run = CopyRun { at: 0, end: 0, pieces: ArrayVec::new() };
        for block in blocks {
            let place = self.placement.place();
            if let Some(descriptor) = place.descriptor {
                self.write_descriptor(map)?;
                let (codec, tid) = (self.codec, self.running);
                self.descriptor = Some((descriptor, Descriptor::begin(&codec, self.block(), tid)));
            }
            let (copy, is_escaped) = block.copy();
            let checksum = self.codec.copy_checksum(self.running, copy);
            self.push_tag(block.home, checksum, is_escaped);
            let at = self.byte(map.locate(place.copy)?.first_block);
            if !run.takes(at) {
                run.write(&*self.base)?;
            }
            run.push(at, copy);
        }
        run.write(&*self.base)
    }

    fn push_tag(&mut self, home: u64, checksum: u32, is_escaped: bool) {
        let size = self.codec.block_size;
        let block = self.buffer.get_mut(..size).unwrap_or_default();
        if let Some((_, descriptor)) = &mut self.descriptor {
            descriptor.push(&self.codec, block, home, checksum, is_escaped);
        }
    }

    /// Writes the descriptor that is open, if there is one, to its place.
    pub(super) fn write_descriptor(&mut self, map: &LogMap<M>) -> Result<()> {
        let Some((place, descriptor)) = self.descriptor.take() else { return Ok(()) };
        let codec = self.codec;
        descriptor.finish(&codec, self.block());
        self.write_block(map, place)
    }

    /// Records the compound if it is old.
    pub(super) fn record_if_due(&mut self, map: &RwLock<LogMap<M>>, now: Timestamp) -> Result<()> {
        let is_due = |since: Moment| since.elapsed_ns() >= self.interval_ns;
        if self.since.is_some_and(is_due) { self.record(map, now) } else { Ok(()) }
    }

    /// Records the compound, and makes it and all that was written before durable.
    pub(super) fn sync(&mut self, map: &RwLock<LogMap<M>>, now: Timestamp) -> Result<()> {
        self.record(map, now)?;
        let flushed = self.flush();
        self.or_abort(flushed)
    }

    /// Closes the compound, if one is open, with its commit block; one of an empty commit has nothing else.
    pub(super) fn record(&mut self, map: &RwLock<LogMap<M>>, now: Timestamp) -> Result<()> {
        self.check_running()?;
        if self.since.is_none() {
            return Ok(());
        }
        let closed = self.close_compound(&map.read(), now);
        self.or_abort(closed)?;
        map.write().forget_revoked();
        (self.recorded, self.running) = (self.running, self.running.next());
        self.since = None;
        Ok(())
    }

    fn close_compound(&mut self, map: &LogMap<M>, now: Timestamp) -> Result<()> {
        self.write_descriptor(map)?;
        self.placement.close_descriptor();
        self.write_revokes(map)?;
        let place = self.placement.take();
        if self.codec.features.has_block_checksums() {
            // LW-2: the sum is over the whole block, of which a power cut may leave the first sector only.
            self.block().fill(0);
            self.write_block(map, place)?;
        }
        self.flush()?;
        self.last_time = self.last_time.max(now);
        let (codec, tid, time) = (self.codec, self.running, self.last_time);
        codec.commit(self.block(), tid, time);
        self.write_block(map, place)
    }

    fn write_revokes(&mut self, map: &LogMap<M>) -> Result<()> {
        let mut written = 0usize;
        while written < map.revoked_len() {
            let (codec, tid) = (self.codec, self.running);
            codec.revoke(self.block(), tid, map.revoked().skip(written));
            let place = self.placement.take();
            self.write_block(map, place)?;
            written = written.saturating_add(codec.records_per_revoke_block());
        }
        Ok(())
    }
}

/// Copies that lie one behind the other on the device, written with one request.
struct CopyRun<'b> {
    at: u64,
    end: u64,
    pieces: ArrayVec<IoSlice<'b>, MAX_PIECES>,
}

impl<'b> CopyRun<'b> {
    /// Whether a copy at byte `at` can be added.
    fn takes(&self, at: u64) -> bool {
        self.end == at && self.pieces.remaining_capacity() >= 2
    }

    fn push(&mut self, at: u64, copy: [&'b [u8]; 2]) {
        if self.pieces.is_empty() {
            (self.at, self.end) = (at, at);
        }
        for piece in copy.into_iter().filter(|piece| !piece.is_empty()) {
            self.end = self.end.saturating_add(piece.len() as u64);
            self.pieces.push(IoSlice::new(piece));
        }
    }

    /// Writes what there is, and is empty then.
    fn write(&mut self, device: &dyn BlockDevice) -> Result<()> {
        if !self.pieces.is_empty() {
            device.write_at(self.at, &mut self.pieces)?;
            self.pieces.clear();
        }
        Ok(())
    }
}
