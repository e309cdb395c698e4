//! Directories, linear and indexed, in every form that the tools make: listed and looked up as debugfs has them.

mod directory;
mod support;

use directory::{check_directory, debugfs_list, fill, fsck, index, list, lookup, walk};
use rumpcap_host::Error;
use rumpcap_vfs::{FileKind, Node};
use std::collections::BTreeMap;
use std::path::Path;
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
    const LEVELS_AND_LEAVES: u64 = 6;
    // A page of the block, one to verify it, and one of the mapping.
    const PAGES_OF_EACH: u64 = 8;
    for (name, &ino) in expected.iter().step_by(10) {
        let before = mounted.vm.report().lookups;
        assert_eq!(lookup(mounted, node, name), Ok(ino));
        let absent = [name, &b"?"[..]].concat();
        if absent.len() <= 255 {
            assert_eq!(lookup(mounted, node, &absent), Err(Error::NotFound));
        }
        let pages = mounted.vm.report().lookups - before;
        assert!(pages <= 2 * LEVELS_AND_LEAVES * PAGES_OF_EACH, "{what}: {pages} pages for a name");
    }
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
            let tune = std::process::Command::new("tune2fs")
                .args(["-E", &format!("hash_alg={algorithm}")])
                .arg(image.path())
                .output()
                .unwrap();
            assert!(tune.status.success());
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

/// Root, two levels of nodes, leaves.
#[test]
fn three_levels_of_a_large_directory() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    // Three entries of 264 bytes fill a block of 1 KiB, and 124 pointers a root: more than 124 * 126 * 3 entries.
    fill(tree.path(), "many", (0..50_000).map(|i| format!("{i:05}{}", "x".repeat(250))));
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", "large_dir"], "64M", Some(tree.path()));
    index(&image);
    let dump = image.debugfs(&["htree_dump /many".to_owned()]);
    assert!(dump.contains("Indirect levels: 2"), "{}", &dump[..dump.len().min(1000)]);
    let mounted = image.mount();
    let expected = debugfs_list(&image, "/many");
    assert_eq!(expected.len(), 50_002);
    check_directory(&mounted, &walk(&mounted, "/many"), &expected, "large_dir");
    check_few_pages(&mounted, &walk(&mounted, "/many"), &expected, "large_dir");
}
