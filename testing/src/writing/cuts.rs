//! Power cuts: what the requests of a [`Recorder`] leave when the power fails at any of them, and what of the operations must be there then.
//!
//! Who calls it: `testing/tests/writing/power.rs`. A [`Tape`] has the requests, a state of the model for each operation, and what was
//! acknowledged when.
//!
//! What is there must be a *state*: names, attributes and sizes as they were after one operation, none before the last sync that was
//! acknowledged, nor before the last change of a file whose own sync was (an operation that works in steps may be on its way). Content is
//! written in place, sector by sector, and not in the order of operations: each byte is what it was after that operation or one behind it,
//! or, where the file had a byte there before, after an older one, back to the last sync of all or of that file. So nothing of what the
//! device held before can be there. With `data=journal` content is not older than that state; it may be newer, since what overwrites goes
//! into the log when its pages are written, maybe before the names that were changed earlier. With `data=writeback` it may be anything, but
//! for what a sync has acknowledged and no operation has changed since.

use super::apply::Expected;
use super::compare::{Compared, compare, inode_differences};
use super::model::{Inode, InodeId, Model};
use super::operation::{Handle, Op, crowd_names};
use super::recorder::{Recorder, Request};
use super::{Answer, Target};
use crate::oracle::{self, Description};
use crate::seed::Random;
use rumpcap::{DataMode, Mount};
use std::sync::Arc;

const SECTOR: usize = 512;
const PAGE: u64 = 4096;
/// The smallest block.
const BLOCK: usize = 1024;

/// What a power cut leaves of writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of them.
    Nothing,
    /// None of them.
    Everything,
    /// Whole requests, at random.
    Requests,
    /// Sectors, at random.
    Sectors,
    /// All but one request.
    One,
}

/// Every kind of loss.
pub const LOSSES: [Loss; 5] = [Loss::Nothing, Loss::Everything, Loss::Requests, Loss::Sectors, Loss::One];

/// The device after a cut: `flushed` and what survived of `pending`. Any survivor may be the last of its sector, so this
/// is also any order.
pub fn survivors(flushed: &[u8], pending: &[Request], loss: Loss, random: &mut Random) -> Vec<u8> {
    let mut bytes = flushed.to_vec();
    let (one, keep) = (random.below(pending.len() as u64), 1 + random.below(4));
    for (index, request) in pending.iter().enumerate() {
        let Request::Write(offset, written) = request else { continue };
        let is_whole = match loss {
            Loss::Nothing => true,
            Loss::Everything | Loss::Sectors => false,
            Loss::Requests => random.below(4) < keep,
            Loss::One => index as u64 != one,
        };
        // The super block of the file system has a field in one sector and its checksum in the other: nobody can make that
        // safe on sectors of 512 bytes, Linux does not either, and e2fsck mends it from a backup. So it is one here.
        let is_super_block = *offset <= 1024 && *offset + written.len() as u64 >= 2048;
        let piece_bytes = if is_super_block { 1024 } else { SECTOR };
        let mut at = *offset as usize;
        for piece in written.chunks(piece_bytes) {
            if is_whole || loss == Loss::Sectors && random.below(4) < keep {
                bytes[at..at + piece.len()].copy_from_slice(piece);
            }
            at += piece.len();
        }
    }
    bytes
}

/// A recorded sequence.
pub struct Tape {
    /// The device before.
    pub start: Arc<Vec<u8>>,
    /// All requests.
    pub requests: Vec<Request>,
    /// The model before the first operation, and after each.
    pub states: Vec<Model>,
    /// The operations.
    pub ops: Vec<Op>,
    /// Requests when each operation had ended.
    ends: Vec<usize>,
    acknowledged: Vec<Acknowledged>,
    /// How content was written.
    pub data: DataMode,
}

/// A sync that was acknowledged.
struct Acknowledged {
    /// Requests until then.
    count: usize,
    /// The state then.
    state: usize,
    /// The file that it was of, and the state that its last change led to; none of a sync of all.
    of: Option<(InodeId, usize)>,
}

impl Acknowledged {
    /// The state that it made durable.
    fn durable(&self) -> usize {
        self.of.map_or(self.state, |(_, changed)| changed)
    }
}

/// One cut.
pub struct Cut<'t> {
    /// What has been flushed.
    pub flushed: &'t [u8],
    /// What has not.
    pub pending: &'t [Request],
    /// Requests until the cut.
    pub at: usize,
    /// The state that was acknowledged last.
    pub from: usize,
    /// The last one that can be there.
    pub to: usize,
}

/// Crowds as single operations, so that there is a state for each.
pub fn single(op: Op) -> Vec<Op> {
    match op {
        Op::Crowd { dir, count, name_len } => crowd_names(&dir, count, name_len)
            .map(|path| Op::Create { path, mode: 0o600, uid: 0, gid: 0 })
            .collect(),
        Op::Thin { dir, count, name_len, step } => {
            crowd_names(&dir, count, name_len).step_by(step).map(|path| Op::Unlink { path }).collect()
        }
        op => vec![op],
    }
}

impl Tape {
    /// A tape of what begins with `start`.
    pub fn new(start: Arc<Vec<u8>>, model: Model, data: DataMode) -> Tape {
        let (requests, ops, ends, acknowledged) = Default::default();
        Tape { start, requests, states: vec![model], ops, ends, acknowledged, data }
    }

    /// The state after the last operation.
    ///
    /// # Panics
    /// Never: there is one.
    pub fn model(&self) -> &Model {
        self.states.last().expect("there is one from the beginning")
    }

    /// Applies one operation, which must do what the model says; left out is what it cannot foretell.
    ///
    /// # Errors
    /// In words.
    pub fn step(&mut self, target: &mut dyn Target, recorder: &Recorder, op: &Op) -> Result<(), String> {
        let mut next = self.model().clone();
        let expected = next.apply(op, None);
        if expected == Expected::Skip {
            return Ok(());
        }
        let found = target.apply(op);
        match (&expected, &found) {
            (Expected::Gives(answer), Ok(given)) if answer == given => {}
            (Expected::Refused(errors), Err(given)) if errors.contains(given) => {}
            // Refused for want of space, or not known to the file system: nothing has happened.
            (Expected::Gives(Answer::Done), Err(28 | 34 | 7 | 95)) => next = self.model().clone(),
            _ => return Err(format!("{op:?}: expected {expected:?}, it gave {found:?}")),
        }
        self.states.push(next);
        self.ops.push(op.clone());
        self.ends.push(recorder.count());
        if found.is_ok() {
            self.acknowledge(op, recorder.count());
        }
        Ok(())
    }

    /// Notes that `op`, which was the last, was acknowledged, if it is a sync.
    fn acknowledge(&mut self, op: &Op, count: usize) {
        let state = self.states.len() - 1;
        let of = match op {
            Op::Fsync { file } => self.file_of(state, file).map(|id| (id, self.unchanged_since(id, state))),
            _ => None,
        };
        if op.is_sync() {
            self.acknowledged.push(Acknowledged { count, state, of });
        }
    }

    fn file_of(&self, state: usize, file: &Handle) -> Option<InodeId> {
        self.states[state].resolve(file)
    }

    /// The first state from which on to `state` a file and its names are the same.
    fn unchanged_since(&self, id: InodeId, state: usize) -> usize {
        let of = |at: usize| {
            let model = &self.states[at];
            let paths = model.paths().into_iter().filter(|(_, there)| *there == id);
            (model.find(id), paths.map(|(path, _)| path).collect::<Vec<_>>())
        };
        let now = of(state);
        (0..state).rev().find(|at| of(*at) != now).map_or(0, |at| at + 1)
    }

    /// Notes an operation that another process applied.
    pub fn note(&mut self, op: &Op, is_done: bool) {
        let mut next = self.model().clone();
        if is_done {
            next.apply(op, None);
        }
        self.states.push(next);
        self.ops.push(op.clone());
        if is_done {
            self.acknowledge(op, 0);
        }
    }

    /// Notes one that another process may have begun.
    pub fn note_begun(&mut self, op: &Op) {
        let mut next = self.model().clone();
        next.apply(op, None);
        self.states.push(next);
        self.ops.push(op.clone());
    }

    /// What is left when nothing is lost that was asked of the device: a cut behind its end.
    pub fn behind_the_end(&self) -> Cut<'_> {
        let (at, to) = (usize::MAX, self.states.len() - 1);
        Cut { flushed: &[], pending: &[], at, from: self.durable_at(at), to }
    }

    /// Syncs that were acknowledged when `at` requests had been made.
    fn acknowledged_at(&self, at: usize) -> impl Iterator<Item = &Acknowledged> {
        self.acknowledged.iter().filter(move |sync| sync.count <= at)
    }

    /// The newest state that they made durable.
    fn durable_at(&self, at: usize) -> usize {
        self.acknowledged_at(at).map(Acknowledged::durable).max().unwrap_or(0)
    }

    /// The oldest state whose content of file `id` may be there: that of the last sync of all, or of this file; `None` for all alone.
    fn content_at(&self, at: usize, id: Option<InodeId>) -> usize {
        let counts = |sync: &&Acknowledged| sync.of.is_none_or(|(file, _)| Some(file) == id);
        self.acknowledged_at(at).filter(counts).map(|sync| sync.state).max().unwrap_or(0)
    }

    /// Ends the recording.
    pub fn end(&mut self, recorder: &Recorder) {
        self.requests = recorder.take();
    }

    /// Calls `cut` with every prefix of the requests.
    pub fn cuts(&self, mut cut: impl FnMut(&Cut<'_>)) {
        let mut flushed = self.start.to_vec();
        let mut begin = 0;
        for at in 0..=self.requests.len() {
            if let Some(Request::Flush) = at.checked_sub(1).map(|last| &self.requests[last]) {
                for request in &self.requests[begin..at] {
                    if let Request::Write(offset, bytes) = request {
                        flushed[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
                    }
                }
                begin = at;
            }
            let from = self.durable_at(at);
            let ended = self.ends.iter().take_while(|end| **end <= at).count();
            let to = (ended + 1).min(self.states.len() - 1);
            cut(&Cut { flushed: &flushed, pending: &self.requests[begin..at], at, from, to });
        }
    }

    /// The state that `mount` shows, one that may be there behind `cut`.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn find_state(&self, mount: &Mount, cut: &Cut<'_>) -> Result<usize, String> {
        let (from, to) = (cut.from, cut.to);
        let (found, errors) = oracle::describe_mount(mount);
        if !errors.is_empty() {
            return Err(format!("cannot be read: {errors:?}"));
        }
        let mut reasons = Vec::new();
        for state in from..=to {
            let why = self.is_state(mount, &found, state, cut);
            match why {
                Ok(()) => return Ok(state),
                Err(why) => reasons.push(format!("state {state}: {why}")),
            }
        }
        let last = reasons.pop().unwrap_or_default();
        Err(format!("no state of {from} to {to}: {}\n{last}", reasons.first().map_or("", String::as_str)))
    }

    fn is_state(
        &self,
        mount: &Mount,
        found: &Description,
        state: usize,
        cut: &Cut<'_>,
    ) -> Result<(), String> {
        let model = &self.states[state];
        if let Some(difference) = compare(model, found, Compared::AllButContent) {
            // An operation that works in steps has changed the attributes of one file.
            let on_its_way = self.with_changed_file(state);
            if on_its_way.is_none_or(|model| compare(&model, found, Compared::AllButContent).is_some()) {
                return Err(difference);
            }
        }
        for (path, id) in model.paths() {
            if model.get(id).content().is_some() {
                let entry = &found.entries[path.trim_start_matches('/').as_bytes()];
                self.check_size(id, entry.size, state).map_err(|why| format!("{path}: {why}"))?;
                let checked = match self.data {
                    DataMode::Writeback => self.check_kept(mount, entry.ino, id, cut),
                    _ => self.check_content(mount, entry.ino, id, state, cut),
                };
                checked.map_err(|why| format!("{path}: {why}"))?;
            }
        }
        Ok(())
    }

    /// The file that the operation behind `state` changes in steps.
    fn file_in_change(&self, state: usize) -> Option<InodeId> {
        let before = &self.states[state];
        self.states.get(state + 1)?;
        let file = match &self.ops[state] {
            Op::Write { file, .. }
            | Op::SetLen { file, .. }
            | Op::Punch { file, .. }
            | Op::ZeroRange { file, .. }
            | Op::Allocate { file, .. } => file,
            _ => return None,
        };
        match file {
            Handle::Slot(slot) => before.slots()[*slot],
            Handle::Path(_) => self.file_of(state + 1, file),
        }
    }

    fn with_changed_file(&self, state: usize) -> Option<Model> {
        self.file_in_change(state)?;
        self.states.get(state + 1).cloned()
    }

    fn check_size(&self, id: InodeId, found: u64, state: usize) -> Result<(), String> {
        let len = |state: usize| self.states.get(state)?.find(id)?.content().map(super::Sparse::len);
        let expected = len(state).expect("a file of this state");
        let other = if self.file_in_change(state) == Some(id) { len(state + 1) } else { None };
        let other = other.unwrap_or(expected);
        if (expected.min(other)..=expected.max(other)).contains(&found) {
            return Ok(());
        }
        Err(format!("{found} bytes where {expected} are expected"))
    }

    /// The content of a file in these states.
    fn contents(&self, id: InodeId, states: std::ops::RangeInclusive<usize>) -> Vec<&super::Sparse> {
        let inodes: Vec<&Inode> = states.filter_map(|at| self.states[at].find(id)).collect();
        let mut contents: Vec<&super::Sparse> = inodes.iter().filter_map(|inode| inode.content()).collect();
        contents.dedup_by(|a, b| *a == *b);
        contents
    }

    fn check_content(
        &self,
        mount: &Mount,
        ino: u64,
        id: InodeId,
        state: usize,
        cut: &Cut<'_>,
    ) -> Result<(), String> {
        let is_journaled = self.data == DataMode::Journal;
        let to = cut.to;
        let contents = self.contents(id, state..=to);
        let from = if is_journaled { state } else { self.content_at(cut.at, Some(id)).min(state) };
        let older = self.contents(id, from..=state);
        let file = mount.open_ino(ino).map_err(|error| error.to_string())?;
        let len = file.metadata().map_err(|error| error.to_string())?.len();
        let mut bytes = [0; PAGE as usize];
        for number in 0..len.div_ceil(PAGE) {
            let n = file.read_at(&mut bytes, number * PAGE).map_err(|error| error.to_string())?;
            let at_state =
                |content: &super::Sparse, at: usize| content.page(number).map_or(0, |page| page[at]);
            // What overwrites is not there with the commit, but it overwrites only what there was.
            let had = |content: &super::Sparse, at: usize| {
                number * PAGE + (at as u64) < content.len()
                    && content.page(number).is_some_and(|page| page[at] == bytes[at])
            };
            let is_known = |at: &usize| {
                contents.iter().any(|content| at_state(content, *at) == bytes[*at])
                    || older.iter().any(|content| had(content, *at))
            };
            if contents[0].page(number).is_some_and(|page| page[..n] == bytes[..n]) {
                continue;
            }
            if let Some(at) = (0..n).find(|at| !is_known(at)) {
                let end = (at + 8).min(n);
                return Err(format!(
                    "byte {} of {len} is of no state from {state} to {to}: {:02x?}, expected {:02x?}",
                    number * PAGE + at as u64,
                    &bytes[at..end],
                    (at..end).map(|at| at_state(contents[0], at)).collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }

    /// With `data=writeback`: what of a file was there at the last sync, of all or its own, and is the same in all states since, is there.
    /// Where the file had nothing then, a block may have come since, with anything in it.
    fn check_kept(&self, mount: &Mount, ino: u64, id: InodeId, cut: &Cut<'_>) -> Result<(), String> {
        let (from, to) = (self.content_at(cut.at, Some(id)), cut.to);
        let contents = self.contents(id, from..=to);
        let Some(then) = self.states[from].find(id).and_then(|inode| inode.content()) else { return Ok(()) };
        let kept_bytes = contents.iter().map(|content| content.len()).min().unwrap_or(0);
        let file = mount.open_ino(ino).map_err(|error| error.to_string())?;
        let mut bytes = [0; PAGE as usize];
        for number in then.numbers().take_while(|number| number * PAGE < kept_bytes) {
            let n = file.read_at(&mut bytes, number * PAGE).map_err(|error| error.to_string())?;
            let n = n.min((kept_bytes - number * PAGE) as usize);
            let byte = |content: &super::Sparse, at: usize| content.page(number).map_or(0, |page| page[at]);
            let had =
                |at: usize| (at / BLOCK * BLOCK..(at / BLOCK + 1) * BLOCK).any(|at| byte(then, at) != 0);
            let is_kept = |at: &usize| contents.iter().all(|content| byte(content, *at) == byte(then, *at));
            let lost = (0..n).filter(is_kept).find(|at| bytes[*at] != byte(then, *at) && had(*at));
            if let Some(at) = lost {
                let at_byte = number * PAGE + at as u64;
                return Err(format!(
                    "byte {at_byte} of {kept_bytes} was synced in state {from}, and is lost"
                ));
            }
        }
        Ok(())
    }

    /// Without a journal: every file that has not been touched since the last sync, of all or its own, must be there as it was then.
    ///
    /// # Errors
    /// What is not, in words.
    pub fn check_untouched(&self, mount: &Mount, cut: &Cut<'_>) -> Result<(), String> {
        let all = self.content_at(cut.at, None);
        self.check_untouched_since(mount, all, cut.to, |_| true)?;
        self.acknowledged_at(cut.at).filter(|sync| sync.state > all).try_for_each(|sync| {
            let is_it = |id: InodeId| sync.of.is_some_and(|(of, _)| of == id);
            self.check_untouched_since(mount, sync.state, cut.to, is_it)
        })
    }

    fn check_untouched_since(
        &self,
        mount: &Mount,
        from: usize,
        to: usize,
        is_meant: impl Fn(InodeId) -> bool,
    ) -> Result<(), String> {
        let then: std::collections::BTreeMap<_, _> = self.states[from].paths().into_iter().collect();
        for (path, id) in then.iter().filter(|(_, id)| is_meant(**id)) {
            let inode = self.states[from].get(*id);
            let is_untouched = self.states[from..=to].iter().all(|state| {
                state.find(*id) == Some(inode) && state.paths().iter().any(|at| at.0 == *path && at.1 == *id)
            });
            if !is_untouched || inode.is_dir() {
                continue;
            }
            // By its path: a repaired directory may have a name twice, in two blocks, between the two halves of a split. e2fsck does not see
            // that; it counts the name twice.
            let entry = mount.symlink_metadata(path).and_then(|found| oracle::describe_inode(mount, &found));
            let entry = entry.map_err(|error| format!("{path}: {error}"))?;
            let mut differences = inode_differences(inode, &entry, Compared::Everything);
            differences.retain(|(what, ..)| *what != "links" || entry.nlink < inode.nlink);
            if !differences.is_empty() {
                return Err(format!("{path}: {differences:?}"));
            }
        }
        Ok(())
    }
}
