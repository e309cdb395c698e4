//! The clock of a simulated host: every step of the schedule takes a microsecond, and nothing else takes time.
//!
//! Who uses it: everything that uses `host::clock`, when the feature `shuttle` is on; a simulated disk, for how long a
//! request takes. No state of its own: the model checker counts the steps of the execution that the caller is in.

/// What a step of the schedule takes, in nanoseconds.
const STEP_NS: u64 = 1000;

/// A point on the simulated clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment(u64);

/// The present moment.
pub fn now() -> Moment {
    Moment(shuttle::current::context_switches() as u64 * STEP_NS)
}

impl Moment {
    /// Nanoseconds since this moment.
    pub fn elapsed_ns(self) -> u64 {
        now().0.saturating_sub(self.0)
    }
}
