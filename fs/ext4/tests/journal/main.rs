//! Recovery of real journals, against e2fsck and the kernel.
#![allow(clippy::unwrap_used)]

mod damage;
mod image;
mod oracle;
mod written;

use image::{Image, Mounted, can_mount, no_files_open};
use oracle::{check, check_against_kernel};
use std::path::Path;

/// Makes directories and files, so that there is metadata of every kind; then deletes some, so that blocks are revoked,
/// and makes others, so that revoked blocks are used again. Commits between the steps.
fn work(mounted: &Mounted, round: usize) {
    let _files_open = no_files_open();
    let root = mounted.root.join(format!("round{round}"));
    std::fs::create_dir(&root).unwrap();
    for directory in 0..40 {
        let directory = root.join(format!("directory{directory}"));
        std::fs::create_dir(&directory).unwrap();
        for file in 0..10 {
            std::fs::write(directory.join(format!("file{file}")), contents(file)).unwrap();
        }
    }
    mounted.commit();
    for directory in 0..30 {
        std::fs::remove_dir_all(root.join(format!("directory{directory}"))).unwrap();
    }
    std::fs::rename(root.join("directory35/file3"), root.join("renamed")).unwrap();
    mounted.commit();
    for file in 0..60 {
        std::fs::write(root.join(format!("later{file}")), contents(file)).unwrap();
    }
    truncate(&root.join("later7"), 100);
    mounted.commit();
}

/// Some begin with the journal's own magic.
fn contents(file: usize) -> Vec<u8> {
    let mut bytes = vec![file as u8; 600 * (1 + file % 9)];
    if file.is_multiple_of(3) {
        bytes[..4].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
    }
    bytes
}

fn truncate(path: &Path, len: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// Works on a new file system under the kernel, lets the power fail, and checks.
fn kernel_made(mke2fs: &[&str], mount: &str) {
    if !can_mount() {
        return;
    }
    let image = Image::new(mke2fs, "64M");
    let mounted = Mounted::new(&image.path, mount);
    let mut revoked = 0;
    for round in 0..3 {
        work(&mounted, round);
        let crashed = image.crash();
        let recovery = check(&crashed);
        eprintln!("{mke2fs:?} {mount} round {round}: {recovery:?}");
        assert!(recovery.was_dirty && recovery.blocks_replayed > 20, "{recovery:?}");
        revoked += recovery.blocks_revoked;
        check_against_kernel(&crashed);
    }
    // Where all data goes through the journal, the kernel need not revoke.
    assert!(mount.contains("data=journal") || revoked > 0, "no copy was revoked: the test is too tame");
}

#[test]
fn ext3_without_checksums() {
    kernel_made(&["-t", "ext3", "-b", "1024", "-J", "size=4"], "data=ordered");
}

#[test]
fn ext3_in_blocks_of_4_kib_with_journaled_data() {
    kernel_made(&["-t", "ext3", "-b", "4096", "-J", "size=8"], "data=journal");
}

#[test]
fn checksum_version_1() {
    kernel_made(
        &["-t", "ext4", "-O", "^metadata_csum,^64bit", "-b", "1024", "-J", "size=4"],
        "journal_checksum",
    );
}

#[test]
fn checksum_version_1_with_asynchronous_commits() {
    let options = "journal_async_commit,data=journal";
    kernel_made(&["-t", "ext4", "-O", "^metadata_csum,^64bit", "-b", "4096", "-J", "size=8"], options);
}

#[test]
fn checksum_version_3() {
    kernel_made(&["-t", "ext4", "-b", "1024", "-O", "metadata_csum,^64bit", "-J", "size=4"], "data=journal");
}

#[test]
fn checksum_version_3_with_64_bit_tags() {
    kernel_made(&["-t", "ext4", "-b", "4096", "-O", "metadata_csum,64bit", "-J", "size=8"], "data=ordered");
}

/// Fast commits are told of; what they changed is not in the overlay.
#[test]
fn fast_commits_are_counted() {
    if !can_mount() {
        return;
    }
    let image = Image::new(&["-t", "ext4", "-b", "4096", "-O", "fast_commit", "-J", "size=16"], "64M");
    let mounted = Mounted::new(&image.path, "data=ordered");
    std::fs::write(mounted.root.join("first"), "1").unwrap();
    mounted.commit();
    assert_eq!(check(&image.crash()).fast_commits, 0);
    for i in 1..4 {
        let file = std::fs::File::create(mounted.root.join(format!("fast{i}"))).unwrap();
        file.sync_all().unwrap();
        let (_, recovery) = oracle::recover(&image.crash(), 4096);
        assert_eq!(recovery.unwrap().fast_commits, i);
    }
}

#[test]
fn fast_commit_feature() {
    kernel_made(&["-t", "ext4", "-b", "4096", "-O", "fast_commit", "-J", "size=16"], "data=ordered");
}
