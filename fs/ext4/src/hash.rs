//! Hashes of names in a directory's tree.
//!
//! Who calls it: `htree`, `dir_change`; `dir` for the order of a listing. Pure functions on bytes: no memory, cannot fail.
//!
//! There are three functions (legacy, half MD4, TEA), each in two forms: file systems made where `char` is signed
//! sign-extend the bytes of a name, the others do not; the super block says which. The low bit of a hash is always
//! 0: in the tree it marks a leaf that continues a run of equal hashes.
//!
//! Source: "ext4 Data Structures and Algorithms", hash tree directories; R. Rivest, RFC 1320 (MD4, of which
//! this is two thirds with half the state); D. Wheeler, R. Needham, "TEA, a Tiny Encryption Algorithm" (1994).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::SuperBlock;

/// Which function a tree uses, as its root says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashVersion {
    Legacy,
    HalfMd4,
    Tea,
}

/// How the bytes of a name become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CharSign {
    Signed,
    Unsigned,
}

/// A hash function with all that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameHasher {
    pub version: HashVersion,
    pub sign: CharSign,
    /// The file system's seed; all zeros stands for MD4's initial state.
    pub seed: [u32; 4],
}

const MD4_INITIAL_STATE: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
/// The hash that marks the end of a directory in the kernel's cookies; names get the one below instead.
const END_OF_DIRECTORY: u32 = 0xFFFF_FFFE;

impl HashVersion {
    /// The version in a tree's root; `None` for what no tree of clear names uses.
    pub(crate) fn from_raw(raw: u8) -> Option<HashVersion> {
        match raw {
            0 => Some(HashVersion::Legacy),
            1 => Some(HashVersion::HalfMd4),
            2 => Some(HashVersion::Tea),
            _ => None,
        }
    }

    /// The version as a tree's root has it.
    pub(crate) fn raw(self) -> u8 {
        match self {
            HashVersion::Legacy => 0,
            HashVersion::HalfMd4 => 1,
            HashVersion::Tea => 2,
        }
    }
}

impl NameHasher {
    /// That of a tree of `version` in a file system.
    pub(crate) fn of(sb: &SuperBlock, version: HashVersion) -> NameHasher {
        let sign = if sb.hash_unsigned { CharSign::Unsigned } else { CharSign::Signed };
        NameHasher { version, sign, seed: sb.hash_seed }
    }

    /// The hash of `name`, its low bit 0.
    pub(crate) fn hash(&self, name: &[u8]) -> u32 {
        let hash = match self.version {
            HashVersion::Legacy => self.legacy(name),
            HashVersion::HalfMd4 => self.half_md4(name).0,
            HashVersion::Tea => self.tea(name).0,
        };
        in_tree(hash)
    }

    /// The hash of `name`, and what tells names of one hash apart in a listing: more of the function's state. The legacy function has
    /// no more; there it is that of half MD4.
    pub(crate) fn hash_and_minor(&self, name: &[u8]) -> (u32, u32) {
        let (hash, minor) = match self.version {
            HashVersion::Legacy => (self.legacy(name), self.half_md4(name).1),
            HashVersion::HalfMd4 => self.half_md4(name),
            HashVersion::Tea => self.tea(name),
        };
        (in_tree(hash), minor)
    }

    fn number(&self, byte: u8) -> u32 {
        match self.sign {
            CharSign::Signed => i32::from(byte.cast_signed()).cast_unsigned(),
            CharSign::Unsigned => u32::from(byte),
        }
    }

    fn state(&self) -> [u32; 4] {
        if self.seed == [0; 4] { MD4_INITIAL_STATE } else { self.seed }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12A3_FE2D_u32, 0x37AB_E8F9_u32);
        for &byte in name {
            let mixed = last ^ self.number(byte).wrapping_mul(7_152_373);
            let mut next = before.wrapping_add(mixed);
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7FFF_FFFF);
            }
            (before, last) = (last, next);
        }
        last << 1
    }

    fn half_md4(&self, name: &[u8]) -> (u32, u32) {
        let mut state = self.state();
        self.for_each_group::<8>(name, |words| half_md4_transform(&mut state, words));
        let [_, hash, minor, _] = state;
        (hash, minor)
    }

    fn tea(&self, name: &[u8]) -> (u32, u32) {
        let mut state = self.state();
        self.for_each_group::<4>(name, |words| tea_transform(&mut state, words));
        let [hash, minor, ..] = state;
        (hash, minor)
    }

    /// Cuts `name` into groups of `N` words, each group filled up with the number of bytes that were left when it
    /// began (a byte, repeated). At most 255 / 16 + 1 groups for a name; a casefolded one is longer, and bounded too.
    fn for_each_group<const N: usize>(&self, name: &[u8], mut transform: impl FnMut(&[u32; N])) {
        let mut rest = name;
        while !rest.is_empty() {
            let (group, behind) = rest.split_at(rest.len().min(N.wrapping_mul(4)));
            transform(&self.words(group, rest.len()));
            rest = behind;
        }
    }

    fn words<const N: usize>(&self, group: &[u8], left: usize) -> [u32; N] {
        // Only the low bits of the length count where it is over a byte; that is how the format has it.
        let left = left as u32;
        let two = left | left << 8;
        let pad = two | two << 16;
        let mut words = [pad; N];
        for (word, bytes) in words.iter_mut().zip(group.chunks(4)) {
            *word = bytes.iter().fold(pad, |word, &byte| self.number(byte).wrapping_add(word << 8));
        }
        words
    }
}

/// A hash as trees have it.
fn in_tree(hash: u32) -> u32 {
    match hash & !1 {
        END_OF_DIRECTORY => END_OF_DIRECTORY.wrapping_sub(2),
        hash => hash,
    }
}

/// One step of a round: mixes a word into the first of four registers, which then move up by one.
fn step(registers: [u32; 4], mixed: u32, word: u32, shift: u32) -> [u32; 4] {
    let [a, b, c, d] = registers;
    [d, a.wrapping_add(mixed).wrapping_add(word).rotate_left(shift), b, c]
}

fn half_md4_transform(state: &mut [u32; 4], words: &[u32; 8]) {
    let &[w0, w1, w2, w3, w4, w5, w6, w7] = words;
    let mut x = *state;
    for (word, shift) in [w0, w1, w2, w3, w4, w5, w6, w7].into_iter().zip([3, 7, 11, 19].into_iter().cycle())
    {
        let [_, b, c, d] = x;
        x = step(x, d ^ (b & (c ^ d)), word, shift);
    }
    for (word, shift) in [w1, w3, w5, w7, w0, w2, w4, w6].into_iter().zip([3, 5, 9, 13].into_iter().cycle()) {
        let [_, b, c, d] = x;
        let majority = (b & c).wrapping_add((b ^ c) & d);
        x = step(x, majority.wrapping_add(0x5A82_7999), word, shift);
    }
    for (word, shift) in [w3, w7, w2, w6, w1, w5, w0, w4].into_iter().zip([3, 9, 11, 15].into_iter().cycle())
    {
        let [_, b, c, d] = x;
        x = step(x, (b ^ c ^ d).wrapping_add(0x6ED9_EBA1), word, shift);
    }
    for (sum, add) in state.iter_mut().zip(x) {
        *sum = sum.wrapping_add(add);
    }
}

fn tea_transform(state: &mut [u32; 4], words: &[u32; 4]) {
    let &[a, b, c, d] = words;
    let [s0, s1, ..] = *state;
    let (mut x, mut y, mut sum) = (s0, s1, 0_u32);
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9E37_79B9);
        x = x.wrapping_add(tea_mix(y, sum, a, b));
        y = y.wrapping_add(tea_mix(x, sum, c, d));
    }
    let [s0, s1, ..] = state;
    *s0 = s0.wrapping_add(x);
    *s1 = s1.wrapping_add(y);
}

fn tea_mix(v: u32, sum: u32, k0: u32, k1: u32) -> u32 {
    (v << 4).wrapping_add(k0) ^ v.wrapping_add(sum) ^ (v >> 5).wrapping_add(k1)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub(crate) mod tests;
