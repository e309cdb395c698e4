//! The gate: where an operation takes its reservation, holding nothing (F1, F2).
//!
//! Who calls it: `boot::Vm::reserve` for operations, `wired` for memory that is kept. Whom it calls: `host` only.
//!
//! The gate counts frames, not pages: `available` is what nobody has a right to. An operation that asks for more
//! than there is waits its turn, first come first served, by ticket; it holds no lock and no page there, so its wait
//! delays nobody (F1).
//!
//! GA-1. reserved + wired + available = capacity, always; capacity is the frames without the daemon's reserve.
//! GA-2. At least [`LARGEST`] frames are never wired, so the first of the queue can always be served (F2).
//! GA-3. Tickets are served in the order of their numbers; nobody passes a waiter.
//!
//! Locks: `turns` orders the waiters; `state` is one word so that "somebody waits" and "so many are there" are never
//! seen apart: a releaser that sees a waiter takes `turns` before it notifies, and a waiter checks under `turns`, so no
//! wake-up is lost. Memory: fixed. Failure: none; [`Gate::try_wire`] refuses instead of waiting.

use crate::boot::Vm;
use crate::counters::Longest;
use core::cell::Cell;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use rumpcap_host::sync::atomic::AtomicU64;
use rumpcap_host::sync::{Condvar, Mutex};
use rumpcap_host::{Error, Result, clock};

/// The most frames that any operation may reserve: eight pages of a file system's own (see the `max_pins` of each), two
/// of data, and two to spare for the layers between.
pub(crate) const LARGEST: u32 = 12;

/// Tickets of a block. Those of the block that is served have a condition variable each, so that serving one wakes one; those
/// of a later block share one until it is their block's turn: a waiter is woken twice, however many there are. Under the
/// model checker so few that two waiters make two blocks.
const BLOCK: u64 = if cfg!(feature = "shuttle") { 1 } else { 64 };

/// Condition variables of later blocks: four thousand waiters before two blocks share one.
const BLOCKS: u64 = 64;

/// One waiter, in the upper half of `state`.
const WAITER: u64 = 1 << 32;

/// The gate of a kernel.
pub(crate) struct Gate {
    /// Waiters in the upper 32 bits, available frames in the lower.
    state: AtomicU64,
    turns: Mutex<Turns>,
    channels: [Condvar; BLOCK as usize],
    blocks: [Condvar; BLOCKS as usize],
    capacity: u32,
    pub(crate) entries: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) longest_wait: Longest,
}

/// Tickets: `next` is given out next, `serving` is whose turn it is.
struct Turns {
    next: u64,
    serving: u64,
    wired: u32,
}

impl Gate {
    pub(crate) fn new(capacity: u32) -> Gate {
        assert!(capacity >= LARGEST, "GA-2: the plan gives fewer frames than one operation needs");
        Gate {
            state: AtomicU64::new(u64::from(capacity)),
            turns: Mutex::new(Turns { next: 0, serving: 0, wired: 0 }),
            channels: core::array::from_fn(|_| Condvar::new()),
            blocks: core::array::from_fn(|_| Condvar::new()),
            capacity,
            entries: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            longest_wait: Longest::default(),
        }
    }

    /// Takes `frames`; waits for its turn.
    fn enter(&self, frames: u32) {
        assert!(frames <= LARGEST, "F1: a reservation above the largest");
        self.entries.fetch_add(1, Relaxed);
        let mut state = self.state.load(Relaxed);
        while state < WAITER && state >= u64::from(frames) {
            match self.state.compare_exchange_weak(state, state - u64::from(frames), Acquire, Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        self.enter_in_turn(frames);
    }

    #[cold]
    fn enter_in_turn(&self, frames: u32) {
        let arrived = clock::now();
        let mut turns = self.turns.lock();
        let ticket = turns.next;
        turns.next += 1;
        self.state.fetch_add(WAITER, AcqRel);
        while turns.serving != ticket || !self.take(frames) {
            let is_far = ticket / BLOCK > turns.serving / BLOCK;
            turns = if is_far { self.block(ticket) } else { self.channel(ticket) }.wait(turns);
        }
        self.state.fetch_sub(WAITER, AcqRel);
        turns.serving += 1;
        if turns.serving.is_multiple_of(BLOCK) {
            self.block(turns.serving).notify_all();
        }
        self.channel(turns.serving).notify_all();
        drop(turns);
        self.waits.fetch_add(1, Relaxed);
        self.longest_wait.record(arrived.elapsed_ns());
    }

    /// Takes `frames` if so many are available.
    fn take(&self, frames: u32) -> bool {
        let mut state = self.state.load(Acquire);
        while state as u32 >= frames {
            match self.state.compare_exchange_weak(state, state - u64::from(frames), AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    fn leave(&self, frames: u32) {
        let before = self.state.fetch_add(u64::from(frames), AcqRel);
        if before >= WAITER {
            let turns = self.turns.lock();
            self.channel(turns.serving).notify_all();
        }
    }

    // BLOCK is 1 under the model checker.
    #[allow(clippy::modulo_one)]
    fn channel(&self, ticket: u64) -> &Condvar {
        &self.channels[(ticket % BLOCK) as usize]
    }

    fn block(&self, ticket: u64) -> &Condvar {
        &self.blocks[(ticket / BLOCK % BLOCKS) as usize]
    }

    /// Takes `frames` for memory that is kept. Never waits: who keeps memory must be able to do without (GA-2).
    pub(crate) fn try_wire(&self, frames: u32, what: &'static str) -> Result<()> {
        let mut turns = self.turns.lock();
        let most = self.capacity - LARGEST - turns.wired;
        let refused = |have| Err(Error::NoMemory { what, need: frames.into(), have: u64::from(have) });
        if frames > most {
            return refused(most);
        }
        if !self.take(frames) {
            return refused(self.available());
        }
        turns.wired += frames;
        Ok(())
    }

    /// Gives back `frames` that were wired.
    pub(crate) fn unwire(&self, frames: u32) {
        let mut turns = self.turns.lock();
        assert!(turns.wired >= frames, "GA-1: more unwired than was wired");
        turns.wired -= frames;
        drop(turns);
        self.leave(frames);
    }

    /// Operations that wait now.
    pub(crate) fn waiting(&self) -> u32 {
        (self.state.load(Relaxed) / WAITER) as u32
    }

    /// Frames that nobody has a right to now.
    pub(crate) fn available(&self) -> u32 {
        self.state.load(Relaxed) as u32
    }
}

/// The right to frames, held by one operation from the gate to its end.
///
/// It is the proof that a page request needs (F2): while it is held the operation may wait for I/O, never for another
/// operation's progress. It stays on its thread. Take none while holding another: an operation enters once.
pub struct Reservation<'vm> {
    vm: &'vm Vm,
    frames: u32,
    pinned: Cell<u32>,
    hits: Cell<u64>,
    misses: Cell<u64>,
    /// A page is being changed (MO-1).
    modifies: Cell<bool>,
}

impl<'vm> Reservation<'vm> {
    pub(crate) fn new(vm: &'vm Vm, frames: u32) -> Reservation<'vm> {
        vm.gate.enter(frames);
        Reservation {
            vm,
            frames,
            pinned: Cell::new(0),
            hits: Cell::new(0),
            misses: Cell::new(0),
            modifies: Cell::new(false),
        }
    }

    /// The memory that it is a right to.
    pub fn vm(&self) -> &'vm Vm {
        self.vm
    }

    /// How many frames it is a right to.
    #[cfg(test)]
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Notes one more pinned page (F1: never above what was reserved).
    pub(crate) fn pin(&self) {
        let pinned = self.pinned.get() + 1;
        assert!(pinned <= self.frames, "F1: the operation pins more pages than it reserved");
        self.pinned.set(pinned);
    }

    pub(crate) fn unpin(&self) {
        self.pinned.set(self.pinned.get() - 1);
    }

    /// Notes that a page is being changed.
    pub(crate) fn begin_modify(&self) {
        assert!(!self.modifies.replace(true), "MO-1: an operation changes one page at a time");
    }

    /// Notes that it no longer is.
    pub(crate) fn end_modify(&self) {
        self.modifies.set(false);
    }

    /// Whether the operation may wait now (MO-1).
    pub(crate) fn may_wait(&self) -> bool {
        !self.modifies.get()
    }

    pub(crate) fn count_lookup(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.hits.get() > 0 {
            self.vm.table.copies.count_hits(self.hits.get());
        }
        if self.misses.get() > 0 {
            self.vm.counters.misses.fetch_add(self.misses.get(), Relaxed);
        }
        self.vm.gate.leave(self.frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_host::sync::Arc;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn what_is_entered_and_left_adds_up() {
        let gate = Gate::new(20);
        gate.enter(12);
        gate.enter(8);
        assert_eq!(gate.available(), 0);
        gate.leave(8);
        gate.leave(12);
        assert_eq!(gate.available(), 20);
    }

    #[test]
    fn wiring_leaves_the_largest_reservation_alone() {
        let gate = Gate::new(LARGEST + 3);
        assert!(gate.try_wire(3, "a test").is_ok());
        let refused = Error::NoMemory { what: "a test", need: 1, have: 0 };
        assert_eq!(gate.try_wire(1, "a test"), Err(refused));
        gate.enter(LARGEST);
        gate.leave(LARGEST);
        gate.unwire(3);
        assert!(gate.try_wire(1, "a test").is_ok());
    }

    /// Until so many wait.
    fn until_waiting(gate: &Gate, waiters: u64, is_past: impl Fn() -> bool) {
        while gate.state.load(Acquire) / WAITER < waiters && !is_past() {
            std::thread::yield_now();
        }
    }

    /// GA-3: half of what the first in the queue wants is there, which is more than the second wants.
    #[test]
    fn who_would_fit_does_not_pass_who_waits() {
        let gate = Arc::new(Gate::new(LARGEST));
        let served = Arc::new(Mutex::new(Vec::new()));
        gate.enter(LARGEST);
        let comes = |frames: u32| {
            let (gate, served) = (gate.clone(), served.clone());
            std::thread::spawn(move || {
                gate.enter(frames);
                served.lock().push(frames);
                gate.leave(frames);
            })
        };
        let first = comes(LARGEST);
        until_waiting(&gate, 1, || false);
        gate.leave(LARGEST / 2);
        let second = comes(1);
        until_waiting(&gate, 2, || !served.lock().is_empty());
        gate.leave(LARGEST / 2);
        for thread in [first, second] {
            thread.join().unwrap();
        }
        assert_eq!(*served.lock(), [LARGEST, 1]);
    }

    /// One leaves room for two: the first wakes the second, and both are inside at once.
    #[test]
    fn who_is_served_wakes_the_next_that_fits() {
        let gate = Arc::new(Gate::new(LARGEST));
        let inside = Arc::new(std::sync::Barrier::new(2));
        gate.enter(LARGEST);
        let threads = [1, 2].map(|waiters| {
            let (mine, inside) = (gate.clone(), inside.clone());
            let thread = std::thread::spawn(move || {
                mine.enter(LARGEST / 2);
                inside.wait();
                mine.leave(LARGEST / 2);
            });
            until_waiting(&gate, waiters, || false);
            thread
        });
        gate.leave(LARGEST);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    #[should_panic(expected = "F1")]
    fn more_pins_than_reserved_are_a_broken_invariant() {
        let options = crate::BootOptions { limit_bytes: Some(1 << 20), ..Default::default() };
        let vm = Vm::boot(options).unwrap();
        let reservation = vm.reserve(1);
        reservation.pin();
        reservation.pin();
    }

    #[test]
    fn two_hundred_threads_pass_a_gate_for_two_and_never_more_are_inside() {
        let gate = Arc::new(Gate::new(2 * LARGEST));
        let inside = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..200)
            .map(|_| {
                let (gate, inside) = (gate.clone(), inside.clone());
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        gate.enter(LARGEST);
                        assert!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        gate.leave(LARGEST);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(gate.available(), 2 * LARGEST);
        assert_eq!(gate.entries.load(Relaxed), 200 * 50);
    }
}
