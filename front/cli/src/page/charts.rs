//! What the page draws: one function a chart, from the history of a run.
//!
//! Who calls it: `html`. Whom it calls: `watch` for values over time, `chart` for the drawing.

use super::chart::{Chart, Curve, STEPS, Shape, Unit};
use crate::watch::{History, Series, Span};
use rumpcap::MemoryReport;
use std::time::Duration;

const PAGE_BYTES: f64 = 4096.0;

/// A series: its name, its colour, its values.
type Named<'a> = (String, usize, Box<dyn Fn(&MemoryReport) -> f64 + 'a>);

/// All charts of a run; none where there are no pictures.
pub fn of(history: &History) -> Vec<Chart> {
    let (Some(first), Some(last)) = (history.whole().first(), history.whole().last()) else {
        return Vec::new();
    };
    // A run of a single moment still has a width.
    let until = last.at.max(first.at + Duration::from_millis(1));
    let run =
        Run { series: Series::new(history.whole()), span: Span { from: first.at, to: until, steps: STEPS } };
    vec![
        run.memory(&last.report),
        run.states(&last.report),
        run.hits(),
        run.device(),
        run.queues(),
        run.evictions(),
        run.daemon(),
        run.waits(),
    ]
}

struct Run<'a> {
    series: Series<'a>,
    span: Span,
}

impl Run<'_> {
    fn chart(&self, title: &'static str, about: &'static str, unit: Unit, shape: Shape) -> Chart {
        Chart { title, about, unit, shape, curves: Vec::new(), line: None, until: self.span.to }
    }

    fn gauges(&self, of: Vec<Named<'_>>) -> Vec<Curve> {
        let curve =
            |(name, colour, of): Named<'_>| Curve { name, colour, values: self.series.gauge(self.span, of) };
        of.into_iter().map(curve).collect()
    }

    fn rates(&self, of: Vec<Named<'_>>) -> Vec<Curve> {
        let curve =
            |(name, colour, of): Named<'_>| Curve { name, colour, values: self.series.rate(self.span, of) };
        of.into_iter().map(curve).collect()
    }

    fn memory(&self, last: &MemoryReport) -> Chart {
        let about = "By what it is used for, stacked, against the limit.";
        let mut chart = self.chart("Memory", about, Unit::Bytes, Shape::Stacked);
        let mut kinds: Vec<Named<'_>> = vec![named("tables", 0, |r| r.tables_bytes as f64)];
        for (at, pool) in last.pools.iter().enumerate().filter(|(_, pool)| !pool.name.is_empty()) {
            let of = move |r: &MemoryReport| r.pools.get(at).map_or(0.0, |pool| pool.bytes as f64);
            kinds.push((format!("pool: {}", pool.name), 1 + at % 2, Box::new(of)));
        }
        kinds.push(named("buffers", 3, |r| r.buffers_bytes as f64));
        kinds.push(named("metadata pages", 4, |r| r.pages_metadata as f64 * PAGE_BYTES));
        kinds.push(named("data pages", 5, |r| data_pages(r) as f64 * PAGE_BYTES));
        chart.curves = self.gauges(kinds);
        // Without a limit the host's would flatten everything.
        chart.line = last.limited.then(|| ("limit".to_owned(), last.limit_bytes as f64));
        chart
    }

    fn states(&self, last: &MemoryReport) -> Chart {
        let about = "All frames that can hold pages, stacked: what could be had at once, and what is held.";
        let mut chart = self.chart("Page states", about, Unit::Count, Shape::Stacked);
        let mut states = vec![
            named("wired", 0, |r| (r.pools_bytes + r.buffers_bytes) as f64 / PAGE_BYTES),
            named("pinned", 2, |r| r.pages_pinned as f64),
            named("busy", 3, |r| r.pages_busy as f64),
            named("dirty", 1, |r| r.pages_dirty as f64),
            named("clean", 4, |r| r.pages_clean as f64),
        ];
        if last.limited {
            states.push(named("free", 6, |r| r.frames_free as f64));
        }
        chart.curves = self.gauges(states);
        chart
    }

    fn hits(&self) -> Chart {
        let about = "Look-ups of pages that found theirs in memory. Gaps: no look-ups.";
        let mut chart = self.chart("Hit ratio", about, Unit::Percent, Shape::Lines);
        let values = self.series.share(self.span, |r| r.hits as f64, |r| r.lookups as f64);
        chart.curves.push(Curve { name: "hits".to_owned(), colour: 4, values });
        chart
    }

    fn device(&self) -> Chart {
        let about =
            "Bytes read from devices by the second; straight: into the caller's buffers, past the pages.";
        let mut chart = self.chart("Device reads", about, Unit::BytesPerSecond, Shape::Stacked);
        chart.curves = self.rates(vec![
            named("into pages", 4, |r| r.device_read_bytes.saturating_sub(r.direct_read_bytes) as f64),
            named("straight", 5, |r| r.direct_read_bytes as f64),
        ]);
        chart
    }

    fn queues(&self) -> Chart {
        let about = "Pages in the policy's queues, and those that it remembers after they have gone.";
        let mut chart = self.chart("Queues", about, Unit::Count, Shape::Lines);
        chart.curves = self.gauges(vec![
            named("small", 4, |r| r.queue_small as f64),
            named("main", 5, |r| r.queue_main as f64),
            named("ghosts", 1, |r| r.queue_ghosts as f64),
        ]);
        chart
    }

    fn evictions(&self) -> Chart {
        let about = "Pages that went, by who sent them.";
        let mut chart = self.chart("Evictions", about, Unit::PerSecond, Shape::Stacked);
        chart.curves = self.rates(vec![
            named("by who wanted the frame", 4, |r| r.evictions_direct as f64),
            named("by an object of its own", 5, |r| r.evictions_self as f64),
            named("by the pagedaemon", 3, |r| by_daemon(r) as f64),
        ]);
        chart
    }

    fn daemon(&self) -> Chart {
        let about = "Rounds, and what their steps gave back: frames; items for step 3.";
        let mut chart = self.chart("Pagedaemon", about, Unit::PerSecond, Shape::Lines);
        chart.curves = self.rates(vec![
            named("rounds", 0, |r| r.daemon_rounds as f64),
            named("1 caches", 1, |r| r.daemon_freed_caches as f64),
            named("2 pages", 4, |r| r.daemon_freed_pages as f64),
            named("3 callbacks", 3, |r| r.daemon_freed_callbacks as f64),
            named("4 pools", 5, |r| r.daemon_freed_pools as f64),
        ]);
        chart
    }

    fn waits(&self) -> Chart {
        let about = "Operations that had to wait: at the gate, for a frame, for a page under I/O.";
        let mut chart = self.chart("Waits", about, Unit::PerSecond, Shape::Lines);
        chart.curves = self.rates(vec![
            named("gate", 3, |r| r.gate_waits as f64),
            named("frame", 2, |r| r.frame_waits as f64),
            named("busy page", 4, |r| r.busy_waits as f64),
        ]);
        chart
    }
}

fn named<'a>(name: &str, colour: usize, of: impl Fn(&MemoryReport) -> f64 + 'a) -> Named<'a> {
    (name.to_owned(), colour, Box::new(of))
}

/// Pages that hold data of files.
fn data_pages(r: &MemoryReport) -> u64 {
    (r.pages_clean + r.pages_dirty + r.pages_busy + r.pages_pinned).saturating_sub(r.pages_metadata)
}

fn by_daemon(r: &MemoryReport) -> u64 {
    r.evictions.saturating_sub(r.evictions_direct + r.evictions_self)
}
