//! Entries of a directory in a row: the inner loop of every scan. Pure: bytes in, entries out.
//!
//! Who calls it: `dir::block` with what one page holds of a block, or with a copy of an entry that lies across two.
//!
//! Invariants: every entry is checked against the bounds of its block, not of the bytes at hand (DE-1); each round
//! moves on by at least [`RECORD_MIN`] bytes (DE-2), so a block of 64 KiB ends after 5,461 rounds.
//!
//! Speed: the rules are one expression without branches, told apart only when one is broken.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use core::ops::ControlFlow;
use rumpcap_vfs::FileKind;

/// Bytes before the name.
const HEAD: usize = 8;
/// Least length of a record.
pub(crate) const RECORD_MIN: u32 = 12;
/// A copy of this many bytes holds any one entry, its name included.
pub(crate) const ENTRY_MAX: usize = HEAD + 255;

/// What entries of a block are checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Bytes of the block (or the inline area) that the records fill.
    pub limit: u32,
    /// Largest inode number.
    pub inodes_count: u32,
}

/// An entry in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub ino: u32,
    /// File type as the device has it; without the filetype feature without meaning.
    pub file_type: u8,
    pub name: &'a [u8],
    /// Offset in the block at which it begins.
    pub at: u32,
    /// Offset in the block at which the next entry begins.
    pub end: u32,
}

/// Which rule an entry breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub &'static str);

impl Rules {
    /// The length of a record: blocks of 64 KiB, whose length 16 bits cannot tell, have values that stand for it.
    pub(crate) fn record_len(&self, raw: u16) -> u32 {
        match raw {
            0 | u16::MAX if self.limit > u32::from(u16::MAX) => self.limit,
            _ => u32::from(raw),
        }
    }

    /// Hands the entries that `bytes` holds whole to `visit`, from the record at `*at` on; those before `from` are passed
    /// over. `base` is the offset in the block of the first of `bytes`; `*at` is left at the first record not done.
    ///
    /// Inlined into each caller: the visitor is part of the loop.
    #[inline(always)]
    pub(crate) fn walk(
        &self,
        bytes: &[u8],
        base: u32,
        at: &mut u32,
        from: u32,
        mut visit: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Broken> {
        let Rules { limit, inodes_count } = *self;
        loop {
            let rest = bytes.get((*at).wrapping_sub(base) as usize..).unwrap_or_default();
            let Some((&[i0, i1, i2, i3, l0, l1, name_len, file_type], behind)) =
                rest.split_first_chunk::<HEAD>()
            else {
                return Ok(ControlFlow::Continue(()));
            };
            let ino = u32::from_le_bytes([i0, i1, i2, i3]);
            let len = self.record_len(u16::from_le_bytes([l0, l1]));
            let end = (*at).wrapping_add(len);
            let left = limit.wrapping_sub(end);
            let need = (u32::from(name_len).wrapping_add(11) & !3).max(RECORD_MIN);
            let too_short = len < need;
            let unaligned = len & 3 != 0;
            let too_long = end > limit;
            let bad_rest = left.wrapping_sub(1) < RECORD_MIN.wrapping_sub(1);
            let bad_inode = ino > inodes_count;
            let nameless = (name_len == 0) & (ino != 0);
            if too_short | unaligned | too_long | bad_rest | bad_inode | nameless {
                return Err(broken(too_short | unaligned | too_long | bad_rest, bad_inode));
            }
            if ino != 0 && *at >= from {
                let Some(name) = behind.get(..usize::from(name_len)) else {
                    return Ok(ControlFlow::Continue(()));
                };
                if visit(Entry { ino, file_type, name, at: *at, end }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            *at = end;
        }
    }
}

#[cold]
fn broken(length: bool, inode: bool) -> Broken {
    Broken(match (length, inode) {
        (true, _) => "directory block: length of an entry",
        (_, true) => "directory block: inode number of an entry",
        _ => "directory block: entry without a name",
    })
}

/// The kind that a file type of the device stands for.
pub(crate) fn kind_of(file_type: u8) -> FileKind {
    match file_type {
        1 => FileKind::Regular,
        2 => FileKind::Directory,
        3 => FileKind::CharDevice,
        4 => FileKind::BlockDevice,
        5 => FileKind::Fifo,
        6 => FileKind::Socket,
        7 => FileKind::Symlink,
        _ => FileKind::Unknown,
    }
}

/// Whether `name` can be one component of a path. A name of the device that cannot would mislead whoever builds paths.
///
/// Part of the inner loop, so eight bytes at a time: the last eight may overlap those before.
#[inline]
pub(crate) fn is_path_component(name: &[u8]) -> bool {
    let Some(last) = name.last_chunk::<8>() else {
        return !name.iter().any(|&byte| byte == b'/' || byte == 0);
    };
    let (words, _) = name.as_chunks::<8>();
    let found = words.iter().fold(separators(last), |found, word| found | separators(word));
    found == 0
}

/// Not 0 when one of eight bytes is a NUL or a slash.
///
/// The lowest byte that is 0 in a word is the lowest one that borrows when 1 is taken from each byte.
#[inline]
fn separators(bytes: &[u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let word = u64::from_ne_bytes(*bytes);
    zeros(word) | zeros(word ^ SLASHES)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(ino: u32, len: u16, name: &[u8], file_type: u8) -> Vec<u8> {
        let mut bytes = ino.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend([name.len() as u8, file_type]);
        bytes.extend(name);
        bytes.resize(usize::from(len).max(bytes.len()), 0);
        bytes
    }

    fn walk(rules: Rules, bytes: &[u8], from: u32) -> Result<Vec<(u32, Vec<u8>, u32)>, Broken> {
        let (mut found, mut at) = (Vec::new(), 0);
        let flow = rules.walk(bytes, 0, &mut at, from, |entry| {
            found.push((entry.ino, entry.name.to_vec(), entry.end));
            ControlFlow::Continue(())
        })?;
        assert_eq!(flow, ControlFlow::Continue(()));
        Ok(found)
    }

    fn rules(limit: u32) -> Rules {
        Rules { limit, inodes_count: 100 }
    }

    #[test]
    fn entries_in_use_are_found_from_any_offset_on() {
        let block = [
            record(2, 12, b".", 2),
            record(2, 12, b"..", 2),
            record(0, 16, b"gone", 1),
            record(11, 24, b"here", 1),
        ]
        .concat();
        let all = vec![(2, b".".to_vec(), 12), (2, b"..".to_vec(), 24), (11, b"here".to_vec(), 64)];
        assert_eq!(walk(rules(64), &block, 0), Ok(all.clone()));
        assert_eq!(walk(rules(64), &block, 1), Ok(all[1..].to_vec()));
        assert_eq!(walk(rules(64), &block, 24), Ok(all[2..].to_vec()));
        assert_eq!(walk(rules(64), &block, 41), Ok(vec![]));
    }

    #[test]
    fn each_rule_is_told_by_name() {
        let length = Err(Broken("directory block: length of an entry"));
        for len in [0, 4, 8, 13, 60, 72] {
            assert_eq!(walk(rules(64), &record(11, len, b"a", 1), 0), length, "{len}");
        }
        assert_eq!(walk(rules(64), &record(11, 12, b"five5", 1), 0), length);
        let inode = Err(Broken("directory block: inode number of an entry"));
        assert_eq!(walk(rules(64), &record(101, 64, b"a", 1), 0), inode);
        let nameless = Err(Broken("directory block: entry without a name"));
        assert_eq!(walk(rules(64), &record(11, 64, b"", 1), 0), nameless);
    }

    #[test]
    fn records_of_64_kib_blocks() {
        for raw in [0, u16::MAX] {
            assert_eq!(rules(65536).record_len(raw), 65536);
            assert_eq!(rules(32768).record_len(raw), u32::from(raw));
        }
        assert_eq!(rules(65536).record_len(65532), 65532);
    }

    proptest! {
        #[test]
        fn separators_are_found_wherever_they_are(name in proptest::collection::vec(prop_oneof![
            20 => any::<u8>(), 1 => Just(b'/'), 1 => Just(0)
        ], 0..40)) {
            let naive = !name.contains(&b'/') && !name.contains(&0);
            prop_assert_eq!(is_path_component(&name), naive);
        }

        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), limit in 0..70_000_u32) {
            let _ = walk(rules(limit), &bytes, 0);
        }

        // Bytes that are nearly a directory get further than random ones.
        #[test]
        fn nearly_a_block(lens in proptest::collection::vec((0..200_u32, 0..48_u16, 0..20_usize), 1..30), limit in 0..1200_u32) {
            let block: Vec<u8> = lens.iter().flat_map(|&(ino, len, name)| record(ino, len, &vec![b'n'; name], 1)).collect();
            if let Ok(found) = walk(rules(limit), &block, 0) {
                for (ino, name, end) in found {
                    prop_assert!(ino <= 100 && !name.is_empty() && end <= limit);
                }
            }
        }
    }
}
