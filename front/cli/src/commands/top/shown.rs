//! [`Shown`]: all that the view shows, gathered from a job; drawing it needs nothing else, so that tests can.
//!
//! Who calls it: `top` updates it ten times a second, `view` draws it.

use super::job::Job;
use crate::messages::SharedTail;
use crate::quote::for_message;
use crate::watch::{Sample, Span};
use rumpcap::MemoryReport;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Lines of output and messages that a view can use.
const LINES: usize = 40;
/// A run that is shorter is drawn as if it took so long, until it has ended.
const SHORTEST: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

/// What is drawn over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// The whole run.
    #[default]
    Run,
    /// The last minute.
    Minute,
}

/// What is run on what.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// The image.
    pub image: String,
    /// The command.
    pub command: String,
}

impl Heading {
    /// Of a command line, safe to show.
    pub fn of(image: &OsStr, command: &[OsString]) -> Heading {
        let words: Vec<String> = command.iter().map(|word| for_message(word.as_bytes())).collect();
        Heading { image: for_message(image.as_bytes()), command: words.join(" ") }
    }
}

/// The end of a text, and how much there was.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// The last lines.
    pub lines: Vec<String>,
    /// All lines.
    pub lines_seen: u64,
    /// All bytes.
    pub bytes_seen: u64,
}

impl Text {
    fn of(tail: &SharedTail) -> Text {
        let tail = tail.lock();
        let lines = tail.last(LINES).into_iter().map(safe).collect();
        Text { lines, lines_seen: tail.lines_seen, bytes_seen: tail.bytes_seen }
    }
}

/// A line that cannot reach the terminal's own controls.
fn safe(line: &[u8]) -> String {
    let shown = |character: char| match character {
        '\t' => ' ',
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    String::from_utf8_lossy(line).chars().map(shown).collect()
}

/// All that is shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// What is run on what.
    pub heading: Heading,
    /// Since the command began; stands when it has ended.
    pub elapsed: Duration,
    /// Whether the command has ended.
    pub ended: bool,
    /// Its exit code then, unless it panicked.
    pub code: Option<u8>,
    /// Whether the picture stands still.
    pub paused: bool,
    /// Whether the keys are explained.
    pub help: bool,
    /// What is drawn over time.
    pub window: Window,
    /// Pictures of the window.
    pub samples: Vec<Sample>,
    /// The newest picture; none before the kernel is booted.
    pub latest: Option<Sample>,
    /// What the command prints.
    pub output: Text,
    /// What it says.
    pub messages: Text,
}

impl Shown {
    /// Nothing yet.
    pub fn new(heading: Heading) -> Shown {
        Shown { heading, ..Shown::default() }
    }

    /// Takes what is new.
    pub fn update(&mut self, job: &Job) {
        if self.paused {
            return;
        }
        let ended = job.has_ended();
        if !ended || !self.ended {
            self.elapsed = job.elapsed();
        }
        (self.ended, self.code) = (ended, job.code());
        let history = job.history.lock();
        self.latest = history.latest();
        self.samples = match self.window {
            Window::Run => history.whole().to_vec(),
            Window::Minute => history.recent(),
        };
        drop(history);
        (self.output, self.messages) = (Text::of(&job.output), Text::of(&job.messages));
    }

    /// The newest report; an empty one before the kernel is booted.
    pub fn report(&self) -> MemoryReport {
        self.latest.map(|sample| sample.report).unwrap_or_default()
    }

    /// The time that is drawn in so many columns.
    pub fn span(&self, steps: usize) -> Span {
        let now = self.latest.map(|sample| sample.at).unwrap_or_default();
        let shortest = if self.ended { Duration::from_millis(1) } else { SHORTEST };
        let (from, to) = match self.window {
            Window::Run => (Duration::ZERO, now.max(shortest)),
            Window::Minute => (now.saturating_sub(MINUTE), now.max(MINUTE)),
        };
        Span { from, to, steps }
    }
}
