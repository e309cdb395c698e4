//! [`Completer`]: what Tab offers: commands for the first word, paths in the image for the others; paths of the host for `cp`, where no colon
//! is in front, and for options that name files of the host.
//!
//! Names with blanks or quotes are offered with backslashes in front of them. A name that is not UTF-8 cannot be typed, and is left out.

use crate::script::command_names;
use crate::session::Within;
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
        let start = word_start(line);
        let word = unescape(&line[start..]);
        let mut before = line[..start].split_whitespace();
        let Some(command) = before.next() else {
            let names = self.commands.iter().filter(|name| name.starts_with(&word));
            return (start, names.map(|name| pair(name, &format!("{name} "))).collect());
        };
        let previous = line[..start].split_whitespace().next_back().unwrap_or_default();
        if command == "help" {
            let names = self.commands.iter().filter(|name| name.starts_with(&word));
            return (start, names.map(|name| pair(name, name)).collect());
        }
        let colon = if word.starts_with(':') { ":" } else { "" };
        let is_host = match command {
            "cp" => colon.is_empty(),
            "tar" => matches!(previous, "-f" | "-o" | "-xf" | "--output"),
            "write" => matches!(previous, "-i" | "--input"),
            _ => false,
        };
        let typed = &word[colon.len()..];
        let (directory, prefix) = typed.rfind('/').map_or(("", typed), |at| typed.split_at(at + 1));
        let names = if is_host { host_names(directory) } else { self.image_names(directory) };
        let mut fitting: Vec<_> = names
            .into_iter()
            // Hidden names are for who begins with a dot.
            .filter(|(name, _)| {
                name.starts_with(prefix) && (prefix.starts_with('.') || !name.starts_with('.'))
            })
            .collect();
        fitting.sort_unstable();
        let offer = |(name, is_directory): (String, bool)| {
            let end = if is_directory { "/" } else { " " };
            pair(&name, &format!("{colon}{}{end}", escape(&format!("{directory}{name}"))))
        };
        (start, fitting.into_iter().map(offer).collect())
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

/// Where the last word of a line begins: behind a blank without a backslash in front.
fn word_start(line: &str) -> usize {
    let (mut start, mut is_escaped) = (0, false);
    for (at, c) in line.char_indices() {
        if c.is_whitespace() && !is_escaped {
            start = at + c.len_utf8();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    start
}

fn unescape(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut letters = word.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => out.extend(letters.next()),
            c => out.push(c),
        }
    }
    out
}

fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_whitespace() || "\\'\"#".contains(c) {
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

    #[test]
    fn words_with_blanks() {
        assert_eq!(word_start("cat a\\ b"), 4);
        assert_eq!(word_start("cat "), 4);
        assert_eq!(word_start(""), 0);
        for name in ["a b", "it's", "#x", "back\\slash", "plain"] {
            assert_eq!(unescape(&escape(name)), name);
            let line = format!("cat {}", escape(name));
            assert_eq!(crate::script::words(line.as_bytes()).unwrap()[1], name);
        }
    }
}
