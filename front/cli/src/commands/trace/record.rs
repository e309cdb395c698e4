//! `rumpcap trace record`: runs another command in this process, its kernel listened to.
//!
//! The recorder's buffer and file are the front end's: the kernel under its limit has what it has without.
//! Failure: what the command says and how it exits is as without; a recording that could not be written is a failure of its own.

use crate::args::{Cli, Command, kernel_option};
use crate::outcome::{Run, Stop, plain};
use crate::quote;
use crate::session::Session;
use crate::units::MemoryLimit;
use clap::{Args, CommandFactory, FromArgMatches};
use rumpcap_trace::Recorder;
use rumpcap_trace::format::Header;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
In COMMAND, a word that begins with a colon is a path in IMAGE: `:/etc` is IMAGE:/etc, `:` is IMAGE. If no \
word does, IMAGE is put behind the command's name. Options of the kernel (--memory-limit, --policy, ...) go \
before the --.

Examples:
  rumpcap trace record -o walk.trace disk.img -- find
  rumpcap trace record -o tar.trace --memory-limit 512k disk.img -- tar :/usr > /dev/null
  rumpcap trace record -o cp.trace disk.img@2 -- cp -r :/home/me restored";

/// Options of `trace record`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArgs {
    /// Where the recording is written; replaced if it is there
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The image, with or without @N
    image: OsString,
    /// A command of rumpcap and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `trace record`.
pub fn run(session: &mut Session, args: &RecordArgs) -> Run {
    let command = parse(args)?;
    if is_same_file(&args.output, &args.image) {
        return Stop::usage(format!("{}: is the image", show(&args.output)));
    }
    let failed = |e: std::io::Error| Stop::Fatal(format!("{}: {}", show(&args.output), plain(&e)));
    let file = File::create(&args.output).map_err(failed)?;
    let recorder = Recorder::new(file, &header(session, args)).map_err(failed)?;
    session.listen(recorder.listener());
    let end = crate::dispatch(command, session);
    let finished = recorder.finish().map_err(failed);
    // What ended the command comes first; a recording that failed is said all the same.
    match (end, finished) {
        (Ok(()) | Err(Stop::Done), Err(stop)) => Err(stop),
        (end, Ok(finished)) => {
            if let (Some((_, accesses)), true) = (finished, session.options().verbose > 0) {
                session.say(format_args!("{}: {accesses} accesses", show(&args.output)));
            }
            end
        }
        (end, Err(Stop::Fatal(message))) => {
            session.say(format_args!("{message}"));
            end
        }
        (end, Err(_)) => end,
    }
}

/// The command, with the image in its place.
fn parse(args: &RecordArgs) -> Run<Command> {
    let words = with_image(&args.command, &args.image);
    let line = std::iter::once(OsStr::new("rumpcap")).chain(words.iter().map(OsString::as_os_str));
    // Help and errors of the command line are clap's own: it prints them and ends the program.
    let matches = Cli::command().get_matches_from(line);
    if let Some(option) = kernel_option(&matches) {
        return Stop::usage(format!("--{option} is for the kernel: give it before the --"));
    }
    let cli = Cli::from_arg_matches(&matches).map_err(|e| Stop::Usage(e.to_string()))?;
    match cli.command {
        Command::Trace(_) => Stop::usage("a recording cannot be recorded"),
        command => Ok(command),
    }
}

fn with_image(command: &[OsString], image: &OsStr) -> Vec<OsString> {
    let is_path = |word: &OsString| word.as_bytes().first() == Some(&b':');
    let in_image = |word: &OsString| match word.as_bytes() {
        b":" => image.to_owned(),
        _ if is_path(word) => [image, word].into_iter().collect(),
        _ => word.clone(),
    };
    let mut words: Vec<OsString> = command.iter().map(in_image).collect();
    if !command.iter().any(is_path) {
        words.insert(1.min(words.len()), image.to_owned());
    }
    words
}

fn header(session: &Session, args: &RecordArgs) -> Header {
    let limit_bytes = match session.options().memory_limit {
        MemoryLimit::Bytes(bytes) => Some(bytes),
        MemoryLimit::Unlimited => None,
    };
    let words = args.command.iter().map(|word| word.to_string_lossy());
    Header {
        limit_bytes,
        policy: session.options().policy.kind(),
        label: words.collect::<Vec<_>>().join(" "),
    }
}

/// Whether the recording would replace the image that it is of.
fn is_same_file(output: &Path, image: &OsStr) -> bool {
    let image = crate::address::parse(image).image;
    let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
    identity(output).is_some_and(|file| identity(&image) == Some(file))
}

fn show(path: &Path) -> String {
    quote::for_message(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(command: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = command.iter().map(OsString::from).collect();
        with_image(&words, OsStr::new("d.img@2")).into_iter().map(|w| w.into_string().unwrap()).collect()
    }

    #[test]
    fn the_image_comes_where_a_colon_stands() {
        assert_eq!(placed(&["cp", "-r", ":/home", "out"]), ["cp", "-r", "d.img@2:/home", "out"]);
        assert_eq!(placed(&["df", ":"]), ["df", "d.img@2"]);
        assert_eq!(placed(&["find", "-name", "x"]), ["find", "d.img@2", "-name", "x"]);
        assert_eq!(placed(&["cat", ":/a", ":/b"]), ["cat", "d.img@2:/a", "d.img@2:/b"]);
    }
}
