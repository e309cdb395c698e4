//! Runs the real tools: `mke2fs`, `debugfs`, `tune2fs`, `e2fsck`, `mount`, ...
//!
//! Who calls it: [`crate::images`], [`crate::oracle`], [`crate::loop_mount`]. Locale and time zone are fixed. Tools
//! are also looked for in `/sbin` and `/usr/sbin`, which an ordinary user's `PATH` may lack.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A command named `tool`, with a fixed environment.
pub fn command(tool: &str) -> Command {
    let mut command = Command::new(tool);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin"));
    command.env("LC_ALL", "C").env("TZ", "UTC").env("DEBUGFS_PAGER", "__none__").env("PAGER", "cat");
    command.stdin(Stdio::null());
    command
}

/// Runs `command` and gives its output.
///
/// # Panics
/// When it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

/// Runs `command`; its exit code must be one of `good`. Gives its standard output.
///
/// # Panics
/// With what it printed, when it fails.
pub fn run_allowing(command: &mut Command, good: &[i32]) -> Vec<u8> {
    let output = output(command);
    let code = output.status.code().unwrap_or(-1);
    let arguments: Vec<_> = command.get_args().collect();
    assert!(
        good.contains(&code),
        "{:?} {arguments:?} ended with {code}\n{}{}",
        command.get_program(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs `command`, which must exit with 0. Gives its standard output.
///
/// # Panics
/// With what it printed, when it fails.
pub fn run(command: &mut Command) -> Vec<u8> {
    run_allowing(command, &[0])
}

/// Runs `tool` with `args`, all of which must work.
///
/// # Panics
/// With what it printed, when it fails.
pub fn run_args<S: AsRef<OsStr>>(tool: &str, args: &[S]) -> Vec<u8> {
    run(command(tool).args(args))
}

/// Whether `tool` can be started at all.
pub fn exists(tool: &str) -> bool {
    command(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Runs `debugfs` with a script of `lines` on `image` and gives all its standard output. `debugfs` exits with 0
/// whatever happens, so the caller must look at what it did.
///
/// # Panics
/// When `debugfs` cannot be run.
pub fn debugfs(image: &Path, mode: DebugfsMode, lines: &[String]) -> Vec<u8> {
    let mut script = tempfile::NamedTempFile::new().expect("a temporary file for a script");
    for line in lines {
        writeln!(script, "{line}").expect("writing a script");
    }
    let mut command = command("debugfs");
    if mode == DebugfsMode::Write {
        command.arg("-w");
    }
    command.arg("-f").arg(script.path()).arg(image);
    run(&mut command)
}

/// Whether `debugfs` may change the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugfsMode {
    /// It may not.
    Read,
    /// It may.
    Write,
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory for images that tools are shown by the thousand: in memory where the host has such a place, as tools sync what they close.
///
/// # Panics
/// When it cannot be made.
pub fn scratch() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}
