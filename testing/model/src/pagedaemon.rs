//! The daemon's rounds, as `crates/vm/src/pagedaemon.rs`, and what writing adds: cleaning, through the reserve.
//!
//! A step here ↔ there: [`State::round`] ↔ `Vm::daemon_round` up to the eviction · [`State::judge`] ↔ its end ·
//! [`State::serve_frames`] ↔ its steps 1 to 4, then cleaning · [`State::serve_gate`], [`State::io_done`] are the plan for
//! writing. With [`Daemon::Inline`] the thread that asks makes the step: inside the gate `serve_frames` alone, at the gate
//! `serve_gate` alone, so that nobody waits for the commit of a transaction that it has open.

use crate::config::{Config, Daemon, RESERVE};
use crate::gate::Refusal;
use crate::mutation::Mutation;
use crate::state::{Frame, Kind, Phase, Round, State, broken};

impl State {
    /// The daemon's thread begins the round that it was asked for.
    pub(crate) fn round(&mut self, config: &Config) {
        let waited = self.somebody_waits_for_frame();
        let io_before = self.is_in_flight();
        let freed = self.asked_frames && self.serve_frames(config);
        let is_fruitless = self.asked_frames && waited && !io_before && !freed;
        self.asked_frames = false;
        if self.daemon == Round::None && self.asked_gate {
            self.asked_gate = false;
            self.serve_gate(config);
        }
        if self.daemon == Round::None {
            self.daemon = Round::Judging { freed, is_fruitless };
        }
    }

    /// The end of a round that started no I/O: was it stuck (F6)? Wakes all who wait, whatever the success.
    pub(crate) fn judge(&mut self, config: &Config, freed: bool, is_fruitless: bool) {
        let waits = self.somebody_waits_for_frame();
        let is_late = config.has(Mutation::LateJudgement);
        let is_stuck = if is_late { !freed && waits && !self.is_in_flight() } else { is_fruitless };
        self.note(if is_stuck { broken::STUCK } else { 0 });
        self.asked_frames |= config.has(Mutation::EndlessRound) && !freed && waits;
        self.daemon = Round::None;
        self.wake_frame_waiters(config, !config.has(Mutation::NoDaemonWake));
    }

    /// A round by the thread that needs a frame, inside the gate (`Daemon::Inline`).
    pub(crate) fn round_inside(&mut self, config: &Config, thread: usize) {
        let io_before = self.is_in_flight();
        let freed = self.serve_frames(config);
        if config.has(Mutation::CommitInside) && self.daemon == Round::None && self.count(Kind::Running) > 0 {
            self.is_closed = true;
            self.commit(config);
        }
        self.threads[thread].phase = Phase::Asked;
        if self.daemon == Round::None {
            self.judge(config, freed, !io_before && !freed);
        }
    }

    /// Frees a frame for those who wait inside, or starts the I/O that will: a clean page, a cache's frame, a page cleaned.
    /// Says whether a frame is free.
    pub(crate) fn serve_frames(&mut self, config: &Config) -> bool {
        if self.evict_to_free() || self.count(Kind::Free) > 0 {
            return true;
        }
        if self.count(Kind::Wired) > 0 {
            if !self.lock_is_taken() {
                self.unwire();
                return true;
            }
            if config.has(Mutation::BlockingLock) {
                self.daemon = Round::OnLock;
                return false;
            }
        }
        self.clean(config, Frame::is_cleanable);
        false
    }

    /// Does what the first of the gate's queue waits for, or starts the I/O for it.
    pub(crate) fn serve_gate(&mut self, config: &Config) {
        if self.daemon != Round::None {
            return;
        }
        if self.is_closed {
            return self.commit(config);
        }
        let running = self.count(Kind::Running);
        match self.first_refusal(config) {
            Some(Refusal::Frames) if running > 0 && !config.has(Mutation::NoCommitForFrames) => {
                self.close(config)
            }
            Some(Refusal::Transaction) => self.close(config),
            Some(Refusal::Journal) => {
                let starts = self.clean(config, |f| f.kind == Kind::Committed && f.pins == 0);
                if !starts && running > 0 {
                    self.close(config);
                }
            }
            Some(Refusal::DirtyShare) => {
                self.clean(config, |f| f.kind == Kind::Dirty && f.pins == 0);
            }
            Some(Refusal::Frames) => {}
            None => self.notify_first(),
        }
    }

    /// Starts to write a page in place that is `wanted`; says whether there was one.
    pub(crate) fn clean(&mut self, config: &Config, wanted: impl Fn(&Frame) -> bool) -> bool {
        let early = |f: &Frame| config.has(Mutation::WritesRunning) && f.kind == Kind::Running && f.pins == 0;
        let Some(frame) = self.find(|f| wanted(f) || early(f)) else { return false };
        let page = self.frames[frame];
        self.note(if page.kind == Kind::Running { broken::WRITTEN_EARLY } else { 0 });
        self.frames[frame].kind = Kind::Writing;
        let takes_from_all = config.has(Mutation::NoReserve) || config.has(Mutation::ReserveOnlyCounted);
        if takes_from_all && !self.take_for_daemon() {
            self.frames[frame] = page;
            return false;
        }
        self.daemon = Round::Cleaning;
        true
    }

    /// A frame for the daemon where it has none of its own (mutations only).
    pub(crate) fn take_for_daemon(&mut self) -> bool {
        let free = self.find(|f| f.kind == Kind::Free).or_else(|| self.find(Frame::is_idle_clean));
        match free {
            Some(frame) => self.frames[frame] = Frame::of(Kind::Daemon),
            None => self.note(broken::DAEMON_WAITED),
        }
        free.is_some()
    }

    /// The daemon's I/O has ended: the page is clean, or the transaction committed. Everybody looks again.
    pub(crate) fn io_done(&mut self, config: &Config) {
        const { assert!(RESERVE == 1, "one I/O at a time goes through the reserve") };
        match self.daemon {
            Round::Cleaning => self.cleaned(config),
            _ => self.committed(config),
        }
        if let Some(frame) = self.find(|f| f.kind == Kind::Daemon) {
            self.frames[frame] = Frame::of(Kind::Free);
        }
        self.daemon = Round::None;
        self.wake_frame_waiters(config, !config.has(Mutation::NoDaemonWake));
        self.notify_first();
        let can_commit = self.is_closed && self.open_handles() == 0;
        self.asked_gate |= can_commit && config.daemon == Daemon::Thread;
    }

    fn cleaned(&mut self, config: &Config) {
        if let Some(frame) = self.find(|f| f.kind == Kind::Writing) {
            let wanted = self.frames[frame].wanted;
            self.frames[frame] = Frame { kind: Kind::Clean, wanted: 0, logged: 0, ..self.frames[frame] };
            self.wake_wanted(config, wanted);
            self.trim_journal();
        }
    }

    /// All is done: everything is committed and written in place, as at unmount.
    pub(crate) fn flush(&mut self, config: &Config) {
        if !self.clean(config, Frame::is_cleanable) {
            self.close(config);
        }
    }
}
