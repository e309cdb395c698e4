//! Times for people, in the time zone of the host (`TZ`).
//!
//! Who calls it: `ls`, `stat`.

use jiff::tz::TimeZone;
use rumpcap::Timestamp;

/// Half a mean Gregorian year in seconds: what `ls` calls recent.
const RECENT_SECONDS: i64 = 31_556_952 / 2;

/// Writes times in one time zone.
pub struct Clock {
    zone: TimeZone,
    now_seconds: i64,
}

impl Clock {
    /// The host's time zone and the present moment.
    pub fn host() -> Clock {
        Clock { zone: TimeZone::system(), now_seconds: jiff::Timestamp::now().as_second() }
    }

    /// `2026-11-23 06:53:01.000000000 +0000`.
    pub fn full(&self, t: Timestamp) -> String {
        self.format(t, "%Y-%m-%d %H:%M:%S.%9f %z")
    }

    /// As `ls -l`: `Nov 23 06:53`, or `Nov 23  2019` for what is older than half a year or in the future.
    pub fn short(&self, t: Timestamp) -> String {
        let age = self.now_seconds.saturating_sub(t.seconds);
        let recent = (0..RECENT_SECONDS).contains(&age);
        self.format(t, if recent { "%b %e %H:%M" } else { "%b %e  %Y" })
    }

    /// Seconds alone where no calendar reaches.
    fn format(&self, t: Timestamp, format: &str) -> String {
        let nanoseconds = i32::try_from(t.nanoseconds).unwrap_or(0);
        match jiff::Timestamp::new(t.seconds, nanoseconds) {
            Ok(stamp) => stamp.to_zoned(self.zone.clone()).strftime(format).to_string(),
            Err(_) => format!("@{}.{:09}", t.seconds, t.nanoseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_short_times() {
        let clock = Clock { zone: TimeZone::UTC, now_seconds: 1_700_000_000 };
        let t = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        assert_eq!(clock.full(t(1_700_000_000, 5)), "2023-11-14 22:13:20.000000005 +0000");
        assert_eq!(clock.full(t(-1, 500_000_000)), "1969-12-31 23:59:59.500000000 +0000");
        assert_eq!(clock.short(t(1_700_000_000, 0)), "Nov 14 22:13");
        assert_eq!(clock.short(t(0, 0)), "Jan  1  1970");
        assert_eq!(clock.short(t(1_700_000_100, 0)), "Nov 14  2023");
        assert_eq!(clock.full(t(i64::MAX, 0)), format!("@{}.000000000", i64::MAX));
    }
}
