//! `rumpcap`: the command. Lists, reads, copies and changes what is in disk images, under a hard memory limit.
//!
//! Reading order: `args` (what can be said), `session` (one run), then any file of `commands/`: each is one command.
//! What they share: `traverse` (walks), `target_dir` (writing that stays beneath a directory of the host), `image_tree` (the same in an
//! image), `script` (lines that are commands, `words`), `path_pattern`, `lock`, `interrupt`, `pax` (archives), `quote`,
//! `json`, `units`, `times`, `modes` (spelling).
//!
//! Memory: the kernel's is limited; what this program takes beside it is a few buffers. Where an answer needs more
//! (sorting a directory, remembering hard links) the command's help says so.
#![forbid(unsafe_code)]

mod accounts;
mod address;
mod args;
mod colour;
mod columns;
mod commands;
mod content;
mod estimate;
mod glob;
mod helper;
mod host_tree;
mod image_tree;
mod images;
mod interrupt;
mod json;
mod links;
mod lock;
#[cfg(feature = "tracing")]
mod log;
mod messages;
mod modes;
mod outcome;
mod output;
mod page;
mod path_pattern;
mod pax;
mod progress;
mod quote;
mod report;
mod script;
mod session;
mod target_dir;
mod times;
mod traverse;
mod units;
mod watch;
mod words;

use args::{Cli, Command};
use clap::Parser;
use outcome::{Run, Stop};
use output::Output;
use session::{Session, Surroundings};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::try_parse_from(helper::command_line(std::env::args_os()))
        .unwrap_or_else(|error| commands::fsck::exit_of_usage(&error));
    let out = match Output::stdout() {
        Ok(out) => out,
        Err(e) => {
            eprintln!("rumpcap: standard output: {e}");
            return ExitCode::from(1);
        }
    };
    ExitCode::from(run(cli, out, Surroundings::default()))
}

/// Runs a command line to its end; gives its exit code.
fn run(cli: Cli, out: Output, surroundings: Surroundings) -> u8 {
    let Cli { global, command } = cli;
    let mut session = Session::new(global, out, surroundings);
    // What `top` runs is another command line, and begins by itself.
    let begun = if matches!(command, Command::Top(_)) { Ok(()) } else { session.begin() };
    let mut end = begun.and_then(|()| dispatch(command, &mut session));
    if matches!(end, Ok(()) | Err(Stop::Done)) {
        end = session.out.flush().map_err(Stop::from);
    }
    if let Err(Stop::Usage(message) | Stop::Fatal(message) | Stop::Taken(message)) = &end {
        session.say(format_args!("{message}"));
    }
    let code = session.finish(end);
    session.out.discard();
    code
}

fn dispatch(command: Command, session: &mut Session) -> Run {
    use commands::*;
    match command {
        Command::Info(args) => info::run(session, &args),
        Command::Ls(args) => ls::run(session, &args),
        Command::Tree(args) => tree::run(session, &args),
        Command::Cat(args) => cat::run(session, &args),
        Command::Head(args) => head::run(session, &args),
        Command::Stat(args) => stat::run(session, &args),
        Command::Readlink(args) => readlink::run(session, &args),
        Command::Find(args) => find::run(session, &args),
        Command::Du(args) => du::run(session, &args),
        Command::Df(args) => df::run(session, &args),
        Command::Cp(args) => cp::run(session, &args),
        Command::Tar(args) => tar::run(session, &args),
        Command::Trace(args) => trace::run(session, &args),
        Command::Sha256(args) => sha256::run(session, &args),
        Command::Xattr(args) => xattr::run(session, &args),
        Command::Mkdir(args) => mkdir::run(session, &args),
        Command::Rm(args) => rm::run(session, &args),
        Command::Rmdir(args) => rmdir::run(session, &args),
        Command::Mv(args) => mv::run(session, &args),
        Command::Ln(args) => ln::run(session, &args),
        Command::Chmod(args) => chmod::run(session, &args),
        Command::Chown(args) => chown::run(session, &args),
        Command::Touch(args) => touch::run(session, &args),
        Command::Truncate(args) => truncate::run(session, &args),
        Command::Write(args) => write::run(session, &args),
        Command::Fallocate(args) => fallocate::run(session, &args),
        Command::Shell(args) => shell::run(session, &args),
        Command::Batch(args) => batch::run(session, &args),
        Command::Mount(args) => mount::run(session, &args),
        Command::Umount(args) => umount::run(session, &args),
        Command::Completions(args) => completions::run(session, &args),
        Command::Man(args) => man::run(session, &args),
        Command::Top(args) => top::run(session, &args),
        Command::Mkfs(args) => mkfs::run(session, &args),
        Command::Serve(args) => serve::run(session, &args),
        Command::Fsck(args) => fsck::run(session, &args),
    }
}
