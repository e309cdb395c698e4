//! [`Progress`]: a line on standard error, while that is a terminal, for work that takes long; and a count of what was done, for who ends it.
//!
//! Who calls it: `cp`, `tar`, `sha256`, `mkfs`, `fsck`, `write`. Shows bytes, speed, files and the name of the one that is copied; with a total also
//! how much is left, otherwise the kernel's memory against its limit. The total is told, or counted meanwhile ([`Estimate`]).
//! No thread draws: a line is drawn when something is counted, at most ten times a second, and not in the first half second.

use crate::estimate::{Estimate, Tree, stored_bytes};
use crate::quote::for_message;
use crate::session::Session;
use crate::units::human;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rumpcap::Kernel;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

const REDRAW: Duration = Duration::from_millis(100);

/// What is over by then needs no line.
pub const QUIET: Duration = Duration::from_millis(500);

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

/// A line for what comes behind all that can be counted; it moves by itself.
pub fn ending(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20));
    bar.set_style(ProgressStyle::default_spinner());
    bar.set_message(message);
    bar.enable_steady_tick(REDRAW);
    bar
}

/// What has been done; or a line that tells of it too, where somebody looks.
pub struct Progress {
    files: u64,
    bytes: u64,
    drawn: Option<Drawn>,
}

struct Drawn {
    bar: ProgressBar,
    /// Whose memory is shown.
    kernel: Option<Kernel>,
    total: Total,
    /// Bytes done of the total.
    position: u64,
    /// The file that is copied: its path, where it begins and ends in the total.
    path: Vec<u8>,
    ends_at: u64,
    next: Instant,
}

/// How much there is to do.
enum Total {
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

impl Progress {
    /// A line, if standard error is a terminal and nothing else is written into it.
    pub fn new(kernel: &Kernel, place: Place) -> Progress {
        Progress::with(Some(kernel.clone()), place)
    }

    /// As [`Progress::new`], for work that needs no kernel.
    pub fn plain(place: Place) -> Progress {
        Progress::with(None, place)
    }

    fn with(kernel: Option<Kernel>, place: Place) -> Progress {
        if place == Place::Taken || !std::io::stderr().is_terminal() {
            return Progress { files: 0, bytes: 0, drawn: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20));
        let drawn = Drawn {
            bar,
            kernel,
            total: Total::Unknown,
            position: 0,
            path: Vec::new(),
            ends_at: 0,
            next: Instant::now() + QUIET,
        };
        drawn.set_style(Line::Open);
        Progress { files: 0, bytes: 0, drawn: Some(drawn) }
    }

    /// What is to be copied: it is counted when it takes long.
    pub fn expect_trees(&mut self, trees: impl IntoIterator<Item = Tree>) {
        if let Some(drawn) = &mut self.drawn {
            drawn.total = Total::Trees(trees.into_iter().collect());
        }
    }

    /// Bytes of all that is to be done.
    pub fn expect_bytes(&mut self, bytes: u64) {
        if let Some(drawn) = &mut self.drawn {
            drawn.total = Total::Known;
            drawn.bar.set_length(bytes);
        }
    }

    /// A regular file begins, of `len_bytes`, of which `blocks_bytes` are stored.
    pub fn begin(&mut self, path: &Path, len_bytes: u64, blocks_bytes: u64) {
        if let Some(drawn) = &mut self.drawn {
            // One that failed counts as done.
            drawn.position = drawn.position.max(drawn.ends_at);
            drawn.ends_at = drawn.position + stored_bytes(len_bytes, blocks_bytes);
            drawn.name(path);
        }
    }

    /// What is being done now.
    pub fn name(&mut self, path: &Path) {
        if let Some(drawn) = &mut self.drawn {
            drawn.name(path);
        }
    }

    /// One more file.
    pub fn file(&mut self) {
        self.files += 1;
        if let Some(drawn) = &mut self.drawn {
            // What is stored of a file is not always what is copied of it.
            drawn.position = drawn.position.max(drawn.ends_at);
            drawn.redraw(self.files);
        }
    }

    /// More bytes of files.
    pub fn bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(drawn) = &mut self.drawn {
            drawn.position += bytes;
            if drawn.ends_at > 0 {
                drawn.position = drawn.position.min(drawn.ends_at);
            }
            drawn.redraw(self.files);
        }
    }

    /// Of the total, this much is done: where it is not files whose bytes are counted.
    pub fn position(&mut self, bytes: u64) {
        if let Some(drawn) = &mut self.drawn {
            drawn.position = bytes;
            drawn.redraw(self.files);
        }
    }

    /// More bytes of files, where [`Progress::position`] says how much of the total is done.
    pub fn beside(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// A pass over the whole, and how much of it is done.
    pub fn pass(&mut self, name: &str, done: u64, total: u64) {
        if let Some(drawn) = &mut self.drawn
            && drawn.is_due()
        {
            drawn.show(format!("{name}: {done} of {total} groups"));
        }
    }

    /// Says what was done until a signal came.
    pub fn say_interrupted(&self, session: &mut Session, command: &str) {
        let (files, size) = (self.files, human(self.bytes));
        let plural = if files == 1 { "" } else { "s" };
        session.say(format_args!("{command}: interrupted: {files} file{plural} done, {size}"));
    }

    /// The bar, for messages that must not be drawn over.
    pub fn bar(&self) -> Option<ProgressBar> {
        self.drawn.as_ref().map(|d| d.bar.clone())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawn) = &self.drawn {
            drawn.bar.finish_and_clear();
        }
    }
}

impl Drawn {
    fn name(&mut self, path: &Path) {
        self.path.clear();
        self.path.extend_from_slice(path.as_os_str().as_bytes());
    }

    fn redraw(&mut self, files: u64) {
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

    fn is_due(&mut self) -> bool {
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

    fn show(&self, text: String) {
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

/// Whether the terminal is free for a line of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is.
    Free,
    /// The command's output goes there.
    Taken,
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
