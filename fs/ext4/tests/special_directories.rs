//! Directories that are not plain: inline, casefolded, encrypted; and broken ones.
// A step that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod directory;
mod support;

use directory::{check_directory, debugfs_list, fill, index, list, list_some, lookup, walk};
use rumpcap_host::Error;
use rumpcap_vfs::{FileKind, Node};
use support::{Image, Mounted, have_tools, noise};
use tempfile::TempDir;

/// Flags of an inode.
const INDEX: u32 = 0x1000;
const ENCRYPT: u32 = 0x800;
const CASEFOLD: u32 = 0x4000_0000;
const INLINE: u32 = 0x1000_0000;

/// Adds flags to the inode of `path`.
fn add_flags(image: &Image, path: &str, flags: u32) {
    let path = path.to_owned();
    let old = image.stat(std::slice::from_ref(&path))[&path].flags;
    image.debugfs(&[format!("set_inode_field {path} flags {:#x}", old | flags)]);
}

/// Block of the device that holds block `logical` of `path`.
fn block_of(image: &Image, path: &str, logical: u64) -> u64 {
    let printed = image.debugfs(&[format!("bmap {path} {logical}")]);
    let number = printed.lines().filter_map(|line| line.trim().parse().ok()).next();
    number.unwrap_or_else(|| panic!("bmap: {printed}"))
}

fn names_of(mounted: &Mounted, node: &Node) -> Vec<Vec<u8>> {
    list(mounted, node).into_iter().map(|entry| entry.name).collect()
}

#[test]
fn inline_directories_of_every_length() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    for count in 0..40 {
        fill(tree.path(), &format!("d{count:02}"), (0..count).map(|i| format!("name-{i:02}")));
    }
    fill(tree.path(), "d00/sub", ["a"]);
    for arguments in [
        &["-t", "ext4", "-O", "inline_data", "-I", "256"][..],
        &["-t", "ext4", "-O", "inline_data", "-I", "1024", "-b", "4096"],
        &["-t", "ext4", "-O", "inline_data,^metadata_csum", "-I", "512", "-b", "1024"],
        &["-t", "ext4", "-O", "inline_data", "-I", "16384", "-b", "16384", "-N", "100"],
    ] {
        let image = Image::make(arguments, "32M", Some(tree.path()));
        let mounted = image.mount();
        let mut inline = 0;
        for count in 0..40 {
            let path = format!("/d{count:02}");
            let node = walk(&mounted, &path);
            let expected = debugfs_list(&image, &path);
            assert!(expected.len() > count, "{arguments:?} {path} {expected:?}");
            let mut listed = expected.clone();
            if node.attributes.flags & INLINE != 0 {
                inline += 1;
                // debugfs does not make up the entry for the directory itself.
                listed.insert(b".".to_vec(), node.attributes.ino.0);
                listed.insert(b"..".to_vec(), 2);
            }
            check_directory(&mounted, &node, &listed, &format!("{arguments:?} {path}"));
        }
        assert!(inline >= 3, "{arguments:?}: {inline} inline directories");
        let node = walk(&mounted, "/d00");
        assert_eq!(lookup(&mounted, &node, b".."), Ok(2));
        assert_eq!(lookup(&mounted, &node, b"."), Ok(node.attributes.ino.0));
        assert_eq!(list(&mounted, &node)[0].kind, FileKind::Directory);
    }
}

/// Pairs of names that are one in a directory that folds: as created, as looked up.
const FOLDED: &[(&str, &str)] = &[
    ("README", "readme"),
    ("Stra\u{df}e", "STRASSE"),
    ("\u{c9}t\u{e9}", "e\u{301}TE\u{301}"),
    ("\u{1e9b}\u{323}", "\u{1e61}\u{323}"),
    (
        "\u{3a3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}",
        "\u{3c3}\u{399}\u{301}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}",
    ),
    ("soft\u{ad}hyphen", "softhyphen"),
    ("\u{ac00}", "\u{1100}\u{1161}"),
    ("\u{fb03}", "FFI"),
];

#[test]
fn casefolded_directories_linear_and_indexed() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "many", (0..1500).map(|i| format!("File-{i:04}-\u{c4}\u{d6}")));
    fill(tree.path(), "many", FOLDED.iter().map(|(name, _)| (*name).to_owned()));
    fill(tree.path(), "plain", ["File"]);
    let image = Image::make(
        &["-t", "ext4", "-b", "1024", "-O", "casefold", "-E", "encoding=utf8"],
        "32M",
        Some(tree.path()),
    );
    add_flags(&image, "/many", CASEFOLD);
    for form in ["linear", "indexed"] {
        let mounted = image.mount();
        let node = walk(&mounted, "/many");
        assert_eq!(node.attributes.flags & INDEX != 0, form == "indexed");
        let expected = debugfs_list(&image, "/many");
        check_directory(&mounted, &node, &expected, form);
        for (name, other) in FOLDED {
            let found = lookup(&mounted, &node, other.as_bytes());
            assert_eq!(found, Ok(expected[name.as_bytes()]), "{form} {name} {other}");
        }
        let before = mounted.vm.report().lookups;
        for i in 0..100 {
            let name = format!("fILE-{i:04}-a\u{308}o\u{308}");
            let created = format!("File-{i:04}-\u{c4}\u{d6}");
            assert_eq!(lookup(&mounted, &node, name.as_bytes()), Ok(expected[created.as_bytes()]), "{form}");
        }
        let pages = (mounted.vm.report().lookups - before) / 100;
        assert!(form == "linear" || pages < 20, "{pages} pages for a lookup: the tree is not used");
        // Not valid in Unicode 12.1, or no UTF-8: compared as bytes, and not there.
        for name in [&b"\xff"[..], "\u{1fae0}".as_bytes()] {
            assert_eq!(lookup(&mounted, &node, name), Err(Error::NotFound));
        }
        assert_eq!(lookup(&mounted, &walk(&mounted, "/plain"), b"file"), Err(Error::NotFound));
        if form == "linear" {
            index(&image);
        }
    }
}

#[test]
fn strict_encoding_refuses_names_that_are_not_valid() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "folding", ["README"]);
    let arguments = ["-t", "ext4", "-O", "casefold", "-E", "encoding=utf8,encoding_flags=strict"];
    let image = Image::make(&arguments, "16M", Some(tree.path()));
    add_flags(&image, "/folding", CASEFOLD);
    let mounted = image.mount();
    let node = walk(&mounted, "/folding");
    assert!(matches!(lookup(&mounted, &node, b"\xff"), Err(Error::InvalidInput { .. })));
    assert!(lookup(&mounted, &node, b"readme").is_ok());
}

#[test]
fn encrypted_names_are_refused() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "secret", ["a", "b"]);
    std::fs::create_dir(tree.path().join("empty")).unwrap();
    let image = Image::make(&["-t", "ext4", "-O", "encrypt"], "16M", Some(tree.path()));
    add_flags(&image, "/secret", ENCRYPT);
    add_flags(&image, "/empty", ENCRYPT);
    let mounted = image.mount();
    let node = walk(&mounted, "/secret");
    let (listed, end) = list_some(&mounted, &node, 0, usize::MAX);
    assert_eq!(listed.iter().map(|entry| &entry.name[..]).collect::<Vec<_>>(), [&b"."[..], b".."]);
    assert_eq!(end, Err(Error::Encrypted));
    assert_eq!(lookup(&mounted, &node, b"a"), Err(Error::Encrypted));
    assert_eq!(lookup(&mounted, &node, b".."), Ok(2));
    assert_eq!(names_of(&mounted, &walk(&mounted, "/empty")), [&b"."[..], b".."]);
}

/// An encrypted name may have any bytes; it is no sign of corruption when they are those that a name may not have.
#[test]
fn encrypted_names_of_any_bytes_are_encrypted_names() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "secret", ["name"]);
    for byte in [b'/', 0, b'.'] {
        let image = Image::make(
            &["-t", "ext4", "-b", "4096", "-O", "encrypt,^metadata_csum"],
            "16M",
            Some(tree.path()),
        );
        let block = block_of(&image, "/secret", 0) * 4096;
        let content = image.bytes(block, 4096);
        let at = content.windows(4).position(|bytes| bytes == b"name").unwrap();
        image.patch(block + at as u64, &[byte; 4]);
        let corrupt = list_some(&image.mount(), &walk(&image.mount(), "/secret"), 0, usize::MAX).1;
        assert_eq!(corrupt.is_err(), byte != b'.', "the name is what a directory in the clear may not have");
        add_flags(&image, "/secret", ENCRYPT);
        let mounted = image.mount();
        let node = walk(&mounted, "/secret");
        assert_eq!(list_some(&mounted, &node, 0, usize::MAX).1, Err(Error::Encrypted));
    }
}

#[test]
fn what_is_no_directory_and_names_that_are_none() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    std::fs::write(tree.path().join("file"), "x").unwrap();
    let mounted = Image::make(&["-t", "ext4"], "8M", Some(tree.path())).mount();
    let (root, file) = (walk(&mounted, "/"), walk(&mounted, "/file"));
    assert_eq!(lookup(&mounted, &file, b"x"), Err(Error::NotADirectory));
    assert_eq!(list_some(&mounted, &file, 0, 1).1, Err(Error::NotADirectory));
    assert_eq!(lookup(&mounted, &root, &[b'x'; 256]), Err(Error::NameTooLong));
    assert_eq!(lookup(&mounted, &root, &[b'x'; 255]), Err(Error::NotFound));
    assert_eq!(lookup(&mounted, &root, b""), Err(Error::NotFound));
}

/// An indexed directory of `/many` in blocks of `block_size`.
fn indexed(block_size: &str, features: &str) -> Image {
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "many", (0..3000).map(|i| format!("{i:04}-{}", "n".repeat(30))));
    let arguments = ["-t", "ext4", "-b", block_size, "-O", features];
    let image = Image::make(&arguments, "64M", Some(tree.path()));
    index(&image);
    image
}

#[test]
fn wrong_checksums_name_the_block() {
    if !have_tools() {
        return;
    }
    for (block_size, bytes) in [("1024", 1024), ("4096", 4096), ("16384", 16384)] {
        let image = indexed(block_size, "metadata_csum");
        // A byte of a name in a leaf, then one of a pointer in the root.
        let size = {
            let mounted = image.mount();
            walk(&mounted, "/many").attributes.size_bytes
        };
        let middle = size / bytes / 2;
        let leaf = block_of(&image, "/many", middle);
        let old = image.bytes(leaf * bytes + 10, 1);
        image.patch(leaf * bytes + 10, &[old[0] ^ 1]);
        let mounted = image.mount();
        let node = walk(&mounted, "/many");
        let (listed, end) = list_some(&mounted, &node, 0, usize::MAX);
        assert_eq!(end, Err(Error::Checksum { what: "directory block", at: leaf }), "{block_size}");
        // Everything before it was handed over.
        assert_eq!(listed.last().map(|entry| entry.next.div_ceil(bytes)), Some(middle), "{block_size}");
        let failures = (0..3000).map(|i| format!("{i:04}-{}", "n".repeat(30)));
        let failures = failures.filter(|name| lookup(&mounted, &node, name.as_bytes()).is_err()).count();
        assert!((1..3000).contains(&failures), "{block_size}: {failures}");
        image.patch(leaf * bytes + 10, &old);

        let root = block_of(&image, "/many", 0);
        let old = image.bytes(root * bytes + 44, 1);
        image.patch(root * bytes + 44, &[old[0] ^ 1]);
        let mounted = image.mount();
        let error = Err(Error::Checksum { what: "directory index block", at: root });
        let node = walk(&mounted, "/many");
        assert_eq!(lookup(&mounted, &node, b"anything"), error, "{block_size}");
        assert_eq!(list_some(&mounted, &node, 0, usize::MAX), (vec![], error.map(|_: u64| ())));
    }
}

#[test]
fn a_tree_that_makes_no_sense_is_passed_by() {
    if !have_tools() {
        return;
    }
    // Hash version, levels, flags, limit, count; and a pointer past the end, to the first leaf.
    for (at, bytes) in
        [(28, &[9_u8][..]), (30, &[2]), (31, &[1]), (32, &[1, 0]), (34, &[0, 0]), (36, &[0xFF; 4])]
    {
        let image = indexed("1024", "^metadata_csum");
        let expected = debugfs_list(&image, "/many");
        image.patch(block_of(&image, "/many", 0) * 1024 + at, bytes);
        let mounted = image.mount();
        check_directory(&mounted, &walk(&mounted, "/many"), &expected, &format!("{at} {bytes:x?}"));
    }
}

#[test]
fn broken_entries_and_sizes_are_errors() {
    if !have_tools() {
        return;
    }
    let image = indexed("1024", "^metadata_csum");
    let leaf = block_of(&image, "/many", 3);
    let broken = |image: &Image, what| {
        let mounted = image.mount();
        let node = walk(&mounted, "/many");
        let (listed, end) = list_some(&mounted, &node, 0, usize::MAX);
        assert_eq!(end, Err(Error::Corrupt { what, at: leaf }));
        assert!(listed.len() > 2);
    };
    let old = image.bytes(leaf * 1024, 8);
    image.patch(leaf * 1024 + 4, &[3, 0]);
    broken(&image, "directory block: length of an entry");
    image.patch(leaf * 1024, &old);
    image.patch(leaf * 1024, &[0xFF; 4]);
    broken(&image, "directory block: inode number of an entry");
    image.patch(leaf * 1024, &old);
    image.patch(leaf * 1024 + 8, b"a/b");
    let mounted = image.mount();
    let node = walk(&mounted, "/many");
    let at = node.attributes.ino.0;
    let (_, end) = list_some(&mounted, &node, 0, usize::MAX);
    assert_eq!(end, Err(Error::Corrupt { what: "directory: name of an entry", at }));
    drop(mounted);

    image.debugfs(&["set_inode_field /many size 0x7fffffff".to_owned()]);
    let mounted = image.mount();
    let node = walk(&mounted, "/many");
    let error = Err(Error::Corrupt { what: "directory: size", at });
    assert_eq!(lookup(&mounted, &node, b"x"), error);
    image.debugfs(&["set_inode_field /many size 0x7ffffc00".to_owned()]);
    let mounted = image.mount();
    assert_eq!(lookup(&mounted, &walk(&mounted, "/many"), b"x"), error);
}

#[test]
fn holes_are_passed_over() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().unwrap();
    fill(tree.path(), "many", (0..500).map(|i| format!("{i:04}-{}", "n".repeat(30))));
    for kind in ["ext4", "ext2"] {
        let image = Image::make(&["-t", kind, "-b", "1024", "-O", "^dir_index"], "16M", Some(tree.path()));
        image.debugfs(&["punch /many 3 5".to_owned()]);
        let mounted = image.mount();
        let node = walk(&mounted, "/many");
        let listed = list(&mounted, &node);
        assert!(listed.len() > 300 && listed.len() < 480, "{}", listed.len());
        for entry in &listed {
            assert_eq!(lookup(&mounted, &node, &entry.name), Ok(entry.ino));
        }
        assert!(!listed.iter().any(|entry| (3..6).contains(&(entry.next.saturating_sub(1) / 1024))));
        let (rest, end) = list_some(&mounted, &node, 3 * 1024 + 100, usize::MAX);
        assert_eq!(end, Ok(()));
        assert_eq!(rest[0].next / 1024, 6);
        assert_eq!(lookup(&mounted, &node, b"none"), Err(Error::NotFound));
    }
}

/// Whatever a directory's blocks hold: an answer or an error, soon.
#[test]
fn random_damage_gives_errors_or_answers() {
    if !have_tools() {
        return;
    }
    for (features, block_size) in
        [("^metadata_csum", 1024), ("^metadata_csum", 8192), ("metadata_csum", 1024)]
    {
        let image = indexed(&block_size.to_string(), features);
        let blocks: Vec<u64> = (0..8).map(|logical| block_of(&image, "/many", logical)).collect();
        for seed in 0..60_u64 {
            let damage = noise(seed, 64);
            let mut saved = Vec::new();
            for bytes in damage.chunks_exact(8) {
                // Most damage close to the heads of blocks, where the structure is.
                let block = blocks[usize::from(bytes[0] % 8)] * block_size;
                let within = u64::from(u16::from_le_bytes([bytes[1], bytes[2]]))
                    % if bytes[3] & 1 == 0 { 64 } else { block_size };
                saved.push((block + within, image.bytes(block + within, 1)));
                image.patch(block + within, &bytes[4..5]);
            }
            let mounted = image.mount();
            let node = walk(&mounted, "/many");
            let (listed, _) = list_some(&mounted, &node, 0, usize::MAX);
            assert!(listed.len() <= 300_000);
            for i in (0..3000).step_by(100) {
                let _ = lookup(&mounted, &node, format!("{i:04}-{}", "n".repeat(30)).as_bytes());
            }
            let _ = list_some(&mounted, &node, seed * 131, 10);
            for (at, old) in saved.into_iter().rev() {
                image.patch(at, &old);
            }
        }
    }
}
