//! [`Session`]: one run of the command: its kernel, the images that it has mounted, its output, what has failed so far.
//!
//! Who calls it: `main` makes one, every command works on it. Whom it calls: the library `rumpcap`, `images`.
//! One kernel under one limit serves all images that a command line names. `mounts`: opening, locking and unmounting them; `patterns`: those in addresses.

mod mounts;
mod patterns;

use crate::args::{GlobalArgs, StatsFormat};
use crate::interrupt::Interrupt;
use crate::messages::Messages;
use crate::outcome::{self, Run, Stop};
use crate::output::Output;
use crate::page::{self, Page};
use crate::progress::{self, Place, Progress};
use crate::quote;
use crate::report;
use crate::units::MemoryLimit;
use crate::watch::{Sampler, SharedHistory};
use indicatif::ProgressBar;
use mounts::Mounts;
pub use mounts::Within;
pub use patterns::InImage;
use rumpcap::{Kernel, Metadata, Mount, Trace};
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One run of the command.
pub struct Session {
    /// Standard output.
    pub out: Output,
    options: GlobalArgs,
    kernel: Option<Kernel>,
    trace: Option<Trace>,
    mounts: Mounts,
    interrupt: Option<Interrupt>,
    /// What `interrupt` is made of, when an image is written.
    signals: Interrupt,
    /// What messages begin with, behind the program's name: where in a script it is.
    context: Option<String>,
    /// Standard input is a script that is being read.
    input_is_script: bool,
    failures: u64,
    bar: Option<ProgressBar>,
    messages: Messages,
    history: Option<SharedHistory>,
    sampler: Option<Sampler>,
    page: Option<Page>,
}

/// Where a run takes place.
#[derive(Default)]
pub struct Surroundings {
    /// Where its messages go.
    pub messages: Messages,
    /// Where pictures of its kernel's memory go, if somebody wants them.
    pub history: Option<SharedHistory>,
    /// What ends it, if it writes.
    pub signals: Interrupt,
}

/// A path in a mounted image.
#[derive(Clone)]
pub struct Target {
    /// Which of the session's images it is in: equal for targets in the same file system.
    pub image: usize,
    /// The file system.
    pub mount: Mount,
    /// Absolute path in it.
    pub path: PathBuf,
}

impl Session {
    /// A session that has not booted yet: a wrong command line needs no kernel.
    pub fn new(options: GlobalArgs, out: Output, surroundings: Surroundings) -> Session {
        let Surroundings { messages, history, signals } = surroundings;
        let history = history.or_else(|| options.report.is_some().then(SharedHistory::default));
        let (kernel, trace, bar, sampler, page) = (None, None, None, None, None);
        Session {
            out,
            options,
            kernel,
            trace,
            mounts: Mounts::default(),
            interrupt: None,
            signals,
            context: None,
            input_is_script: false,
            failures: 0,
            bar,
            messages,
            history,
            sampler,
            page,
        }
    }

    /// Before the command begins: what would only fail at its end is tried now.
    ///
    /// # Errors
    /// `Fatal` when the page of `--report` cannot be written where it is to be.
    pub fn begin(&mut self) -> Run {
        #[cfg(feature = "tracing")]
        if let Some(filter) = &self.options.log {
            crate::log::start(filter, self.messages.clone());
        }
        self.page = self.options.report.as_deref().map(Page::begin).transpose()?;
        Ok(())
    }

    /// Has the kernel, which must not have booted yet, tell `trace` of every access to a page.
    pub fn listen(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// Names a path that failed and goes on.
    pub fn fail(&mut self, path: &Path, reason: &dyn std::fmt::Display) {
        self.failures += 1;
        self.say(format_args!("{}: {reason}", quote::for_message(path.as_os_str().as_bytes())));
    }

    /// Says something on standard error.
    pub fn say(&mut self, message: std::fmt::Arguments<'_>) {
        // Nothing can be done when standard error itself fails.
        let mut messages = self.messages.clone();
        let (context, colon) = self.context.as_ref().map_or(("", ""), |context| (context, ": "));
        let mut write = || drop(writeln!(messages, "rumpcap: {context}{colon}{message}"));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Standard input is a script from now on: no command reads it.
    pub fn take_input_for_script(&mut self) {
        self.input_is_script = true;
    }

    /// Whether standard input is a script.
    pub fn input_is_script(&self) -> bool {
        self.input_is_script
    }

    /// What messages begin with from now on.
    pub fn set_context(&mut self, context: Option<String>) {
        self.context = context;
    }

    /// Counts failures that have been said in summary.
    pub fn count_failures(&mut self, failures: u64) {
        self.failures += failures;
    }

    /// Counts no more failures than `failures`: what came since was answered by who saw it.
    pub fn forgive(&mut self, failures: u64) {
        self.failures = failures;
    }

    /// How many paths have failed.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Says what the file system has to say of itself (a journal that was replayed, errors that were recorded) to who looks, or asks
    /// with -v; scripts find it in `info`.
    fn warn_of(&mut self, image: &Path, mount: &Mount) {
        let is_seen = matches!(self.messages, Messages::Stderr) && std::io::stderr().is_terminal();
        if self.options.verbose == 0 && !is_seen {
            return;
        }
        let warnings = mount.info().map(|info| info.warnings).unwrap_or_default();
        for warning in warnings {
            let warning = quote::quote(warning.as_bytes(), quote::Quoting::Controls).into_owned();
            let image = quote::for_message(image.as_os_str().as_bytes());
            self.say(format_args!("{image}: {}", String::from_utf8_lossy(&warning)));
        }
    }

    /// Attributes of a target of the command line; a failure is named and counted, and gives `None`.
    pub fn metadata(&mut self, target: &Target, links: Links) -> Option<Metadata> {
        let result = match links {
            Links::Follow => target.mount.metadata(&target.path),
            Links::Keep => target.mount.symlink_metadata(&target.path),
        };
        result.map_err(|e| self.fail(&target.path, &e)).ok()
    }

    /// The kernel; booted at the first call.
    pub fn kernel(&mut self) -> Run<Kernel> {
        if let Some(kernel) = &self.kernel {
            return Ok(kernel.clone());
        }
        let mut builder = Kernel::builder().policy(self.options.policy.kind());
        if let MemoryLimit::Bytes(bytes) = self.options.memory_limit {
            builder = builder.memory_limit(bytes);
        }
        if let Some(trace) = self.trace.take() {
            builder = builder.trace(trace);
        }
        let kernel = builder.boot().map_err(|e| Stop::Fatal(e.to_string()))?;
        if self.options.verbose > 0 {
            self.say(format_args!("{}", report::boot_line(self.options.memory_limit)));
        }
        if let Some(history) = &self.history {
            self.sampler = Some(Sampler::start(kernel.clone(), history.clone()));
        }
        self.kernel = Some(kernel.clone());
        Ok(kernel)
    }

    /// A line of progress for work that may take long; messages are written around it.
    pub fn progress(&mut self, place: Place) -> Run<Progress> {
        let place = if matches!(self.messages, Messages::Stderr) { place } else { Place::Taken };
        let progress = Progress::new(&self.kernel()?, place);
        self.bar = progress.bar();
        Ok(progress)
    }

    /// As [`Session::progress`], for work that needs no kernel.
    pub fn plain_progress(&mut self, place: Place) -> Progress {
        let progress = Progress::plain(place);
        self.bar = progress.bar();
        progress
    }

    /// What a command says of the kernel in its own way. The kernel must not have booted yet.
    pub fn set_kernel(&mut self, limit: Option<MemoryLimit>, offset: Option<u64>, ignore_journal: bool) {
        self.options.memory_limit = limit.unwrap_or(self.options.memory_limit);
        self.options.offset = offset.or(self.options.offset);
        self.options.ignore_journal |= ignore_journal;
    }

    /// The options that every command takes.
    pub fn options(&self) -> &GlobalArgs {
        &self.options
    }

    /// Prints and writes the reports, where they were asked for; gives the exit code.
    pub fn finish(&mut self, end: Run) -> u8 {
        let images = self.page.as_ref().map(|_| self.mounts.pictures()).unwrap_or_default();
        self.unmount_and_show();
        drop(self.sampler.take());
        if let Some(kernel) = self.kernel.take() {
            let picture = kernel.memory_report();
            if self.options.verbose > 0 {
                let _ = write!(self.messages, "{}", report::text(&picture));
            }
            if self.options.stats == Some(StatsFormat::Json) {
                let _ = writeln!(self.messages, "{}", report::json(&picture));
            }
        }
        let code = outcome::exit_code(&end, self.failures);
        match self.write_page(&end, code, images) {
            Ok(()) => code,
            Err(Stop::Usage(message) | Stop::Fatal(message)) => {
                self.say(format_args!("{message}"));
                code.max(1)
            }
            Err(_) => code.max(1),
        }
    }

    /// After work that took long, what is not written yet may take long too.
    fn unmount_and_show(&mut self) {
        let is_long = self.bar.take().is_some_and(|bar| bar.elapsed() > progress::QUIET);
        let bar = is_long.then(|| progress::ending("writing what is left"));
        self.bar.clone_from(&bar);
        self.unmount();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }

    fn write_page(&mut self, end: &Run, code: u8, images: Vec<page::Image>) -> Run {
        let (Some(page), Some(history)) = (self.page.take(), &self.history) else { return Ok(()) };
        let message = match end {
            Err(Stop::Usage(message) | Stop::Fatal(message) | Stop::Taken(message)) => Some(message.clone()),
            _ => None,
        };
        let run = page::Ran {
            limit: self.options.memory_limit,
            policy: self.options.policy,
            images,
            code,
            failures: self.failures,
            message,
        };
        page.write(&run, &history.lock())
    }
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is.
    Follow,
    /// The link itself is meant.
    Keep,
}
