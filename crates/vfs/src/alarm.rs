//! [`Alarm`]: wakes the thread that works for a mount in the background.
//!
//! Who calls it: changes ring (`writing`); the thread waits, and whoever unmounts stops it (`rumpcap`, the library).
//!
//! Locks: one, held for moments; taken inside the mount's. Memory: fixed.

use rumpcap_host::sync::{Condvar, Mutex};

/// Why who waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The time is over.
    ByTime,
    /// Somebody rang.
    ByRing,
    /// It is to end.
    ToStop,
}

#[derive(Default)]
struct State {
    rings: bool,
    is_stopped: bool,
}

/// The alarm of a mount.
#[derive(Default)]
pub struct Alarm {
    state: Mutex<State>,
    wake: Condvar,
}

impl Alarm {
    /// There is something to be done.
    pub fn ring(&self) {
        let mut state = self.state.lock();
        if !core::mem::replace(&mut state.rings, true) {
            self.wake.notify_one();
        }
    }

    /// The thread is to end.
    pub fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.wake.notify_one();
    }

    /// Whether the thread is to end.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }

    /// Waits for one of these, for about `nanoseconds` at most.
    pub fn wait(&self, nanoseconds: u64) -> Woken {
        let mut state = self.state.lock();
        if !state.rings && !state.is_stopped {
            state = self.wake.wait_at_most(state, nanoseconds);
        }
        match (state.is_stopped, core::mem::take(&mut state.rings)) {
            (true, _) => Woken::ToStop,
            (false, true) => Woken::ByRing,
            (false, false) => Woken::ByTime,
        }
    }
}
