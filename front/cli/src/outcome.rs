//! How a command ends: [`Stop`] is the only error that travels up to `main`.
//!
//! Who calls it: every command. A failure that concerns one path is not a `Stop`: it is named on standard error and
//! counted by [`crate::session::Session::fail`], and the command goes on.

use std::io;

/// Why a command ends before its work is done.
#[derive(Debug)]
pub enum Stop {
    /// The command line makes no sense. Exit code 2.
    Usage(String),
    /// Nothing more can be done. Exit code 1.
    Fatal(String),
    /// Somebody else has the image. Exit code 3.
    Taken(String),
    /// Whoever read the output has gone. Quiet; exit code 141, as a shell shows a death by `SIGPIPE`.
    BrokenPipe,
    /// Another command was run, or a signal came: the exit code is its own.
    Code(u8),
    /// The answer is complete before all was seen (`find -quit`).
    Done,
}

/// The result of a step of a command.
pub type Run<T = ()> = Result<T, Stop>;

/// Nothing was done, and later it may go.
const TAKEN_CODE: u8 = 3;

/// 128 + `SIGPIPE`.
const BROKEN_PIPE_CODE: u8 = 141;

impl Stop {
    /// A usage error.
    pub fn usage<T>(message: impl Into<String>) -> Run<T> {
        Err(Stop::Usage(message.into()))
    }

    /// A failure after which nothing more can be done.
    pub fn fatal<T>(message: impl Into<String>) -> Run<T> {
        Err(Stop::Fatal(message.into()))
    }
}

/// An error of writing the output: all other I/O errors are turned into messages where they happen.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Stop::BrokenPipe;
        }
        Stop::Fatal(format!("write error: {}", plain(&error)))
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Stop {
        Stop::from(io::Error::from(error))
    }
}

/// The host's words for an I/O error, without Rust's "(os error N)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The exit code for the end of a command with `failures` paths that failed.
pub fn exit_code(end: &Run, failures: u64) -> u8 {
    match end {
        Err(Stop::Usage(_)) => 2,
        Err(Stop::Fatal(_)) => 1,
        Err(Stop::Taken(_)) => TAKEN_CODE,
        Err(Stop::BrokenPipe) => BROKEN_PIPE_CODE,
        Err(Stop::Code(code)) => *code,
        Ok(()) | Err(Stop::Done) if failures > 0 => 1,
        Ok(()) | Err(Stop::Done) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_quiet_and_other_write_errors_are_not() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Stop::from(pipe), Stop::BrokenPipe));
        let full = io::Error::from_raw_os_error(28);
        match Stop::from(full) {
            Stop::Fatal(text) => assert_eq!(text, "write error: No space left on device"),
            other => panic!("{other:?}"),
        }
    }
}
