//! Monotonic time, for the statistics of waits. Kernel crates take time from nowhere else.

use std::time::Instant;

/// A point on the host's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant);

/// The present moment.
pub fn now() -> Moment {
    Moment(Instant::now())
}

impl Moment {
    /// Nanoseconds since this moment; saturates after 584 years.
    pub fn elapsed_ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
