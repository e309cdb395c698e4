//! The process that is measured, seen from outside: its lines, and its anonymous memory as the host counts it.

use crate::Result;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Time between two looks at the process's memory.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// The values of a line `kind name=value ...`.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<String, u64>);

impl Values {
    fn parse(words: &str) -> Values {
        let pairs = words.split(' ').filter_map(|word| word.split_once('='));
        Values(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// The value of `name`; 0 when the line did not have it.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// What a run gave.
pub(crate) struct Outcome {
    /// The last line.
    pub end: Values,
    /// The most anonymous memory that was seen from outside, in bytes.
    pub anonymous_peak_bytes: u64,
}

/// Runs `command` to its end. `show` is called for each progress line, with the anonymous memory of that moment.
///
/// # Errors
/// When the program cannot be started, fails, or ends without its last line.
pub(crate) fn watch(mut command: Command, mut show: impl FnMut(&Values, u64)) -> Result<Outcome> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let lines = lines_of(&mut child)?;
    let mut anonymous_peak_bytes = 0;
    let mut end = None;
    loop {
        let line = lines.recv_timeout(BETWEEN_LOOKS);
        let anonymous = anonymous_bytes(child.id());
        anonymous_peak_bytes = anonymous_peak_bytes.max(anonymous);
        match line.as_deref().map(|line| line.split_once(' ')) {
            Ok(Some(("progress", values))) => show(&Values::parse(values), anonymous),
            Ok(Some(("end", values))) => {
                end = Some(Values::parse(values));
                // It waits for this, so that we could look at it when it held the most.
                drop(child.stdin.take());
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    match end {
        Some(end) if status.success() => Ok(Outcome { end, anonymous_peak_bytes }),
        _ => Err(format!("the measured program ended with {status}").into()),
    }
}

/// The lines of the child's stdout, as they come; the channel ends with them.
fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Anonymous resident memory of a process in bytes; 0 when it is gone.
fn anonymous_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn progress_and_end_are_told() {
        let script = "echo progress entries=1 peak=2; echo end entries=3 stuck=0; cat";
        let mut shown = Vec::new();
        let outcome = watch(shell(script), |values, _| shown.push(values.get("entries"))).unwrap();
        assert_eq!(shown, [1]);
        assert_eq!(outcome.end.get("entries"), 3);
        assert!(outcome.anonymous_peak_bytes > 0);
    }

    #[test]
    fn a_program_that_fails_or_stops_early_is_an_error() {
        assert!(watch(shell("echo end entries=3; exit 1"), |_, _| {}).is_err());
        assert!(watch(shell("echo progress entries=3"), |_, _| {}).is_err());
    }

    #[test]
    fn our_own_memory_can_be_seen() {
        assert!(anonymous_bytes(std::process::id()) > 4096);
        assert_eq!(anonymous_bytes(0), 0);
    }
}
