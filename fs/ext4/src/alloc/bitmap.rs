//! Bits of a bitmap: searched by words, set and cleared by bytes. Pure functions.
//!
//! Who calls it: the rest of `alloc`. A bit that is set is in use; bit 0 is the lowest of the first byte. What is behind the end of the
//! bytes counts as in use, so a bitmap that is too short gives nothing.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use core::ops::Range;

const WORD_BYTES: usize = 8;
const WORD_BITS: u32 = u64::BITS;

/// The word number `index`; bits behind the end are set.
fn word(bitmap: &[u8], index: usize) -> u64 {
    let rest = bitmap.get(index.saturating_mul(WORD_BYTES)..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk::<WORD_BYTES>() {
        return u64::from_le_bytes(*bytes);
    }
    let mut bytes = [0xFF; WORD_BYTES];
    bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(bytes)
}

/// The first bit from `from` on that is set once the words are changed by `flip`; `end` if none is before it.
fn first(bitmap: &[u8], from: u32, end: u32, flip: u64) -> u32 {
    if from >= end {
        return end;
    }
    let mut at = from & !(WORD_BITS - 1);
    let mut bits = (word(bitmap, (at / WORD_BITS) as usize) ^ flip) & (u64::MAX << (from % WORD_BITS));
    while bits == 0 {
        at = at.saturating_add(WORD_BITS);
        if at >= end {
            return end;
        }
        bits = word(bitmap, (at / WORD_BITS) as usize) ^ flip;
    }
    at.saturating_add(bits.trailing_zeros()).min(end)
}

/// The first bit from `from` on that is free; `end` if none is before it.
pub(super) fn first_free(bitmap: &[u8], from: u32, end: u32) -> u32 {
    first(bitmap, from, end, u64::MAX)
}

/// The first bit from `from` on that is in use; `end` if none is before it.
pub(super) fn first_used(bitmap: &[u8], from: u32, end: u32) -> u32 {
    first(bitmap, from, end, 0)
}

/// The first free bits in a row from `from` on, up to `end`.
pub(super) fn free_run(bitmap: &[u8], from: u32, end: u32) -> Option<Range<u32>> {
    let start = first_free(bitmap, from, end);
    (start < end).then(|| start..first_used(bitmap, start, end))
}

/// How many of the first `bits` are free.
pub(super) fn count_free(bitmap: &[u8], bits: u32) -> u32 {
    let mut used = 0u32;
    for at in (0..bits).step_by(WORD_BITS as usize) {
        let left = bits.saturating_sub(at).min(WORD_BITS);
        let mask = u64::MAX >> WORD_BITS.saturating_sub(left);
        let now = (word(bitmap, (at / WORD_BITS) as usize) & mask).count_ones();
        used = used.saturating_add(now);
    }
    bits.saturating_sub(used)
}

/// What bits become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Used,
    Free,
}

/// Changes `bits`; what is behind the end of the bytes is not there.
pub(super) fn change(bitmap: &mut [u8], bits: Range<u32>, to: To) {
    let bytes = bytes_of(&bits);
    let first = bytes.start as u32;
    let last = (bytes.end as u32).saturating_sub(1);
    for (index, byte) in (first..).zip(bitmap.get_mut(bytes).unwrap_or_default()) {
        let low = if index == first { 0xFF << (bits.start % 8) } else { 0xFF };
        let high = if index == last { 0xFF >> (bits.end.wrapping_neg() % 8) } else { 0xFF };
        match to {
            To::Used => *byte |= low & high,
            To::Free => *byte &= !(low & high),
        }
    }
}

/// The bytes that have `bits`.
pub(super) fn bytes_of(bits: &Range<u32>) -> Range<usize> {
    if bits.is_empty() { 0..0 } else { (bits.start / 8) as usize..bits.end.div_ceil(8) as usize }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BITS: u32 = 24 * 8;

    fn model(bitmap: &[u8]) -> Vec<bool> {
        (0..bitmap.len() * 8).map(|bit| bitmap[bit / 8] >> (bit % 8) & 1 != 0).collect()
    }

    /// Bitmaps of any length up to three words, mostly of long runs.
    fn bitmaps() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(0u8), 3 => Just(0xFFu8), 2 => any::<u8>()];
        proptest::collection::vec(byte, 0..=24)
    }

    proptest! {
        #[test]
        fn searches_find_what_a_model_finds(bitmap in bitmaps(), from in 0..=BITS, end in 0..=BITS + 70) {
            let bits = model(&bitmap);
            let is_used = |bit: u32| bits.get(bit as usize).copied().unwrap_or(true);
            let find = |wanted: bool| (from..end).find(|&bit| is_used(bit) == wanted).unwrap_or(end);
            prop_assert_eq!(first_free(&bitmap, from, end), find(false));
            prop_assert_eq!(first_used(&bitmap, from, end), find(true));
            let start = find(false);
            let run = (start < end).then(|| start..(start..end).find(|&bit| is_used(bit)).unwrap_or(end));
            prop_assert_eq!(free_run(&bitmap, from, end), run);
            let free = (0..end).filter(|&bit| !is_used(bit)).count() as u32;
            prop_assert_eq!(count_free(&bitmap, end), free);
        }

        #[test]
        fn changes_are_those_of_a_model(bitmap in bitmaps(), a in 0..BITS, b in 0..BITS, set: bool) {
            let mut changed = bitmap.clone();
            let range = a.min(b)..a.max(b);
            let end = bitmap.len() as u32 * 8;
            let range = range.start.min(end)..range.end.min(end);
            change(&mut changed, range.clone(), if set { To::Used } else { To::Free });
            let mut bits = model(&bitmap);
            bits[range.start as usize..range.end as usize].fill(set);
            prop_assert_eq!(model(&changed), bits);
            let touched = bytes_of(&range);
            prop_assert_eq!(&changed[..touched.start], &bitmap[..touched.start]);
            prop_assert_eq!(&changed[touched.end..], &bitmap[touched.end..]);
        }
    }
}
