//! The gate, as `crates/vm/src/gate.rs`, and what writing adds to it.
//!
//! A step here ↔ there: [`State::enter`] ↔ `Gate::enter` · [`State::turn`] ↔ one turn of the loop in `Gate::enter_in_turn` ·
//! [`State::leave`] ↔ `Reservation::drop`, `Gate::leave` · [`State::wire`], [`State::unwire`] ↔ `Gate::try_wire`, `unwire`
//! with `Resident::wire`, `unwire`.
//!
//! With writing, an operation is admitted when there are
//! - frames for its pins and its credits: a page that it dirties in the running transaction keeps the credit's frame
//!   until the commit that makes the page one that I/O alone can free (F2);
//! - room in the transaction and in the journal for its credits and the commit's own block (F5);
//! - fewer dirty pages of data than their share.
//!
//! What is missing is asked for by the first of the queue, who holds nothing.

use crate::config::{Config, Daemon, JOURNAL_BLOCKS, LARGEST, TRANSACTION_LIMIT};
use crate::mutation::Mutation;
use crate::state::{Frame, Kind, Op, Phase, State, Thread, broken};

/// Why an operation is not admitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Others have a right to the frames.
    Frames,
    /// The transaction is full, or is to be committed.
    Transaction,
    /// The journal is full.
    Journal,
    /// Data has too many dirty pages.
    DirtyShare,
}

impl State {
    pub(crate) fn refusal(&self, config: &Config, op: Op) -> Option<Refusal> {
        if config.has(Mutation::NoGate) {
            return None;
        }
        if self.available < frames_of(config, op) {
            return Some(Refusal::Frames);
        }
        let credits = self.credits + op.credits();
        if op.credits() > 0 && (self.is_closed || credits > TRANSACTION_LIMIT) {
            return Some(Refusal::Transaction);
        }
        let is_counted = !config.has(Mutation::JournalNotCounted);
        if op.credits() > 0 && is_counted && self.journal_used() + credits + 1 > JOURNAL_BLOCKS {
            return Some(Refusal::Journal);
        }
        let writers = self.threads.iter().filter(|t| t.is_inside() && t.op == Op::Write).count() as u8;
        let is_over = self.count(Kind::Dirty) + writers >= config.dirty_share();
        (op == Op::Write && is_over).then_some(Refusal::DirtyShare)
    }

    /// Comes to the gate: in at once, or to the end of the queue.
    pub(crate) fn enter(&mut self, config: &Config, thread: usize, op: Op) {
        let queue = self.threads.iter().filter(|thread| thread.is_queued()).count() as u8;
        self.threads[thread].op = op;
        let may_pass = queue == 0 || config.has(Mutation::NoFifo);
        if may_pass && self.refusal(config, op).is_none() {
            self.note(if queue > 0 { broken::OVERTAKEN } else { 0 });
            self.admit(config, thread);
        } else {
            self.threads[thread].place = queue + 1;
            self.threads[thread].phase = Phase::Turn;
        }
    }

    /// Awake in the queue: goes in if it is its turn and it is admitted, else sleeps; the first of the queue asks for what
    /// is missing.
    pub(crate) fn turn(&mut self, config: &Config, thread: usize) {
        let Thread { place, op, .. } = self.threads[thread];
        self.threads[thread].phase = Phase::Queued;
        if place > 1 {
            return;
        }
        if self.refusal(config, op).is_none() {
            self.threads.iter_mut().for_each(|t| t.place = t.place.saturating_sub(1));
            self.admit(config, thread);
            return self.notify_first();
        }
        match config.daemon {
            Daemon::Thread => self.asked_gate = true,
            Daemon::Inline => self.serve_gate(config),
        }
    }

    fn admit(&mut self, config: &Config, thread: usize) {
        let op = self.threads[thread].op;
        self.available -= frames_of(config, op);
        self.credits += op.credits();
        self.threads[thread].phase = if op == Op::ReadLocked { Phase::TakeLock } else { Phase::Look };
    }

    /// Out, with everything unpinned: tells those who wait for a frame, gives back what is left of the reservation and
    /// tells the first of the queue, who asks for the commit when this was the last handle of a closed transaction.
    pub(crate) fn leave(&mut self, config: &Config, thread: usize) {
        self.wake_frame_waiters(config, !config.has(Mutation::NoFrameWake));
        let Thread { op, is_spent, left, .. } = self.threads[thread];
        let credits = if is_spent { 0 } else { op.credits() };
        let is_counted = !config.has(Mutation::CreditsNotCounted);
        self.available += (op.pins() + if is_counted { credits } else { 0 }) as i8;
        self.credits -= credits;
        let phase = if left > 1 { Phase::Outside } else { Phase::Done };
        self.threads[thread] = Thread { phase, op: Op::None, left: left - 1, place: 0, is_spent: false };
        if !config.has(Mutation::NoGateWake) {
            self.notify_first();
        }
    }

    /// Wakes the first of the queue.
    pub(crate) fn notify_first(&mut self) {
        if let Some(first) = self.threads.iter_mut().find(|thread| thread.place == 1) {
            first.phase = Phase::Turn;
        }
    }

    /// What the first of the queue waits for.
    pub(crate) fn first_refusal(&self, config: &Config) -> Option<Refusal> {
        let first = self.threads.iter().find(|thread| thread.place == 1)?;
        self.refusal(config, first.op)
    }

    /// Whether a cache may wire a frame: never the last of the largest reservation (GA-2), and only one that is there.
    pub(crate) fn can_wire(&self, config: &Config) -> bool {
        let is_there = self.find(|frame| frame.kind == Kind::Free || frame.is_idle_clean()).is_some();
        let below_most = self.count(Kind::Wired) < config.capacity() - LARGEST;
        self.wires_left > 0 && self.available > 0 && below_most && is_there
    }

    pub(crate) fn wire(&mut self) {
        let free = self.find(|frame| frame.kind == Kind::Free);
        let frame = free.or_else(|| self.find(Frame::is_idle_clean));
        self.frames[frame.expect("can_wire has found one")] = Frame::of(Kind::Wired);
        self.available -= 1;
        self.wires_left -= 1;
    }

    /// A cache gives its frame back.
    pub(crate) fn unwire(&mut self) {
        let frame = self.find(|frame| frame.kind == Kind::Wired).expect("the caller has seen one");
        self.frames[frame] = Frame::of(Kind::Free);
        self.available += 1;
        self.notify_first();
    }
}

/// Frames that the gate takes off for `op`.
fn frames_of(config: &Config, op: Op) -> i8 {
    let is_counted = !config.has(Mutation::CreditsNotCounted);
    (op.pins() + if is_counted { op.credits() } else { 0 }) as i8
}
