//! What must hold: F1 to F6 of ARCHITECTURE.md, that nobody deadlocks, and what must have been seen for that to mean
//! anything.

use crate::config::{Config, JOURNAL_BLOCKS, TRANSACTION_LIMIT};
use crate::model::{Kernel, is_flushed};
use crate::state::{Frame, Kind, Phase, Round, State, bit, broken};
use stateright::Property;

/// All properties: first what must always hold, then what must be seen in some configuration.
pub(crate) fn all() -> Vec<Property<Kernel>> {
    vec![
        Property::always("F1", f1),
        Property::always("F2", f2),
        Property::always("F3", f3),
        Property::always("F4", f4),
        Property::always("F5", f5),
        Property::always("F6", f6),
        Property::always("pins", pins),
        Property::always("no deadlock", no_deadlock),
        Property::always("nothing is left", nothing_is_left),
        Property::sometimes("a wait at the gate", |_, s: &State| s.threads.iter().any(|t| t.place > 1)),
        Property::sometimes("a wait for a page", |_, s: &State| has(s, Phase::AsleepBusy)),
        Property::sometimes("a wait for a frame", |_, s: &State| has(s, Phase::AsleepFrame)),
        Property::sometimes("a commit beside an open handle", |_, s: &State| {
            s.daemon == Round::Journal && s.open_handles() > 0
        }),
        Property::sometimes("cleaning for somebody inside", |_, s: &State| {
            s.daemon == Round::Cleaning && has(s, Phase::AsleepFrame)
        }),
        Property::sometimes("two transactions in the journal", |_, s: &State| s.journal[1] > 0),
        Property::sometimes("a logged page dirtied again", |_, s: &State| {
            s.frames.iter().any(|f| f.kind == Kind::Running && f.logged > 0)
        }),
    ]
}

fn has(state: &State, phase: Phase) -> bool {
    state.threads.iter().any(|thread| thread.phase == phase)
}

/// At the gate an operation holds nothing; inside, no more than it reserved; nobody passes a waiter.
fn f1(_: &Kernel, state: &State) -> bool {
    let held = |thread: usize| {
        let has = |f: &&Frame| (f.pins | f.filler | f.wanted) & bit(thread) != 0;
        state.frames.iter().filter(has).count()
    };
    state.broken & broken::OVERTAKEN == 0
        && state.threads.iter().enumerate().all(|(n, thread)| match thread.is_inside() {
            true => state.pinned_by(n) <= thread.op.pins(),
            false => held(n) == 0 && !thread.is_spent,
        })
}

/// The gate's count is exact, and who waits for a frame inside waits for I/O alone: one frame at least is neither pinned,
/// nor wired, nor the running transaction's.
fn f2(kernel: &Kernel, state: &State) -> bool {
    let reserved: u8 = state.threads.iter().map(|thread| thread.reserved()).sum();
    let kept = [Kind::Wired, Kind::Running, Kind::Committing].map(|kind| state.count(kind));
    let all = i32::from(state.available) + i32::from(reserved + kept.iter().sum::<u8>());
    let is_held = |f: &Frame| {
        f.pins != 0 || matches!(f.kind, Kind::Wired | Kind::Running | Kind::Committing | Kind::Daemon)
    };
    let may_be_freed = state.frames.iter().any(|f| f.kind != Kind::None && !is_held(f));
    let waits = state.somebody_waits_for_frame() || has(state, Phase::NoFrame);
    all == i32::from(kernel.0.capacity()) && state.available >= 0 && (!waits || may_be_freed)
}

/// The daemon waits for no lock, no handle, and no memory but its own.
fn f3(_: &Kernel, state: &State) -> bool {
    let waits = matches!(state.daemon, Round::OnLock | Round::OnHandles);
    !waits && state.broken & broken::DAEMON_WAITED == 0
}

/// An object over its share takes its own pages.
fn f4(_: &Kernel, state: &State) -> bool {
    state.broken & broken::SHARE == 0
}

/// A transaction stays within its bound, the journal always has room for it, and none of its pages is written in place
/// before the commit, nor changes under it.
fn f5(_: &Kernel, state: &State) -> bool {
    let commit_block = u8::from(state.credits > 0);
    state.credits <= TRANSACTION_LIMIT
        && state.count(Kind::Running) <= state.credits
        && state.journal_used() + state.credits + commit_block <= JOURNAL_BLOCKS
        && state.broken & (broken::JOURNAL_FULL | broken::WRITTEN_EARLY) == 0
}

/// No round frees nothing while somebody waits and no I/O is in flight.
fn f6(_: &Kernel, state: &State) -> bool {
    state.broken & broken::STUCK == 0
}

/// A pinned page stays (PG-3).
fn pins(_: &Kernel, state: &State) -> bool {
    state.broken & broken::PINNED_GONE == 0
}

/// There is a step, unless everything is done.
fn no_deadlock(kernel: &Kernel, state: &State) -> bool {
    is_finished(state) || kernel.has_step(state)
}

/// At the end nobody has a right to a frame, and the journal is empty.
fn nothing_is_left(kernel: &Kernel, state: &State) -> bool {
    let Config { .. } = kernel.0;
    let at_rest = state.available + state.count(Kind::Wired) as i8;
    let has_all = at_rest == kernel.0.capacity() as i8 && state.credits == 0 && state.journal_used() == 0;
    !is_finished(state) || has_all
}

fn is_finished(state: &State) -> bool {
    state.all_done() && state.daemon == Round::None && !state.is_asked() && is_flushed(state)
}
