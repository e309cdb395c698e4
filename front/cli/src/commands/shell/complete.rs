//! [`Completer`]: what Tab offers: commands for the first word, options behind a dash, paths in the image for the other words; paths of the host where
//! the line has them (`script::side_of`): for `cp`, where no colon is in front, and for options that name files of the host.
//!
//! What is special in names gets backslashes, or within quotes what quotes need. A name that is not UTF-8 cannot be typed, and is left out.

use crate::args::Cli;
use crate::script::{Side, command_names, side_of};
use crate::session::Within;
use crate::words::{self, End, Word};
use clap::CommandFactory;
use rustyline::completion::{Completer as Complete, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Names that are looked at in a directory: more would not help anybody who reads them.
const NAMES_MAX: usize = 10_000;

/// Where a session is, while it waits for a line; whoever completes holds it meanwhile.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Option<Within>>>);

impl Shared {
    /// Sets it, when nobody completes.
    pub fn set(&self, within: Option<Within>) {
        *self.lock() = within;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Within>> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

/// Completes lines.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub struct Completer {
    within: Shared,
    commands: Vec<String>,
}

impl Completer {
    /// Completes paths from where the session is.
    pub fn new(within: Shared) -> Completer {
        Completer { within, commands: command_names() }
    }

    /// Where the word under the cursor begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<Pair>) {
        let words::Line { mut words, end } = words::split(line.as_bytes());
        let word = match end {
            // Behind a backslash the word is not known.
            End::Comment | End::Backslash => return (line.len(), Vec::new()),
            End::Blank => Word { start: line.len(), ..Word::default() },
            End::Word | End::Single | End::Double => words.pop().unwrap_or_default(),
        };
        let Some(text) = word.text.to_str() else { return (line.len(), Vec::new()) };
        let offer = match words.first() {
            None => names_with(self.commands.iter().cloned(), text),
            Some(command) if matches!(command.text.to_str(), Some("help" | "?")) => {
                names_with(self.commands.iter().cloned(), text)
            }
            Some(command) if text.starts_with('-') => {
                names_with(options(&command.text.to_string_lossy()), text)
            }
            Some(command) => {
                let wanted = if command.text == "cd" { Wanted::Directories } else { Wanted::All };
                self.paths(side_of(&words, text.as_bytes()), text, end, wanted)
            }
        };
        (word.start, offer)
    }

    fn paths(&self, side: Side, text: &str, end: End, wanted: Wanted) -> Vec<Pair> {
        let (colon, typed) = if text.starts_with(':') { text.split_at(1) } else { ("", text) };
        let (directory, prefix) = typed.rfind('/').map_or(("", typed), |at| typed.split_at(at + 1));
        let names = match side {
            Side::Host => host_names(directory),
            Side::Image | Side::Colon => self.image_names(directory),
            Side::Neither => Vec::new(),
        };
        let mut fitting: Vec<_> = names
            .into_iter()
            // Hidden names are for who begins with a dot.
            .filter(|(name, _)| {
                name.starts_with(prefix) && (prefix.starts_with('.') || !name.starts_with('.'))
            })
            .filter(|(_, is_directory)| wanted == Wanted::All || *is_directory)
            .collect();
        fitting.sort_unstable();
        let offer = |(name, is_directory): (String, bool)| {
            let path = format!("{colon}{directory}{name}");
            let (quoted, close) = match end {
                End::Single => (format!("'{}", path.replace('\'', "'\\''")), "'"),
                End::Double => (format!("\"{}", escape(&path, "\\\"$`")), "\""),
                _ => (escape(&path, SPECIAL), ""),
            };
            // A directory may go on.
            let behind = if is_directory { "/".to_owned() } else { format!("{close} ") };
            pair(&name, &format!("{quoted}{behind}"))
        };
        fitting.into_iter().map(offer).collect()
    }

    fn image_names(&self, directory: &str) -> Vec<(String, bool)> {
        let within = self.within.lock();
        let Some(within) = &*within else { return Vec::new() };
        let target = within.target_of(OsStr::new(directory));
        let Ok(entries) = target.mount.read_dir(&target.path) else { return Vec::new() };
        let known = entries.take(NAMES_MAX).filter_map(Result::ok);
        let names = known.filter_map(|entry| {
            let name = entry.file_name().to_str()?.to_owned();
            let kind = entry.file_type().ok()?;
            let is_dir = || target.mount.metadata(target.path.join(&name)).is_ok_and(|m| m.is_dir());
            let is_directory = kind.is_dir() || kind.is_symlink() && is_dir();
            Some((name, is_directory))
        });
        names.collect()
    }
}

/// Which names are offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Directories,
}

/// Names that begin with `prefix`, each a word of its own.
fn names_with(names: impl IntoIterator<Item = String>, prefix: &str) -> Vec<Pair> {
    let fitting = names.into_iter().filter(|name| name.starts_with(prefix));
    fitting.map(|name| pair(&name, &format!("{name} "))).collect()
}

/// The long options of a command.
fn options(command: &str) -> Vec<String> {
    let cli = Cli::command();
    let Some(command) = cli.find_subcommand(command) else { return Vec::new() };
    let mut all: Vec<_> = command.get_opts().chain(command.get_arguments()).collect();
    all.retain(|argument| !argument.is_hide_set());
    let mut names: Vec<String> =
        all.iter().filter_map(|argument| argument.get_long()).map(|name| format!("--{name}")).collect();
    names.push("--help".to_owned());
    names.sort_unstable();
    names.dedup();
    names
}

fn host_names(directory: &str) -> Vec<(String, bool)> {
    let path = if directory.is_empty() { Path::new(".") } else { Path::new(directory) };
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let names = entries.take(NAMES_MAX).filter_map(Result::ok).filter_map(|entry| {
        let is_directory = entry.path().is_dir();
        Some((entry.file_name().into_string().ok()?, is_directory))
    });
    names.collect()
}

fn pair(display: &str, replacement: &str) -> Pair {
    Pair { display: display.to_owned(), replacement: replacement.to_owned() }
}

/// What a backslash stands in front of, outside of quotes; blanks too.
const SPECIAL: &str = "\\'\"#*?[";

fn escape(name: &str, special: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if special.contains(c) || special == SPECIAL && c.is_whitespace() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

impl Complete for Completer {
    type Candidate = Pair;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.candidates(line.get(..cursor).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let completer = Completer::new(Shared::default());
        let (start, offers) = completer.candidates(line);
        offers.into_iter().map(|offer| format!("{}{}", &line[..start], offer.replacement)).collect()
    }

    #[test]
    fn commands_and_options() {
        assert_eq!(offered("mkd"), ["mkdir "]);
        assert_eq!(offered("help mkd"), ["help mkdir "]);
        assert_eq!(offered("rm --rec"), ["rm --recursive "]);
        assert_eq!(offered("ls # mkd"), [""; 0]);
        assert!(offered("").len() > 20);
    }

    /// What is offered is, as a line, the path.
    #[test]
    fn paths_of_the_host_are_words_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        for name in ["one b", "two's", "x*[1]", "back\\slash", "#hash", "quo\"te"] {
            std::fs::write(dir.path().join(name), "").unwrap();
            let begin: String = name.chars().take(1).collect();
            for (open, begin) in [("", escape(&begin, SPECIAL)), ("'", begin.clone()), ("\"", begin.clone())]
            {
                let lines = offered(&format!("cp {open}{at}/{begin}"));
                assert_eq!(lines.len(), 1, "{name} {lines:?}");
                let words = words::split(lines[0].as_bytes());
                assert_eq!(words.end, End::Blank, "{lines:?}");
                assert_eq!(words.words[1].text.to_str().unwrap(), format!("{at}/{name}"));
            }
        }
    }
}
