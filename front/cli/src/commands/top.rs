//! `rumpcap top`: runs another command and shows the kernel's memory meanwhile.
//!
//! `job` runs the command on a thread of its own, with its output and messages kept from the terminal; `screen` has the
//! terminal; `view` draws what `shown` gathers from the history that the command's sampler fills. The view knows nothing of
//! where that comes from: a mount that runs elsewhere would be one more `watch::Source`.
//!
//! Failure: the exit code is the command's own. `q` while it still runs ends it as an interrupt would: exit code 130.

mod bar;
mod batch;
mod job;
mod screen;
mod shown;
mod view;

use crate::outcome::{Run, Stop, plain};
use crate::session::Session;
use clap::Args;
use job::Job;
use screen::{End, Screen};
use shown::{Heading, Shown, Window};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
IMAGE takes the place of {} in the command, or, if there is none, becomes its first argument. The command's output is
counted and thrown away unless -o names a file for it. Options of every command go before --.

The exit code is that of the command; 130 if it was ended by q before it was done.

Examples:
  rumpcap top disk.img -- find -name '*.conf'
  rumpcap --memory-limit 512k top disk.img -- sha256 --tree
  rumpcap top disk.img -o disk.tar -- tar {}:/srv
  rumpcap top disk.img --exit -- cp -r {}:/home restored
  rumpcap top disk.img --batch -- du > memory.txt";

/// Time between two looks: at the keyboard, and at the history.
const TICK: Duration = Duration::from_millis(100);
/// Exit code of an interrupt.
const INTERRUPTED: u8 = 130;
/// Exit code of a program that panicked.
const PANICKED: u8 = 101;

/// Options of `top`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct TopArgs {
    /// Print a line each second instead, for pipes and logs
    #[arg(short, long)]
    batch: bool,
    /// Leave when the command has ended; otherwise the view stays until q
    #[arg(long, conflicts_with = "batch")]
    exit: bool,
    /// Where the command's output goes
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image
    #[arg(value_name = "IMAGE[@N]")]
    image: OsString,
    /// A command of rumpcap, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `top`.
pub fn run(session: &mut Session, args: &TopArgs) -> Run {
    let heading = Heading::of(&args.image, &args.command);
    if !args.batch && !session.out.is_terminal() {
        return Stop::usage("top: standard output is no terminal; --batch prints lines");
    }
    let command = job::parse(&args.image, &args.command, session.options())?;
    if args.batch {
        let job = Job::start(command, args.output.as_deref())?;
        batch::run(session, &job)?;
        return end(session, job);
    }
    let screen = Screen::open().map_err(|e| Stop::Fatal(format!("terminal: {}", plain(&e))))?;
    let job = Job::start(command, args.output.as_deref())?;
    let ended = watch(screen, &job, heading, args.exit);
    match ended.map_err(|e| Stop::Fatal(format!("terminal: {}", plain(&e))))? {
        End::Signal(signal) => {
            job.stop();
            screen::die_of(signal)
        }
        End::Quit if !job.has_ended() => {
            job.stop();
            tell(session, &job);
            session.say(format_args!("top: the command was stopped before it was done"));
            Err(Stop::Code(INTERRUPTED))
        }
        End::Quit | End::Broken => end(session, job),
    }
}

/// Shows the job until the user, a signal or, if so wished, its end says to leave. The terminal is as it was then.
fn watch(mut screen: Screen, job: &Job, heading: Heading, leave_at_end: bool) -> std::io::Result<End> {
    let mut shown = Shown::new(heading);
    loop {
        let ended = job.has_ended();
        shown.update(job);
        screen.draw(|frame| view::draw(frame, &shown))?;
        if ended && leave_at_end {
            return Ok(End::Quit);
        }
        match screen.wait(TICK)? {
            screen::Input::Nothing => {}
            screen::Input::End(end) => return Ok(end),
            screen::Input::Key('q') => return Ok(End::Quit),
            screen::Input::Key('p') => shown.paused = !shown.paused,
            screen::Input::Key('w') => {
                shown.window = if shown.window == Window::Run { Window::Minute } else { Window::Run };
            }
            screen::Input::Key('h' | '?') => shown.help = !shown.help,
            screen::Input::Key(_) => shown.help = false,
        }
    }
}

/// Gives what the command said, and its exit code.
fn end(session: &mut Session, job: Job) -> Run {
    let (messages, code) = (job.messages.clone(), job.wait().unwrap_or(PANICKED));
    tell_messages(session, &messages);
    if code == 0 { Ok(()) } else { Err(Stop::Code(code)) }
}

fn tell(session: &mut Session, job: &Job) {
    tell_messages(session, &job.messages);
}

/// What was kept while the view had the terminal goes where messages go.
fn tell_messages(session: &mut Session, messages: &crate::messages::SharedTail) {
    let tail = messages.lock();
    if tail.lines_dropped() > 0 {
        session.say(format_args!("top: the first {} lines of messages were dropped", tail.lines_dropped()));
    }
    for line in tail.last(usize::MAX) {
        // Nothing can be done when standard error itself fails.
        let _ = std::io::stderr().write_all(&[line, b"\n"].concat());
    }
}
