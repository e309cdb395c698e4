//! Maps of files with holes: GNU's old format, in the header and blocks behind it, and those of pax records.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::records::{Sparse, number};
use super::{BLOCK, Broken, Entry, RUNS_MAX, Reader};
use std::io::Read;
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

/// Digits of the longest number in a map.
const DIGITS_MAX: usize = 20;

impl<R: Read> Reader<R> {
    /// GNU's old format: four runs in the header, 21 in each block behind it.
    pub(super) fn old_sparse(&mut self, header: &Header, entry: &mut Entry) -> Result<(), Broken> {
        let bad = |what| Broken::Format(what, self.at);
        let gnu =
            header.as_gnu().ok_or_else(|| bad("a map of holes in a header that has no place for it"))?;
        let stored = entry.size;
        entry.size = gnu.real_size().map_err(|_| bad("a size that is no number"))?;
        let mut runs = Vec::new();
        self.take_runs(&gnu.sparse, &mut runs)?;
        let mut has_more = gnu.is_extended();
        while has_more {
            let mut block = GnuExtSparseHeader::new();
            self.fill(block.as_mut_bytes())?;
            self.take_runs(block.sparse(), &mut runs)?;
            has_more = block.is_extended();
        }
        self.begin(stored);
        self.set_runs(runs, stored, entry)
    }

    fn take_runs(&self, from: &[GnuSparseHeader], runs: &mut Vec<(u64, u64)>) -> Result<(), Broken> {
        for run in from.iter().filter(|run| !run.is_empty()) {
            match (run.offset(), run.length()) {
                (Ok(offset), Ok(len)) if runs.len() < RUNS_MAX => runs.push((offset, len)),
                _ => return Err(self.broken("a map of holes that is none")),
            }
        }
        Ok(())
    }

    /// The pax formats.
    pub(super) fn pax_sparse(&mut self, sparse: Sparse, entry: &mut Entry) -> Result<(), Broken> {
        let stored = entry.size;
        let (numbers, stored) = if sparse.is_in_content {
            let numbers = self.map_in_content()?;
            (numbers, self.left)
        } else {
            (sparse.numbers, stored)
        };
        entry.size = sparse.real.ok_or_else(|| self.broken("a map of holes without a size"))?;
        let runs = numbers.chunks(2).map(|pair| match pair {
            [offset, len] => Ok((*offset, *len)),
            _ => Err(self.broken("a map of holes that is none")),
        });
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        self.set_runs(runs, stored, entry)
    }

    /// Format 1.0: how many runs, then offset and length of each, a line for each number, up to the end of a block.
    fn map_in_content(&mut self) -> Result<Vec<u64>, Broken> {
        let mut lines = Lines { block: [0; BLOCK], at: BLOCK };
        let runs = self.line(&mut lines)?;
        if runs > RUNS_MAX as u64 {
            return Err(self.broken("a map of holes that is too long"));
        }
        (0..runs.saturating_mul(2)).map(|_| self.line(&mut lines)).collect()
    }

    fn line(&mut self, lines: &mut Lines) -> Result<u64, Broken> {
        let mut digits = Vec::new();
        loop {
            if lines.at == BLOCK {
                if self.content(&mut lines.block)? < BLOCK {
                    return Err(self.broken("a map of holes that is cut off"));
                }
                lines.at = 0;
            }
            let byte = lines.block.get(lines.at).copied().unwrap_or_default();
            lines.at = lines.at.saturating_add(1);
            match byte {
                b'\n' => return number(&digits).ok_or_else(|| self.broken("a map of holes that is none")),
                _ if digits.len() == DIGITS_MAX => return Err(self.broken("a map of holes that is none")),
                digit => digits.push(digit),
            }
        }
    }

    /// The runs ascend, lie in the file, and have as many bytes as are stored.
    fn set_runs(&self, runs: Vec<(u64, u64)>, stored: u64, entry: &mut Entry) -> Result<(), Broken> {
        let (mut end, mut sum) = (0, 0u64);
        for &(offset, len) in &runs {
            let next = offset.checked_add(len).filter(|next| offset >= end && *next <= entry.size);
            end = next.ok_or_else(|| self.broken("a map of holes that contradicts itself"))?;
            sum = sum.saturating_add(len);
        }
        if sum != stored {
            return Err(self.broken("a map of holes that contradicts the size"));
        }
        entry.runs = Some(runs);
        Ok(())
    }
}

/// The block that lines are taken from.
struct Lines {
    block: [u8; BLOCK],
    at: usize,
}
