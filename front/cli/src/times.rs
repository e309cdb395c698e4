//! Times for people, in the time zone of the host (`TZ`).
//!
//! Who calls it: `ls`, `stat`, `touch`.

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

/// Reads a time as `touch -d` has it: `@SECONDS`, or a date with a time and an offset, each of the latter optional, in the time zone of the host
/// (`2026-11-23 06:53:01.5 +0100`, `2026-11-23T06:53Z`).
///
/// # Errors
/// A message for the user.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    let bad = || "not a time: @SECONDS, or YYYY-MM-DD [HH:MM[:SS]] [OFFSET]".to_owned();
    if let Some(seconds) = text.strip_prefix('@') {
        return crate::pax::read::parse_seconds(seconds.as_bytes()).ok_or_else(bad);
    }
    // As `stat` prints it.
    let with_offset =
        || jiff::Zoned::strptime("%Y-%m-%d %H:%M:%S%.f %z", text).map(|zoned| zoned.timestamp());
    let local = || {
        let civil: jiff::civil::DateTime = text.parse()?;
        civil.to_zoned(TimeZone::system()).map(|zoned| zoned.timestamp())
    };
    let time = text.parse::<jiff::Timestamp>().or_else(|_| with_offset()).or_else(|_| local());
    let time = time.map_err(|_: jiff::Error| bad())?;
    let nanoseconds = time.as_nanosecond().rem_euclid(1_000_000_000);
    Ok(Timestamp {
        seconds: i64::try_from(time.as_nanosecond().div_euclid(1_000_000_000)).map_err(|_| bad())?,
        nanoseconds: u32::try_from(nanoseconds).map_err(|_| bad())?,
    })
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

    #[test]
    fn times_of_the_command_line() {
        let t = |text: &str| parse_time(text).ok().map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(t("@-1.5"), Some((-2, 500_000_000)));
        assert_eq!(t("@1700000000"), Some((1_700_000_000, 0)));
        for same in
            ["2023-11-14 22:13:20.5 +0000", "2023-11-14T22:13:20.5Z", "2023-11-14 23:13:20.500000000 +0100"]
        {
            assert_eq!(t(same), Some((1_700_000_000, 500_000_000)), "{same}");
        }
        assert_eq!(t("1969-12-31T23:59:59.75Z"), Some((-1, 750_000_000)));
        assert!(t("2023-11-14 22:13").is_some() && t("2023-11-14").is_some());
        for bad in ["", "yesterday", "@", "2023-13-01"] {
            assert_eq!(t(bad), None, "{bad}");
        }
    }
}
