//! Directories: of every size, with names of every sort, deep.

use super::{Room, make_directory, write_file};
use crate::seed::Random;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories of 0, 1, 200 and many entries, and one that was large and is nearly empty again.
pub fn sizes(top: &Path, room: &Room) {
    for count in [0, 1, 200, room.many] {
        entries(&top.join(format!("of-{count}")), count);
    }
    let shrunk = top.join("shrunk");
    entries(&shrunk, 400);
    for n in (0..400).filter(|n| n % 40 != 7) {
        std::fs::remove_file(shrunk.join(format!("entry-{n}"))).expect("removing an entry");
    }
}

/// A directory of `count` names of a few files: links are cheaper than files.
fn entries(directory: &Path, count: u32) {
    make_directory(directory);
    let mut file = PathBuf::new();
    for n in 0..count {
        let path = directory.join(format!("entry-{n}"));
        if n % 400 == 0 {
            write_file(&path, format!("{n}").as_bytes());
            file = path;
        } else {
            std::fs::hard_link(&file, path).expect("a hard link");
        }
    }
}

/// Names of one byte up to 255, of bytes that are no text, and such that only differ a little.
pub fn odd_names(directory: &Path) {
    make_directory(directory);
    let mut names: Vec<Vec<u8>> =
        [1, 2, 3, 4, 5, 8, 9, 12, 13, 100, 254, 255].map(|n| vec![b'n'; n]).to_vec();
    let odd: [&[u8]; 20] = [
        b"new\nline",
        b"tab\t",
        b"\x01\x02\x7f",
        b"escape\x1b[31mred",
        b"not\xff\xfeutf8",
        b"\x80",
        "umlaut-\u{e4}\u{f6}\u{fc}".as_bytes(),
        "combining-a\u{308}".as_bytes(),
        "\u{6f22}\u{5b57}".as_bytes(),
        "\u{1f980}".as_bytes(),
        b" space at both ends ",
        b"-dash",
        b"...",
        b"..a",
        b".hidden",
        b"back\\slash",
        b"quote\"'`",
        b"star*?[x]",
        b"Case",
        b"case",
    ];
    names.extend(odd.map(<[u8]>::to_vec));
    names.push((1..=255).filter(|byte| *byte != b'/').collect());
    for name in names {
        write_file(&directory.join(OsStr::from_bytes(&name)), &name);
    }
}

/// Directories within directories: forty short ones, and names that make a path of 3,000 bytes.
pub fn deep(directory: &Path) {
    let mut path = directory.join("short");
    for level in 0..40 {
        path.push(level.to_string());
    }
    make_directory(&path);
    write_file(&path.join("bottom"), b"forty down");
    let mut path = directory.join("long");
    for _ in 0..12 {
        path.push("d".repeat(240));
    }
    make_directory(&path);
    write_file(&path.join("bottom"), b"a long way down");
}

/// `count` empty files with names of random bytes, for the hashes.
pub fn names_of_all_bytes(directory: &Path, count: u32) {
    make_directory(directory);
    let mut random = Random::new(u64::from(count));
    let first = directory.join("first");
    write_file(&first, b"");
    for n in 0..count {
        let mut name = random.bytes(1 + (n % 60) as usize);
        name.extend_from_slice(n.to_string().as_bytes());
        for byte in &mut name {
            if matches!(*byte, 0 | b'/') {
                *byte = b'_';
            }
        }
        std::fs::hard_link(&first, directory.join(OsStr::from_bytes(&name))).expect("a hard link");
    }
}

/// `count` names of 255 bytes: few fit into a block, so that the index becomes deep.
pub fn long_names(directory: &Path, count: u32) {
    make_directory(directory);
    let first = directory.join("first");
    write_file(&first, b"");
    for n in 0..count {
        std::fs::hard_link(&first, directory.join(format!("{n:0>255}"))).expect("a hard link");
    }
}

/// Names for casefolded look-up: the directory `fold` is marked by the image's later steps.
pub fn casefold(top: &Path) {
    for directory in ["fold", "plain"] {
        let directory = top.join(directory);
        make_directory(&directory.join("Inner"));
        for name in ["README", "Stra\u{df}e", "\u{c4}rger", "e\u{301}tude", "\u{130}stanbul", "\u{3a3}igma"] {
            write_file(&directory.join(name), name.as_bytes());
        }
        write_file(&directory.join(OsStr::from_bytes(b"Not\xffUTF8")), b"");
        write_file(&directory.join("Inner/File"), b"");
    }
    let many = top.join("many");
    make_directory(&many);
    for n in 0..400 {
        write_file(&many.join(format!("Name Number {n}")), b"");
    }
}

/// A few, for corruption: one with an index.
pub fn few(top: &Path, room: &Room) {
    make_directory(&top.join("empty"));
    make_directory(&top.join("a/b/c/d"));
    entries(&top.join("indexed"), room.many);
    write_file(&top.join("a/b/file"), b"in b");
}
