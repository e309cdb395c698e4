//! `rumpcap shell`: commands that are typed, in an image that is mounted as long.
//!
//! `prompt`: the line and its keys. `complete`: names of commands, and paths in the image and on the host. After every command what it changed is made durable, so
//! that a session that ends badly loses nothing that was done. SIGINT ends the command, not the session.

mod complete;
mod prompt;

use crate::args::WriteArgs;
use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::script::{Line, run_line, sync};
use crate::session::Session;
use clap::Args;
use prompt::{Prompt, Typed};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
A line is a command of rumpcap without the image: where IMAGE:PATH stands there is a path in the image, from the current directory on, \
with or without a colon in front. For cp the colon says which paths are in the image: `cp :etc/fstab /tmp`, `cp -r site :/srv`. Quotes, \
backslashes and # are those of a shell; there are no patterns and no pipes. cd, pwd, sync, help and exit are the session's own.

Tab completes commands and paths. Lines are remembered in $XDG_STATE_HOME/rumpcap/history.

Examples:
  rumpcap shell disk.img
  rumpcap shell --read-only disk.img@2:/etc";

/// Options of `shell`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct ShellArgs {
    /// Only read the image; commands that write fail
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// The image, and where to begin
    #[arg(value_name = "IMAGE[:PATH]")]
    image: OsString,
}

/// Runs `shell`.
pub fn run(session: &mut Session, args: &ShellArgs) -> Run {
    let target = if args.read_only {
        session.target(&args.image)?
    } else {
        session.writable(&args.image, args.write)?
    };
    if !target.mount.metadata(&target.path).is_ok_and(|m| m.is_dir()) {
        return Stop::fatal(format!("{}: not a directory", for_message(target.path.as_os_str().as_bytes())));
    }
    session.set_within(Some(target));
    let failures = session.failures();
    let end = converse(session);
    session.set_within(None);
    // What failed was seen, and answered; only where nobody looks does it count.
    if std::io::stdin().is_terminal() {
        session.forgive(failures);
    }
    end
}

fn converse(session: &mut Session) -> Run {
    let mut prompt = Prompt::start()?;
    loop {
        let within = session.within().cloned();
        match prompt.read(session, within)? {
            Typed::Line(line) => {
                if run_one(session, &line)? == Line::Exit {
                    break;
                }
            }
            Typed::Nothing => {}
            Typed::End => break,
            Typed::Failed(reason) => {
                session.check_interrupt()?;
                return Stop::fatal(format!("terminal: {reason}"));
            }
        }
    }
    if let Some(reason) = prompt.end() {
        session.say(format_args!("{reason}"));
    }
    Ok(())
}

/// Runs a line, and makes durable what it changed.
fn run_one(session: &mut Session, line: &str) -> Run<Line> {
    let outcome = match run_line(session, line.as_bytes()) {
        // 128 + SIGINT: it was meant for the command.
        Err(Stop::Code(130)) => {
            session.out.flush()?;
            session.say(format_args!("interrupted"));
            Ok(Line::Failed)
        }
        other => other,
    };
    if let Some(interrupt) = session.interrupt() {
        interrupt.forget_sigint();
    }
    session.check_interrupt()?;
    if let Err(Stop::Fatal(message)) = sync(session) {
        session.say(format_args!("{message}"));
        session.count_failures(1);
    }
    outcome
}
