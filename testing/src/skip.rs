//! Tests that this host cannot run: said, and counted.
//!
//! Who calls it: every test that needs root, a loop mount or a feature of the host's kernel. A skipped test prints
//! `skipped: <reason>`; where the environment names a file in [`LOG_VARIABLE`], a line `<test>\t<reason>` is
//! appended to it, so that whoever runs the tests can say how many were skipped.

use std::io::Write;

/// Names the environment variable that holds the path of the log.
pub const LOG_VARIABLE: &str = "RUMPCAP_SKIP_LOG";

/// Says that the current test is skipped, and why. The caller returns after it.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("unnamed");
    println!("skipped: {reason}");
    if let Some(path) = std::env::var_os(LOG_VARIABLE) {
        let line = format!("{test}\t{reason}\n");
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut log) = opened {
            // One write, so that lines of several processes do not mix. A log that fails must not fail the test.
            let _ = log.write_all(line.as_bytes());
        }
    }
}

/// How many lines the log at `path` holds: the number of skipped tests.
pub fn count(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |log| log.lines().count())
}
