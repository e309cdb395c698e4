//! [`Output`]: standard output, buffered, and what is known of the terminal behind it.
//!
//! Who calls it: every command. A broken pipe comes up as [`crate::outcome::Stop::BrokenPipe`].
//! Memory: one buffer of 64 KiB.

use crate::quote::Quoting;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

const BUFFER_BYTES: usize = 64 << 10;
/// Columns where neither the terminal nor `COLUMNS` says.
const DEFAULT_COLUMNS: usize = 80;

/// Standard output.
pub struct Output {
    writer: Option<BufWriter<File>>,
    terminal: bool,
}

impl Output {
    /// Standard output of the process. A duplicate of its descriptor: the standard library's own handle flushes at every
    /// line.
    pub fn stdout() -> io::Result<Output> {
        let stdout = io::stdout();
        let file = File::from(stdout.as_fd().try_clone_to_owned()?);
        let writer = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
        Ok(Output { writer, terminal: stdout.is_terminal() })
    }

    /// A file or pipe in the place of standard output.
    pub fn to(file: File) -> Output {
        Output { writer: Some(BufWriter::with_capacity(BUFFER_BYTES, file)), terminal: false }
    }

    /// What it writes to, for who has a buffer of his own. Nothing must have been written here.
    ///
    /// # Errors
    /// When the host has no descriptor left.
    pub fn file(&self) -> io::Result<File> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.writer.as_ref().ok_or_else(gone)?.get_ref().try_clone()
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Columns of the terminal.
    pub fn columns(&self) -> usize {
        let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|&c| c > 0);
        let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        said.or_else(asked).unwrap_or(DEFAULT_COLUMNS)
    }

    /// Throws away what has not been written: after an error nothing more can be.
    pub fn discard(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.into_parts());
        }
    }

    /// How paths are written: raw into a pipe, safe on a terminal.
    pub fn path_quoting(&self) -> Quoting {
        if self.terminal { Quoting::Controls } else { Quoting::Raw }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().map_or(Ok(bytes.len()), |w| w.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}
