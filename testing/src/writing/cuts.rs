//! Power cuts: what the requests of a [`Recorder`] leave when the power fails at any of them, and what of the operations must be there then.
//!
//! Who calls it: `testing/tests/writing/power.rs`. A [`Tape`] has the requests, a state of the model for each operation, and what was
//! acknowledged when.
//!
//! What is there must be a *state*: names, attributes and sizes as they were after one operation, none before the last sync that was
//! acknowledged (an operation that works in steps may be on its way). Content may be newer than that, sector by sector, as it is
//! written in place: each byte is what it was after that operation or one behind it. So nothing of what the device held before can be there.

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
    /// Requests when a sync was acknowledged, and the state that it made durable.
    acknowledged: Vec<(usize, usize)>,
    /// How content was written.
    pub data: DataMode,
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
        if op.is_sync() && found.is_ok() {
            self.acknowledged.push((recorder.count(), self.states.len() - 1));
        }
        Ok(())
    }

    /// Notes an operation that another process applied.
    pub fn note(&mut self, op: &Op, is_done: bool) {
        let mut next = self.model().clone();
        if is_done {
            next.apply(op, None);
        }
        self.states.push(next);
        self.ops.push(op.clone());
        if op.is_sync() && is_done {
            self.acknowledged.push((0, self.states.len() - 1));
        }
    }

    /// Notes one that another process may have begun.
    pub fn note_begun(&mut self, op: &Op) {
        let mut next = self.model().clone();
        next.apply(op, None);
        self.states.push(next);
        self.ops.push(op.clone());
    }

    /// The state that was acknowledged last.
    pub fn durable(&self) -> usize {
        self.acknowledged.last().map_or(0, |(_, state)| *state)
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
            let acknowledged = self.acknowledged.iter().rev().find(|(count, _)| *count <= at);
            let from = acknowledged.map_or(0, |(_, state)| *state);
            let ended = self.ends.iter().take_while(|end| **end <= at).count();
            let to = (ended + 1).min(self.states.len() - 1);
            cut(&Cut { flushed: &flushed, pending: &self.requests[begin..at], at, from, to });
        }
    }

    /// The state that `mount` shows, one of `from` to `to`.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn find_state(&self, mount: &Mount, from: usize, to: usize) -> Result<usize, String> {
        let (found, errors) = oracle::describe_mount(mount);
        if !errors.is_empty() {
            return Err(format!("cannot be read: {errors:?}"));
        }
        let mut reasons = Vec::new();
        for state in from..=to {
            let why = self.is_state(mount, &found, state, to);
            match why {
                Ok(()) => return Ok(state),
                Err(why) => reasons.push(format!("state {state}: {why}")),
            }
        }
        let last = reasons.pop().unwrap_or_default();
        Err(format!("no state of {from} to {to}: {}\n{last}", reasons.first().map_or("", String::as_str)))
    }

    fn is_state(&self, mount: &Mount, found: &Description, state: usize, to: usize) -> Result<(), String> {
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
                self.check_content(mount, entry.ino, id, state, to)
                    .map_err(|why| format!("{path}: {why}"))?;
            }
        }
        Ok(())
    }

    /// The file that the operation behind `state` changes in steps.
    fn file_in_change(&self, state: usize) -> Option<InodeId> {
        let (before, after) = (&self.states[state], self.states.get(state + 1)?);
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
            Handle::Path(_) => after.resolve(file),
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

    /// The states whose content may be seen where `state` is there.
    fn contents(&self, id: InodeId, state: usize, to: usize) -> Vec<&super::Sparse> {
        let to = match self.data {
            DataMode::Journal => (state + 1).min(to),
            _ => to,
        };
        let inodes: Vec<&Inode> = (state..=to).filter_map(|at| self.states[at].find(id)).collect();
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
        to: usize,
    ) -> Result<(), String> {
        let contents = self.contents(id, state, to);
        let file = mount.open_ino(ino).map_err(|error| error.to_string())?;
        let len = file.metadata().map_err(|error| error.to_string())?.len();
        let mut bytes = [0; PAGE as usize];
        for number in 0..len.div_ceil(PAGE) {
            let n = file.read_at(&mut bytes, number * PAGE).map_err(|error| error.to_string())?;
            let at_state =
                |content: &super::Sparse, at: usize| content.page(number).map_or(0, |page| page[at]);
            let is_known = |at: &usize| contents.iter().any(|content| at_state(content, *at) == bytes[*at]);
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

    /// Without a journal: every file that has not been touched since the last sync must be there as it was then.
    ///
    /// # Errors
    /// What is not, in words.
    pub fn check_untouched(&self, mount: &Mount, from: usize, to: usize) -> Result<(), String> {
        let then: std::collections::BTreeMap<_, _> = self.states[from].paths().into_iter().collect();
        for (path, id) in &then {
            let inode = self.states[from].get(*id);
            let is_untouched = self.states[from..=to].iter().all(|state| {
                state.find(*id) == Some(inode) && state.paths().iter().any(|at| at.0 == *path && at.1 == *id)
            });
            if !is_untouched || inode.is_dir() {
                continue;
            }
            // By its path: a repaired directory may have a name twice, in two blocks, which e2fsck does not see.
            let entry = mount.symlink_metadata(path).and_then(|found| oracle::describe_inode(mount, &found));
            let entry = entry.map_err(|error| format!("{path}: {error}"))?;
            let differences = inode_differences(inode, &entry, Compared::Everything);
            if !differences.is_empty() {
                return Err(format!("{path}: {differences:?}"));
            }
        }
        Ok(())
    }
}
