//! The state of the model: threads, frames, the gate's count, the running transaction, the journal, the daemon.
//!
//! What a thread holds is written on the frame, as a set of threads: so frames need no numbers (see `symmetry`).
//!
//! MS-1. A frame's fields that its kind does not use are zero, so that equal states are equal words.

use crate::config::{Config, MAX_FRAMES, MAX_THREADS, TRANSACTION_LIMIT};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Beyond the configuration's frames.
    None,
    /// Holds nothing.
    Free,
    /// A cache's.
    Wired,
    /// The daemon's, where it has no reserve (mutations only).
    Daemon,
    /// Being read.
    Busy,
    /// As on the device.
    Clean,
    /// Data that the device does not have yet.
    Dirty,
    /// Metadata that the running transaction has dirtied: may not be written in place.
    Running,
    /// Metadata that a commit is writing to the journal.
    Committing,
    /// Metadata that the journal has and its place not yet: the daemon may write it in place.
    Committed,
    /// Being written in place.
    Writing,
}

/// A frame and the page in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    pub(crate) kind: Kind,
    pub(crate) object: u8,
    /// Threads that have it pinned.
    pub(crate) pins: u8,
    /// Threads that sleep until its I/O ends (WANTED).
    pub(crate) wanted: u8,
    /// The thread that fills it.
    pub(crate) filler: u8,
    /// The transaction in the journal that has a copy which is not in place yet: 1 is the oldest; 0 none.
    pub(crate) logged: u8,
}

impl Frame {
    pub(crate) const fn of(kind: Kind) -> Frame {
        Frame { kind, object: 0, pins: 0, wanted: 0, filler: 0, logged: 0 }
    }

    pub(crate) fn is_page(&self) -> bool {
        self.kind >= Kind::Busy
    }

    /// May go at once.
    pub(crate) fn is_idle_clean(&self) -> bool {
        self.kind == Kind::Clean && self.pins == 0
    }

    /// The daemon may write it in place.
    pub(crate) fn is_cleanable(&self) -> bool {
        matches!(self.kind, Kind::Dirty | Kind::Committed) && self.pins == 0
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        matches!(self.kind, Kind::Busy | Kind::Writing | Kind::Committing)
    }
}

/// What a thread does between gate and gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Nothing yet.
    None,
    /// Pins a page.
    Read,
    /// Pins two pages at once.
    ReadTwo,
    /// Pins a page while it holds the lock of a cache that the daemon asks for memory.
    ReadLocked,
    /// Pins a page of data and dirties it.
    Write,
    /// Pins a page of metadata and dirties it, in the running transaction.
    Transaction,
}

impl Op {
    /// Frames that it pins at most.
    pub(crate) fn pins(self) -> u8 {
        if self == Op::ReadTwo { 2 } else { 1 }
    }

    /// Metadata pages that it dirties at most.
    pub(crate) fn credits(self) -> u8 {
        u8::from(self == Op::Transaction)
    }

    pub(crate) fn modifies(self) -> bool {
        matches!(self, Op::Write | Op::Transaction)
    }

    pub(crate) fn may_use(self, object: u8) -> bool {
        match self {
            Op::Write => object > 0,
            Op::Transaction => object == 0,
            _ => true,
        }
    }
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Has done all it had to do.
    Done,
    /// Holds nothing and is about to enter.
    Outside,
    /// In the queue of the gate, asleep.
    Queued,
    /// In the queue of the gate, about to look whether it is its turn.
    Turn,
    /// Inside, waits for the lock of the cache.
    TakeLock,
    /// About to look for its next page.
    Look,
    /// Found neither the page nor a frame.
    NoFrame,
    /// Is counted as one who waits for a frame.
    Counted,
    /// Has looked again, and is about to see whether there is I/O to wait for.
    LookedAgain,
    /// Makes a round itself (`Daemon::Inline`).
    Ask,
    /// Has asked the daemon for a round.
    Asked,
    /// Asleep until a frame may be free.
    AsleepFrame,
    /// Asleep until a page's I/O ends.
    AsleepBusy,
    /// Reads a page.
    Filling,
    /// Has read it, and those who wait for frames do not know yet.
    Filled,
    /// Has pinned what it wanted.
    Holding,
    /// Has unpinned everything, and nobody knows yet.
    Unpinned,
}

/// A thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thread {
    pub(crate) phase: Phase,
    pub(crate) op: Op,
    /// Operations left, the present one included.
    pub(crate) left: u8,
    /// Place in the gate's queue, from 1 on.
    pub(crate) place: u8,
    /// Its credit has become a page of the running transaction.
    pub(crate) is_spent: bool,
}

impl Thread {
    pub(crate) fn is_inside(&self) -> bool {
        self.phase >= Phase::TakeLock
    }

    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued | Phase::Turn)
    }

    /// Is counted as one who waits for a frame (`Vm::frame_waiters`).
    pub(crate) fn waits_for_frame(&self) -> bool {
        self.phase >= Phase::Counted && self.phase <= Phase::AsleepFrame
    }

    pub(crate) fn has_lock(&self) -> bool {
        self.op == Op::ReadLocked && self.phase > Phase::TakeLock
    }

    pub(crate) fn has_handle(&self) -> bool {
        self.op == Op::Transaction && self.is_inside()
    }

    /// Frames that the gate has given it and that it has not given back or turned into a page of the transaction.
    pub(crate) fn reserved(&self) -> u8 {
        if !self.is_inside() {
            return 0;
        }
        self.op.pins() + if self.is_spent { 0 } else { self.op.credits() }
    }
}

/// What the daemon is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// Nothing.
    None,
    /// Between looking for frames and judging the round.
    Judging { freed: bool, is_fruitless: bool },
    /// Writes a page in place, through its reserve.
    Cleaning,
    /// Writes the journal, through its reserve.
    Journal,
    /// Waits for the lock of a cache (mutation only).
    OnLock,
    /// Waits for open handles and does nothing else (mutations only).
    OnHandles,
}

/// Bits of [`State::broken`]: what a step has broken that the state alone does not show.
pub(crate) mod broken {
    pub(crate) const OVERTAKEN: u8 = 1;
    pub(crate) const STUCK: u8 = 1 << 1;
    pub(crate) const SHARE: u8 = 1 << 2;
    pub(crate) const DAEMON_WAITED: u8 = 1 << 3;
    pub(crate) const WRITTEN_EARLY: u8 = 1 << 4;
    pub(crate) const PINNED_GONE: u8 = 1 << 5;
    pub(crate) const JOURNAL_FULL: u8 = 1 << 6;
}

/// A state of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) threads: [Thread; MAX_THREADS],
    pub(crate) frames: [Frame; MAX_FRAMES],
    /// Frames that nobody has a right to; below zero only where a mutation lets too many in.
    pub(crate) available: i8,
    /// Credits of the running transaction: of its open handles, and those that have become pages.
    pub(crate) credits: u8,
    /// The running transaction takes no new handles: it is to be committed.
    pub(crate) is_closed: bool,
    /// Blocks of the commit that is being written.
    pub(crate) committing: u8,
    /// Blocks of each transaction in the journal, oldest first.
    pub(crate) journal: [u8; 3],
    pub(crate) daemon: Round,
    /// The daemon's thread has been asked for frames.
    pub(crate) asked_frames: bool,
    /// The daemon's thread has been asked for what the first of the gate's queue waits for.
    pub(crate) asked_gate: bool,
    pub(crate) wires_left: u8,
    pub(crate) faults_left: u8,
    pub(crate) broken: u8,
}

impl State {
    fn initial(config: &Config) -> State {
        let thread = |n| {
            let is_there = n < config.threads as usize;
            let (phase, left) = if is_there { (Phase::Outside, config.operations) } else { (Phase::Done, 0) };
            Thread { phase, op: Op::None, left, place: 0, is_spent: false }
        };
        let frame = |n| Frame::of(if n < config.shared_frames() as usize { Kind::Free } else { Kind::None });
        State {
            threads: core::array::from_fn(thread),
            frames: core::array::from_fn(frame),
            available: config.capacity() as i8,
            credits: 0,
            is_closed: false,
            committing: 0,
            journal: [0; 3],
            daemon: Round::None,
            asked_frames: false,
            asked_gate: false,
            wires_left: config.wires,
            faults_left: config.faults,
            broken: 0,
        }
    }

    /// The states to begin with: nothing in memory; or, aged, each mixture of what earlier operations may have left.
    pub(crate) fn initials(config: &Config) -> Vec<State> {
        let mut all = vec![State::initial(config)];
        let kinds = [Kind::Clean, Kind::Dirty, Kind::Committed];
        for kind in kinds.into_iter().filter(|_| config.is_aged) {
            // Dirty data is the second object's.
            let object = u8::from(kind == Kind::Dirty);
            for n in 0..all.len() * usize::from(object < config.objects) {
                all.extend(all[n].with_pages(config, kind, object));
            }
        }
        all.into_iter().map(State::canonical).collect()
    }

    /// This state with 1, 2 ... pages more of `kind`, as many as there may be.
    fn with_pages(self, config: &Config, kind: Kind, object: u8) -> Vec<State> {
        let most = match kind {
            Kind::Dirty => config.dirty_share(),
            Kind::Committed => TRANSACTION_LIMIT,
            _ => self.count(Kind::Free),
        };
        let mut states = vec![self];
        for count in 1..=most {
            let mut next = states[states.len() - 1];
            let Some(frame) = next.find(|frame| frame.kind == Kind::Free) else { break };
            let logged = u8::from(kind == Kind::Committed);
            next.frames[frame] = Frame { object, logged, ..Frame::of(kind) };
            next.journal[0] = if kind == Kind::Committed { count + 1 } else { next.journal[0] };
            states.push(next);
        }
        states.split_off(1)
    }

    pub(crate) fn count(&self, kind: Kind) -> u8 {
        self.frames.iter().filter(|frame| frame.kind == kind).count() as u8
    }

    pub(crate) fn pages_of(&self, object: u8) -> u8 {
        self.frames.iter().filter(|frame| frame.is_page() && frame.object == object).count() as u8
    }

    pub(crate) fn find(&self, is_it: impl Fn(&Frame) -> bool) -> Option<usize> {
        self.frames.iter().position(is_it)
    }

    pub(crate) fn pinned_by(&self, thread: usize) -> u8 {
        self.frames.iter().filter(|frame| frame.pins & bit(thread) != 0).count() as u8
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.frames.iter().any(Frame::is_in_flight)
    }

    pub(crate) fn somebody_waits_for_frame(&self) -> bool {
        self.threads.iter().any(Thread::waits_for_frame)
    }

    pub(crate) fn open_handles(&self) -> u8 {
        self.threads.iter().filter(|thread| thread.has_handle()).count() as u8
    }

    pub(crate) fn journal_used(&self) -> u8 {
        self.journal.iter().sum::<u8>() + self.committing
    }

    pub(crate) fn lock_is_taken(&self) -> bool {
        self.threads.iter().any(Thread::has_lock)
    }

    pub(crate) fn all_done(&self) -> bool {
        self.threads.iter().all(|thread| thread.phase == Phase::Done)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked_frames || self.asked_gate
    }

    pub(crate) fn note(&mut self, what: u8) {
        self.broken |= what;
    }
}

/// The set of one thread.
pub(crate) fn bit(thread: usize) -> u8 {
    1 << thread
}
