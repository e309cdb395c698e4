//! What is said of a file system as a whole: sizes against the kernel's own mount, features and details against dumpe2fs.

mod support;

use rumpcap_ext4::Info;
use rumpcap_ext4::features::{COMPAT, INCOMPAT, RO_COMPAT};
use rumpcap_ext4::layout::SUPER_BLOCK_OFFSET;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{FileSystem, StatFs};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::{Image, have_tools, noise};
use tempfile::TempDir;

/// What the kernel's `statfs` says of the image at `path`; `None` where it cannot be mounted here.
fn kernels_stat_fs(path: &Path) -> Option<[u64; 6]> {
    let point = TempDir::new().expect("a directory");
    let mount = Command::new("mount").args(["-o", "loop,ro"]).arg(path).arg(point.path()).output().ok()?;
    if !mount.status.success() {
        skip("no loop mounts");
        return None;
    }
    let stat = Command::new("stat").args(["-f", "-c", "%S %b %f %a %c %d"]).arg(point.path()).output();
    let umount = Command::new("umount").arg(point.path()).status().expect("umount runs");
    assert!(umount.success());
    let stat = String::from_utf8(stat.expect("stat runs").stdout).expect("numbers");
    let numbers: Vec<_> = stat.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    Some(numbers.try_into().expect("six numbers"))
}

fn numbers(of: &StatFs) -> [u64; 6] {
    [of.block_size.into(), of.blocks, of.blocks_free, of.blocks_available, of.inodes, of.inodes_free]
}

#[test]
fn sizes_are_those_of_the_kernels_mount() {
    if !have_tools() {
        return;
    }
    let tree = TempDir::new().expect("a directory");
    std::fs::write(tree.path().join("file"), noise(1, 1_000_000)).expect("written");
    let matrix: &[(&[&str], &str)] = &[
        (&["-t", "ext2", "-b", "1024"], "100M"),
        (&["-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode"], "100M"),
        (&["-t", "ext3", "-b", "2048"], "100M"),
        (&["-t", "ext4", "-b", "1024"], "300M"),
        (&["-t", "ext4", "-b", "4096"], "300M"),
        (&["-t", "ext4", "-b", "1024", "-O", "^has_journal,^flex_bg"], "1G"),
        (&["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"], "300M"),
        (&["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^sparse_super", "-g", "512"], "30M"),
        (&["-t", "ext4", "-b", "1024", "-O", "sparse_super2"], "300M"),
        (&["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "65536"], "300M"),
        (&["-t", "ext4", "-b", "4096", "-m", "20"], "64M"),
    ];
    for (arguments, size) in matrix {
        let image = Image::make(arguments, size, Some(tree.path()));
        let Some(expected) = kernels_stat_fs(&image.path()) else { return };
        let mounted = image.mount();
        let seen = mounted.fs.stat_fs(&mounted.reserve()).expect("it can be read");
        assert_eq!(numbers(&seen), expected, "{arguments:?}");
    }
}

#[test]
fn mount_reads_the_super_block_and_nothing_else() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024"], "2G", None);
    let mounted = image.mount();
    let at_mount = mounted.vm.report();
    assert_eq!((at_mount.device_reads, at_mount.device_read_bytes), (1, 4096));
    let last = u64::from(mounted.fs.super_block().inodes_count);
    assert_eq!(mounted.node(last).map(|_| ()), Err(rumpcap_host::Error::NotFound));
    let then = mounted.vm.report();
    assert_eq!(then.device_reads, 3, "a page of descriptors, and one of the inode table");
}

#[test]
fn free_space_is_summed_up_where_the_super_block_may_be_behind() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], "100M", None);
    let clean = image.mount();
    let expected = clean.fs.stat_fs(&clean.reserve()).expect("it can be read");
    // Not unmounted cleanly, and counts of zero.
    image.patch(SUPER_BLOCK_OFFSET + 0x3A, &[0, 0]);
    image.patch(SUPER_BLOCK_OFFSET + 0x0C, &[0; 8]);
    let mounted = image.mount();
    assert_eq!(mounted.fs.stat_fs(&mounted.reserve()).expect("it can be read"), expected);
}

fn dumpe2fs(image: &Image) -> BTreeMap<String, String> {
    let output =
        Command::new("dumpe2fs").args(["-h", "-f"]).arg(image.path()).output().expect("dumpe2fs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn info(image: &Image) -> Info {
    let mounted = image.mount();
    mounted.fs.info(&mounted.reserve()).expect("the super block can be read")
}

#[test]
fn details_are_those_of_dumpe2fs() {
    if !have_tools() {
        return;
    }
    let matrix: &[(&[&str], &str)] = &[
        (&["-t", "ext2", "-L", "a label"], "ext2"),
        (&["-t", "ext3"], "ext3"),
        (
            &["-t", "ext4", "-O", "quota,project,casefold,encrypt,verity,inline_data,ea_inode,large_dir"],
            "ext4",
        ),
        (
            &["-t", "ext4", "-b", "4096", "-O", "orphan_file,stable_inodes,metadata_csum_seed,bigalloc"],
            "ext4",
        ),
        (&["-t", "ext4", "-O", "meta_bg,^resize_inode,sparse_super2,mmp,fast_commit"], "ext4"),
    ];
    let pairs = [
        ("Block size", "block_size"),
        ("Block count", "block_count"),
        ("Free blocks", "free_blocks"),
        ("Reserved block count", "reserved_blocks"),
        ("Overhead clusters", "overhead_clusters"),
        ("First block", "first_block"),
        ("Inode count", "inode_count"),
        ("Free inodes", "free_inodes"),
        ("Inode size", "inode_size"),
        ("Group descriptor size", "group_descriptor_size"),
        ("Blocks per group", "blocks_per_group"),
        ("Inodes per group", "inodes_per_group"),
        ("Reserved GDT blocks", "reserved_gdt_blocks"),
        ("Cluster size", "cluster_size"),
        ("Filesystem state", "state"),
        ("Mount count", "mount_count"),
        ("Directory Hash Seed", "directory_hash_seed"),
        ("Journal inode", "journal_inode"),
        ("Checksum seed", "checksum_seed"),
        ("Character encoding", "encoding"),
    ];
    let mut compared = 0;
    for (arguments, kind) in matrix {
        let image = Image::make(arguments, "64M", None);
        let (said, info) = (dumpe2fs(&image), info(&image));
        let details: BTreeMap<_, _> =
            info.details.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(info.kind, *kind);
        assert_eq!(info.uuid, said["Filesystem UUID"]);
        assert_eq!(info.features.join(" "), said["Filesystem features"]);
        let label = if info.label.is_empty() { "<none>" } else { &info.label };
        assert_eq!(label, said["Filesystem volume name"]);
        for (theirs, ours) in pairs {
            if let Some(value) = said.get(theirs) {
                assert_eq!(details.get(ours), Some(&value.as_str()), "{theirs} of {arguments:?}");
                compared += 1;
            }
        }
        assert_eq!(info.warnings, Vec::<String>::new());
    }
    assert!(compared > 70, "only {compared} values were compared");
}

#[test]
fn every_feature_has_the_name_that_dumpe2fs_prints() {
    if !have_tools() {
        return;
    }
    let mut unread = Vec::new();
    for (offset, table) in [(0x5C, COMPAT), (0x60, INCOMPAT), (0x64, RO_COMPAT)] {
        for &(bit, name) in table {
            let image = Image::make(&["-t", "ext2", "-O", "none"], "1M", None);
            image.patch(SUPER_BLOCK_OFFSET + offset, &bit.to_le_bytes());
            let said = dumpe2fs(&image);
            let Some(features) = said.get("Filesystem features") else {
                unread.push(name);
                continue;
            };
            assert_eq!(features, name, "bit {bit:#x} of the word at {offset:#x}");
        }
    }
    // With these alone dumpe2fs does not open the image.
    assert_eq!(unread, ["64bit"]);
}

#[test]
fn warnings_say_what_is_wrong() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext2", "-O", "^metadata_csum"], "8M", None);
    image.patch(SUPER_BLOCK_OFFSET + 0x3A, &[2, 0]);
    image.patch(SUPER_BLOCK_OFFSET + 0x194, &[3, 0, 0, 0]);
    let warnings = info(&image).warnings.join("\n");
    for part in ["having errors", "3 errors", "not unmounted cleanly"] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
}
