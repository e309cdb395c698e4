//! What is broken or cannot be read is said by name: checksums of every structure, features, short images.

mod support;

use rumpcap_ext4::Options;
use rumpcap_ext4::layout::SUPER_BLOCK_OFFSET;
use rumpcap_host::Error;
use rumpcap_vfs::FileSystem;
use std::os::unix::fs::FileExt;
use support::{Image, have_tools, noise};
use tempfile::TempDir;

fn mount_error(image: &Image) -> Option<Error> {
    image.try_mount(&Options::default()).err()
}

fn flip(image: &Image, offset: u64) {
    let byte = image.bytes(offset, 1)[0];
    image.patch(offset, &[byte ^ 0x10]);
}

/// An image with a file of 400 extents, which needs blocks for its tree. Gives its inode number too.
fn with_fragments(arguments: &[&str]) -> (Image, u64) {
    let tree = TempDir::new().expect("a directory");
    let file = std::fs::File::create(tree.path().join("file")).expect("a file");
    for n in 0..400 {
        file.write_all_at(&noise(n, 100), n * 131_072).expect("written");
    }
    let image = Image::make(arguments, "128M", Some(tree.path()));
    let ino = image.stat(&["/file".to_owned()])["/file"].ino;
    (image, ino)
}

/// First block of the inode table of group 0, and the blocks of the tree of `/file`, as debugfs says them.
fn places(image: &Image) -> (u64, Vec<u64>) {
    let output = image.debugfs(&["show_super_stats".to_owned()]);
    let table = output.lines().find_map(|line| line.split("inode table at ").nth(1)).expect("group 0");
    let table =
        table.split_whitespace().next().expect("a block").trim_end_matches(',').parse().expect("a number");
    let extents = image.debugfs(&["stat /file".to_owned()]);
    let tree = extents.split("(ETB").skip(1).filter_map(|part| part.split("):").nth(1));
    let tree =
        tree.map(|part| part.split([',', '\n']).next().expect("a block").trim().parse().expect("a number"));
    (table, tree.collect())
}

#[test]
fn a_flipped_bit_names_the_structure() {
    if !have_tools() {
        return;
    }
    for block_size in [1024u64, 4096, 16_384] {
        let make = || with_fragments(&["-t", "ext4", "-b", &block_size.to_string()]);

        let (image, _) = make();
        flip(&image, SUPER_BLOCK_OFFSET + 0x78);
        assert_eq!(mount_error(&image), Some(Error::Checksum { what: "super block", at: 1024 }));

        let (image, ino) = make();
        let descriptors = if block_size == 1024 { 2 } else { 1 } * block_size;
        flip(&image, descriptors + 12);
        let error = image.mount().node(ino).err();
        assert_eq!(error, Some(Error::Checksum { what: "group descriptor", at: 0 }));

        let (image, ino) = make();
        let (table, _) = places(&image);
        flip(&image, table * block_size + (ino - 1) * 256 + 8);
        assert_eq!(image.mount().node(ino).err(), Some(Error::Checksum { what: "inode", at: ino }));
        assert!(image.mount().node(ino - 1).is_ok(), "its neighbour is whole");

        let (image, ino) = make();
        let (_, tree) = places(&image);
        let block = *tree.last().expect("the tree has blocks");
        flip(&image, block * block_size + 30);
        let mounted = image.mount();
        let node = mounted.node(ino).expect("the inode is whole");
        assert_eq!(mounted.content(&node), Err(Error::Checksum { what: "extent tree block", at: block }));
        assert_eq!(
            mounted.content(&node),
            Err(Error::Checksum { what: "extent tree block", at: block }),
            "again"
        );
    }
}

#[test]
fn crc16_of_descriptors_is_verified() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"], "32M", None);
    assert!(image.mount().node(2).is_ok());
    flip(&image, 2048 + 12);
    assert_eq!(image.mount().node(2).err(), Some(Error::Checksum { what: "group descriptor", at: 0 }));
}

#[test]
fn a_broken_descriptor_does_not_spoil_its_neighbours() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", "^flex_bg"], "64M", None);
    flip(&image, 2048 + 3 * 64 + 12);
    let mounted = image.mount();
    assert!(mounted.node(2).is_ok());
    let of_group_3 = u64::from(mounted.fs.super_block().inodes_per_group) * 3 + 1;
    assert_eq!(mounted.node(of_group_3).err(), Some(Error::Checksum { what: "group descriptor", at: 3 }));
    assert!(mounted.node(2).is_ok());
}

#[test]
fn features_are_refused_by_name() {
    if !have_tools() {
        return;
    }
    let refused = |bits: u32| {
        let image = Image::make(&["-t", "ext4", "-O", "^metadata_csum"], "8M", None);
        let at = SUPER_BLOCK_OFFSET + 0x60;
        let word = u32::from_le_bytes(image.bytes(at, 4).try_into().expect("four bytes"));
        image.patch(at, &(word | bits).to_le_bytes());
        mount_error(&image)
    };
    assert_eq!(refused(0x1), Some(Error::Unsupported { what: "compression" }));
    assert_eq!(refused(0x1000), Some(Error::Unsupported { what: "dirdata" }));
    assert_eq!(refused(0x4000_0020), Some(Error::UnknownFeature { bits: 0x4000_0020 }));
    let journal = Image::make(&["-O", "journal_dev", "-b", "4096"], "8M", None);
    assert_eq!(mount_error(&journal), Some(Error::Unsupported { what: "journal_dev" }));
}

#[test]
fn an_external_journal_is_refused_when_it_is_needed() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-O", "^metadata_csum,^has_journal"], "8M", None);
    let set = |at: u64, bit: u8| image.patch(at, &[image.bytes(at, 1)[0] | bit]);
    set(SUPER_BLOCK_OFFSET + 0x5C, 0x4);
    assert_eq!(mount_error(&image), None, "all is in its place");
    set(SUPER_BLOCK_OFFSET + 0x60, 0x4);
    assert_eq!(mount_error(&image), Some(Error::Unsupported { what: "external journal device" }));
    let ignoring = Options { ignore_journal: true, ..Options::default() };
    assert!(image.try_mount(&ignoring).is_ok());
}

#[test]
fn a_short_image_says_how_long_it_must_be() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4"], "32M", None);
    let file = std::fs::OpenOptions::new().write(true).open(image.path()).expect("the image opens");
    for have in [31 << 20, 2048, 2047, 100, 0] {
        file.set_len(have).expect("cut");
        let expected =
            if have < 2048 { Error::NotAFileSystem } else { Error::ShortDevice { need: 32 << 20, have } };
        assert_eq!(mount_error(&image), Some(expected), "{have} bytes");
    }
}

#[test]
fn a_backup_super_block_can_be_used() {
    if !have_tools() {
        return;
    }
    for (block_size, backup) in [("1024", 8193 * 1024), ("4096", 32_768 * 4096)] {
        let image = Image::make(&["-t", "ext4", "-b", block_size], "200M", None);
        // The primary super block and its descriptors.
        image.patch(0, &vec![0; 8192]);
        assert_eq!(mount_error(&image), Some(Error::NotAFileSystem));
        let options = Options { super_block_offset: Some(backup), ..Options::default() };
        let mounted = image.try_mount(&options).expect("the backup is whole");
        let root = mounted.fs.read_node(&mounted.reserve(), mounted.fs.root(), 0);
        assert!(root.is_ok(), "{root:?}");
    }
}
