//! Programs that must end in time.
//!
//! A program that waits for a file system that does not answer cannot be killed: the file system's server has to go
//! first. So whoever starts one says what is to be ended with it.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(5);
/// A killed program is gone by then, or never.
const LAST: Duration = Duration::from_secs(20);

/// How long a program may take, and whose end frees it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What it may take.
    pub time: Duration,
    /// The server that it may wait for.
    pub server: Option<u32>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// All that it printed, standard error included.
    pub output: String,
}

impl Ended {
    /// It must have succeeded.
    ///
    /// # Errors
    /// How it ended, and the last it said.
    pub fn succeeded(self, what: &str) -> Result<String, String> {
        if self.status.success() {
            return Ok(self.output);
        }
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {signal:?}"),
        };
        Err(format!("{what}: {how}\n{}", end_of(&self.output)))
    }
}

/// The last lines of a long text.
pub fn end_of(text: &str) -> &str {
    let from = text.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
    &text[from..]
}

/// A command for people: long arguments, such as scripts, are cut.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let cut = words.map(|word| word.to_string_lossy().chars().take(60).collect::<String>());
    cut.collect::<Vec<_>>().join(" ")
}

/// Runs `command` to its end, its output into a file, so that nobody waits for a pipe to be read.
///
/// # Errors
/// When it takes longer than it may; it has been ended then, and the server too.
///
/// # Panics
/// When it cannot be started.
pub fn run_within(mut command: Command, limits: Limits) -> Result<Ended, String> {
    let output = tempfile::NamedTempFile::new().expect("a file for what a program says");
    let open = || File::options().append(true).open(output.path()).expect("the file of what it says");
    command.stdout(open()).stderr(open()).process_group(0);
    let what = shown(&command);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {what}: {e}"));
    let status = wait_until(&mut child, Instant::now() + limits.time);
    let said = || String::from_utf8_lossy(&std::fs::read(output.path()).unwrap_or_default()).into_owned();
    match status {
        Some(status) => Ok(Ended { status, output: said() }),
        None => {
            let waits = waits_of(child.id());
            if let Some(server) = limits.server {
                kill(server);
            }
            end_group(&mut child);
            Err(format!("{what}: not done after {:?}; {waits}\n{}", limits.time, end_of(&said())))
        }
    }
}

/// Waits for `child` until `end`.
pub fn wait_until(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait().expect("the state of a child") {
            Some(status) => return Some(status),
            None if Instant::now() >= end => return None,
            None => std::thread::sleep(LOOK),
        }
    }
}

/// Kills a process by number, if it is there.
pub fn kill(process: u32) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills `child`, which leads a group, and that group.
pub fn end_group(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    wait_until(child, Instant::now() + LAST);
}

/// What a process waits for, as the host tells it: for whoever looks for the reason of a hang.
fn waits_of(process: u32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    let state = read("status").lines().find(|line| line.starts_with("State:")).unwrap_or("gone").to_owned();
    format!("{state}, waits at {}", read("wchan"))
}
