//! The number of changes of an inode (`i_version`): one more for each, as debugfs has it. (So it is behind the kernel's default mount too.)

use super::{FIRST_INODE, debugfs, image_with_files};
use rumpcap_vfs::{Allocate, Change, SetAttributes};

const KIND: (&str, &str) = ("-t ext4 -b 1024", "20M");

/// What debugfs says of the inode's number of changes, both words.
fn version(image: &crate::alloc::tests::Image) -> u64 {
    let out = debugfs(&image.path(), &format!("stat <{FIRST_INODE}>\n"));
    let words = out.split("Version: 0x").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    u64::from_str_radix(&words.replace(":", ""), 16).unwrap()
}

#[test]
fn every_change_counts() {
    let Some((image, inodes)) = image_with_files(KIND, 1) else { return };
    let ino = inodes[0];
    let before = version(&image);
    let mounted = image.mount();
    mounted.write(ino, 0, b"one").unwrap();
    mounted.write(ino, 1, b"two").unwrap();
    mounted.punch(ino, 0..1024).unwrap();
    mounted.allocate(ino, 0..9000, Allocate::Extend).unwrap();
    mounted.set_size(ino, 2).unwrap();
    let set = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    mounted
        .fs
        .set_attributes(&mounted.vm.reserve(crate::MAX_PINS), ino, &set, crate::alloc::tests::NOW)
        .unwrap();
    mounted.unmount();
    // Each in one step.
    assert_eq!(version(&image), before + 6);
}

#[test]
fn the_lower_word_overflows_into_the_upper() {
    let Some((image, inodes)) = image_with_files(KIND, 1) else { return };
    debugfs(&image.path(), &format!("sif <{FIRST_INODE}> version 0xFFFFFFFF\n"));
    let before = version(&image);
    assert_eq!(before & 0xFFFF_FFFF, 0xFFFF_FFFF);
    let mounted = image.mount();
    mounted.write(inodes[0], 0, b"one").unwrap();
    mounted.unmount();
    assert_eq!(version(&image), before + 1);
}

#[test]
fn the_hurd_has_something_else_there() {
    let Some((image, inodes)) = image_with_files(("-t ext2 -b 1024 -o hurd", "20M"), 1) else { return };
    debugfs(&image.path(), &format!("sif <{FIRST_INODE}> version 77\n"));
    let mounted = image.mount();
    mounted.write(inodes[0], 0, b"one").unwrap();
    mounted.unmount();
    let out = debugfs(&image.path(), &format!("stat <{FIRST_INODE}>\n"));
    assert!(out.contains("Translator: 77\n"), "{out}");
}
