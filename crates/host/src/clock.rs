//! Monotonic time, for the statistics of waits, and wall time, for those of files. Kernel crates take time from nowhere else.
//!
//! With the feature `shuttle` time is simulated (`clock/simulated.rs`): it goes on by the steps of the schedule, so that a
//! run that is repeated sees the same moments.

#[cfg(feature = "shuttle")]
#[path = "clock/simulated.rs"]
mod imp;

#[cfg(not(feature = "shuttle"))]
mod imp {
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
}

pub use imp::{Moment, now};

/// Seconds and nanoseconds since 1970-01-01 00:00:00 UTC, for times of files. Under a model checker it stands still.
pub fn wall_time() -> (i64, u32) {
    #[cfg(not(feature = "shuttle"))]
    {
        use std::time::{SystemTime, UNIX_EPOCH};
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
            // A clock before 1970 is one that nobody has set.
            Err(_) => (0, 0),
        }
    }
    #[cfg(feature = "shuttle")]
    (0, 0)
}
