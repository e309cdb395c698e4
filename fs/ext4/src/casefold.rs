//! Names of directories with the casefold flag: folded and normalised as Unicode 12.1 has it.
//!
//! Who calls it: `dir` (lookup), `htree` (the tree is ordered by hashes of folded names). Pure functions.
//!
//! A name is valid when it is UTF-8 and all its code points are assigned in Unicode 12.1 or ignorable; it then equals
//! every name that folds to the same bytes: default ignorable code points dropped, full case folding, canonical
//! decomposition, canonical order. A name that is not valid equals only itself.
//!
//! Memory: a folded name is at most three times as long as the name (CF-1), so it has a fixed place on the
//! stack. Nothing spills to the heap: canonical order is made in that place, not by an iterator that buffers.
//!
//! Source: The Unicode Standard 12.1, sections 3.11 (normalisation) and 3.13 (case folding). The tables of the two
//! crates are of later versions; Unicode keeps foldings and decompositions of assigned code points stable, and what
//! was assigned later is not valid here.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod assigned;

use caseless::Caseless;
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

/// Longest name of a directory entry in bytes.
const NAME_MAX: usize = 255;
/// CF-1: no code point's folding takes more than three times its bytes (a test tries them all).
const FOLDED_MAX: usize = NAME_MAX * 3;
/// How often a folding can be decomposed and folded again; two suffice for all of Unicode 12.1.
const DEPTH_MAX: u32 = 4;

/// A name, folded.
pub(crate) struct Folded {
    bytes: [u8; FOLDED_MAX],
    len: usize,
    /// Marks before this byte keep their place.
    barrier: usize,
}

impl Folded {
    /// Folds `name`; `None` when it is not valid, or longer than a name can be.
    pub(crate) fn new(name: &[u8]) -> Option<Folded> {
        let text = core::str::from_utf8(name).ok().filter(|text| text.len() <= NAME_MAX)?;
        let mut folded = Folded { bytes: [0; FOLDED_MAX], len: 0, barrier: 0 };
        text.chars().try_for_each(|c| folded.push_folded(c, DEPTH_MAX))?;
        Some(folded)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Whether `other` folds to the same bytes.
    pub(crate) fn matches(&self, other: &[u8]) -> bool {
        if other.is_ascii() {
            return other.eq_ignore_ascii_case(self.as_bytes());
        }
        Folded::new(other).is_some_and(|other| other.as_bytes() == self.as_bytes())
    }

    fn push_folded(&mut self, c: char, depth: u32) -> Option<()> {
        if c.is_ascii() {
            return self.push(c.to_ascii_lowercase());
        }
        if is_ignorable(c) {
            // Dropped, but marks are not reordered across it.
            self.barrier = self.len;
            return Some(());
        }
        if !assigned::is_assigned(c) {
            return None;
        }
        let deeper = depth.checked_sub(1)?;
        let mut fold = core::iter::once(c).default_case_fold();
        let (first, second) = (fold.next()?, fold.next());
        if first != c {
            self.push_folded(first, deeper)?;
            return second.into_iter().chain(fold).try_for_each(|part| self.push_folded(part, deeper));
        }
        let mut pushed = Some(());
        decompose_canonical(c, |part| {
            pushed = pushed.and_then(|()| match part == c {
                true => self.push(c),
                false => self.push_folded(part, deeper),
            });
        });
        pushed
    }

    /// Appends `c` where canonical order wants it: before those marks at the end that have a higher class.
    fn push(&mut self, c: char) -> Option<()> {
        let len = c.len_utf8();
        let end = self.len.checked_add(len).filter(|&end| end <= FOLDED_MAX)?;
        let place = self.place_of(canonical_combining_class(c));
        self.bytes.copy_within(place..self.len, place.checked_add(len)?);
        c.encode_utf8(self.bytes.get_mut(place..)?);
        self.len = end;
        Some(())
    }

    fn place_of(&self, class: u8) -> usize {
        if class == 0 {
            return self.len;
        }
        let movable = self.bytes.get(self.barrier..self.len).unwrap_or_default();
        let text = core::str::from_utf8(movable).unwrap_or_default();
        let before = |&(_, c): &(usize, char)| canonical_combining_class(c) > class;
        let at = text.char_indices().rev().take_while(before).last().map_or(text.len(), |(at, _)| at);
        self.barrier.saturating_add(at)
    }
}

/// Default_Ignorable_Code_Point of Unicode 12.1.
fn is_ignorable(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180E | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFF8
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests;
