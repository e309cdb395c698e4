//! New file systems: e2fsck finds nothing, and their numbers are those of mke2fs for the same options.
//!
//! `RUMPCAP_LONG_TESTS=1` adds sizes whose check takes long.

use rumpcap_block::{BlockDevice, Effect, Fault, FaultInjector, FileDevice, MemoryDevice, Operation};
use rumpcap_ext4::mkfs::{
    Attributes, Entry, Kind, LOST_FOUND_INODE, Maker, Options, Prior, ROOT_INODE, features_of,
};
use rumpcap_host::file::OpenOptions;
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, exists, output, run_args};
use rumpcap_vfs::FileKind;
use std::io::{IoSliceMut, Write};
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const UUID_BYTES: [u8; 16] =
    [1, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 1, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];
/// 2026-01-01.
const TIME: u64 = 1_767_225_600;

/// What is made, by both.
#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    features: &'static str,
    len_bytes: u64,
    block_size: Option<u32>,
    inode_size: Option<u32>,
    inodes: Option<u32>,
    bytes_per_inode: Option<u32>,
    groups_per_flex: Option<u32>,
    journal_mib: Option<u64>,
}

fn case(kind: Kind, len_bytes: u64) -> Case {
    Case {
        kind,
        features: "",
        len_bytes,
        block_size: None,
        inode_size: None,
        inodes: None,
        bytes_per_inode: None,
        groups_per_flex: None,
        journal_mib: None,
    }
}

impl Case {
    fn options(&self) -> Options {
        let mut options = Options::new(self.kind);
        options.features = features_of(self.kind).edited(self.features).expect("names of features");
        options.block_size = self.block_size;
        options.inode_size = self.inode_size.unwrap_or(options.inode_size);
        options.inodes = self.inodes;
        options.bytes_per_inode = self.bytes_per_inode;
        options.groups_per_flex = self.groups_per_flex.unwrap_or(options.groups_per_flex);
        options.journal_bytes = self.journal_mib.map(|mib| mib * MIB);
        options.uuid = UUID_BYTES;
        options.hash_seed = UUID_BYTES;
        options.time = TIME;
        options.prior = Prior::Zeros;
        options
    }

    /// The same as arguments of mke2fs.
    fn arguments(&self) -> Vec<String> {
        let kind = match self.kind {
            Kind::Ext2 => "ext2",
            Kind::Ext3 => "ext3",
            Kind::Ext4 => "ext4",
        };
        let mut all = vec!["-q".into(), "-F".into(), "-t".into(), kind.to_owned(), "-U".into(), UUID.into()];
        let mut add = |flag: &str, value: Option<String>| {
            all.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        };
        add("-O", (!self.features.is_empty()).then(|| self.features.to_owned()));
        add("-b", self.block_size.map(|n| n.to_string()));
        add("-I", self.inode_size.map(|n| n.to_string()));
        add("-N", self.inodes.map(|n| n.to_string()));
        add("-i", self.bytes_per_inode.map(|n| n.to_string()));
        add("-G", self.groups_per_flex.map(|n| n.to_string()));
        add("-J", self.journal_mib.map(|n| format!("size={n}")));
        all
    }
}

fn sparse(len_bytes: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(len_bytes).expect("a sparse file");
    file
}

fn device(path: &Path) -> FileDevice {
    FileDevice::open_with(path, OpenOptions { write: true, direct: false }).expect("the image")
}

/// A file system with an empty root and `lost+found`.
fn make_empty(device: &dyn BlockDevice, options: &Options) -> rumpcap_host::Result<()> {
    let mut maker = Maker::new(device, options)?;
    let mut entries = [Entry::new(b"lost+found", LOST_FOUND_INODE, FileKind::Directory)];
    let root = Attributes::made_at(TIME, 0o040_755);
    maker.directory(ROOT_INODE, ROOT_INODE, &mut entries, &root, &mut [])?;
    let lost_found = Attributes::made_at(TIME, 0o040_700);
    maker.directory(LOST_FOUND_INODE, ROOT_INODE, &mut [], &lost_found, &mut [])?;
    maker.finish()
}

/// The lines of dumpe2fs that both must agree on.
const NUMBERS: &[&str] = &[
    "Filesystem UUID",
    "Filesystem revision #",
    "Filesystem features",
    "Filesystem flags",
    "Default mount options",
    "Filesystem state",
    "Errors behavior",
    "Inode count",
    "Block count",
    "Reserved block count",
    "Overhead clusters",
    "Free blocks",
    "Free inodes",
    "First block",
    "Block size",
    "Group descriptor size",
    "Reserved GDT blocks",
    "Blocks per group",
    "Inodes per group",
    "Inode blocks per group",
    "Flex block group size",
    "First inode",
    "Inode size",
    "Required extra isize",
    "Desired extra isize",
    "Journal inode",
    "Default directory hash",
    "Journal backup",
    "Checksum type",
    "Total journal blocks",
];

fn numbers(image: &Path) -> Vec<String> {
    let text = String::from_utf8(run_args("dumpe2fs", &["-h".as_ref(), image.as_os_str()])).expect("text");
    let wanted = |line: &&str| line.split_once(':').is_some_and(|(key, _)| NUMBERS.contains(&key));
    text.lines().filter(wanted).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn free_blocks(line: &str) -> Option<u64> {
    line.strip_prefix("Free blocks: ")?.parse().ok()
}

fn check(image: &Path, what: &dyn std::fmt::Debug) {
    let result = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    let text = String::from_utf8_lossy(&result.stdout);
    assert!(result.status.success(), "{what:?}: e2fsck: {text}");
}

fn compare(case: &Case) {
    let ours = sparse(case.len_bytes);
    make_empty(&device(ours.path()), &case.options()).unwrap_or_else(|e| panic!("{case:?}: {e}"));
    check(ours.path(), case);
    let theirs = sparse(case.len_bytes);
    let mut mke2fs = command("mke2fs");
    mke2fs.args(case.arguments()).arg(theirs.path());
    assert!(output(&mut mke2fs).status.success(), "{case:?}: {mke2fs:?}");
    let (mut ours, theirs) = (numbers(ours.path()), numbers(theirs.path()));
    // A large journal passes more copies of the super block here than there, where it is in the middle: its map
    // may then take a block.
    if case.len_bytes >= 64 << 30 || case.journal_mib.is_some_and(|mib| mib >= 64) {
        for (ours, theirs) in ours.iter_mut().zip(&theirs) {
            if let (Some(mine), Some(other)) = (free_blocks(ours), free_blocks(theirs)) {
                assert!((other - 1..=other).contains(&mine), "{case:?}: {mine} free blocks, {other} there");
                ours.clone_from(theirs);
            }
        }
    }
    // Where groups shrank, mke2fs keeps the share of a number of blocks that it tried on the way.
    let full = theirs.iter().any(|line| *line == format!("Blocks per group: {}", block_bits(&theirs)));
    let kept = |line: &&String| full || !line.starts_with("Reserved block count");
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (ours.iter().filter(kept).collect(), theirs.iter().filter(kept).collect());
    assert_eq!(ours, theirs, "{case:?}");
}

/// Bits of a block, as far as a group can have blocks.
fn block_bits(lines: &[String]) -> u64 {
    let size = lines.iter().find_map(|line| line.strip_prefix("Block size: ")?.parse::<u64>().ok());
    size.map_or(0, |size| (size * 8).min(65_528))
}

fn have_tools() -> bool {
    let have = ["mke2fs", "e2fsck", "dumpe2fs"].iter().all(|tool| exists(tool));
    if !have {
        skip("no e2fsprogs");
    }
    have
}

fn is_long() -> bool {
    std::env::var_os("RUMPCAP_LONG_TESTS").is_some()
}

const KINDS: [Kind; 3] = [Kind::Ext2, Kind::Ext3, Kind::Ext4];

#[test]
fn numbers_are_those_of_mke2fs() {
    if !have_tools() {
        return;
    }
    // Odd lengths, a last group that is short, one that is too short and goes, sizes at which defaults change.
    let mut sizes = vec![1, 2, 3, 8, 9, 33, 129, 130, 512, 600];
    if is_long() {
        sizes.extend([5, 17, 64, 100, 257, 511, 1000, 1024, 2048, 4096, 10_000, 65_536]);
    }
    for kind in KINDS {
        for &mib in &sizes {
            compare(&case(kind, mib * MIB));
        }
        compare(&case(kind, 20 * MIB + 123_456));
    }
}

#[test]
fn block_sizes_and_features() {
    if !have_tools() {
        return;
    }
    for kind in KINDS {
        for block_size in [1024, 2048, 4096] {
            for mib in if is_long() { vec![70, 300, 1100] } else { vec![70] } {
                compare(&Case { block_size: Some(block_size), ..case(kind, mib * MIB) });
            }
        }
    }
    // Larger than the kernel's pages, and so than what it mounts on most machines.
    compare(&Case { block_size: Some(8192), ..case(Kind::Ext4, 100 * MIB) });
    // With that size a block of descriptors has room for all there can be: mke2fs says resize_inode all the same.
    compare(&Case { block_size: Some(65_536), features: "^resize_inode", ..case(Kind::Ext4, 900 * MIB) });
    let features = [
        "^resize_inode",
        "^has_journal",
        "^64bit",
        "^metadata_csum",
        "^metadata_csum,uninit_bg",
        "^metadata_csum,uninit_bg,^64bit",
        "^flex_bg",
        "^extent,^64bit",
        "^resize_inode,^sparse_super",
        "metadata_csum_seed",
        "^huge_file,^dir_nlink,^extra_isize",
        "^filetype,^dir_index",
        "large_dir",
    ];
    for features in features {
        compare(&Case { features, ..case(Kind::Ext4, 300 * MIB) });
        compare(&Case { features, block_size: Some(1024), ..case(Kind::Ext4, 60 * MIB) });
    }
}

#[test]
fn inodes_groups_and_journals() {
    if !have_tools() {
        return;
    }
    let ext4 = case(Kind::Ext4, 300 * MIB);
    let cases = [
        Case { inode_size: Some(128), ..ext4.clone() },
        Case { inode_size: Some(512), ..ext4.clone() },
        Case { inode_size: Some(1024), inodes: Some(5000), ..ext4.clone() },
        Case { inodes: Some(12), ..ext4.clone() },
        Case { inodes: Some(100_000), block_size: Some(4096), ..ext4.clone() },
        // Tables that fill most of their groups.
        Case { bytes_per_inode: Some(1024), block_size: Some(1024), ..ext4.clone() },
        Case { bytes_per_inode: Some(1024), ..case(Kind::Ext2, 300 * MIB) },
        // Groups that shrink until their bitmaps hold all inodes.
        Case { bytes_per_inode: Some(2048), block_size: Some(4096), ..case(Kind::Ext4, 150 * MIB) },
        Case { bytes_per_inode: Some(1_000_000), ..ext4.clone() },
        Case { groups_per_flex: Some(1), block_size: Some(1024), ..ext4.clone() },
        Case { groups_per_flex: Some(64), block_size: Some(1024), ..ext4.clone() },
        Case { journal_mib: Some(5), block_size: Some(1024), ..ext4.clone() },
        Case { journal_mib: Some(100), ..ext4.clone() },
        Case { journal_mib: Some(64), ..case(Kind::Ext3, 300 * MIB) },
    ];
    for case in &cases {
        compare(case);
    }
}

#[test]
fn large_sparse_ones() {
    if !have_tools() {
        return;
    }
    compare(&case(Kind::Ext4, 100 << 30));
    if is_long() {
        compare(&case(Kind::Ext4, 2 << 40));
        compare(&case(Kind::Ext4, (5 << 40) + 12_345_678));
        compare(&case(Kind::Ext2, 20 << 30));
    }
}

/// Bytes on the device that were there before do not show through.
#[test]
fn over_what_was_there() {
    if !have_tools() {
        return;
    }
    for features in ["", "^metadata_csum,^flex_bg"] {
        for lazy_tables in [true, false] {
            let mut image = tempfile::NamedTempFile::new().expect("a temporary file");
            for _ in 0..40 {
                image.write_all(&[0xA5; MIB as usize]).expect("an image");
            }
            let case = Case { features, ..case(Kind::Ext4, 40 * MIB) };
            let options = Options { prior: Prior::Unknown, lazy_tables, ..case.options() };
            make_empty(&device(image.path()), &options).expect("made");
            check(image.path(), &case);
        }
    }
}

#[test]
fn too_small_is_said_and_nothing_is_written() {
    for len in [0, 1, 10 << 10, 60 << 10] {
        let image = sparse(len);
        let options = Case { ..case(Kind::Ext4, len) }.options();
        assert!(make_empty(&device(image.path()), &options).is_err(), "{len}");
        assert!(std::fs::read(image.path()).expect("read").iter().all(|byte| *byte == 0));
    }
}

#[test]
fn the_kernel_mounts_and_writes() {
    if !have_tools() || !loop_mount::available() {
        return skip("no loop mounts");
    }
    for kind in KINDS {
        for features in ["", "^resize_inode"] {
            let case = Case { features, ..case(kind, 50 * MIB) };
            let image = sparse(case.len_bytes);
            make_empty(&device(image.path()), &case.options()).expect("made");
            let mount = LoopMount::new(image.path(), "").unwrap_or_else(|e| panic!("{case:?}: {e}"));
            for n in 0..300 {
                std::fs::write(mount.join(format!("file {n}")), vec![n as u8; n * 100]).expect("written");
            }
            drop(mount);
            check(image.path(), &case);
        }
    }
}

/// Whichever request fails: an error, and nothing that anybody would take for a file system.
#[test]
fn a_failing_device_is_an_error_and_leaves_no_file_system() {
    let options = case(Kind::Ext4, 8 * MIB).options();
    let memory = || Arc::new(MemoryDevice::new(8 << 20));
    let whole = FaultInjector::new(memory());
    make_empty(&whole, &options).expect("made");
    for operation in [Operation::Write, Operation::Flush, Operation::Read] {
        for nth in 1..=whole.requests(operation) {
            let base = memory();
            let device = FaultInjector::new(base.clone());
            device.inject(Fault { operation, nth, effect: Effect::Fail { errno: 5 } }).expect("injected");
            assert!(make_empty(&device, &options).is_err(), "{operation:?} {nth}");
            let mut magic = [0; 2];
            base.read_at(1024 + 0x38, &mut [IoSliceMut::new(&mut magic)]).expect("read");
            // Only the last flush comes behind the super block.
            let is_last = operation == Operation::Flush && nth == whole.requests(operation);
            assert_eq!(magic == [0x53, 0xEF], is_last, "{operation:?} {nth}");
        }
    }
}
