//! [`Progress`]: a line on standard error, while that is a terminal, for work that may take long.
//!
//! Who calls it: `cp`, `tar`, `sha256`, `mkfs`, `fsck`. Shows files, bytes, speed, and the kernel's memory against its limit.
//! No thread: it draws when something is counted, at most ten times a second.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rumpcap::Kernel;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const REDRAW: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed} {wide_msg}";

/// A line that tells how far the work has come; or nothing, where nobody looks.
pub struct Progress {
    drawn: Option<Drawn>,
}

struct Drawn {
    bar: ProgressBar,
    /// Whose memory is shown.
    kernel: Option<Kernel>,
    files: u64,
    last: Instant,
}

impl Progress {
    /// A line, if standard error is a terminal and `other_output_on_terminal` does not write into it too.
    pub fn new(kernel: &Kernel, place: Place) -> Progress {
        Progress::with(Some(kernel.clone()), place)
    }

    /// As [`Progress::new`], for work that needs no kernel.
    pub fn plain(place: Place) -> Progress {
        Progress::with(None, place)
    }

    fn with(kernel: Option<Kernel>, place: Place) -> Progress {
        if place == Place::Taken || !std::io::stderr().is_terminal() {
            return Progress { drawn: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Progress { drawn: Some(Drawn { bar, kernel, files: 0, last: Instant::now() }) }
    }

    /// One more file.
    pub fn file(&mut self) {
        if let Some(drawn) = &mut self.drawn {
            drawn.files += 1;
            drawn.redraw();
        }
    }

    /// More bytes.
    pub fn bytes(&mut self, bytes: u64) {
        if let Some(drawn) = &mut self.drawn {
            drawn.bar.inc(bytes);
            drawn.redraw();
        }
    }

    /// A pass over the whole, and how much of it is done.
    pub fn pass(&mut self, name: &str, done: u64, total: u64) {
        if let Some(drawn) = &mut self.drawn {
            drawn.pass(name, done, total);
        }
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
    fn redraw(&mut self) {
        if self.is_due() {
            self.show(format!("{} files", self.files));
        }
    }

    fn pass(&mut self, name: &str, done: u64, total: u64) {
        if self.is_due() {
            self.show(format!("{name}: {done} of {total} groups"));
        }
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.last.elapsed() >= REDRAW;
        if is_due {
            self.last = Instant::now();
        }
        is_due
    }

    fn show(&self, text: String) {
        let memory = self.kernel.as_ref().map(|kernel| {
            let report = kernel.memory_report();
            format!("  memory {} of {}", HumanBytes(report.in_use_bytes), HumanBytes(report.limit_bytes))
        });
        self.bar.set_message(text + &memory.unwrap_or_default());
        self.bar.tick();
    }
}

/// Whether the terminal is free for a line of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is.
    Free,
    /// The command's output goes there.
    Taken,
}
