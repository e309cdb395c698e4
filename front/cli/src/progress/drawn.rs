//! [`Drawn`]: a line of progress on a terminal, as wide as that is.
//!
//! Who calls it: `progress`, and `session` for the line behind all others ([`ending`]).

use super::QUIET;
use crate::estimate::{Estimate, Tree};
use crate::quote::for_message;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rumpcap::Kernel;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

const REDRAW: Duration = Duration::from_millis(100);

/// Where the total is not known.
const OPEN: &str = "{spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed} {wide_msg}";
const NARROW: &str =
    "{percent:>3}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta} {wide_msg}";
const WIDE: &str =
    "{bar:24} {percent:>3}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta} {wide_msg}";

/// From this width on there is room for a bar.
const WIDE_COLUMNS: u16 = 110;

/// What numbers take of a line, at most; the rest is the name's.
const NUMBERS_COLUMNS: [usize; 3] = [50, 56, 82];

/// A line that is drawn.
pub(super) struct Drawn {
    pub(super) bar: ProgressBar,
    /// Whose memory is shown.
    kernel: Option<Kernel>,
    pub(super) total: Total,
    /// Bytes done of the total.
    pub(super) position: u64,
    /// The file that is copied: its path, where it begins and ends in the total.
    pub(super) path: Vec<u8>,
    pub(super) ends_at: u64,
    next: Instant,
}

/// How much there is to do.
pub(super) enum Total {
    Unknown,
    /// To be counted when it takes long.
    Trees(Vec<Tree>),
    Counting(Estimate),
    Known,
}

/// A line of progress.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    Narrow,
    Wide,
}

impl Drawn {
    pub(super) fn new(kernel: Option<Kernel>) -> Drawn {
        let drawn = Drawn {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20)),
            kernel,
            total: Total::Unknown,
            position: 0,
            path: Vec::new(),
            ends_at: 0,
            next: Instant::now() + QUIET,
        };
        drawn.set_style(Line::Open);
        drawn
    }

    pub(super) fn name(&mut self, path: &Path) {
        self.path.clear();
        self.path.extend_from_slice(path.as_os_str().as_bytes());
    }

    pub(super) fn redraw(&mut self, files: u64) {
        if !self.is_due() {
            return;
        }
        let columns = terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| width.0);
        let line = self.line(columns);
        self.set_style(line);
        let plural = if files == 1 { "" } else { "s" };
        let mut text = format!("{files} file{plural}");
        if line == Line::Open {
            text += &self.memory();
        }
        let left = usize::from(columns).saturating_sub(NUMBERS_COLUMNS[line as usize] + text.len());
        text.push(' ');
        text += &last_columns(&for_message(&self.path), left);
        self.show(text);
    }

    /// What is known of the total by now.
    fn line(&mut self, columns: u16) -> Line {
        if let Total::Trees(trees) = &mut self.total {
            self.total = Total::Counting(Estimate::start(std::mem::take(trees)));
        }
        if let Total::Counting(estimate) = &self.total
            && let Some(total_bytes) = estimate.total_bytes()
        {
            self.bar.set_length(total_bytes);
            self.total = Total::Known;
        }
        match self.total {
            Total::Known if columns >= WIDE_COLUMNS => Line::Wide,
            Total::Known => Line::Narrow,
            _ => Line::Open,
        }
    }

    fn set_style(&self, line: Line) {
        let template = match line {
            Line::Open => OPEN,
            Line::Narrow => NARROW,
            Line::Wide => WIDE,
        };
        let style = ProgressStyle::with_template(template);
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).progress_chars("=> "));
    }

    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next;
        if is_due {
            self.next = now + REDRAW;
        }
        is_due
    }

    fn memory(&self) -> String {
        let Some(kernel) = &self.kernel else { return String::new() };
        let report = kernel.memory_report();
        format!("  memory {} of {}", HumanBytes(report.in_use_bytes), HumanBytes(report.limit_bytes))
    }

    pub(super) fn show(&self, text: String) {
        self.bar.set_message(text);
        self.bar.set_position(self.position);
        self.bar.tick();
    }
}

/// The end of `text`, as far as it goes into so many columns; characters that take two are rare, and then the line is cut.
fn last_columns(text: &str, columns: usize) -> String {
    let len = text.chars().count();
    if len <= columns {
        return text.to_owned();
    }
    let cut = len.saturating_sub(columns.saturating_sub(1));
    std::iter::once('…').chain(text.chars().skip(cut)).take(columns).collect()
}

/// A line for what comes behind all that can be counted; it moves by itself.
pub fn ending(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20));
    bar.set_style(ProgressStyle::default_spinner());
    bar.set_message(message);
    bar.enable_steady_tick(REDRAW);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_is_what_tells_files_apart() {
        assert_eq!(last_columns("abc", 3), "abc");
        assert_eq!(last_columns("a/b/name", 5), "…name");
        assert_eq!(last_columns("abcd", 1), "…");
        assert_eq!(last_columns("abcd", 0), "");
    }
}
