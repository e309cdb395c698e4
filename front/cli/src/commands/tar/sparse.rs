//! [`SparseMap`]: where a file has data, in GNU's sparse format 1.0.
//!
//! The map is text: the number of runs, then offset and length of each, a line for each number, padded to a whole block.
//! A file that ends with a hole has a last run of no length at its end. The map may be long, so it is not held: the first pass counts, the
//! second writes.

use crate::outcome::{Run, Stop};
use rumpcap::{Error, File, Result};
use std::ops::Range;

const BLOCK: u64 = 512;

/// What the first pass over a file's segments has found.
pub struct SparseMap {
    size: u64,
    runs: u64,
    data_bytes: u64,
    text_bytes: u64,
}

impl SparseMap {
    /// Goes over the segments of a file of `size` bytes.
    pub fn of(file: &File, size: u64) -> Result<SparseMap> {
        let mut map = SparseMap { size, runs: 0, data_bytes: 0, text_bytes: 0 };
        let mut end = 0;
        for run in map.runs(file) {
            let run = run?;
            end = run.end;
            map.count(&run);
        }
        if end < size {
            map.count(&(size..size));
        }
        map.text_bytes += digits(map.runs) + 1;
        Ok(map)
    }

    fn count(&mut self, run: &Range<u64>) {
        let len = run.end - run.start;
        self.runs += 1;
        self.data_bytes += len;
        self.text_bytes += digits(run.start) + 1 + digits(len) + 1;
    }

    /// Bytes of map and data.
    pub fn stored_bytes(&self) -> u64 {
        self.text_bytes.next_multiple_of(BLOCK) + self.data_bytes
    }

    /// Bytes of data.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The runs of data, neighbouring segments in one.
    pub fn runs<'a>(&self, file: &'a File) -> Runs<'a> {
        Runs { file, at: 0, size: self.size }
    }

    /// Hands the map to `sink`.
    ///
    /// # Errors
    /// `Fatal` when the segments cannot be read as they were at the first pass: the archive is then out of step.
    pub fn write(&self, file: &File, sink: &mut dyn FnMut(&[u8]) -> Run) -> Run {
        let mut written = 0;
        let mut line = |n: u64| {
            let text = format!("{n}\n");
            written += text.len() as u64;
            sink(text.as_bytes())
        };
        line(self.runs)?;
        let (mut end, mut runs) = (0, 0);
        for run in self.runs(file) {
            let run = run.map_err(|e| Stop::Fatal(format!("the archive is cut short: {e}")))?;
            line(run.start)?;
            line(run.end - run.start)?;
            (end, runs) = (run.end, runs + 1);
        }
        if end < self.size {
            line(self.size)?;
            line(0)?;
            runs += 1;
        }
        if (runs, written) != (self.runs, self.text_bytes) {
            return Stop::fatal("the archive is cut short: the image has changed");
        }
        let padding = self.text_bytes.next_multiple_of(BLOCK) - self.text_bytes;
        sink(&[0; BLOCK as usize][..padding as usize])
    }
}

/// Iterates over runs of data.
pub struct Runs<'a> {
    file: &'a File,
    at: u64,
    size: u64,
}

impl Iterator for Runs<'_> {
    type Item = Result<Range<u64>>;

    fn next(&mut self) -> Option<Result<Range<u64>>> {
        let mut run: Option<Range<u64>> = None;
        while self.at < self.size {
            let segment = match self.file.segment_at(self.at) {
                Ok(Some(segment)) => segment,
                Ok(None) => break,
                Err(e) => {
                    self.at = self.size;
                    return Some(Err(e));
                }
            };
            let end = segment.offset.saturating_add(segment.len_bytes).min(self.size);
            if end <= self.at {
                self.at = self.size;
                return Some(Err(Error::Corrupt { what: "segment without length", at: segment.offset }));
            }
            if segment.hole && run.is_some() {
                return run.map(Ok);
            }
            if !segment.hole {
                run = Some(run.map_or(self.at..end, |r| r.start..end));
            }
            self.at = end;
        }
        run.map(Ok)
    }
}

fn digits(n: u64) -> u64 {
    u64::from(n.checked_ilog10().unwrap_or(0)) + 1
}
