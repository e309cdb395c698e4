//! Against debugfs, whose hashes we did not write: `dx_hash` of names of every length, all versions, with seeds.

use super::*;
use proptest::prelude::*;
use std::process::Command;

const SEED: [u32; 4] = [0x0403_0201, 0x0807_0605, 0x0C0B_0A09, 0x100F_0E0D];
const SEED_AS_UUID: &str = "01020304-0506-0708-090a-0b0c0d0e0f10";

fn hasher(version: HashVersion, sign: CharSign, seed: [u32; 4]) -> NameHasher {
    NameHasher { version, sign, seed }
}

/// Names that debugfs takes on a command line: no quotes, blanks or NUL.
fn names() -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for len in 1..=255_usize {
        names.push((0..len).map(|i| b'!' + 2 + ((i * 7 + len * 3) % 60) as u8).collect());
        names.push((0..len).map(|i| 0x80 + ((i * 11 + len * 5) % 127) as u8).collect());
    }
    names
}

/// What `debugfs` prints as the hash of each name, with `options` of its `dx_hash`.
pub(crate) fn debugfs_dx_hash(options: &str, names: &[Vec<u8>]) -> Vec<u32> {
    debugfs_hash_and_minor(options, names).into_iter().map(|(hash, _)| hash).collect()
}

/// As [`debugfs_dx_hash`], with the minor hashes.
fn debugfs_hash_and_minor(options: &str, names: &[Vec<u8>]) -> Vec<(u32, u32)> {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    let mut commands = Vec::new();
    for name in names {
        commands.extend_from_slice(format!("dx_hash {options} ").as_bytes());
        commands.extend_from_slice(name);
        commands.push(b'\n');
    }
    std::fs::write(&script, commands).unwrap();
    let output = Command::new("debugfs").env("LC_ALL", "C").arg("-f").arg(&script).output().unwrap();
    let number = |line: &[u8], before: &[u8]| {
        let at = line.windows(before.len()).rposition(|part| part == before).unwrap() + before.len();
        let digits = std::str::from_utf8(&line[at..]).unwrap();
        u32::from_str_radix(digits.split([' ', ')']).next().unwrap(), 16).unwrap()
    };
    let hashes: Vec<(u32, u32)> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"Hash of "))
        .map(|line| (number(line, b" is 0x"), number(line, b" (minor 0x")))
        .collect();
    assert_eq!(hashes.len(), names.len(), "{}", String::from_utf8_lossy(&output.stderr));
    hashes
}

#[test]
fn hashes_are_those_of_debugfs() {
    let names = names();
    // debugfs knows the unsigned forms by number only.
    let algorithms = [
        ("legacy", HashVersion::Legacy, CharSign::Signed),
        ("3", HashVersion::Legacy, CharSign::Unsigned),
        ("half_md4", HashVersion::HalfMd4, CharSign::Signed),
        ("4", HashVersion::HalfMd4, CharSign::Unsigned),
        ("tea", HashVersion::Tea, CharSign::Signed),
        ("5", HashVersion::Tea, CharSign::Unsigned),
    ];
    for (algorithm, version, sign) in algorithms {
        for (seed, option) in [([0; 4], String::new()), (SEED, format!("-s {SEED_AS_UUID}"))] {
            let hasher = hasher(version, sign, seed);
            let theirs = debugfs_hash_and_minor(&format!("-h {algorithm} {option}"), &names);
            for (name, (theirs, minor)) in names.iter().zip(theirs) {
                assert_eq!(hasher.hash(name), theirs, "{algorithm} {option} {name:x?}");
                // The legacy function has no minor hash.
                let minor = if version == HashVersion::Legacy { hasher.half_md4(name).1 } else { minor };
                assert_eq!(hasher.hash_and_minor(name), (theirs, minor), "{algorithm} {option} {name:x?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_hash_without_the_low_bit(name in proptest::collection::vec(any::<u8>(), 0..800), raw in 0..3_u8) {
        let version = HashVersion::from_raw(raw).unwrap();
        let hash = hasher(version, CharSign::Signed, SEED).hash(&name);
        prop_assert_eq!(hash & 1, 0);
        prop_assert_ne!(hash, END_OF_DIRECTORY);
    }
}
