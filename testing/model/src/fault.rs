//! Inside the gate: finding pages, taking frames, waiting for I/O, as `crates/vm/src/fault.rs`, `resident.rs`, `page.rs`.
//!
//! A step here ↔ there: [`State::hit`] ↔ `PageTable::find` · [`State::wait_for_page`] ↔ `BusyWait::sleep` ·
//! [`State::take_frame`] ↔ `Resident::take_frame` and `Vm::make_busy` · phases `NoFrame` to `AsleepFrame` ↔ `Vm::wait_for_frame`,
//! line by line, because threads unpin without a lock meanwhile · [`State::fill`] ↔ `BusyPages::finish` ·
//! [`State::fail`] ↔ `BusyPages::drop` · [`State::unpin`] ↔ `PageRef::drop`.
//!
//! Which page an operation wants is free choice: any that is here, or one that is not. Which clean page is evicted is
//! free choice too: every policy is among them.

use crate::config::{Config, Daemon};
use crate::mutation::Mutation;
use crate::state::{Frame, Kind, Op, Phase, State, bit, broken};

impl State {
    /// Whether somebody is in the middle of `wait_for_frame` with the resident lock held.
    pub(crate) fn resident_is_locked(&self) -> bool {
        let has_it = |phase| matches!(phase, Phase::NoFrame | Phase::Counted | Phase::LookedAgain);
        self.threads.iter().any(|thread| has_it(thread.phase))
    }

    /// Whether a page under this I/O can be pinned by `op`: a reader does not mind that it is being written.
    pub(crate) fn must_wait_for(config: &Config, op: Op, kind: Kind) -> bool {
        match kind {
            Kind::Busy => true,
            Kind::Writing => op.modifies(),
            Kind::Committing => op.modifies() && !config.has(Mutation::ModifiesCommitting),
            _ => false,
        }
    }

    pub(crate) fn hit(&mut self, thread: usize, frame: usize) {
        self.frames[frame].pins |= bit(thread);
        self.pinned_one_more(thread);
    }

    fn pinned_one_more(&mut self, thread: usize) {
        let has_all = self.pinned_by(thread) >= self.threads[thread].op.pins();
        self.threads[thread].phase = if has_all { Phase::Holding } else { Phase::Look };
    }

    pub(crate) fn wait_for_page(&mut self, thread: usize, frame: usize) {
        self.frames[frame].wanted |= bit(thread);
        self.threads[thread].phase = Phase::AsleepBusy;
    }

    /// Frames that a page of `object` may take from others, when none is free: the object's own, if it is over its share
    /// and has one (F4), or any that is clean and unpinned.
    pub(crate) fn victims(&self, config: &Config, object: u8) -> Vec<usize> {
        let goes = |f: &Frame| f.kind == Kind::Clean && (f.pins == 0 || config.has(Mutation::NoPinCheck));
        let own_only = self.must_recycle_own(config, object) && !config.has(Mutation::NoSelfRecycling);
        let is_victim = |f: &Frame| goes(f) && (!own_only || f.object == object);
        let is_first = |n: usize| n == 0 || self.frames[n] != self.frames[n - 1];
        (0..self.frames.len()).filter(|n| is_first(*n) && is_victim(&self.frames[*n])).collect()
    }

    fn must_recycle_own(&self, config: &Config, object: u8) -> bool {
        let (own, pages) = (self.pages_of(object), self.frames.iter().filter(|f| f.is_page()).count() as u8);
        let has_idle = self.find(|f| f.is_idle_clean() && f.object == object).is_some();
        own > config.object_share() && own != pages && has_idle
    }

    /// Pages read ahead: one, where the code's quarter of the frames allows it.
    pub(crate) fn can_read_ahead(&self, config: &Config) -> bool {
        config.frames / 4 > 0 && !self.is_in_flight()
    }

    /// Makes a free frame, or `victim`, a busy page of `object`; and one more that is free or clean, if `ahead`.
    pub(crate) fn take_frame(&mut self, config: &Config, thread: usize, object: u8, victim: Option<usize>) {
        let frame = match victim {
            Some(frame) => {
                let other = self.frames[frame].object != object;
                let breaks = other && self.must_recycle_own(config, object);
                self.note(if breaks { broken::SHARE } else { 0 });
                self.evict(frame);
                frame
            }
            None => self.find(|f| f.kind == Kind::Free).expect("the caller has seen a free frame"),
        };
        self.begin(frame, thread, object);
        self.threads[thread].phase = Phase::Filling;
    }

    pub(crate) fn read_ahead(&mut self, config: &Config, thread: usize, object: u8) {
        let free = self.find(|f| f.kind == Kind::Free);
        if let Some(frame) = free.or_else(|| self.victims(config, object).first().copied()) {
            self.evict(frame);
            self.begin(frame, thread, object);
        }
    }

    fn begin(&mut self, frame: usize, thread: usize, object: u8) {
        self.frames[frame] = Frame { object, filler: bit(thread), ..Frame::of(Kind::Busy) };
    }

    pub(crate) fn evict(&mut self, frame: usize) {
        self.note(if self.frames[frame].pins != 0 { broken::PINNED_GONE } else { 0 });
        self.frames[frame] = Frame::of(Kind::Free);
    }

    /// The read has ended: the wanted page pinned, all of them clean; those who sleep for one wake.
    pub(crate) fn fill(&mut self, config: &Config, thread: usize) {
        let mut pins = bit(thread);
        for at in 0..self.frames.len() {
            if self.frames[at].filler == bit(thread) {
                let wanted = self.frames[at].wanted;
                self.frames[at] = Frame { kind: Kind::Clean, pins, filler: 0, wanted: 0, ..self.frames[at] };
                self.wake_wanted(config, wanted);
                pins = 0;
            }
        }
        self.threads[thread].phase = Phase::Filled;
    }

    /// Behind [`State::fill`]: tells those who wait for a frame.
    pub(crate) fn tell(&mut self, config: &Config, thread: usize) {
        self.wake_frame_waiters(config, !config.has(Mutation::NoFrameWake));
        self.pinned_one_more(thread);
    }

    /// The read has failed: no page is left of it, and the operation ends.
    pub(crate) fn fail(&mut self, config: &Config, thread: usize) {
        self.faults_left -= 1;
        for at in 0..self.frames.len() {
            if self.frames[at].filler == bit(thread) {
                let wanted = self.frames[at].wanted;
                self.frames[at] = Frame::of(Kind::Free);
                self.wake_wanted(config, wanted);
            }
            self.frames[at].pins &= !bit(thread);
        }
        self.wake_frame_waiters(config, !config.has(Mutation::NoFrameWake));
        self.threads[thread].phase = Phase::Unpinned;
    }

    /// Modifies what it was to modify and unpins everything.
    pub(crate) fn unpin(&mut self, thread: usize) {
        let op = self.threads[thread].op;
        for at in 0..self.frames.len() {
            if self.frames[at].pins & bit(thread) == 0 {
                continue;
            }
            self.frames[at].pins &= !bit(thread);
            match (op, self.frames[at].kind) {
                (Op::Write, _) => self.frames[at].kind = Kind::Dirty,
                (Op::Transaction, kind) if kind != Kind::Running => {
                    self.note(if kind == Kind::Committing { broken::WRITTEN_EARLY } else { 0 });
                    self.frames[at].kind = Kind::Running;
                    self.threads[thread].is_spent = true;
                }
                _ => {}
            }
        }
        self.threads[thread].phase = Phase::Unpinned;
    }

    /// Counted as a waiter: looks again, because who unpinned before that has woken nobody.
    pub(crate) fn look_again(&mut self, thread: usize) {
        let found = self.evict_to_free();
        self.threads[thread].phase = if found { Phase::Look } else { Phase::LookedAgain };
    }

    /// Sleeps if there is I/O to wait for, else has the daemon make a round.
    pub(crate) fn sleep_or_ask(&mut self, config: &Config, thread: usize) {
        self.threads[thread].phase = match (self.is_in_flight(), config.daemon) {
            (true, _) => Phase::AsleepFrame,
            (false, Daemon::Inline) => Phase::Ask,
            (false, Daemon::Thread) => {
                self.asked_frames = true;
                Phase::Asked
            }
        };
    }

    /// The daemon is asked, or has been: looks once more and sleeps.
    pub(crate) fn look_last(&mut self, thread: usize) {
        let found = self.evict_to_free();
        self.threads[thread].phase = if found { Phase::Look } else { Phase::AsleepFrame };
    }

    /// Evicts a page that may go at once; says whether there was one.
    pub(crate) fn evict_to_free(&mut self) -> bool {
        let frame = self.find(Frame::is_idle_clean);
        frame.inspect(|frame| self.evict(*frame)).is_some()
    }

    pub(crate) fn wake_frame_waiters(&mut self, config: &Config, wakes: bool) {
        let hears = |phase| match phase {
            Phase::AsleepFrame => true,
            Phase::Ask | Phase::Asked => !config.has(Mutation::ForgetsWake),
            _ => false,
        };
        let waiters = self.threads.iter_mut().filter(|t| wakes && hears(t.phase));
        waiters.for_each(|thread| thread.phase = Phase::Look);
    }

    pub(crate) fn wake_wanted(&mut self, config: &Config, wanted: u8) {
        for (n, thread) in self.threads.iter_mut().enumerate() {
            if wanted & bit(n) != 0 && !config.has(Mutation::NoBusyWake) {
                thread.phase = Phase::Look;
            }
        }
    }
}
