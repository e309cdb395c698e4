//! Runs one benchmark program as a child and looks at its memory from outside.
//!
//! Who calls it: `measure`. A program prints one line when it has done its work and waits; so its memory is read while it
//! still has it, and its peak by sampling in between. The time is the program's own, without its start.
//! Failure: a child that takes too long is ended and reported as such.

use serde::Deserialize;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time between two looks at a child's memory: short against a walk, long against the cost of a look (some 20 us).
const SAMPLE_PERIOD: Duration = Duration::from_millis(5);

/// A program and the arguments that come after the workload and the image.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// What a child said and what was seen of it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Outcome {
    /// Seconds until the image was open.
    pub(crate) open_seconds: f64,
    /// Seconds for opening and the work.
    pub(crate) seconds: f64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: String,
    pub(crate) open_image_bytes: Option<u64>,
    pub(crate) image_reads: Option<u64>,
    pub(crate) image_bytes: Option<u64>,
    pub(crate) error: Option<String>,
    /// The library's own report.
    pub(crate) report: Option<Report>,
    /// The most anonymous and shared memory, in bytes.
    #[serde(default)]
    pub(crate) anonymous_bytes: u64,
    /// The most memory of all kinds, the program's own text included, in bytes.
    #[serde(default)]
    pub(crate) resident_bytes: u64,
    /// Seconds on a processor, all threads and the program's start included.
    #[serde(default)]
    pub(crate) cpu_seconds: f64,
}

/// Part of the library's `MemoryReport`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) peak_bytes: u64,
    pub(crate) stuck: u64,
}

/// Runs `program WORKLOAD IMAGE MORE ARGUMENTS`.
pub(crate) fn run(
    program: &Program,
    workload: &str,
    image: &Path,
    more: &[&str],
    at_most: Duration,
) -> Outcome {
    let failed = |why: String| Outcome { error: Some(why), ..Outcome::default() };
    let mut command = Command::new(&program.path);
    command.arg(workload).arg(image).args(&program.arguments).args(more);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    match child {
        Ok(child) => observe(child, at_most).unwrap_or_else(failed),
        Err(e) => failed(format!("{}: {e}", program.path.display())),
    }
}

fn observe(mut child: Child, at_most: Duration) -> Result<Outcome, String> {
    let (began, output) = (Instant::now(), child.stdout.take());
    let (said, line) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(output) = output {
            // An error reads as no line.
            let _ = BufReader::new(output).read_line(&mut text);
        }
        let _ = said.send(text);
    });
    let mut anonymous_bytes = 0;
    let text = loop {
        match line.recv_timeout(SAMPLE_PERIOD) {
            Ok(text) => break Some(text),
            Err(mpsc::RecvTimeoutError::Timeout) if began.elapsed() < at_most => {
                anonymous_bytes = anonymous_bytes.max(status(&child, &["RssAnon:", "RssShmem:"]));
            }
            Err(_) => break None,
        }
    };
    let cpu_seconds = cpu_seconds(&child);
    anonymous_bytes =
        anonymous_bytes.max(status(&child, &["RssAnon:", "RssShmem:"])).max(exact_anonymous(&child));
    let resident_bytes = status(&child, &["VmHWM:"]);
    end(&mut child, text.is_some());
    let _ = listener.join();
    let text = text.ok_or_else(|| format!("not done after {} s", at_most.as_secs()))?;
    let outcome: Outcome =
        serde_json::from_str(&text).map_err(|_| format!("it ended without a result: {text}"))?;
    Ok(Outcome { anonymous_bytes, resident_bytes, cpu_seconds, ..outcome })
}

/// Closes the child's input, which ends it, or ends it by force.
fn end(child: &mut Child, is_done: bool) {
    drop(child.stdin.take());
    if !is_done {
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// The sum of some fields of `/proc/PID/status`, in bytes.
fn status(child: &Child, fields: &[&str]) -> u64 {
    sum_of_fields(&format!("/proc/{}/status", child.id()), fields)
}

/// The kernel may keep the counts of `status` in batches per processor; this one is counted from the page tables.
fn exact_anonymous(child: &Child) -> u64 {
    sum_of_fields(&format!("/proc/{}/smaps_rollup", child.id()), &["Anonymous:"])
}

fn sum_of_fields(path: &str, fields: &[&str]) -> u64 {
    kib_of_fields(&fs::read_to_string(path).unwrap_or_default(), fields) * 1024
}

fn kib_of_fields(text: &str, fields: &[&str]) -> u64 {
    let kib = |line: &str| -> Option<u64> {
        let value = fields.iter().find_map(|field| line.strip_prefix(field))?;
        value.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    text.lines().filter_map(kib).sum()
}

fn cpu_seconds(child: &Child) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", child.id())) else { return 0.0 };
    let nanoseconds = |task: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    tasks.flatten().filter_map(nanoseconds).sum::<u64>() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_added_up() {
        let text = "VmHWM:\t    5000 kB\nRssAnon:\t     692 kB\nRssFile:\t 2000 kB\nRssShmem:\t 8 kB\n";
        assert_eq!(kib_of_fields(text, &["RssAnon:", "RssShmem:"]), 700);
        assert_eq!(kib_of_fields(text, &["Anonymous:"]), 0);
    }

    #[test]
    fn a_child_gives_its_line_and_its_memory() {
        let script = "echo '{\"open_seconds\":0,\"seconds\":2.5,\"entries\":7,\"bytes\":8,\"checksum\":\"c\"}'; read end";
        let program = Program { path: "sh".into(), arguments: vec![] };
        let mut command = Command::new(&program.path);
        let child =
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let outcome = observe(child, Duration::from_secs(20)).unwrap();
        assert_eq!((outcome.seconds, outcome.entries, outcome.error), (2.5, 7, None));
        assert!(outcome.anonymous_bytes > 0 && outcome.resident_bytes >= outcome.anonymous_bytes);
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert!(observe(child, Duration::from_millis(50)).is_err());
    }
}
