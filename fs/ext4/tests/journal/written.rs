//! Journals written by debugfs: every block size and checksum, exactly the transactions that a test wants, no root.

use crate::image::{Image, Mounted, can_mount, path_text};
use crate::oracle::{bytes_of, check, recover};
use rumpcap_ext4::journal::MIN_SCRATCH_BYTES;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Blocks of the file systems of these tests.
pub const BLOCKS: u64 = 4096;

/// The block that transactions of these tests write to first; nothing else is there.
pub const TARGET: u64 = 2600;

/// What distinguishes two journals.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub block_size: usize,
    pub features: &'static str,
    /// Options of debugfs' `journal_open`.
    pub checksum: &'static str,
}

pub const PLAIN: Form = Form { block_size: 1024, features: "^metadata_csum,^64bit", checksum: "" };
pub const VERSION_2: Form = Form { block_size: 4096, features: "metadata_csum,64bit", checksum: "-c -v 2" };
pub const VERSION_3: Form = Form { block_size: 4096, features: "metadata_csum,64bit", checksum: "-c -v 3" };

impl Form {
    /// An empty file system of [`BLOCKS`] blocks, 1024 of them journal.
    pub fn image(&self) -> Image {
        let (block_size, size) = (self.block_size.to_string(), BLOCKS.to_string());
        let journal = format!("size={}", self.block_size / 1024);
        let options = ["-t", "ext4", "-b", &block_size, "-O", self.features, "-N", "64", "-J", &journal];
        Image::new(&options, &size)
    }

    /// Blocks whose content tells their seed; every other begins with the journal's magic.
    pub fn file(&self, image: &Image, seed: u8, blocks: usize) -> PathBuf {
        let mut bytes = Vec::new();
        for block in 0..blocks {
            let mut content: Vec<u8> = (0..self.block_size).map(|i| seed ^ (block + i / 7) as u8).collect();
            if block % 2 == 1 {
                content[..4].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
            }
            bytes.extend(content);
        }
        let path = image.directory.path().join(format!("content{seed}"));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// An image whose journal has these transactions: lines of debugfs with `{N}` for a file of seed N and `count`
    /// blocks.
    pub fn journal(&self, count: usize, transactions: &[&str]) -> Image {
        let image = self.image();
        let mut script = format!("jo {}\n", self.checksum);
        for line in transactions {
            let mut line = (*line).to_owned();
            for seed in 1..10u8 {
                if line.contains(&format!("{{{seed}}}")) {
                    let path = self.file(&image, seed, count);
                    line = line.replace(&format!("{{{seed}}}"), path_text(&path));
                }
            }
            script += &format!("{line}\n");
        }
        image.debugfs(&(script + "jc\n"));
        image
    }
}

#[test]
fn all_block_sizes_and_checksums() {
    for block_size in [1024, 2048, 4096, 65536] {
        for checksum in ["", "-c -v 2", "-c -v 3"] {
            for features in ["metadata_csum,^64bit", "metadata_csum,64bit"] {
                if block_size > 4096 && features.contains("^64bit") {
                    // Large images take long; the width of block numbers does not depend on the block size.
                    continue;
                }
                let form = Form { block_size, features, checksum };
                let image = form.journal(
                    8,
                    &[
                        "jw -b 2600-2607 {1}",
                        "jw -b 2602-2609 {2}",
                        "jw -r 2601,2605",
                        "jw -b 2620-2627 {3}",
                        "jw -r 2607",
                        "jw -b 2605,2630-2636 {4}",
                    ],
                );
                let recovery = check(&image);
                let counts = (recovery.transactions, recovery.blocks_replayed, recovery.blocks_revoked);
                // Revoked: 2601 once; 2605 and 2607 twice, but not 2605 of the last transaction.
                assert_eq!(counts, (6, 32 - 5, 5), "{form:?}");
                assert_eq!((recovery.revoke_records, recovery.passes), (3, 1), "{form:?}");
            }
        }
    }
}

#[test]
fn more_revokes_than_fit() {
    for form in [PLAIN, VERSION_3] {
        let image = form.journal(
            200,
            &[
                "jw -b 2600-2799 {1}",
                "jw -b 2700-2899 {2}",
                "jw -r 2000-3999",
                "jw -b 2650-2849 {3}",
                "jw -r 2640-2700",
            ],
        );
        let recovery = check(&image);
        assert_eq!(recovery.revoke_records, 2061);
        assert!(recovery.passes > 10, "{recovery:?}");
        assert_eq!((recovery.blocks_replayed, recovery.blocks_revoked), (149, 451));
        let (_, said) = recover(&image, 64 * 1024);
        assert_eq!(said.unwrap().passes, 1);
    }
}

#[test]
fn a_transaction_without_its_commit_is_left_out() {
    for form in [PLAIN, VERSION_2, VERSION_3] {
        let image = form.journal(4, &["jw -b 2600-2603 {1}", "jw -c -b 2602-2605 {2}"]);
        let recovery = check(&image);
        assert_eq!((recovery.transactions, recovery.blocks_replayed), (1, 4), "{form:?}");
    }
}

/// A copy of the super block in the log is replayed, but errors that were noted since are kept.
#[test]
fn super_block_in_the_log() {
    let image = PLAIN.image();
    let byte_at = |at: usize| std::fs::read(&image.path).unwrap()[1024 + at];
    let mut copy = std::fs::read(&image.path).unwrap()[1024..2048].to_vec();
    copy[MOUNT_COUNT] = 9;
    let content = image.directory.path().join("super-block");
    std::fs::write(&content, copy).unwrap();
    image.debugfs(&format!("jo\njw -b 1 {}\njc\n", path_text(&content)));
    image.debugfs("ssv error_count 7\n");
    let file = std::fs::OpenOptions::new().write(true).open(&image.path).unwrap();
    file.write_all_at(&(-5i32).to_be_bytes(), image.journal_byte(0) + JOURNAL_ERRNO).unwrap();
    assert_eq!((byte_at(MOUNT_COUNT), byte_at(STATE) & ERRORS), (0, 0));
    assert_eq!(byte_at(INCOMPAT) & NEEDS_RECOVERY, NEEDS_RECOVERY);

    let (overlay, recovery) = recover(&image, MIN_SCRATCH_BYTES);
    assert_eq!(recovery.unwrap().journal_errno, (-5i32).cast_unsigned());
    let ours = &bytes_of(&overlay)[1024..2048];
    let fields =
        |sb: &[u8]| [sb[MOUNT_COUNT], sb[ERROR_COUNT], sb[STATE] & ERRORS, sb[INCOMPAT] & NEEDS_RECOVERY];
    assert_eq!(fields(ours), [9, 7, ERRORS, 0]);
    if can_mount() {
        let theirs = image.copy("kernel");
        drop(Mounted::new(&theirs, "ro"));
        assert_eq!(fields(&std::fs::read(theirs).unwrap()[1024..2048]), fields(ours));
    }
}

/// Bytes and bits of the super block, and a byte of the journal's.
const MOUNT_COUNT: usize = 0x34;
const STATE: usize = 0x3A;
const ERRORS: u8 = 2;
const INCOMPAT: usize = 0x60;
const NEEDS_RECOVERY: u8 = 4;
const ERROR_COUNT: usize = 0x194;
const JOURNAL_ERRNO: u64 = 32;

#[test]
fn content_arrives() {
    let image = PLAIN.journal(4, &["jw -b 2600-2603 {1}"]);
    let (overlay, recovery) = recover(&image, MIN_SCRATCH_BYTES);
    recovery.unwrap();
    let content = std::fs::read(image.directory.path().join("content1")).unwrap();
    let from = TARGET as usize * 1024;
    assert!(bytes_of(&overlay)[from..from + 4096] == content);
    assert!(std::fs::read(&image.path).unwrap()[from..from + 4096].iter().all(|byte| *byte == 0));
}
