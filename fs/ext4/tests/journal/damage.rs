//! Damaged journals: what ends the log, what is refused, and that nothing worse happens.

use crate::image::{Image, Mounted, can_mount, run};
use crate::oracle::{bytes_of, check, check_against_kernel, differences, kernel_mounts, recover};
use crate::written::{BLOCKS, Form, PLAIN, VERSION_2, VERSION_3};
use rumpcap_block::{Effect, Fault, FaultInjector, FileDevice, MemoryDevice, Operation, Overlay};
use rumpcap_ext4::journal::{self, MIN_SCRATCH_BYTES};
use rumpcap_host::Error;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A block of the log that logdump finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    sequence: u32,
    kind: u32,
    block: u32,
}

const INSIDE: &str = "journal: target inside the journal";

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// The log as debugfs sees it.
fn log_of(image: &Image) -> Vec<Found> {
    let dump = run("debugfs", &["-R", "logdump", image.path.to_str().unwrap()]);
    let number = |line: &str, before: &str| -> Option<u32> {
        let rest = line.split(before).nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let found = dump.lines().filter(|line| line.starts_with("Found expected")).filter_map(|line| {
        Some(Found {
            sequence: number(line, "sequence ")?,
            kind: number(line, "type ")?,
            block: number(line, "at block ")?,
        })
    });
    found.collect()
}

fn nth(image: &Image, kind: u32, n: usize) -> u32 {
    log_of(image).iter().filter(|found| found.kind == kind).nth(n).unwrap().block
}

/// Overwrites bytes of a block of the journal.
fn patch(image: &Image, block: u32, within: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(&image.path).unwrap();
    file.write_all_at(bytes, image.journal_byte(block) + within).unwrap();
}

/// The error of recovering `image`, the same in any scratch.
fn error_of(image: &Image) -> Error {
    let small = recover(image, MIN_SCRATCH_BYTES).1.unwrap_err();
    assert_eq!(recover(image, 1 << 20).1.unwrap_err(), small);
    small
}

/// Four transactions, the second of revokes only.
fn four(form: Form) -> Image {
    form.journal(4, &["jw -b 2600-2603 {1}", "jw -r 2600", "jw -b 2602-2605 {2}", "jw -b 2604-2607 {3}"])
}

#[test]
fn a_torn_last_commit_ends_the_log() {
    for form in [PLAIN, VERSION_2, VERSION_3] {
        for torn in [vec![0; form.block_size], vec![0xAB; 512]] {
            let image = four(form);
            patch(&image, nth(&image, COMMIT, 3), 0, &torn);
            assert_eq!(check(&image).transactions, 3, "{form:?}");
            if can_mount() {
                check_against_kernel(&image);
            }
        }
    }
}

#[test]
fn a_lost_commit_in_the_middle_ends_the_log_too() {
    let image = four(VERSION_3);
    patch(&image, nth(&image, COMMIT, 1), 0, &[0; 4096]);
    assert_eq!(check(&image).transactions, 1);
}

#[test]
fn a_commit_of_which_one_sector_was_written_counts() {
    let image = four(VERSION_3);
    patch(&image, nth(&image, COMMIT, 3), 512, &[0xAB; 4096 - 512]);
    let (_, recovery) = recover(&image, MIN_SCRATCH_BYTES);
    assert_eq!(recovery.unwrap().transactions, 4);
    if can_mount() {
        check_against_kernel(&image);
    }
    // The bytes up to the 64th are not behind the fields.
    let image = four(VERSION_3);
    patch(&image, nth(&image, COMMIT, 3), 60, &[0xAB]);
    assert!(matches!(error_of(&image), Error::Checksum { .. }));
    assert!(!can_mount() || !kernel_mounts(&image));
}

/// Finds the block to damage, and the byte in it.
type Place = fn(&Image) -> (u32, u64);

/// Damage that a checksum shows: an error, where the kernel refuses to mount too.
#[test]
fn damaged_blocks_with_checksums_are_refused() {
    let kinds: [(&str, Place); 5] = [
        ("copy", |image| (nth(image, DESCRIPTOR, 1) + 2, 1000)),
        ("descriptor", |image| (nth(image, DESCRIPTOR, 0), 3000)),
        ("revoke block", |image| (nth(image, REVOKE, 0), 3000)),
        ("commit", |image| (nth(image, COMMIT, 1), 40)),
        ("last commit", |image| (nth(image, COMMIT, 3), 40)),
    ];
    for form in [VERSION_2, VERSION_3] {
        for (name, place) in kinds {
            let image = four(form);
            let (block, within) = place(&image);
            patch(&image, block, within, &[0xAB; 8]);
            let error = error_of(&image);
            assert!(matches!(error, Error::Checksum { .. }), "{name}: {error:?}");
            if can_mount() {
                assert!(!kernel_mounts(&image), "{name}: the kernel mounts it");
            }
        }
    }
    let image = four(VERSION_3);
    patch(&image, nth(&image, DESCRIPTOR, 1) + 2, 0, &[0xAB; 8]);
    assert!(matches!(error_of(&image), Error::Checksum { at: 2603, .. }), "says which block");
}

/// Works under the kernel with checksums of version 1; a last transaction that the tests damage.
fn version1(options: &str) -> Option<Image> {
    if !can_mount() {
        return None;
    }
    let image =
        Image::new(&["-t", "ext4", "-O", "^metadata_csum,^64bit", "-b", "1024", "-J", "size=4"], "32M");
    let mounted = Mounted::new(&image.path, options);
    for i in 0..3 {
        std::fs::create_dir(mounted.root.join(format!("directory{i}"))).unwrap();
        mounted.commit();
    }
    let crashed = image.crash();
    drop(mounted);
    Some(crashed)
}

#[test]
fn version_1_damage() {
    let Some(image) = version1("journal_checksum") else { return };
    let last = log_of(&image).iter().filter(|found| found.kind == DESCRIPTOR).count() - 1;
    patch(&image, nth(&image, DESCRIPTOR, last) + 1, 500, &[0xAB; 8]);
    assert!(matches!(error_of(&image), Error::Checksum { .. }));
    assert!(!kernel_mounts(&image));
}

#[test]
fn version_1_damage_with_asynchronous_commits() {
    let Some(image) = version1("journal_async_commit,data=writeback") else { return };
    let before = recover(&image, MIN_SCRATCH_BYTES).1.unwrap();
    let last = log_of(&image).iter().filter(|found| found.kind == DESCRIPTOR).count() - 1;
    // The commit was written before its blocks were: an interrupted commit.
    patch(&image, nth(&image, DESCRIPTOR, last) + 1, 500, &[0xAB; 8]);
    assert_eq!(recover(&image, MIN_SCRATCH_BYTES).1.unwrap().transactions, before.transactions - 1);
    check_against_kernel(&image);
    // But in the middle it is damage.
    patch(&image, nth(&image, DESCRIPTOR, 0) + 1, 500, &[0xAB; 8]);
    assert!(matches!(error_of(&image), Error::Checksum { .. }));
    assert!(!kernel_mounts(&image));
}

#[test]
fn targets_that_no_replay_may_write() {
    let image = four(PLAIN);
    patch(&image, nth(&image, DESCRIPTOR, 1), 12, &0x7FFF_FFFFu32.to_be_bytes());
    let outside = "journal: target outside the file system";
    assert_eq!(error_of(&image), Error::Corrupt { what: outside, at: 0x7FFF_FFFF });

    let image = four(PLAIN);
    let own = (image.journal_byte(5) / 1024) as u32;
    patch(&image, nth(&image, DESCRIPTOR, 1), 12, &own.to_be_bytes());
    assert_eq!(error_of(&image), Error::Corrupt { what: INSIDE, at: u64::from(own) });
}

#[test]
fn super_blocks_that_are_refused() {
    let cases: [(u64, u32, Error); 7] = [
        (0, 0, Error::Corrupt { what: "journal super block: magic or version", at: 4 }),
        (4, 9, Error::Corrupt { what: "journal super block: magic or version", at: 9 }),
        (12, 2048, Error::Corrupt { what: "journal super block: block size", at: 2048 }),
        (16, 1025, Error::Corrupt { what: "journal super block: longer than the journal", at: 1025 }),
        (20, 0, Error::Corrupt { what: "journal super block: first block", at: 0 }),
        (28, 1024, Error::Corrupt { what: "journal super block: start of the log", at: 1024 }),
        (40, 0x8001, Error::UnknownFeature { bits: 0x8000 }),
    ];
    for (within, value, error) in cases {
        let image = four(PLAIN);
        patch(&image, 0, within, &value.to_be_bytes());
        assert_eq!(error_of(&image), error);
        if can_mount() {
            // The kernel does not look whether the log begins inside the ring.
            assert!(within == 28 || !kernel_mounts(&image), "byte {within}");
        }
    }
    let image = four(VERSION_3);
    patch(&image, 0, 0x100, &[1]);
    assert_eq!(error_of(&image), Error::Checksum { what: "journal super block", at: 0 });
}

#[test]
fn external_journal() {
    let image = four(PLAIN);
    image.debugfs("ssv journal_inum 0\nssv journal_dev 0x0801\n");
    let base = Arc::new(FileDevice::open(&image.path).unwrap());
    let overlay = Overlay::new(base, image.directory.path()).unwrap();
    let geometry = journal::Geometry { block_size_bytes: 1024, blocks: BLOCKS, journal_blocks: 1024 };
    let mut map = |_| Err(Error::NotFound);
    let result = journal::recover(&overlay, &mut map, &geometry, &mut [0; MIN_SCRATCH_BYTES]);
    assert_eq!(result, Err(Error::Unsupported { what: "external journal" }));
}

#[test]
fn an_image_that_was_cut() {
    let image = four(PLAIN);
    let file = std::fs::OpenOptions::new().write(true).open(&image.path).unwrap();
    let (geometry, mut map) = (image.geometry(), image.journal_map());
    file.set_len(3000 * 1024).unwrap();
    let base = Arc::new(FileDevice::open(&image.path).unwrap());
    let overlay = Overlay::new(base, image.directory.path()).unwrap();
    let result = journal::recover(&overlay, &mut map, &geometry, &mut [0; MIN_SCRATCH_BYTES]);
    assert_eq!(result, Err(Error::ShortDevice { need: 4096 * 1024, have: 3000 * 1024 }));
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Any bytes of the log may be any others: recovery says something and ends.
#[test]
fn random_damage_never_panics_or_hangs() {
    for form in [PLAIN, VERSION_3] {
        let image = form.journal(
            20,
            &["jw -b 2600-2619 {1}", "jw -r 2600-2700", "jw -b 2610-2629 {2}", "jw -b 2630-2649 {3}"],
        );
        let bytes = std::fs::read(&image.path).unwrap();
        let (geometry, journal_byte) = (image.geometry(), image.journal_byte(0));
        let mut map = image.journal_map();
        let mut numbers = Numbers(form.block_size as u64);
        let (mut errors, mut ends) = (0, 0);
        for _ in 0..600 {
            let mut damaged = bytes.clone();
            for _ in 0..=numbers.below(8) {
                // The first 70 blocks have the whole log; heads of blocks are hit more often than the rest.
                let block = journal_byte + numbers.below(70) * form.block_size as u64;
                let within = if numbers.below(2) == 0 { 64 } else { form.block_size as u64 };
                let at = (block + numbers.below(within)) as usize;
                damaged[at] ^= 1 << numbers.below(8);
            }
            let device = MemoryDevice::from_bytes(&damaged);
            let mut scratch = vec![0; MIN_SCRATCH_BYTES + numbers.below(10_000) as usize];
            match journal::recover(&device, &mut map, &geometry, &mut scratch) {
                Ok(recovery) => ends += u32::from(recovery.transactions < 4),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > 0 && ends > 0, "{errors} errors, {ends} early ends: the damage is too tame");
    }
}

/// The Nth read or write fails, for every N: an error each time, and the base untouched.
#[test]
fn every_request_may_fail() {
    let image = four(VERSION_3);
    let (geometry, bytes) = (image.geometry(), std::fs::read(&image.path).unwrap());
    let mut map = image.journal_map();
    for operation in [Operation::Read, Operation::Write] {
        let mut nth = 1;
        loop {
            let faulty = FaultInjector::new(Arc::new(MemoryDevice::from_bytes(&bytes)));
            faulty.inject(Fault { operation, nth, effect: Effect::Fail { errno: 5 } }).unwrap();
            let result = journal::recover(&faulty, &mut map, &geometry, &mut [0; 65536]);
            if faulty.fired() == 0 {
                result.unwrap();
                break;
            }
            assert!(matches!(result, Err(Error::Io { errno: 5, .. })), "{operation:?} {nth}: {result:?}");
            nth += 1;
        }
        assert!(nth > 7, "{operation:?}: only {nth}");
    }
    let (overlay, recovery) = recover(&image, MIN_SCRATCH_BYTES);
    recovery.unwrap();
    assert!(bytes_of(&overlay) != bytes);
}

/// Flips bits in the blocks of the log, most of them in those that are not copies: we refuse what the kernel refuses, and
/// where both replay, all bytes are equal. Gives how many were replayed and how many refused.
fn as_the_kernel_takes_it(image: &Image, seed: u64) -> (u32, u32) {
    let cases: u64 = std::env::var("RUMPCAP_JOURNAL_CASES").map_or(25, |n| n.parse().unwrap());
    let bytes = std::fs::read(&image.path).unwrap();
    let blocks: Vec<u32> = log_of(image).iter().map(|found| found.block).collect();
    let block_size = u64::from(image.geometry().block_size_bytes);
    let mut numbers = Numbers(seed);
    let (mut replayed, mut refused) = (0, 0);
    for case in 0..cases {
        std::fs::write(&image.path, &bytes).unwrap();
        for _ in 0..=numbers.below(2) {
            let copy = u32::from(numbers.below(8) == 0);
            let block = blocks[numbers.below(blocks.len() as u64) as usize] + copy;
            let within = if numbers.below(4) > 0 { 100 } else { block_size };
            flip(image, block, numbers.below(within), numbers.below(8));
        }
        let (overlay, ours) = recover(image, 65536);
        if matches!(ours, Err(Error::Corrupt { what: INSIDE, .. })) {
            // Here the kernel would overwrite its own journal.
            continue;
        }
        let copy = image.copy("kernel");
        let kernel = Mounted::try_new(&copy, "ro").map(drop);
        assert_eq!(ours.is_ok(), kernel.is_ok(), "case {case}: {ours:?}, the kernel {kernel:?}");
        if ours.is_ok() {
            let theirs = FileDevice::open(&copy).unwrap();
            assert_eq!(differences(image, &overlay, &theirs), [0; 0], "case {case}");
            replayed += 1;
        } else {
            refused += 1;
        }
    }
    eprintln!("{replayed} replayed, {refused} refused");
    (replayed, refused)
}

#[test]
fn random_damage_as_the_kernel_takes_it() {
    if !can_mount() {
        return;
    }
    for form in [PLAIN, VERSION_3] {
        let revokes = ["jw -r 2600-2700", "jw -r 2612,2613"];
        let image = form.journal(
            20,
            &["jw -b 2600-2619 {1}", revokes[0], "jw -b 2610-2629 {2}", revokes[1], "jw -b 2605-2624 {3}"],
        );
        let (replayed, refused) = as_the_kernel_takes_it(&image, form.block_size as u64);
        assert!(replayed > 0 && (refused > 0 || form.checksum.is_empty()));
    }
}

#[test]
fn random_damage_of_version_1_as_the_kernel_takes_it() {
    for options in ["journal_checksum", "journal_async_commit,data=writeback"] {
        let Some(image) = version1(options) else { return };
        let (replayed, refused) = as_the_kernel_takes_it(&image, 5);
        assert!(replayed > 0 && refused > 0);
    }
}

fn flip(image: &Image, block: u32, within: u64, bit: u64) {
    let mut byte = [0];
    let file = std::fs::File::open(&image.path).unwrap();
    file.read_exact_at(&mut byte, image.journal_byte(block) + within).unwrap();
    patch(image, block, within, &[byte[0] ^ (1 << bit)]);
}
