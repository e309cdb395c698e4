//! Directories, linear and indexed, in every form that the tools make: listed and looked up as debugfs has them.
// A step that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod directory;
mod support;

use directory::{KernelMount, check_directory, debugfs_list, fill, index, list, lookup, walk};
use rumpcap_host::Error;
use rumpcap_vfs::{FileKind, Node};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;
use support::{Image, Mounted, have_tools};
use tempfile::TempDir;

/// mke2fs arguments of each file system; blocks of all sizes, with and without checksums and types.
const MATRIX: &[&[&str]] = &[
    &["-t", "ext2", "-b", "1024"],
    &["-t", "ext2", "-b", "1024", "-O", "^filetype"],
    &["-t", "ext2", "-b", "4096", "-O", "^filetype,^dir_index"],
    &["-t", "ext3", "-b", "4096"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "2048"],
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "8192"],
    &["-t", "ext4", "-b", "16384"],
    &["-t", "ext4", "-b", "32768"],
    &["-t", "ext4", "-b", "65536"],
    &["-t", "ext4", "-b", "65536", "-O", "^metadata_csum"],
    &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum"],
    &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"],
    &["-t", "ext4", "-b", "4096", "-O", "metadata_csum_seed,large_dir"],
    &["-t", "ext4", "-b", "4096", "-O", "^extent,^64bit"],
    &["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"],
];

const DIRECTORIES: &[&str] = &["/", "/empty", "/small", "/many", "/long"];

fn make_tree(tree: &Path, many: usize) {
    std::fs::create_dir(tree.join("empty")).unwrap();
    fill(tree, "small", (0..200).map(|i| format!("file-{i}")));
    fill(tree, "many", (0..many).map(|i| format!("{:x}-{}", i * 7919, "n".repeat(i % 23))));
    fill(tree, "long", (0..300).map(|i| format!("{i:03}{}", "l".repeat(252))));
    std::fs::create_dir(tree.join("small/directory")).unwrap();
    std::os::unix::fs::symlink("target", tree.join("small/link")).unwrap();
    std::fs::write(tree.join("small/\u{fc}ml\u{e4}ut"), "x").unwrap();
}

/// Looks up every tenth name, and others that are not there: the tree leads to each by root, nodes and leaf, so a lookup
/// sees few pages, never all of the directory.
fn check_few_pages(mounted: &Mounted, node: &Node, expected: &BTreeMap<Vec<u8>, u64>, what: &str) {
    // Four blocks; for each, its page twice, up to two of the extents, and four looks at it again to verify it.
    const PAGES_MAX: u64 = 4 * 8;
    let pages_for = |name: &[u8], inode| {
        let before = mounted.vm.report().lookups;
        assert_eq!(lookup(mounted, node, name), inode, "{what}");
        mounted.vm.report().lookups - before
    };
    for (name, &ino) in expected.iter().step_by(10) {
        let present = pages_for(name, Ok(ino));
        assert!((1..=PAGES_MAX).contains(&present), "{what}: {present} pages for a name");
        let absent = [name, &b"?"[..]].concat();
        if absent.len() <= 255 {
            let absent = pages_for(&absent, Err(Error::NotFound));
            assert!((2..=PAGES_MAX).contains(&absent), "{what}: {absent} pages for no name");
        }
    }
}

fn tune(image: &Image, option: &str) {
    let output =
        Command::new("tune2fs").args(["-E", option]).arg(image.path()).output().expect("tune2fs runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn check_image(image: &Image, what: &str) {
    let mounted = image.mount();
    for path in DIRECTORIES {
        let expected = debugfs_list(image, path);
        assert!(expected.contains_key(&b".."[..]), "{what} {path}: debugfs lists something");
        check_directory(&mounted, &walk(&mounted, path), &expected, &format!("{what} {path}"));
    }
}

#[test]
fn every_form_linear_and_indexed() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    make_tree(tree.path(), 3000);
    for arguments in MATRIX {
        let image = Image::make(arguments, "64M", Some(tree.path()));
        check_image(&image, &format!("{arguments:?} linear"));
        index(&image);
        check_image(&image, &format!("{arguments:?} indexed"));
    }
}

#[test]
fn kinds_are_those_of_the_entries() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    make_tree(tree.path(), 10);
    for (arguments, known) in [(&["-t", "ext4"][..], true), (&["-t", "ext2", "-O", "^filetype"], false)] {
        let mounted = Image::make(arguments, "16M", Some(tree.path())).mount();
        let listed = list(&mounted, &walk(&mounted, "/small"));
        let kind_of = |name: &[u8]| listed.iter().find(|entry| entry.name == name).unwrap().kind;
        let or_unknown = |kind| if known { kind } else { FileKind::Unknown };
        assert_eq!(kind_of(b"directory"), or_unknown(FileKind::Directory));
        assert_eq!(kind_of(b"link"), or_unknown(FileKind::Symlink));
        assert_eq!(kind_of(b"file-0"), or_unknown(FileKind::Regular));
        assert_eq!(kind_of(b"."), or_unknown(FileKind::Directory));
    }
}

/// The hash of a tree comes from the super block when e2fsck makes it; lookups take it from the tree.
#[test]
fn every_hash_version_signed_and_unsigned() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    // Bytes above 127 tell signed from unsigned.
    fill(
        tree.path(),
        "many",
        (0..3000).map(|i| format!("{i}-\u{e4}\u{f6}\u{4e2d}{}", "\u{df}".repeat(i % 31))),
    );
    for algorithm in ["legacy", "half_md4", "tea"] {
        for flags in ["1", "2"] {
            let image = Image::make(&["-t", "ext4", "-b", "1024"], "32M", Some(tree.path()));
            tune(&image, &format!("hash_alg={algorithm}"));
            image.debugfs(&[format!("set_super_value flags {flags}")]);
            index(&image);
            let mounted = image.mount();
            let expected = debugfs_list(&image, "/many");
            let what = format!("{algorithm} {flags}");
            check_directory(&mounted, &walk(&mounted, "/many"), &expected, &what);
            check_few_pages(&mounted, &walk(&mounted, "/many"), &expected, &what);
        }
    }
}

/// Trees that the kernel made by splitting leaves, three levels deep, with names that are no text.
#[test]
fn trees_of_the_kernel() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", "large_dir"], "64M", None);
    let Some(kernel) = KernelMount::new(&image) else { return };
    // Three entries of 264 bytes fill a block of 1 KiB, and 123 pointers a root.
    fill(kernel.path(), "many", (0..40_000).map(|i| format!("{i:05}{}", "x".repeat(250))));
    let odd = (0..2000_u32).map(|i| {
        let name = [&i.to_le_bytes()[..], b"\xff\xfe\n\t\x1b\"\\", &[b'\x80'; 40]].concat();
        OsString::from_vec(
            name.iter().map(|&byte| if matches!(byte, 0 | b'/') { b'_' } else { byte }).collect(),
        )
    });
    let odd: std::collections::BTreeSet<OsString> = odd.collect();
    fill(kernel.path(), "odd", odd);
    let (many, odd) = (kernel.list("many"), kernel.list("odd"));
    assert!(many.len() == 40_002 && odd.len() > 1000);
    drop(kernel);
    let dump = image.debugfs(&["htree_dump /many".to_owned()]);
    assert!(dump.contains("Indirect levels: 2"), "{}", &dump[..dump.len().min(1000)]);
    let mounted = image.mount();
    for (path, expected) in [("/many", &many), ("/odd", &odd)] {
        let node = walk(&mounted, path);
        check_directory(&mounted, &node, expected, path);
        check_few_pages(&mounted, &node, expected, path);
    }
}

/// Names of one hash that go on in the next leaf.
#[test]
fn names_of_one_hash_in_two_leaves() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "many", colliding_names());
    let image = Image::make(&["-t", "ext4", "-b", "1024"], "32M", Some(tree.path()));
    tune(&image, "hash_alg=legacy");
    index(&image);
    let dump = image.debugfs(&["htree_dump /many".to_owned()]);
    let continued = hashes_of(&dump, "Hash 0x", ',').filter(|(_, hash)| hash & 1 == 1).count();
    assert!(continued > 0, "no leaf continues a hash: {dump}");
    let mounted = image.mount();
    let expected = debugfs_list(&image, "/many");
    check_directory(&mounted, &walk(&mounted, "/many"), &expected, "collisions");
}

/// Of a great many names, those whose hash another one has, too. Seven of them fill a block of 1 KiB.
fn colliding_names() -> Vec<String> {
    let names: Vec<String> = (0..400_000).map(|i| format!("{i:06}{}", "c".repeat(114))).collect();
    let script = TempDir::new().unwrap();
    let path = script.path().join("script");
    let commands: String = names.iter().map(|name| format!("dx_hash -h legacy {name}\n")).collect();
    std::fs::write(&path, commands).unwrap();
    let output = Command::new("debugfs").arg("-f").arg(&path).output().expect("debugfs runs");
    let text = String::from_utf8(output.stdout).expect("these names are text");
    let mut by_hash: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (line, hash) in hashes_of(&text, " is 0x", ' ') {
        if let Some(name) = line.strip_prefix("Hash of ") {
            by_hash.entry(hash).or_default().push(name[..120].to_owned());
        }
    }
    by_hash.into_values().filter(|names| names.len() > 1).flatten().collect()
}

/// The lines that have a hash behind `before`, up to `end` or the line's, and the hash.
fn hashes_of<'t>(text: &'t str, before: &'t str, end: char) -> impl Iterator<Item = (&'t str, u32)> {
    text.lines().filter_map(move |line| {
        let (_, digits) = line.split_once(before)?;
        let digits = digits.split(end).next()?;
        Some((line, u32::from_str_radix(digits, 16).ok()?))
    })
}
