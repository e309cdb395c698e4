//! [`Progress`]: a line on standard error, while that is a terminal, for work that takes long; and a count of what was done, for who ends it.
//!
//! Who calls it: `cp`, `tar`, `sha256`, `mkfs`, `fsck`, `write`. Shows bytes, speed, files and the name of the one that is copied; with a total also
//! how much is left, otherwise the kernel's memory against its limit. The total is told, or counted meanwhile (`estimate`).
//! No thread draws: a line is drawn when something is counted, at most ten times a second, and not in the first half second.

mod drawn;

use crate::estimate::{Tree, stored_bytes};
use crate::session::Session;
use crate::units::human;
pub use drawn::ending;
use drawn::{Drawn, Total};
use indicatif::ProgressBar;
use rumpcap::Kernel;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

/// What is over by then needs no line.
pub const QUIET: Duration = Duration::from_millis(500);

/// What has been done; or a line that tells of it too, where somebody looks.
pub struct Progress {
    files: u64,
    bytes: u64,
    drawn: Option<Drawn>,
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
        Progress { files: 0, bytes: 0, drawn: Some(Drawn::new(kernel)) }
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

/// Whether the terminal is free for a line of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is.
    Free,
    /// The command's output goes there.
    Taken,
}
