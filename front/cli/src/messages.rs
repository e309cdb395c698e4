//! [`Messages`]: where a run's messages go: to standard error, or, while a view has the terminal, into a list for later.
//!
//! Who calls it: `session` and `log` write, `top` reads. Memory: a [`Tail`] has at most [`LINES_MAX`] lines.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// Lines that a tail keeps.
const LINES_MAX: usize = 1000;
/// Bytes of a line that a tail keeps.
const LINE_BYTES_MAX: usize = 4096;

/// Where messages go.
#[derive(Clone, Default)]
pub enum Messages {
    /// To standard error.
    #[default]
    Stderr,
    /// Into a list.
    Kept(SharedTail),
}

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Messages::Stderr => io::stderr().write(bytes),
            Messages::Kept(tail) => tail.clone().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tail that several threads have.
#[derive(Clone, Default)]
pub struct SharedTail(Arc<Mutex<Tail>>);

impl SharedTail {
    /// The tail.
    pub fn lock(&self) -> MutexGuard<'_, Tail> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

impl Write for SharedTail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The last lines of a text, and how much there was.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The line that has not ended yet.
    open: Vec<u8>,
    /// Lines that have ended.
    pub lines_seen: u64,
    /// Bytes of all.
    pub bytes_seen: u64,
}

impl Tail {
    /// Takes more of the text.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes_seen += bytes.len() as u64;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, ended) = match part.split_last() {
                Some((b'\n', content)) => (content, true),
                _ => (part, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.open.len());
            self.open.extend(content.iter().take(room));
            if ended {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.lines_seen += 1;
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(std::mem::take(&mut self.open));
    }

    /// The last `most` lines, oldest first; one that has not ended is among them.
    pub fn last(&self, most: usize) -> Vec<&[u8]> {
        let open = Some(self.open.as_slice()).filter(|open| !open.is_empty());
        let mut lines: Vec<&[u8]> =
            open.into_iter().chain(self.lines.iter().rev().map(Vec::as_slice)).take(most).collect();
        lines.reverse();
        lines
    }

    /// How many lines were dropped.
    pub fn lines_dropped(&self) -> u64 {
        self.lines_seen - self.lines.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_last_lines_whole_and_bounded() {
        let mut tail = Tail::default();
        tail.take(b"one\ntw");
        tail.take(b"o\n\nopen");
        assert_eq!(tail.last(9), [&b"one"[..], b"two", b"", b"open"]);
        assert_eq!(tail.last(2), [&b""[..], b"open"]);
        assert_eq!((tail.lines_seen, tail.bytes_seen, tail.lines_dropped()), (3, 13, 0));
        (0..5000).for_each(|_| tail.take(b"\n"));
        tail.take(&[b'x'; 10_000]);
        assert_eq!((tail.lines.len(), tail.lines_dropped(), tail.open.len()), (1000, 4003, 4096));
    }
}
