//! Against debugfs, whose tables of Unicode 12.1 we did not write: two names are equal when their folded forms have
//! one hash, so the hash that debugfs prints for a folded name tells how it folds.

use super::*;
use crate::hash::tests::debugfs_dx_hash;
use crate::hash::{CharSign, HashVersion, NameHasher};
use proptest::prelude::*;

fn hash_folded(name: &[u8]) -> u32 {
    let hasher = NameHasher { version: HashVersion::HalfMd4, sign: CharSign::Signed, seed: [0; 4] };
    match Folded::new(name) {
        Some(folded) => hasher.hash(folded.as_bytes()),
        None => hasher.hash(name),
    }
}

fn assert_hashes_equal(names: &[Vec<u8>]) {
    let theirs = debugfs_dx_hash("-h half_md4 -c -e utf8", names);
    for (name, theirs) in names.iter().zip(theirs) {
        assert_eq!(hash_folded(name), theirs, "{:?}", String::from_utf8_lossy(name));
    }
}

fn is_special_to_debugfs(c: char) -> bool {
    c <= ' ' || c == '"' || c == '\u{7f}'
}

#[test]
fn every_code_point_folds_as_in_debugfs() {
    let chars = (0..=0x10_FFFF).filter_map(char::from_u32).filter(|&c| !is_special_to_debugfs(c));
    let names: Vec<Vec<u8>> = chars.map(|c| format!("a{c}b").into_bytes()).collect();
    assert_hashes_equal(&names);
}

#[test]
fn cf1_folding_takes_at_most_three_times_the_bytes() {
    for c in (0..=0x10_FFFF).filter_map(char::from_u32) {
        let mut buf = [0; 4];
        let name = c.encode_utf8(&mut buf).as_bytes();
        if let Some(folded) = Folded::new(name) {
            assert!(folded.as_bytes().len() <= 3 * name.len(), "{c:?}");
        }
    }
}

#[test]
fn longest_expansion_fits() {
    let name = "\u{390}".repeat(127) + "x";
    assert_eq!(name.len(), NAME_MAX);
    assert_eq!(Folded::new(name.as_bytes()).unwrap().as_bytes().len(), 127 * 6 + 1);
    let marks = "a".to_string() + &"\u{301}\u{323}".repeat(63);
    assert!(Folded::new(marks.as_bytes()).unwrap().matches(marks.to_uppercase().as_bytes()));
}

#[test]
fn what_is_not_valid_equals_nothing() {
    for name in [&b"\xff"[..], b"a\xc0\x80", b"\xed\xa0\x80", "\u{1FAE0}".as_bytes(), &[b'a'; 256]] {
        assert!(Folded::new(name).is_none(), "{name:x?}");
        assert!(!Folded::new(b"a").unwrap().matches(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    // Sequences: canonical order of marks, Hangul, expansions, ignorable code points among them. Only valid ones:
    // what debugfs hashes for others is part folded and part not, which the kernel never writes.
    #[test]
    fn sequences_fold_as_in_debugfs(names in proptest::collection::vec(
        proptest::collection::vec(prop_oneof![
            proptest::char::range('\u{300}', '\u{36f}'),
            proptest::char::range('a', 'z'),
            proptest::char::range('\u{ac00}', '\u{d7a3}'),
            proptest::char::range('\u{1e00}', '\u{1fff}'),
            proptest::char::range('\u{591}', '\u{5c7}'),
            proptest::char::range('\u{200b}', '\u{200f}'),
            proptest::char::range('\u{4e00}', '\u{9fff}'),
            proptest::char::range('\u{10400}', '\u{10427}'),
        ], 1..60), 500)) {
        let names: Vec<Vec<u8>> = names.into_iter()
            .map(|name| "x".chars().chain(name).collect::<String>().into_bytes())
            .filter(|name| Folded::new(name).is_some()).collect();
        prop_assume!(names.len() > 100);
        assert_hashes_equal(&names);
    }

    #[test]
    fn any_bytes_fold_or_not(name in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(folded) = Folded::new(&name) {
            prop_assert!(folded.matches(&name));
        }
    }
}
