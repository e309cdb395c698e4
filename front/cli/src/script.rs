//! Lines that are commands: of `shell` and `batch`.
//!
//! A line is split as a POSIX shell splits it (`words`), patterns are replaced by what they match, and it is then a command line of rumpcap
//! without the image: where an address stands there is a path in the image, with or without a colon in front; for `cp`, where paths of the host may
//! stand as well, the colon says which is which. Commands that need a path get the current directory without one. `cd`, `pwd`, `sync`,
//! `help` and `exit` are of the session.
//!
//! Failure: what a command says and counts is as outside; [`run_line`] tells whether anything failed.

mod expand;

use crate::args::{Cli, Command, kernel_option};
use crate::outcome::{Run, Stop};
use crate::quote;
use crate::session::Session;
use crate::words::{self, End};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
pub use expand::{Side, side_of};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Commands of the session itself, with their help.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("cd", "Change the current directory; without a path to the root"),
    ("pwd", "Print the current directory"),
    ("sync", "Make everything durable that was done so far"),
    ("help", "Print this, or the help of a command"),
    ("exit", "End"),
];

/// Commands that have no place in an image that is mounted.
const OUTSIDE: &[&str] =
    &["info", "mkfs", "fsck", "top", "trace", "shell", "batch", "completions", "man", "help"];

/// What a line comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It was done.
    Done,
    /// Something failed, and was named.
    Failed,
    /// It ends the session.
    Exit,
}

/// Names of all commands that a line may begin with.
pub fn command_names() -> Vec<String> {
    let cli = Cli::command();
    let all = cli.get_subcommands().map(|command| command.get_name().to_owned());
    let mut names: Vec<String> = all.filter(|name| !OUTSIDE.contains(&name.as_str())).collect();
    names.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
    names.sort_unstable();
    names
}

/// Runs a line.
///
/// # Errors
/// What ends the session: output that nobody reads, a signal.
pub fn run_line(session: &mut Session, line: &[u8]) -> Run<Line> {
    let failures = session.failures();
    let words::Line { words, end } = words::split(line);
    match end {
        End::Blank | End::Word | End::Comment => {}
        End::Single | End::Double => return failed(session, "a quote that does not end"),
        End::Backslash => return failed(session, "a backslash with nothing behind it"),
    }
    let words = expand::expand(session, words)?;
    let Some((name, rest)) = words.split_first() else { return Ok(Line::Done) };
    let end = match (name.as_bytes(), rest) {
        (b"exit" | b"quit", []) => return Ok(Line::Exit),
        (b"cd", _) => change_directory(session, rest),
        (b"pwd", []) => print_directory(session),
        (b"sync", []) => sync(session),
        (b"help" | b"?", _) => help(session, rest),
        _ => parse(&words).and_then(|command| crate::dispatch(command, session)),
    };
    let end = match end {
        Ok(()) | Err(Stop::Done) => session.out.flush().map_err(Stop::from),
        other => other,
    };
    match end {
        Ok(()) | Err(Stop::Done) => {}
        Err(Stop::Usage(message) | Stop::Fatal(message) | Stop::Taken(message)) => {
            return failed(session, &message);
        }
        Err(stop) => return Err(stop),
    }
    Ok(if session.failures() > failures { Line::Failed } else { Line::Done })
}

fn failed(session: &mut Session, message: &str) -> Run<Line> {
    session.out.flush()?;
    session.say(format_args!("{message}"));
    session.count_failures(1);
    Ok(Line::Failed)
}

/// Reads words as a command of rumpcap.
fn parse(words: &[OsString]) -> Run<Command> {
    let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let line = |words: &[OsString]| {
        let line = std::iter::once(OsString::from("rumpcap")).chain(words.iter().cloned());
        Cli::command().try_get_matches_from(line)
    };
    // Here is the image, where none is named; `find` takes its expression for it.
    let here = || {
        let mut words = words.to_vec();
        words.insert(1, OsString::from(":"));
        words
    };
    let only_expression = name == "find" && words.get(1).is_none_or(|word| is_expression(word));
    let matches = if only_expression { line(&here()) } else { line(words) };
    let matches = match matches {
        Err(e) if e.kind() == ErrorKind::MissingRequiredArgument => {
            let mut words = words.to_vec();
            words.push(OsString::from(":"));
            // That of the line itself is the one to show.
            line(&words).ok().filter(|_| is_reading(&name)).ok_or(e)
        }
        other => other,
    };
    let matches = matches.map_err(|e| match e.kind() {
        ErrorKind::InvalidSubcommand => Stop::Usage(format!("{name}: no such command; `help` lists them")),
        _ => Stop::Usage(e.to_string().trim_end().trim_start_matches("error: ").to_owned()),
    })?;
    if let Some(option) = kernel_option(&matches) {
        return Stop::usage(format!("--{option} is for the whole session"));
    }
    let cli = Cli::from_arg_matches(&matches).map_err(|e| Stop::Usage(e.to_string()))?;
    if OUTSIDE.contains(&name.as_str()) {
        return Stop::usage(format!("{name}: not within an image"));
    }
    Ok(cli.command)
}

/// Commands that show the current directory where no path is named.
fn is_reading(name: &str) -> bool {
    matches!(name, "ls" | "tree" | "find" | "du" | "df" | "stat" | "tar" | "sha256" | "xattr")
}

/// Whether the expression of a `find` begins with `word`.
fn is_expression(word: &OsStr) -> bool {
    matches!(word.as_bytes().first(), Some(b'-' | b'(' | b'!'))
}

fn change_directory(session: &mut Session, words: &[OsString]) -> Run {
    let text = match words {
        [] => OsStr::new("/"),
        [one] => one,
        _ => return Stop::usage("cd: one directory"),
    };
    let target = session.target(text)?;
    let directory = target.mount.canonicalize(&target.path).and_then(|path| {
        let is_dir = target.mount.metadata(&path)?.is_dir();
        if is_dir { Ok(path) } else { Err(rumpcap::Error::NotADirectory) }
    });
    match directory {
        Ok(path) => session.set_within(Some(crate::session::Target { path, ..target })),
        Err(e) => session.fail(&target.path, &e),
    }
    Ok(())
}

fn print_directory(session: &mut Session) -> Run {
    let path = session.target(OsStr::new(":"))?.path;
    let quoting = session.out.path_quoting();
    session.out.write_all(&quote::quote(path.as_os_str().as_bytes(), quoting))?;
    Ok(session.out.write_all(b"\n")?)
}

/// Makes everything durable.
pub fn sync(session: &mut Session) -> Run {
    let target = session.target(OsStr::new(":"))?;
    if target.mount.is_writable()
        && let Err(e) = target.mount.sync()
    {
        return Stop::fatal(format!("sync: {e}"));
    }
    Ok(())
}

fn help(session: &mut Session, words: &[OsString]) -> Run {
    let mut cli = Cli::command().disable_help_subcommand(true);
    if let Some(name) = words.first() {
        let name = name.to_string_lossy();
        if let Some((name, what)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Ok(writeln!(session.out, "{name}: {what}")?);
        }
        cli.build();
        let Some(command) = cli.find_subcommand_mut(name.as_ref()) else {
            return Stop::usage(format!("{name}: no such command; `help` lists them"));
        };
        return Ok(write!(session.out, "{}", command.render_help())?);
    }
    for name in command_names() {
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, what)| (*what).to_owned());
        let about = || cli.find_subcommand(&name).and_then(|c| c.get_about()).map(ToString::to_string);
        writeln!(session.out, "  {name:<10} {}", built_in.or_else(about).unwrap_or_default())?;
    }
    writeln!(
        session.out,
        "\nPaths are in the image. For cp they begin with a colon: cp :etc/fstab /tmp, cp -r site :/srv.\n\
         *, ? and [] match names, unless they are quoted: rm *.log, cp /etc/*.conf :etc."
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_program() {
        let kind = |line: &str| {
            let words: Vec<_> = words::split(line.as_bytes()).words.into_iter().map(|w| w.text).collect();
            parse(&words).map(|c| format!("{c:?}")).map_err(|e| format!("{e:?}"))
        };
        assert!(kind("ls").unwrap().starts_with("Ls("));
        assert!(kind("find -name x").unwrap().contains("\":\", \"-name\""));
        assert!(kind("find . -name x").unwrap().contains("[\".\", \"-name\""));
        assert!(kind("rm").unwrap_err().contains("required"));
        assert!(kind("cat").is_err());
        assert!(kind("mkfs x 1m").unwrap_err().contains("not within"));
        assert!(kind("ls --memory-limit 1m /").unwrap_err().contains("whole session"));
        assert!(kind("frobnicate").unwrap_err().contains("no such command"));
        assert!(
            command_names().iter().any(|name| name == "exit") && !command_names().contains(&"top".to_owned())
        );
    }
}
