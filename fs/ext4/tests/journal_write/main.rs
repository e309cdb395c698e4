//! Writing a journal: what we log, e2fsck, the kernel and our own recovery replay to the same bytes.
//!
//! Blocks that are free in the image stand for metadata; so nobody else looks at them, and e2fsck stays content.
//! Seeds are printed; `RUMPCAP_JOURNAL_SEEDS=n` runs n seeds of each kind instead of a few.
#![allow(clippy::unwrap_used)]

#[path = "../journal/image.rs"]
#[allow(dead_code)]
mod image;
#[path = "../journal/oracle.rs"]
#[allow(dead_code)]
mod oracle;

mod faults;
mod model;
mod power;
mod scenario;

use image::{Mounted, can_mount};
use model::{Cell, Model};
use rumpcap_block::{FileDevice, MemoryDevice};
use rumpcap_ext4::journal::MarkOnDevice;
use rumpcap_ext4::journal::write::{BlockNumbers, Checksums, Form, LoggedBlock};
use rumpcap_host::Error;
use scenario::{Scenario, Setup, Sizes};
use std::sync::Arc;

/// The seeds of one kind of test: `few`, or as many as the environment says.
pub fn seeds(few: u64) -> std::ops::Range<u64> {
    0..std::env::var("RUMPCAP_JOURNAL_SEEDS").map_or(few, |n| n.parse().unwrap())
}

/// Whether the environment asks for more than a few cases.
pub fn is_thorough() -> bool {
    std::env::var_os("RUMPCAP_JOURNAL_SEEDS").is_some()
}

const NARROW: Form = Form { checksums: Checksums::None, block_numbers: BlockNumbers::Bits32 };
const NARROW_V3: Form = Form { checksums: Checksums::V3, block_numbers: BlockNumbers::Bits32 };
const WIDE: Form = Form { checksums: Checksums::None, block_numbers: BlockNumbers::Bits64 };
const WIDE_V2: Form = Form { checksums: Checksums::V2, block_numbers: BlockNumbers::Bits64 };
const WIDE_V3: Form = Form { checksums: Checksums::V3, block_numbers: BlockNumbers::Bits64 };
const NARROW_V2: Form = Form { checksums: Checksums::V2, block_numbers: BlockNumbers::Bits32 };

const EXT3: Setup = Setup { options: &["-t", "ext3"], block_size: 1024, form: NARROW, log_blocks: 1024 };
const PLAIN: Setup = Setup {
    options: &["-t", "ext4", "-O", "^metadata_csum,^64bit"],
    block_size: 1024,
    form: NARROW,
    log_blocks: 1024,
};
const V3: Setup = Setup {
    options: &["-t", "ext4", "-O", "metadata_csum,64bit"],
    block_size: 1024,
    form: WIDE_V3,
    log_blocks: 1024,
};

/// The kernel takes no journal of less than 1024 blocks, e2fsck does.
const SHORT: Setup = Setup { log_blocks: 96, ..PLAIN };
const SHORT_V3: Setup = Setup { log_blocks: 96, ..V3 };

const SETUPS: &[Setup] = &[
    EXT3,
    PLAIN,
    V3,
    Setup { options: &["-t", "ext3"], block_size: 4096, form: NARROW, log_blocks: 1024 },
    Setup {
        options: &["-t", "ext4", "-O", "^metadata_csum,64bit"],
        block_size: 2048,
        form: WIDE,
        log_blocks: 1024,
    },
    Setup {
        options: &["-t", "ext4", "-O", "metadata_csum,^64bit"],
        block_size: 2048,
        form: NARROW_V3,
        log_blocks: 1024,
    },
    Setup {
        options: &["-t", "ext4", "-O", "metadata_csum,64bit"],
        block_size: 4096,
        form: WIDE_V3,
        log_blocks: 1024,
    },
    Setup {
        options: &["-t", "ext4", "-O", "metadata_csum,64bit"],
        block_size: 4096,
        form: WIDE_V2,
        log_blocks: 1024,
    },
    Setup {
        options: &["-t", "ext4", "-O", "metadata_csum,^64bit"],
        block_size: 1024,
        form: NARROW_V2,
        log_blocks: 1024,
    },
];

/// Random transactions, a crash, and everybody's recovery.
#[test]
fn everybody_replays_what_was_logged() {
    for (setup, seed) in SETUPS.iter().flat_map(|setup| seeds(1).map(move |seed| (setup, seed))) {
        eprintln!("{setup:?} seed {seed}");
        let image = setup.image();
        let base = Arc::new(MemoryDevice::from_bytes(&std::fs::read(&image.path).unwrap()));
        let mut scenario = Scenario::new(setup, &image, base.clone(), Sizes::ROOMY, seed);
        scenario.steps(60);
        // Whatever was checkpointed just now, 69 copies are in the log, and at most 30 are revoked.
        scenario.commit(60, 0);
        scenario.commit(9, 30);
        scenario.sync();
        std::fs::write(&image.path, base.to_bytes()).unwrap();
        let recovery = oracle::check(&image);
        eprintln!("{recovery:?}");
        assert!(recovery.was_dirty && recovery.transactions > 0 && recovery.blocks_replayed >= 39);
        if can_mount() {
            oracle::check_against_kernel(&image);
        }
        let (ours, _) = oracle::recover(&image, 65536);
        scenario.model.assert_state(&oracle::bytes_of(&ours), scenario.model.commits(), u64::MAX);
    }
}

/// What is in the open compound is read, and lost in a crash.
#[test]
fn the_open_transaction_is_read_and_not_replayed() {
    let image = V3.image();
    let base = Arc::new(MemoryDevice::from_bytes(&std::fs::read(&image.path).unwrap()));
    let mut scenario = Scenario::new(&V3, &image, base.clone(), Sizes::ROOMY, 7);
    scenario.commit(5, 0);
    scenario.sync();
    scenario.commit(9, 2);
    scenario.check_reads();
    std::fs::write(&image.path, base.to_bytes()).unwrap();
    assert_eq!(oracle::check(&image).transactions, 1);
    let (ours, _) = oracle::recover(&image, 65536);
    scenario.model.assert_state(&oracle::bytes_of(&ours), 1, u64::MAX);
}

/// A small log goes around many times, a small map fills up, both beneath the same model.
#[test]
fn full_logs_full_maps_and_many_turns() {
    let kinds = [
        (&V3, Sizes::SMALL_MAP),
        (&PLAIN, Sizes::SMALL_MAP),
        (&EXT3, Sizes::ROOMY),
        (&SHORT, Sizes::ROOMY),
        (&SHORT_V3, Sizes::ROOMY),
    ];
    for (setup, sizes) in kinds {
        for seed in seeds(2) {
            eprintln!("{setup:?} {sizes:?} seed {seed}");
            let image = setup.image();
            let base = Arc::new(MemoryDevice::from_bytes(&std::fs::read(&image.path).unwrap()));
            let mut scenario = Scenario::new(setup, &image, base.clone(), sizes, seed);
            let max = scenario.device.max_commit_blocks().min(scenario.model.cells());
            for turn in 0..40 {
                scenario.commit(max, turn % 3);
                scenario.steps(6);
            }
            scenario.sync();
            let usage = scenario.device.usage();
            assert!(usage.checkpoints > 5, "{usage:?}");
            std::fs::write(&image.path, base.to_bytes()).unwrap();
            oracle::check(&image);
            let (ours, _) = oracle::recover(&image, 65536);
            scenario.model.assert_state(&oracle::bytes_of(&ours), scenario.model.commits(), u64::MAX);
        }
    }
}

/// Closed, it is a clean file system with all blocks home: for e2fsck and for the kernel.
#[test]
fn a_closed_journal_needs_no_recovery() {
    for setup in [&EXT3, &V3] {
        let image = setup.image();
        let base = Arc::new(MemoryDevice::from_bytes(&std::fs::read(&image.path).unwrap()));
        let mut scenario = Scenario::new(setup, &image, base.clone(), Sizes::ROOMY, 3);
        scenario.steps(30);
        scenario.device.close(scenario.now, &mut MarkOnDevice(&*base)).unwrap();
        let refused = scenario.device.commit([].into_iter(), &[], scenario.now);
        assert_eq!(refused, Err(Error::ReadOnly));
        let bytes = base.to_bytes();
        scenario.model.assert_state(&bytes, scenario.model.commits(), u64::MAX);
        std::fs::write(&image.path, &bytes).unwrap();
        let said = image::run_any("e2fsck", &["-fn", image.path.to_str().unwrap()]);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        assert!(!oracle::check(&image).was_dirty);
    }
}

/// We and the kernel by turns, each recovering what the other left.
#[test]
fn the_kernel_and_we_take_turns() {
    if !can_mount() {
        return;
    }
    let writable = rumpcap_host::file::OpenOptions { write: true, ..Default::default() };
    for setup in [&PLAIN, &V3] {
        let image = setup.image();
        for turn in 0..3 {
            let base = Arc::new(FileDevice::open_with(&image.path, writable).unwrap());
            let mut scenario = Scenario::new(setup, &image, base.clone(), Sizes::ROOMY, turn);
            scenario.model.restart(&oracle::bytes_of(&*base));
            scenario.steps(20);
            scenario.sync();
            let (model, commits) = (scenario.model.clone(), scenario.model.commits());
            drop(scenario);
            // The kernel recovers our log, and has one of its own.
            let mounted = Mounted::new(&image.path, "data=ordered");
            std::fs::create_dir(mounted.root.join(format!("turn{turn}"))).unwrap();
            mounted.commit();
            drop(mounted);
            let bytes = oracle::bytes_of(&*base);
            model.assert_state(&bytes, commits, u64::MAX);
            let said = image::run_any("e2fsck", &["-fn", image.path.to_str().unwrap()]);
            assert_eq!(said.status.code(), Some(0), "{said:?}");
        }
    }
}

/// A copy must not look like a block of the log.
#[test]
fn the_magic_is_escaped() {
    let image = PLAIN.image();
    let base = Arc::new(MemoryDevice::from_bytes(&std::fs::read(&image.path).unwrap()));
    let scenario = Scenario::new(&PLAIN, &image, base.clone(), Sizes::ROOMY, 1);
    let mut bytes = [7u8; 1024];
    bytes[..12].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2, 0, 0, 0, 3]);
    let block = LoggedBlock { home: 2600, bytes: &bytes };
    scenario.device.commit([block].into_iter(), &[], scenario.now).unwrap();
    scenario.device.sync(scenario.now).unwrap();
    let (descriptor, copy) = (image.journal_byte(1) as usize, image.journal_byte(2) as usize);
    let raw = base.to_bytes();
    assert_eq!((&raw[copy..copy + 4], &raw[copy + 4..copy + 1024]), (&[0; 4][..], &bytes[4..]));
    assert_eq!(raw[descriptor + 18..descriptor + 20], [0, 1 | 8], "escaped, last");
    std::fs::write(&image.path, &raw).unwrap();
    oracle::check(&image);
    let (ours, _) = oracle::recover(&image, 65536);
    assert!(oracle::bytes_of(&ours)[2600 * 1024..2601 * 1024] == bytes);
    // Home by a checkpoint, it is itself again.
    scenario.device.checkpoint(scenario.now).unwrap();
    assert!(base.to_bytes()[2600 * 1024..2601 * 1024] == bytes);
}

/// Ids of transactions wrap around.
#[test]
fn ids_wrap() {
    for setup in [&PLAIN, &V3] {
        let image = setup.image();
        let mut bytes = std::fs::read(&image.path).unwrap();
        let sequence = image.journal_byte(0) as usize + 24;
        bytes[sequence..sequence + 4].copy_from_slice(&0xFFFF_FFFCu32.to_be_bytes());
        let base = Arc::new(MemoryDevice::from_bytes(&bytes));
        let mut scenario = Scenario::new(setup, &image, base.clone(), Sizes::ROOMY, 1);
        for _ in 0..9 {
            scenario.commit(4, 1);
            scenario.sync();
        }
        std::fs::write(&image.path, base.to_bytes()).unwrap();
        assert_eq!(oracle::check(&image).transactions, 9);
        if can_mount() {
            oracle::check_against_kernel(&image);
        }
        let (ours, _) = oracle::recover(&image, 65536);
        scenario.model.assert_state(&oracle::bytes_of(&ours), 9, u64::MAX);
    }
}

/// The blocks of fast commits are behind the ring.
#[test]
fn the_area_of_fast_commits_is_left_alone() {
    let options = &["-t", "ext4", "-O", "metadata_csum,64bit,fast_commit"];
    let setup = Setup { options, block_size: 1024, form: WIDE_V3, log_blocks: 1024 };
    let image = setup.image_with_journal("size=2");
    let end = image.geometry().journal_blocks;
    let area: Vec<u64> = (end - 256..end).map(|block| image.journal_byte(block)).collect();
    let mut bytes = std::fs::read(&image.path).unwrap();
    // mke2fs leaves the feature of the journal itself to the kernel: a bit, and how many blocks.
    let journal = image.journal_byte(0) as usize;
    let set = |bytes: &mut Vec<u8>, at: usize, value: u32| {
        bytes[journal + at..journal + at + 4].copy_from_slice(&value.to_be_bytes());
    };
    set(&mut bytes, 0x28, 0x20);
    set(&mut bytes, 0x54, 256);
    for at in &area {
        bytes[*at as usize..*at as usize + 1024].fill(0xAA);
    }
    let base = Arc::new(MemoryDevice::from_bytes(&bytes));
    let mut scenario = Scenario::new(&setup, &image, base.clone(), Sizes::ROOMY, 1);
    for _ in 0..60 {
        scenario.commit(100, 3);
    }
    scenario.sync();
    let after = base.to_bytes();
    assert!(area.iter().all(|at| after[*at as usize..*at as usize + 1024].iter().all(|byte| *byte == 0xAA)));
    assert!(scenario.device.usage().checkpoints > 0);
}

#[test]
fn what_is_refused() {
    let image = V3.image();
    let bytes = std::fs::read(&image.path).unwrap();
    let base = Arc::new(MemoryDevice::from_bytes(&bytes));
    let mut scenario = Scenario::new(&V3, &image, base.clone(), Sizes::ROOMY, 1);
    scenario.commit(3, 0);
    let block = [7u8; 1024];
    let max = scenario.device.max_commit_blocks();
    let too_many = vec![LoggedBlock { home: 2600, bytes: &block }; max + 1];
    let own = image.journal_byte(5) / 1024;
    let bad = [(4096, 1024), (own, 1024), (2600, 512)];
    for (home, len) in bad {
        let one = [LoggedBlock { home, bytes: &block[..len] }];
        let refused = scenario.device.commit(one.into_iter(), &[], scenario.now);
        assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{home} {len}");
    }
    let refused = scenario.device.commit(too_many.iter().copied(), &[], scenario.now);
    assert!(matches!(refused, Err(Error::InvalidInput { .. })));
    assert!(scenario.device.stopped().is_none());
    scenario.check_reads();
    scenario.sync();

    // A log that was not recovered; memory that is too small; version 1; on another device.
    let open = |bytes: &[u8], memory: [Vec<u8>; 2]| {
        let base = Arc::new(MemoryDevice::from_bytes(bytes));
        let mut mark = MarkOnDevice(&*base);
        let (mut map, geometry) = (image.journal_map(), image.geometry());
        let open = rumpcap_ext4::journal::write::JournaledDevice::open;
        open(base.clone(), &mut map, &geometry, WIDE_V3, memory, &mut mark).map(drop)
    };
    let roomy = || [vec![0; 4096], vec![0; 1024]];
    assert!(matches!(open(&base.to_bytes(), roomy()), Err(Error::InvalidInput { .. })));
    assert_eq!(open(&bytes, roomy()), Ok(()));
    assert!(matches!(open(&bytes, [vec![0; 500], vec![0; 1024]]), Err(Error::InvalidInput { .. })));
    assert!(matches!(open(&bytes, [vec![0; 4096], vec![0; 1023]]), Err(Error::InvalidInput { .. })));
    let mut version1 = bytes.clone();
    version1[image.journal_byte(0) as usize + 7] = 3;
    assert!(matches!(open(&version1, roomy()), Err(Error::Unsupported { .. })));
    let mut external = bytes.clone();
    external[1024 + 0xE0..1024 + 0xE8].copy_from_slice(&[0, 0, 0, 0, 1, 8, 0, 0]);
    assert_eq!(open(&external, roomy()), Err(Error::Unsupported { what: "external journal" }));
}

/// An error in the journal's super block goes to that of the file system when the journal is opened.
#[test]
fn an_old_error_is_handed_on() {
    let image = PLAIN.image();
    let mut bytes = std::fs::read(&image.path).unwrap();
    let errno = image.journal_byte(0) as usize + 32;
    bytes[errno..errno + 4].copy_from_slice(&(-5i32).to_be_bytes());
    let base = Arc::new(MemoryDevice::from_bytes(&bytes));
    drop(Scenario::new(&PLAIN, &image, base.clone(), Sizes::ROOMY, 1));
    let after = base.to_bytes();
    assert_eq!((after[1024 + 0x3A] & 2, &after[errno..errno + 4]), (2, &[0; 4][..]));
}

#[test]
fn the_model_itself_notices() {
    let mut model = Model::new(1024, 2600, 4);
    model.begin_commit();
    model.set(2601, Cell::Logged(5));
    let mut bytes = vec![0; 2700 * 1024];
    assert_eq!(model.find_state(&bytes, 0, u64::MAX), Some(0));
    assert_eq!(model.find_state(&bytes, 1, u64::MAX), None);
    bytes[2601 * 1024..2602 * 1024].copy_from_slice(&model::content(1024, 2601, 5));
    assert_eq!(model.find_state(&bytes, 0, u64::MAX), Some(1));
    bytes[2601 * 1024 + 600] ^= 1;
    assert_eq!(model.find_state(&bytes, 0, u64::MAX), None);
}
