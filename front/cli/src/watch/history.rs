//! [`History`]: pictures of a kernel's memory over time, in fixed memory however long that is.
//!
//! Who calls it: `watch` pushes, `series` and the views read.
//!
//! HY-1. The whole run is there, first picture and last included. When its list is full every second one is dropped and
//! pictures are taken half as often. Counters only grow, so that rates over the longer intervals stay exact; of what
//! goes up and down the moments between are lost (`peak_bytes` and the longest waits are kept by the kernel itself).
//! HY-2. The last minute is there beside it, ten pictures a second.

use rumpcap::MemoryReport;
use std::collections::VecDeque;
use std::time::Duration;

/// Pictures of the whole run; even.
const WHOLE_MAX: usize = 512;
/// Time between two pictures at first: short runs are drawn finely.
const PERIOD_MIN: Duration = Duration::from_millis(10);
/// Time between two pictures of the last minute.
const RECENT_PERIOD: Duration = Duration::from_millis(100);
/// Pictures of the last minute.
const RECENT_MAX: usize = 600;

/// A picture and its time since the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Since the kernel was booted.
    pub at: Duration,
    /// The picture.
    pub report: MemoryReport,
}

/// Pictures over time.
pub struct History {
    whole: Vec<Sample>,
    recent: VecDeque<Sample>,
    latest: Option<Sample>,
    period: Duration,
}

impl Default for History {
    fn default() -> History {
        let (whole, recent) = (Vec::new(), VecDeque::new());
        History { whole, recent, latest: None, period: PERIOD_MIN }
    }
}

impl History {
    /// Takes one more picture, later than those before.
    pub fn push(&mut self, sample: Sample) {
        self.latest = Some(sample);
        if is_due(self.recent.back(), sample, RECENT_PERIOD) {
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(sample);
        }
        if !is_due(self.whole.last(), sample, self.period) {
            return;
        }
        if self.whole.len() == WHOLE_MAX {
            let mut nth = 0;
            self.whole.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.period *= 2;
        }
        self.whole.push(sample);
    }

    /// There will be no more. The last picture is part of the whole run, due or not.
    pub fn end(&mut self) {
        if let Some(latest) = self.latest.filter(|latest| self.whole.last() != Some(latest)) {
            self.whole.push(latest);
        }
    }

    /// Time until the next picture is due for anybody.
    pub fn period(&self) -> Duration {
        self.period.min(RECENT_PERIOD)
    }

    /// The whole run.
    pub fn whole(&self) -> &[Sample] {
        &self.whole
    }

    /// The last minute.
    pub fn recent(&self) -> Vec<Sample> {
        self.recent.iter().copied().collect()
    }

    /// The newest picture.
    pub fn latest(&self) -> Option<Sample> {
        self.latest
    }
}

/// Timers come a little early or late: nine tenths of a period are one.
fn is_due(last: Option<&Sample>, now: Sample, period: Duration) -> bool {
    last.is_none_or(|last| now.at >= last.at + period * 9 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(count: u64) -> History {
        let mut history = History::default();
        let mut at = Duration::ZERO;
        for lookups in 0..count {
            let report = MemoryReport { lookups, ..MemoryReport::default() };
            history.push(Sample { at, report });
            at += history.period();
        }
        history.end();
        history
    }

    #[test]
    fn memory_is_bounded_and_both_ends_of_the_run_are_kept() {
        for count in [1, 2, 511, 512, 513, 100_000] {
            let history = pushed(count);
            let lookups: Vec<u64> = history.whole().iter().map(|sample| sample.report.lookups).collect();
            assert!(lookups.len() <= WHOLE_MAX + 1 && lookups.is_sorted(), "{count}");
            assert_eq!((lookups[0], lookups[lookups.len() - 1]), (0, count - 1), "HY-1");
            assert!(history.recent().len() <= RECENT_MAX);
            assert!(count < 513 || lookups.len() > WHOLE_MAX / 2 - 1, "{count}: {}", lookups.len());
        }
    }

    #[test]
    fn the_last_minute_is_as_fine_as_ever() {
        let recent = pushed(100_000).recent();
        let (first, last) = (recent[0].at, recent[RECENT_MAX - 1].at);
        assert_eq!(last - first, RECENT_PERIOD * (RECENT_MAX as u32 - 1), "HY-2");
    }
}
