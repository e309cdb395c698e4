//! [`Job`]: the command that `top` runs, on a thread of its own, in a session of its own.
//!
//! Who calls it: `top`. Whom it calls: the program's own `run`, with output, messages and history in places where the view
//! finds them. Memory: two tails of 1,000 lines, a pipe.

use crate::args::{Cli, Command, GlobalArgs};
use crate::interrupt::Interrupt;
use crate::messages::{Messages, SharedTail};
use crate::outcome::{Run, Stop, plain};
use crate::output::Output;
use crate::session::Surroundings;
use crate::watch::SharedHistory;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at a command that is to end.
const STOPPING: Duration = Duration::from_millis(5);

/// Stands for the image in a command.
const PLACE: &[u8] = b"{}";

/// A command that runs, or has run.
pub struct Job {
    thread: JoinHandle<()>,
    code: Arc<OnceLock<u8>>,
    signals: Interrupt,
    began: Instant,
    /// Its kernel's memory over time.
    pub history: SharedHistory,
    /// What it says.
    pub messages: SharedTail,
    /// What it prints, unless that goes into a file.
    pub output: SharedTail,
}

/// Reads the command of a `top` on `image`; its options of every command are those of `top` itself.
///
/// # Errors
/// `Usage` when it is another `top`, or has such options of its own. A command line that clap does not understand ends the
/// program, as it does for every command.
pub fn parse(image: &OsStr, words: &[OsString], options: &GlobalArgs) -> Run<Cli> {
    let line = [OsString::from("rumpcap")].into_iter().chain(with_image(image, words));
    let matches = Cli::command().try_get_matches_from(line).unwrap_or_else(|e| e.exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    if matches!(cli.command, Command::Top(_)) {
        return Stop::usage("top: it cannot watch another top");
    }
    let inner = matches.subcommand().map_or(&matches, |(_, inner)| inner);
    let globals = GlobalArgs::augment_args(clap::Command::new(""));
    for option in globals.get_arguments() {
        if inner.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine) {
            return Stop::usage(format!(
                "top: --{} goes before the --",
                option.get_long().unwrap_or_default()
            ));
        }
    }
    Ok(Cli { global: options.clone(), command: cli.command })
}

/// The words with the image in its place: for every `{}`, or as the first argument.
fn with_image(image: &OsStr, words: &[OsString]) -> Vec<OsString> {
    let mut words = words.to_vec();
    let place = |word: &OsString| word.as_bytes().windows(PLACE.len()).position(|part| part == PLACE);
    if !words.iter().any(|word| place(word).is_some()) {
        words.insert(1.min(words.len()), image.to_owned());
        return words;
    }
    for word in &mut words {
        if let Some(at) = place(word) {
            let (before, after) = (word.as_bytes().get(..at), word.as_bytes().get(at + PLACE.len()..));
            let parts = [before.unwrap_or_default(), image.as_bytes(), after.unwrap_or_default()];
            *word = OsString::from_vec(parts.concat());
        }
    }
    words
}

impl Job {
    /// Starts it.
    ///
    /// # Errors
    /// `Fatal` when its output cannot be opened, or the host has no thread for it.
    pub fn start(cli: Cli, output: Option<&Path>) -> Run<Job> {
        let signals = Interrupt::default();
        let (history, messages, printed) = <(SharedHistory, SharedTail, SharedTail)>::default();
        let out = match output {
            Some(path) => File::create(path).map_err(|e| failed(&path.display().to_string(), &e))?,
            None => keep_end_of(printed.clone()).map_err(|e| failed("top", &e))?,
        };
        let surroundings = Surroundings {
            messages: Messages::Kept(messages.clone()),
            history: Some(history.clone()),
            signals: signals.clone(),
        };
        let code = Arc::new(OnceLock::new());
        let ended = code.clone();
        let run = move || {
            let code = crate::run(cli, Output::to(out), surroundings);
            // Nobody else sets it.
            let _ = ended.set(code);
        };
        let thread = std::thread::Builder::new().name("command".to_owned()).spawn(run);
        let thread = thread.map_err(|e| failed("top", &e))?;
        Ok(Job { thread, code, signals, began: Instant::now(), history, messages, output: printed })
    }

    /// Whether it has ended, well or not.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Its exit code, when it has ended and has not panicked.
    pub fn code(&self) -> Option<u8> {
        self.code.get().copied()
    }

    /// Time since it began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// It is to end. One that writes does so in order, which is waited for; one that reads may go with the process.
    pub fn stop(&self) {
        while self.signals.raise() && !self.has_ended() {
            std::thread::sleep(STOPPING);
        }
    }

    /// Waits for its end; gives its exit code, or nothing if it panicked.
    pub fn wait(self) -> Option<u8> {
        self.thread.join().ok()?;
        self.code.get().copied()
    }
}

/// A pipe whose reader keeps the last lines and counts the rest.
fn keep_end_of(mut tail: SharedTail) -> std::io::Result<File> {
    let (mut reader, writer) = std::io::pipe()?;
    let read = move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(len @ 1..) = reader.read(&mut buffer) {
            let _ = tail.write_all(buffer.get(..len).unwrap_or_default());
        }
    };
    std::thread::Builder::new().name("output".to_owned()).spawn(read)?;
    Ok(File::from(OwnedFd::from(writer)))
}

fn failed(what: &str, error: &std::io::Error) -> Stop {
    Stop::Fatal(format!("{what}: {}", plain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_put_in_its_place() {
        for (words, line) in [
            ("find -name x", "find a.img -name x"),
            ("cp -r {}:/home there", "cp -r a.img:/home there"),
            ("cat {}:/x {}:/y", "cat a.img:/x a.img:/y"),
            ("tar", "tar a.img"),
        ] {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            let words = with_image("a.img".as_ref(), &words);
            assert_eq!(words.join(OsStr::new(" ")), line);
        }
        assert!(with_image("a.img".as_ref(), &[]).len() == 1);
    }
}
