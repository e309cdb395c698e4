//! One block of a directory: its pages, whether they have been verified, and entries that lie across two.
//!
//! Who calls it: `dir` for each block of a scan, `htree` for one leaf, `dir::by_hash` for both and for single entries. Whom it calls: `dir::entry`, `dir::checksum`.
//!
//! A page notes that it has been verified (`PageRef::set_checked`), so a resident block is verified once. A block
//! larger than a page is verified as a whole when a page without the note is met; that verdict then holds for this
//! operation, which notes it on the further pages of the block as it meets them.
//!
//! Pins: one page, and one more while it verifies.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::entry::{Broken, ENTRY_MAX, Entry, Rules};
use super::{BlockPlace, Dir};
use crate::region::{Region, Window};
use core::ops::{ControlFlow, Range};
use rumpcap_host::{Error, Result};

/// What is known of a block within one operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Unknown,
    Good,
}

impl Dir<'_, '_> {
    /// Hands the entries of a block from offset `from` on to `visit`.
    #[inline]
    pub(crate) fn walk_block(
        &self,
        place: BlockPlace,
        from: u32,
        mut visit: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        self.walk_block_at(place, 0, from, &mut visit)
    }

    /// As [`Dir::walk_block`]; the records from offset `at` on, where one begins.
    #[inline]
    pub(super) fn walk_block_at(
        &self,
        place: BlockPlace,
        at: u32,
        from: u32,
        visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut verdict = Verdict::Unknown;
        let broken = |Broken(what)| Error::Corrupt { what, at: place.physical };
        let mut open = |at| self.block_window(place, at, &mut verdict);
        walk_windows(&self.rules, self.region(place), at..from, visit, &mut open, &broken)
    }

    /// What one page holds of a block, around byte `at`; verified.
    pub(crate) fn block_window(
        &self,
        place: BlockPlace,
        at: u32,
        verdict: &mut Verdict,
    ) -> Result<Window<'_>> {
        let window = self.region(place).window(self.fs, self.r, at, place.ahead)?;
        if self.fs.sb.features.has_metadata_csum() {
            let note = window.note();
            if !window.page().is_checked(note) {
                if *verdict == Verdict::Unknown {
                    self.verify(place)?;
                    *verdict = Verdict::Good;
                }
                window.page().set_checked(note);
            }
        }
        Ok(window)
    }
}

/// Hands the entries of `region`, whose windows `open` gives, to `visit`: records from the start of `passed` on, where one begins, are
/// looked at, entries from its end on handed over. Each round finishes at least one record (DE-2), or it is an error.
#[inline]
pub(super) fn walk_windows<'r>(
    rules: &Rules,
    region: Region,
    passed: Range<u32>,
    visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<()>,
    open: &mut impl FnMut(u32) -> Result<Window<'r>>,
    broken: &impl Fn(Broken) -> Error,
) -> Result<ControlFlow<()>> {
    let Range { start: mut at, end: from } = passed;
    while at < region.len {
        let window = open(at)?;
        let (bytes, base) = (window.bytes(), window.base);
        let flow = rules.walk(bytes, base, &mut at, from, &mut *visit).map_err(broken)?;
        if flow.is_break() {
            return Ok(flow);
        }
        let end = base.saturating_add(bytes.len() as u32);
        if at >= end || at >= region.len {
            continue;
        }
        // The record at `at` goes on in the next page.
        drop(window);
        let mut copy = [0; ENTRY_MAX];
        let copied = copy_windows(region, at, &mut copy, open)?;
        let before = at;
        let flow = rules.walk(copied, at, &mut at, from, &mut *visit).map_err(broken)?;
        if flow.is_break() {
            return Ok(flow);
        }
        if at == before {
            return Err(broken(Broken("directory block: entry past its end")));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Copies from byte `at` of a region to `copy` what there is, and gives it; two windows at most, one after the other.
fn copy_windows<'r, 'c>(
    region: Region,
    at: u32,
    copy: &'c mut [u8; ENTRY_MAX],
    open: &mut impl FnMut(u32) -> Result<Window<'r>>,
) -> Result<&'c [u8]> {
    let len = (region.len.saturating_sub(at) as usize).min(ENTRY_MAX);
    let mut done = 0_usize;
    while done < len {
        let place = at.saturating_add(done as u32);
        let window = open(place)?;
        let from = window.bytes().get(place.saturating_sub(window.base) as usize..).unwrap_or_default();
        let to = copy.get_mut(done..len).unwrap_or_default();
        let n = from.len().min(to.len()).max(1);
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        done = done.saturating_add(n);
    }
    Ok(copy.get(..len).unwrap_or_default())
}
