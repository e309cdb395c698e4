//! [`Series`]: what is drawn of a history: values at even steps of time.
//!
//! Who calls it: `top` (a value for each column of the terminal) and `page` (a value for each few pixels). Counters become rates,
//! taken between the borders of a step, so that nothing is counted twice or lost however steps and pictures lie.

use super::Sample;
use rumpcap::MemoryReport;
use std::time::Duration;

/// A stretch of time, cut into even steps.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where it begins.
    pub from: Duration,
    /// Where it ends; later than `from`.
    pub to: Duration,
    /// How many steps.
    pub steps: usize,
}

impl Span {
    fn border(&self, step: usize) -> f64 {
        let (from, to) = (self.from.as_secs_f64(), self.to.as_secs_f64());
        from + (to - from) * step as f64 / self.steps.max(1) as f64
    }
}

/// Pictures, to be read as values over time.
#[derive(Clone, Copy)]
pub struct Series<'a> {
    samples: &'a [Sample],
}

impl<'a> Series<'a> {
    /// Of pictures in the order of time.
    pub fn new(samples: &'a [Sample]) -> Series<'a> {
        Series { samples }
    }

    /// A value that goes up and down, at the end of each step; nothing where there was no picture yet, or is none any more.
    pub fn gauge(&self, span: Span, of: impl Fn(&MemoryReport) -> f64) -> Vec<Option<f64>> {
        (0..span.steps).map(|step| self.at(span.border(step), span.border(step + 1), &of)).collect()
    }

    /// How fast a counter grew in each step, by the second.
    pub fn rate(&self, span: Span, of: impl Fn(&MemoryReport) -> f64) -> Vec<Option<f64>> {
        self.ratio(span, of, None::<fn(&MemoryReport) -> f64>)
    }

    /// How much a counter grew in each step for each by which another did; nothing where that did not grow.
    pub fn share(
        &self,
        span: Span,
        of: impl Fn(&MemoryReport) -> f64,
        whole: impl Fn(&MemoryReport) -> f64,
    ) -> Vec<Option<f64>> {
        self.ratio(span, of, Some(whole))
    }

    fn ratio(
        &self,
        span: Span,
        of: impl Fn(&MemoryReport) -> f64,
        by: Option<impl Fn(&MemoryReport) -> f64>,
    ) -> Vec<Option<f64>> {
        let step = |step| {
            let (from, to) = self.overlap(span.border(step), span.border(step + 1))?;
            let grew = self.interpolate(to, &of) - self.interpolate(from, &of);
            let by = match &by {
                Some(by) => self.interpolate(to, by) - self.interpolate(from, by),
                None => to - from,
            };
            (by > 0.0).then(|| grew / by)
        };
        (0..span.steps).map(step).collect()
    }

    fn ends(&self) -> Option<(f64, f64)> {
        Some((self.samples.first()?.at.as_secs_f64(), self.samples.last()?.at.as_secs_f64()))
    }

    fn overlap(&self, from: f64, to: f64) -> Option<(f64, f64)> {
        let (first, last) = self.ends()?;
        (from < last && to > first).then(|| (from.max(first), to.min(last)))
    }

    fn at(&self, from: f64, to: f64, of: impl Fn(&MemoryReport) -> f64) -> Option<f64> {
        let (first, last) = self.ends()?;
        if to < first || from > last {
            return None;
        }
        let behind = self.samples.partition_point(|sample| sample.at.as_secs_f64() <= to);
        self.samples.get(behind.saturating_sub(1)).map(|sample| of(&sample.report))
    }

    /// A counter's value at a time between the first picture and the last.
    fn interpolate(&self, at: f64, of: impl Fn(&MemoryReport) -> f64) -> f64 {
        let behind = self.samples.partition_point(|sample| sample.at.as_secs_f64() <= at);
        let Some(before) = behind.checked_sub(1).and_then(|at| self.samples.get(at)) else { return 0.0 };
        let Some(after) = self.samples.get(behind) else { return of(&before.report) };
        let (from, to) = (before.at.as_secs_f64(), after.at.as_secs_f64());
        let (low, high) = (of(&before.report), of(&after.report));
        low + (high - low) * (at - from) / (to - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(points: &[(u64, u64, u64)]) -> Vec<Sample> {
        let sample = |&(ms, lookups, hits): &(u64, u64, u64)| Sample {
            at: Duration::from_millis(ms),
            report: MemoryReport { lookups, hits, ..MemoryReport::default() },
        };
        points.iter().map(sample).collect()
    }

    fn span(from: u64, to: u64, steps: usize) -> Span {
        Span { from: Duration::from_millis(from), to: Duration::from_millis(to), steps }
    }

    #[test]
    fn steps_without_pictures_are_empty() {
        let of = |r: &MemoryReport| r.lookups as f64;
        assert_eq!(Series::new(&[]).rate(span(0, 100, 2), of), [None, None]);
        let pictures = samples(&[(0, 0, 0), (1000, 10, 5)]);
        let series = Series::new(&pictures);
        assert_eq!(series.rate(span(0, 2000, 4), of), [Some(10.0), Some(10.0), None, None]);
        assert_eq!(series.gauge(span(0, 4000, 4), of), [Some(10.0), Some(10.0), None, None]);
        let half = series.share(span(0, 2000, 2), |r| r.hits as f64, of);
        assert_eq!(half, [Some(0.5), None]);
    }

    proptest! {
        /// However steps and pictures lie, rates times their steps add up to the counter.
        #[test]
        fn nothing_is_lost_or_counted_twice(
            growth in proptest::collection::vec((1u64..500, 0u64..1000), 1..40), steps in 1usize..200
        ) {
            let (mut at, mut count) = (0, 0);
            let mut points = vec![(0, 0, 0)];
            for (ms, more) in growth {
                (at, count) = (at + ms, count + more);
                points.push((at, count, 0));
            }
            let pictures = samples(&points);
            let rates = Series::new(&pictures).rate(span(0, at, steps), |r| r.lookups as f64);
            let width = at as f64 / 1000.0 / steps as f64;
            let sum: f64 = rates.iter().map(|rate| rate.unwrap_or(0.0) * width).sum();
            prop_assert!((sum - count as f64).abs() < 1e-6 * (count + 1) as f64, "{sum} {count}");
        }
    }
}
