//! [`Trace`]: everything that happens in a run, in order, as one number: equal runs have equal digests.
//!
//! Who calls it: the schedule with every step, the disk with every request, the kernel with every look-up of a page, the
//! threads with what they do. Locks: one of the host's own, which the model checker does not see; nobody switches while he
//! holds it.

use rumpcap::{MemoryReport, TraceEvent};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What happened so far.
pub struct Trace {
    state: Mutex<Summary>,
    prints: bool,
}

/// How much happened, and what, as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of all events, in order.
    pub digest: u64,
    /// Steps of the schedule.
    pub steps: u64,
    /// Requests to disks.
    pub requests: u64,
    /// Of these, those that failed.
    pub failures: u64,
    /// Look-ups of pages.
    pub lookups: u64,
    /// What threads did.
    pub actions: u64,
    /// What the kernel came to.
    pub met: Met,
}

/// How often a run came to what it is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Waits at the gate.
    pub gate_waits: u64,
    /// Waits for a page under I/O.
    pub busy_waits: u64,
    /// Waits for a frame.
    pub frame_waits: u64,
    /// Rounds of the pagedaemon.
    pub daemon_rounds: u64,
    /// Pages evicted.
    pub evictions: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { digest, steps, requests, failures, lookups, actions, met } = self;
        write!(f, "digest {digest:016x}: {steps} steps, {actions} actions, {lookups} look-ups, ")?;
        write!(f, "{requests} requests, {failures} failed, ")?;
        let Met { gate_waits, busy_waits, frame_waits, daemon_rounds, evictions } = met;
        write!(f, "waits {gate_waits} gate {busy_waits} busy {frame_waits} frame, ")?;
        write!(f, "{daemon_rounds} rounds, {evictions} evictions")
    }
}

/// One event.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A thread's turn.
    Step { task: u64 },
    /// A request to a disk: how much from where, and whether it fails.
    Request { disk: u64, offset: u64, len_bytes: u64, fails: bool },
    /// What the kernel tells of its pages.
    Memory(TraceEvent),
    /// A thread begins to do something.
    Action { worker: u64, what: &'static str, number: u64 },
}

impl Trace {
    /// Nothing has happened. `prints`: requests and actions are also printed to stderr.
    pub fn new(prints: bool) -> Trace {
        Trace { state: Mutex::default(), prints }
    }

    /// What happened so far.
    pub fn summary(&self) -> Summary {
        *self.lock()
    }

    /// Notes what the kernel says of itself at the end.
    pub fn note(&self, report: &MemoryReport) {
        let mut state = self.lock();
        state.met = Met {
            gate_waits: report.gate_waits,
            busy_waits: report.busy_waits,
            frame_waits: report.frame_waits,
            daemon_rounds: report.daemon_rounds,
            evictions: report.evictions,
        };
        let words = [state.met.gate_waits, state.met.busy_waits, state.met.frame_waits, report.peak_bytes];
        state.digest = words.into_iter().fold(state.digest, mix);
    }

    /// Takes an event in.
    pub fn add(&self, event: Event) {
        let mut state = self.lock();
        let words = match event {
            Event::Step { task } => {
                state.steps += 1;
                [1, task, 0, 0]
            }
            Event::Request { disk, offset, len_bytes, fails } => {
                state.requests += 1;
                state.failures += u64::from(fails);
                [2 + u64::from(fails), disk, offset, len_bytes]
            }
            Event::Memory(event) => memory_words(event, &mut state.lookups),
            Event::Action { worker, what, number } => {
                state.actions += 1;
                [5, worker, number, what.len() as u64]
            }
        };
        state.digest = words.into_iter().fold(state.digest, mix);
        let is_told = matches!(event, Event::Request { .. } | Event::Action { .. });
        if self.prints && is_told {
            eprintln!("{:>8}  {event:?}", state.steps);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Summary> {
        // A thread that panicked left numbers behind that are as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event of the memory as words; counts it if it is a look-up.
fn memory_words(event: TraceEvent, lookups: &mut u64) -> [u64; 4] {
    let (kind, what, at, many) = match event {
        TraceEvent::Hit { object, page } => (6, object, page, 0),
        TraceEvent::Read { object, page, ahead } => (7, object, page, ahead),
        TraceEvent::Passed { object, page } => (8, object, page, 0),
        TraceEvent::Device { object } => (9, object, 0, 0),
        TraceEvent::Gone { object } => (10, object, 0, 0),
        TraceEvent::Wired { first, frames } => (11, first, 0, frames),
        TraceEvent::Unwired { first, frames } => (12, first, 0, frames),
    };
    *lookups += u64::from(kind <= 8);
    [kind, what.into(), at, many.into()]
}

/// One more word of a digest: multiplied and folded, so that the order matters.
fn mix(digest: u64, word: u64) -> u64 {
    let mixed = (digest.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_events_matters() {
        let digest = |tasks: [u64; 3]| {
            let trace = Trace::new(false);
            tasks.into_iter().for_each(|task| trace.add(Event::Step { task }));
            trace.summary().digest
        };
        assert_eq!(digest([1, 2, 3]), digest([1, 2, 3]));
        assert_ne!(digest([1, 2, 3]), digest([1, 3, 2]));
        assert_ne!(digest([0, 0, 1]), digest([0, 1, 0]));
    }
}
