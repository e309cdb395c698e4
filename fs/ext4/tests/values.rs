//! Values at their limits: times to 2446, huge files, directories without a link count, device numbers, unwritten
//! extents, special inodes. Set with debugfs, which is also asked what it sees.

mod support;

use rumpcap_host::Error;
use rumpcap_vfs::{Extent, FileKind, FileSystem, Timestamp};
use support::{Image, have_tools, noise};
use tempfile::TempDir;

fn commands(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// An image with one file, `/file`, of `content`.
fn with_file(arguments: &[&str], content: &[u8]) -> Image {
    let tree = TempDir::new().expect("a directory");
    std::fs::write(tree.path().join("file"), content).expect("written");
    Image::make(arguments, "32M", Some(tree.path()))
}

#[test]
fn times_past_2038_and_before_1970() {
    if !have_tools() {
        return;
    }
    let image = with_file(&["-t", "ext4"], b"x");
    image.debugfs(&commands(&[
        "set_inode_field /file mtime @15032385535",
        "set_inode_field /file mtime_extra 0xee6b27ff",
        "set_inode_field /file atime @0x80000000",
        "set_inode_field /file atime_extra 0",
        "set_inode_field /file crtime @0x80000000",
        "set_inode_field /file crtime_extra 1",
    ]));
    let stat = &image.stat(&["/file".to_owned()])["/file"];
    let mounted = image.mount();
    let at = mounted.node(stat.ino).expect("the file").attributes;
    assert_eq!(at.mtime, Timestamp { seconds: 15_032_385_535, nanoseconds: 999_999_999 });
    assert_eq!(at.atime, Timestamp { seconds: -0x8000_0000, nanoseconds: 0 });
    assert_eq!(at.crtime, Some(Timestamp { seconds: 0x8000_0000, nanoseconds: 0 }));
}

#[test]
fn small_inodes_have_no_creation_time_and_no_nanoseconds() {
    if !have_tools() {
        return;
    }
    let image = with_file(&["-t", "ext4", "-I", "128"], b"x");
    let stat = &image.stat(&["/file".to_owned()])["/file"];
    let at = image.mount().node(stat.ino).expect("the file").attributes;
    assert_eq!((at.crtime, at.mtime.nanoseconds), (None, 0));
}

#[test]
fn blocks_of_a_huge_file() {
    if !have_tools() {
        return;
    }
    let image = with_file(&["-t", "ext4", "-b", "4096"], b"x");
    image.debugfs(&commands(&[
        "set_inode_field /file flags 0xc0000",
        "set_inode_field /file blocks 5",
        "set_inode_field /file blocks_hi 2",
    ]));
    let stat = &image.stat(&["/file".to_owned()])["/file"];
    let at = image.mount().node(stat.ino).expect("the file").attributes;
    assert_eq!(at.blocks_512, ((2 << 32) + 5) * 8, "the flag makes the unit a block");
    assert_eq!((stat.flags, at.flags), (0xC_0000, 0x8_0000), "users do not see the flag, says the kernel");
}

#[test]
fn directory_without_a_link_count() {
    if !have_tools() {
        return;
    }
    let image = with_file(&["-t", "ext4"], b"x");
    image.debugfs(&commands(&["set_inode_field / links_count 1"]));
    let mounted = image.mount();
    let root = mounted.node(mounted.fs.root().0).expect("the root");
    assert_eq!((root.attributes.nlink, root.kind()), (1, FileKind::Directory));
}

#[test]
fn device_nodes_and_pipes() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4"], "32M", None);
    image.debugfs(&commands(&[
        "mknod old c 5 1",
        "mknod new b 1 1",
        "set_inode_field /new block[0] 0",
        "set_inode_field /new block[1] 0x186103a0",
        "mknod pipe p",
    ]));
    let said = image.debugfs(&commands(&["stat /new"]));
    assert!(said.contains("number: 259:100000"), "{said}");
    let paths = ["/old", "/new", "/pipe"].map(str::to_owned);
    let stats = image.stat(&paths);
    let mounted = image.mount();
    let seen = |path: &str| {
        let node = mounted.node(stats[path].ino).expect("it was made");
        (node.kind(), node.attributes.rdev)
    };
    assert_eq!(seen("/old"), (FileKind::CharDevice, (5, 1)));
    assert_eq!(seen("/new"), (FileKind::BlockDevice, (259, 100_000)));
    assert_eq!(seen("/pipe"), (FileKind::Fifo, (0, 0)));
}

#[test]
fn unwritten_extents_read_as_zeros() {
    if !have_tools() {
        return;
    }
    for block_size in ["1024", "4096", "65536"] {
        let image = with_file(&["-t", "ext4", "-b", block_size], &noise(1, 10_000));
        image.debugfs(&commands(&["fallocate /file 3 60", "set_inode_field /file size 1000000"]));
        let stat = &image.stat(&["/file".to_owned()])["/file"];
        let mounted = image.mount();
        let node = mounted.node(stat.ino).expect("the file");
        let content = mounted.content(&node).expect("it can be read");
        let mut expected = noise(1, 10_000);
        expected.resize(1_000_000, 0);
        assert!(content == expected, "blocks of {block_size}");
        let far = mounted.fs.map(&mounted.reserve(), &node, 1 << 40).expect("far behind the end");
        assert_eq!(far, Extent::Hole { len_bytes: u64::MAX });
        let last = mounted.fs.map(&mounted.reserve(), &node, u64::MAX).expect("the last byte there is");
        assert_eq!(last, Extent::Hole { len_bytes: u64::MAX });
    }
}

#[test]
fn free_inodes_and_numbers_that_do_not_exist() {
    if !have_tools() {
        return;
    }
    let image = with_file(&["-t", "ext4", "-N", "64"], b"x");
    let stat = &image.stat(&["/file".to_owned()])["/file"];
    let mounted = image.mount();
    let count = mounted.fs.super_block().inodes_count;
    for ino in
        [0, stat.ino + 1, u64::from(count), u64::from(count) + 1, u64::from(u32::MAX), 1 << 32, u64::MAX]
    {
        assert_eq!(mounted.node(ino).map(|node| node.attributes.ino), Err(Error::NotFound), "inode {ino}");
    }
    assert!(mounted.node(8).is_ok(), "the journal is an inode like others");
    image.debugfs(&commands(&["set_inode_field /file links_count 0", "set_inode_field /file dtime @1"]));
    assert_eq!(image.mount().node(stat.ino).map(|_| ()), Err(Error::NotFound), "deleted");
}

#[test]
fn encrypted_content_and_targets_are_refused() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().expect("a directory");
    std::fs::write(tree.path().join("file"), noise(2, 5000)).expect("written");
    std::os::unix::fs::symlink("target", tree.path().join("link")).expect("a link");
    let image = Image::make(&["-t", "ext4", "-O", "encrypt"], "32M", Some(tree.path()));
    image.debugfs(&commands(&["set_inode_field /file flags 0x80800", "set_inode_field /link flags 0x800"]));
    let stats = image.stat(&["/file".to_owned(), "/link".to_owned()]);
    let mounted = image.mount();
    let file = mounted.node(stats["/file"].ino).expect("attributes are not encrypted");
    assert_eq!(mounted.content(&file), Err(Error::Encrypted));
    let link = mounted.node(stats["/link"].ino).expect("attributes are not encrypted");
    assert_eq!(mounted.link(&link), Err(Error::Encrypted));
}

#[test]
fn links_ask_for_the_buffer_that_they_need() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().expect("a directory");
    std::os::unix::fs::symlink("t".repeat(500), tree.path().join("slow")).expect("a link");
    std::os::unix::fs::symlink("fast", tree.path().join("fast")).expect("a link");
    let image = Image::make(&["-t", "ext4"], "32M", Some(tree.path()));
    let stats = image.stat(&["/fast".to_owned(), "/slow".to_owned(), "/lost+found".to_owned()]);
    let mounted = image.mount();
    let read = |path: &str, len| {
        let node = mounted.node(stats[path].ino).expect("it is there");
        mounted.fs.read_link(&mounted.reserve(), &node, &mut vec![0; len])
    };
    assert_eq!(read("/fast", 3), Err(Error::Range { need: 4 }));
    assert_eq!(read("/fast", 4), Ok(4));
    assert_eq!(read("/slow", 499), Err(Error::Range { need: 500 }));
    assert_eq!(read("/slow", 500), Ok(500));
    assert_eq!(read("/lost+found", 500), Err(Error::WrongType));
}

#[test]
fn a_fast_link_may_have_a_block_of_attributes() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().expect("a directory");
    std::os::unix::fs::symlink("target", tree.path().join("link")).expect("a link");
    for block_size in ["1024", "4096"] {
        let arguments = ["-t", "ext4", "-I", "128", "-b", block_size];
        let image = Image::make(&arguments, "32M", Some(tree.path()));
        image.debugfs(&commands(&["ea_set /link trusted.name value"]));
        let stat = &image.stat(&["/link".to_owned()])["/link"];
        assert!(stat.blocks > 0, "debugfs puts the attribute into a block");
        let mounted = image.mount();
        let link = mounted.node(stat.ino).expect("it is there");
        assert_eq!(mounted.link(&link), Ok(b"target".to_vec()));
    }
}

#[test]
fn read_ahead_in_the_inode_table_gives_the_same_inodes() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().expect("a directory");
    for n in 0..200 {
        std::fs::write(tree.path().join(n.to_string()), noise(n, 10)).expect("written");
    }
    let image = Image::make(&["-t", "ext4"], "32M", Some(tree.path()));
    let (plain, ahead) = (image.mount(), image.mount());
    for ino in 11..=211 {
        let one = plain.node(ino).expect("a file").attributes;
        let other = ahead.fs.read_node(&ahead.reserve(), rumpcap_vfs::InodeNo(ino), 8);
        assert_eq!(one, other.expect("a file").attributes);
    }
    let (without, with) = (plain.vm.report(), ahead.vm.report());
    assert!(with.device_reads < without.device_reads, "{} and {}", with.device_reads, without.device_reads);
}
