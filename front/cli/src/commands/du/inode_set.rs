//! [`InodeSet`]: a set of inode numbers, a bit each, in runs of 512.

use std::collections::BTreeMap;

const RUN_BITS: u64 = 512;

/// A set of inode numbers. Numbers that lie near each other, as those of hard-linked files mostly do, share their run.
#[derive(Default)]
pub struct InodeSet {
    runs: BTreeMap<u64, [u64; (RUN_BITS / 64) as usize]>,
}

impl InodeSet {
    /// Puts `ino` in; whether it was not there before.
    pub fn insert(&mut self, ino: u64) -> bool {
        let run = self.runs.entry(ino / RUN_BITS).or_default();
        let word = &mut run[(ino % RUN_BITS / 64) as usize];
        let bit = 1 << (ino % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn agrees_with_a_hash_set() {
        let (mut set, mut model) = (InodeSet::default(), HashSet::new());
        let mut n: u64 = 1;
        for _ in 0..20_000 {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ino = n >> 50;
            assert_eq!(set.insert(ino), model.insert(ino));
        }
        assert!(set.insert(u64::MAX) && !set.insert(u64::MAX));
    }
}
