//! The oracle is GNU tar: it makes the archives, in each of its formats.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "what a test does wrong shows")]

use super::*;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Archives of `directory`.
fn archive(directory: &Path, options: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    let out =
        command.args(options).args(["--sort=name", "-cf-", "."]).current_dir(directory).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Members with their content.
fn read(bytes: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match reader.content(&mut buffer).unwrap() {
                0 => break,
                n => content.extend_from_slice(&buffer[..n]),
            }
        }
        if let Some(runs) = &entry.runs {
            let (mut whole, mut at) = (vec![0; entry.size as usize], 0);
            for (offset, len) in runs.iter().map(|(o, l)| (*o as usize, *l as usize)) {
                whole[offset..offset + len].copy_from_slice(&content[at..at + len]);
                at += len;
            }
            content = whole;
        }
        all.push((entry, content));
    }
    reader.finish();
    all
}

#[test]
fn every_format_of_gnu_tar() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(140));
    std::fs::create_dir(dir.path().join("d".repeat(120))).unwrap();
    std::fs::write(dir.path().join(&long), "long\n").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), dir.path().join("link")).unwrap();
    std::fs::hard_link(dir.path().join(&long), dir.path().join("z-hard")).unwrap();
    let sparse = std::fs::File::create(dir.path().join("sparse")).unwrap();
    for i in 0..40 {
        sparse.write_all_at(b"data", i * 100_000).unwrap();
    }
    sparse.set_len(5_000_000).unwrap();
    let whole = std::fs::read(dir.path().join("sparse")).unwrap();
    let formats: [&[&str]; 5] = [
        &["--format=gnu"],
        &["--format=gnu", "-S"],
        &["--format=pax", "-S", "--sparse-version=1.0"],
        &["--format=pax", "-S", "--sparse-version=0.1"],
        &["--format=pax", "-S", "--sparse-version=0.0"],
    ];
    for options in formats {
        let members = read(&archive(dir.path(), options));
        let get = |name: &str| {
            let name = format!("./{name}").into_bytes();
            let found = members.iter().find(|(e, _)| e.name == name);
            found.unwrap_or_else(|| panic!("{options:?}: {}", name.escape_ascii()))
        };
        assert_eq!(members.len(), 6, "{options:?}");
        assert_eq!(get(&long).1, b"long\n");
        assert_eq!(get("link").0.link, "t".repeat(300).into_bytes());
        assert_eq!((get("link").0.what, get("z-hard").0.what), (What::Symlink, What::HardLink));
        assert_eq!(get("z-hard").0.link, format!("./{long}").into_bytes());
        let (entry, content) = get("sparse");
        assert_eq!(entry.size, 5_000_000, "{options:?}");
        assert!(*content == whole, "{options:?}");
        assert_eq!(entry.runs.is_some(), options.contains(&"-S"));
        assert_eq!(members[0].0.what, What::Directory);
    }
}

#[test]
fn attributes_and_odd_numbers() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    let owner = ["--owner=root:4000000000", "--group=g:70000"];
    for (format, mtime) in [("gnu", "@-5"), ("pax", "@-5.25"), ("pax", "@9999999999.5")] {
        let format = format!("--format={format}");
        let options = [&*format, &format!("--mtime={mtime}"), owner[0], owner[1], "--mode=4755"];
        let members = read(&archive(dir.path(), &options));
        let entry = &members[1].0;
        assert_eq!((entry.uid, entry.gid, entry.mode), (4_000_000_000, 70_000, 0o4755));
        let t = (entry.mtime.seconds, entry.mtime.nanoseconds);
        let expected = match mtime {
            "@-5" => (-5, 0),
            "@-5.25" => (-6, 750_000_000),
            _ => (9_999_999_999, 500_000_000),
        };
        assert_eq!(t, expected);
    }
}

#[test]
fn what_is_no_archive_is_said_with_its_place() {
    let error = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(e) => return e.to_string(),
            }
        }
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), vec![b'x'; 3000]).unwrap();
    let good = archive(dir.path(), &["--format=pax", "--pax-option=globexthdr.name=g,comment=hello"]);
    assert_eq!(error(&good), "");
    assert_eq!(error(&[]), "");
    assert_eq!(error(&[b'x'; 600]), "archive: no header of a tar archive, at byte 0");
    assert_eq!(error(&[b'x'; 100]), "archive: it ends in the middle, at byte 100");
    // Every byte of the beginning, broken: an error or another archive, and it ends.
    for at in 0..good.len().min(4096) {
        for value in [0, 0xff, b'9'] {
            let mut bad = good.clone();
            bad[at] = value;
            error(&bad);
        }
    }
    for cut in (0..good.len()).step_by(100) {
        error(&good[..cut]);
    }
}
