//! What the user of the demo sees: a live bar on a terminal, plain lines elsewhere, a table at the end.

use super::child::{Outcome, Values};
use super::image::Image;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const BETWEEN_LINES: Duration = Duration::from_millis(500);

/// Memory against the limit, while it lasts.
pub(crate) enum Live {
    /// On a terminal.
    Bar(ProgressBar),
    /// Anywhere else: lines, and when the last was printed.
    Lines(Option<Instant>),
}

impl Live {
    /// For stderr as it is.
    pub(crate) fn new(limit_bytes: u64) -> Live {
        if !std::io::stderr().is_terminal() {
            return Live::Lines(None);
        }
        let style = ProgressStyle::with_template("memory [{bar:40.green}] {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        Live::Bar(ProgressBar::new(limit_bytes).with_style(style))
    }

    /// Shows one moment of `image` being read.
    pub(crate) fn show(&mut self, image: &Image, now: &Values, anonymous_bytes: u64) {
        match self {
            Live::Bar(bar) => {
                bar.set_position(now.get("in_use"));
                bar.set_message(moment(image, now, anonymous_bytes));
            }
            Live::Lines(last) if last.is_none_or(|last| last.elapsed() >= BETWEEN_LINES) => {
                eprintln!("memory {}", moment(image, now, anonymous_bytes));
                *last = Some(Instant::now());
            }
            Live::Lines(_) => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Live::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn moment(image: &Image, now: &Values, anonymous_bytes: u64) -> String {
    format!(
        "{} of {}, process {} | {} of {} entries | {} read",
        HumanBytes(now.get("in_use")),
        HumanBytes(now.get("limit")),
        HumanBytes(anonymous_bytes),
        HumanCount(now.get("entries")),
        HumanCount(image.entries),
        HumanBytes(now.get("bytes")),
    )
}

/// The table at the end.
pub(crate) fn table(outcome: &Outcome) -> String {
    let end = |name: &str| outcome.end.get(name);
    let seconds = (end("elapsed_ms") as f64 / 1000.0).max(0.001);
    let per_second = |n: u64| (n as f64 / seconds) as u64;
    let percent = |n: u64, of: u64| 100.0 * n as f64 / (of.max(1)) as f64;
    let count = |name: &str| HumanCount(end(name)).to_string();
    let rows = [
        ("entries", count("entries")),
        ("bytes read", HumanBytes(end("bytes")).to_string()),
        ("time", format!("{seconds:.2} s")),
        (
            "speed",
            format!(
                "{} entries/s, {}/s",
                HumanCount(per_second(end("entries"))),
                HumanBytes(per_second(end("bytes")))
            ),
        ),
        ("read from the image", HumanBytes(end("device_read_bytes") + end("direct_read_bytes")).to_string()),
        (
            "peak / limit",
            format!(
                "{} / {} ({:.1} %)",
                HumanBytes(end("peak")),
                HumanBytes(end("limit")),
                percent(end("peak"), end("limit"))
            ),
        ),
        (
            "process, from outside",
            format!("{} anonymous memory at most", HumanBytes(outcome.anonymous_peak_bytes)),
        ),
        ("page hits", format!("{} ({:.1} %)", count("hits"), percent(end("hits"), end("lookups")))),
        ("evictions", count("evictions")),
        ("pagedaemon rounds", format!("{}, stuck {}", count("daemon_rounds"), count("stuck"))),
    ];
    rows.iter().map(|(name, value)| format!("{name:<22} {value}\n")).collect()
}
