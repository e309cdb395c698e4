//! `cargo xtask test`: sets up what the tests need, runs all of them, and counts.
//!
//! The last line on stdout is `N passed, N failed, N skipped`. Skipped are tests marked `#[ignore]` and those that
//! found that they cannot run here (no root, no loop device): such a test appends a line `name<tab>reason` to the file
//! named by the environment variable `RUMPCAP_SKIP_LOG` and returns.
//!
//! Failure: a test that fails, a crate that does not compile, and a run without any test all fail the task.

mod suites;
mod tally;

use crate::{Result, setup, workspace};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tally::Tally;

/// Where a package has its tests of interleavings: compiled with its feature `shuttle` only.
const INTERLEAVINGS: &str = "tests/schedules";

/// Where a package has tests of its atomics: compiled with its feature `loom` only.
const ATOMICS: &str = "src/atomics.rs";

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Further arguments for the test programs, e.g. part of a test's name
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs all tests of the workspace.
pub(crate) fn run(args: &Args) -> Result {
    let prepared = setup::ensure(setup::FOR_TEST);
    let mut tally = Tally::default();
    let ran = prepared.and_then(|()| run_all(args, &mut tally));
    for (reason, tests) in tally.reasons() {
        println!("skipped {tests}: {reason}");
    }
    if let Err(why) = &ran {
        eprintln!("xtask: {why}");
    }
    println!("{tally}");
    // Said above: nothing may follow the last line, on stderr neither.
    ran.map_err(|_| "".into())
}

fn run_all(args: &Args, tally: &mut Tally) -> Result {
    let metadata = workspace::metadata(&["--no-deps"])?;
    let target = &metadata.target_directory;
    std::fs::create_dir_all(target)?;
    suites::ensure(target);
    let skip_log = SkipLog::new(target)?;

    let mut succeeded = run_tests(tests_of_all(), args, &skip_log, tally)?;
    for package in metadata.packages.iter().filter(|package| package.folder().join(INTERLEAVINGS).exists()) {
        succeeded &= run_tests(interleavings(&package.name), args, &skip_log, tally)?;
    }
    for package in metadata.packages.iter().filter(|package| package.folder().join(ATOMICS).exists()) {
        succeeded &= run_tests(atomics(&package.name), args, &skip_log, tally)?;
    }
    succeeded &= run_tests(simulation(), args, &skip_log, tally)?;

    match (succeeded, tally.failed(), tally.ran()) {
        (true, 0, 1..) => Ok(()),
        (_, 1.., _) => Err("there are tests that failed".into()),
        (false, 0, _) => Err("cargo test failed, see above".into()),
        (true, 0, 0) => Err("no test ran".into()),
    }
}

/// The file in which tests note that they skipped themselves; gone when dropped.
struct SkipLog(PathBuf);

impl SkipLog {
    fn new(folder: &Path) -> Result<SkipLog> {
        let path = folder.join(format!("skipped-tests-{}.log", std::process::id()));
        std::fs::write(&path, "")?;
        Ok(SkipLog(path))
    }

    /// What stands behind the first `seen` bytes.
    fn behind(&self, seen: usize) -> Result<String> {
        let log = std::fs::read(&self.0)?;
        Ok(String::from_utf8_lossy(log.get(seen..).unwrap_or_default()).into_owned())
    }
}

impl Drop for SkipLog {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Every test of the workspace, documentation included.
fn tests_of_all() -> Command {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command
}

/// The tests of `package` under the model checker, which replaces the locks of the crates below it.
fn interleavings(package: &str) -> Command {
    let mut command = workspace::cargo();
    command.args(["test", "--package", package, "--locked", "--features", "shuttle", "--test", "schedules"]);
    command
}

/// The atomics of `package` under the model checker that reorders memory. The package's other tests cannot run with it.
fn atomics(package: &str) -> Command {
    let mut command = workspace::cargo();
    let filter = ["--lib", "atomics::"];
    command.args(["test", "--package", package, "--locked", "--features", "loom"]).args(filter);
    command
}

/// Whole kernels in a simulated world, likewise.
fn simulation() -> Command {
    let mut command = workspace::cargo();
    command.args(["test", "--package", "rumpcap-sim", "--locked", "--features", "shuttle", "--no-fail-fast"]);
    command
}

/// Runs one `cargo test`, passes its output on and counts. Gives whether it succeeded.
fn run_tests(mut command: Command, args: &Args, skip_log: &SkipLog, tally: &mut Tally) -> Result<bool> {
    command.arg("--").args(&args.arguments);
    command.env("PATH", setup::search_path()).env("RUMPCAP_SKIP_LOG", &skip_log.0);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(output) = child.stdout.take() {
        pass_on(&mut BufReader::new(output), skip_log, tally)?;
    }
    Ok(child.wait()?.success())
}

/// Copies lines to stdout as they come. Test programs may print bytes that are no UTF-8. When a program has told its
/// result, all of its tests have ended, and what they noted in the log is theirs.
fn pass_on(output: &mut impl BufRead, skip_log: &SkipLog, tally: &mut Tally) -> Result {
    let mut line = Vec::new();
    let mut stdout = std::io::stdout().lock();
    let mut seen = skip_log.behind(0)?.len();
    while output.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        if tally.see_line(String::from_utf8_lossy(&line).trim_end()) {
            let log = skip_log.behind(seen)?;
            seen += log.len();
            tally.see_skip_log(&log);
        }
        line.clear();
    }
    tally.close();
    Ok(())
}
