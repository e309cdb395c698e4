//! Tables made by sfdisk, read back, and broken.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::*;
use crate::{FileDevice, MemoryDevice};
use rumpcap_testing::skip::skip;
use std::io::{IoSliceMut, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DISK_BYTES: u64 = 64 << 20;

/// Runs sfdisk with `arguments` on `image`, `script` on its standard input; its output. `None` if there is no sfdisk.
fn sfdisk(image: &Path, arguments: &[&str], script: &str) -> Option<String> {
    let mut command = Command::new("sfdisk");
    command.args(arguments).arg(image).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        skip("no sfdisk (Debian: fdisk)");
        return None;
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A disk with the table of `script`, and what sfdisk says of it.
fn disk(script: &str) -> Option<(tempfile::NamedTempFile, serde_json::Value)> {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(DISK_BYTES).unwrap();
    sfdisk(image.path(), &["--quiet", "--wipe", "never"], script)?;
    let json = sfdisk(image.path(), &["--json"], "")?;
    Some((image, serde_json::from_str(&json).unwrap()))
}

/// Compares everything that sfdisk tells with what we read.
fn check(table: &Table, said: &serde_json::Value, sector_bytes: u64) {
    let said = &said["partitiontable"];
    assert_eq!(said["label"], table.scheme.name());
    assert_eq!(said["id"], table.id);
    assert_eq!(u64::from(table.sector_bytes), sector_bytes);
    let partitions = said["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), table.partitions.len(), "{table:#?}");
    for (theirs, ours) in partitions.iter().zip(&table.partitions) {
        let node = theirs["node"].as_str().unwrap();
        assert!(node.ends_with(&ours.number.to_string()), "{node} is not {}", ours.number);
        assert_eq!(theirs["start"].as_u64().unwrap() * sector_bytes, ours.offset);
        assert_eq!(theirs["size"].as_u64().unwrap() * sector_bytes, ours.len_bytes);
        let kind = match &ours.kind {
            PartitionType::Guid(guid) => guid.clone(),
            PartitionType::Byte(byte) => format!("{byte:x}"),
        };
        assert_eq!(theirs["type"], kind);
        assert_eq!(theirs["name"].as_str().unwrap_or_default(), ours.name);
        assert_eq!(
            theirs["bootable"].as_bool().unwrap_or(false),
            ours.is_bootable && table.scheme == Scheme::Mbr
        );
        if table.scheme == Scheme::Gpt {
            assert_eq!(theirs["uuid"], ours.id);
        }
    }
}

const GPT: &str = "label: gpt
start=2048, size=4096, type=U, name=\"EFI\"
size=8192, type=L, name=\"root, in ünïcode\"
5: size=4096, type=S
";

const MBR: &str = "label: dos
size=4096, type=83, bootable
size=60000, type=5
size=4096, type=c
size=2048, type=82
size=2048, type=83
size=4096, type=7
size=2048, type=8e
";

#[test]
fn gpt_in_sectors_of_512_bytes() {
    let Some((image, said)) = disk(GPT) else { return };
    let table = table(&FileDevice::open(image.path()).unwrap()).unwrap().unwrap();
    check(&table, &said, 512);
    assert_eq!(table.partitions[0].type_name(), Some("EFI System"));
    assert_eq!(table.partitions[1].type_name(), Some("Linux filesystem"));
    assert!(!table.is_backup && table.partition(3).is_none());
    assert_eq!(table.partition(5).unwrap().number, 5);
}

/// A file as a block device of the host; detached when dropped.
struct Loop(String);

impl Loop {
    /// `None` where that needs rights that we do not have.
    fn new(image: &Path) -> Option<Loop> {
        let attach = ["--find", "--show", "--sector-size", "4096"];
        let output = Command::new("losetup").args(attach).arg(image).output().ok()?;
        if !output.status.success() {
            skip("no loop devices");
            return None;
        }
        Some(Loop(String::from_utf8(output.stdout).unwrap().trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Also the test of block devices: sfdisk takes the sectors of one, but not of a file.
#[test]
fn gpt_in_sectors_of_4096_bytes() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(DISK_BYTES).unwrap();
    let Some(device) = Loop::new(image.path()) else { return };
    let node = Path::new(&device.0);
    let script = "label: gpt\nstart=256, size=1024\nsize=2048, name=\"second\"\n";
    let quiet = ["--quiet", "--wipe", "never", "--no-reread", "--no-tell-kernel"];
    if sfdisk(node, &quiet, script).is_none() {
        return;
    }
    let said = serde_json::from_str(&sfdisk(node, &["--json"], "").unwrap()).unwrap();
    let block_device = FileDevice::open(node).unwrap();
    assert_eq!((block_device.len_bytes(), block_device.sector_bytes()), (DISK_BYTES, 4096));
    check(&table(&block_device).unwrap().unwrap(), &said, 4096);
    check(&table(&FileDevice::open(image.path()).unwrap()).unwrap().unwrap(), &said, 4096);
}

#[test]
fn gpt_with_a_broken_primary() {
    for (at, broken) in [(512 + 80, 4), (512, 8), (1024 + 40, 1)] {
        let Some((image, said)) = disk(GPT) else { return };
        let mut bytes = std::fs::read(image.path()).unwrap();
        bytes[at..at + broken].iter_mut().for_each(|byte| *byte ^= 0x55);
        let found = table(&MemoryDevice::from_bytes(&bytes)).unwrap().unwrap();
        assert!(found.is_backup);
        check(&Table { is_backup: false, ..found }, &said, 512);
        // The backup too: an error, not "no table".
        let last = bytes.len() - 512;
        bytes[last + 16] ^= 1;
        assert!(table(&MemoryDevice::from_bytes(&bytes)).is_err());
    }
}

#[test]
fn mbr_with_logical_partitions() {
    let Some((image, said)) = disk(MBR) else { return };
    let device = Arc::new(FileDevice::open(image.path()).unwrap());
    let table = table(&*device).unwrap().unwrap();
    check(&table, &said, 512);
    let numbers: Vec<u32> = table.partitions.iter().map(|partition| partition.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(table.partition(7).unwrap().type_name(), Some("Linux LVM"));
    let slice = table.partition(6).unwrap().open(device).unwrap();
    assert_eq!(slice.len_bytes(), 4096 * 512);
}

#[test]
fn mbr_chain_that_loops_ends() {
    let Some((image, _)) = disk(MBR) else { return };
    let mut bytes = std::fs::read(image.path()).unwrap();
    let device = MemoryDevice::from_bytes(&bytes);
    let before = table(&device).unwrap().unwrap();
    // The second link's next is the second link.
    let start = before.partitions[1].offset as usize;
    let next: [u8; 4] = bytes[start + 446 + 16 + 8..][..4].try_into().unwrap();
    let second = start + u32::from_le_bytes(next) as usize * 512;
    bytes[second + 446 + 16 + 8..][..4].copy_from_slice(&next);
    let looping = table(&MemoryDevice::from_bytes(&bytes)).unwrap().unwrap();
    assert!(looping.partitions.len() <= 256);
    assert_eq!(looping.partitions[..5], before.partitions[..5]);
}

#[test]
fn what_is_no_table() {
    let zeros = MemoryDevice::new(1 << 20);
    assert_eq!(table(&zeros), Ok(None));
    assert_eq!(table(&MemoryDevice::new(100)), Ok(None));
    assert!(table_in_sectors(&zeros, 513).is_err());
    // The boot sector of a file system: the signature, and text where a table would be.
    let mut boot_sector = vec![0; 4096];
    boot_sector[446..510].copy_from_slice(&[b'x'; 64]);
    boot_sector[510..512].copy_from_slice(&[0x55, 0xAA]);
    assert_eq!(table(&MemoryDevice::from_bytes(&boot_sector)), Ok(None));
}

/// Any byte of the tables may be any other: something is said, in bounded memory.
#[test]
fn random_damage() {
    let mut seed = 1u64;
    let mut below = |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    for script in [GPT, MBR] {
        let Some((image, _)) = disk(script) else { return };
        let device = FileDevice::open(image.path()).unwrap();
        let mut head = vec![0; 4 << 20];
        device.read_at(0, &mut [IoSliceMut::new(&mut head)]).unwrap();
        let memory = MemoryDevice::from_bytes(&head);
        for _ in 0..2000 {
            let at = below(2048);
            let mut byte = [0];
            memory.read_at(at, &mut [IoSliceMut::new(&mut byte)]).unwrap();
            let flipped = [byte[0] ^ (1 << below(8))];
            memory.write_at(at, &mut [std::io::IoSlice::new(&flipped)]).unwrap();
            let _ = table(&memory);
        }
    }
}
