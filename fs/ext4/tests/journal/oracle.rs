//! Recovers an image with the code under test and with e2fsck and the kernel, and compares all bytes.

use crate::image::{Image, Mounted, path_text, run_any};
use rumpcap_block::{BlockDevice, FileDevice, Overlay};
use rumpcap_ext4::journal::{self, MIN_SCRATCH_BYTES, Recovery};
use rumpcap_host::Result;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The image as an overlay, and what recovery said.
pub fn recover(image: &Image, scratch_bytes: usize) -> (Overlay, Result<Recovery>) {
    let base = Arc::new(FileDevice::open(&image.path).unwrap());
    let overlay = Overlay::new(base, image.directory.path()).unwrap();
    let mut map = image.journal_map();
    let mut scratch = vec![0xA5; scratch_bytes];
    let recovery = journal::recover(&overlay, &mut map, &image.geometry(), &mut scratch);
    (overlay, recovery)
}

pub fn bytes_of(device: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; device.len_bytes() as usize];
    device.read_at(0, &mut [IoSliceMut::new(&mut bytes)]).unwrap();
    bytes
}

/// Calls `take` with each MiB of both devices and its offset.
fn compare(a: &dyn BlockDevice, b: &dyn BlockDevice, mut take: impl FnMut(u64, &[u8], &[u8])) {
    let len = a.len_bytes();
    assert_eq!(len, b.len_bytes());
    let (mut of_a, mut of_b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..len).step_by(1 << 20) {
        let n = (len - at).min(1 << 20) as usize;
        a.read_at(at, &mut [IoSliceMut::new(&mut of_a[..n])]).unwrap();
        b.read_at(at, &mut [IoSliceMut::new(&mut of_b[..n])]).unwrap();
        take(at, &of_a[..n], &of_b[..n]);
    }
}

/// Offsets of the units of 1 KiB that differ, but for the super blocks of file system and journal.
pub fn differences(image: &Image, ours: &dyn BlockDevice, theirs: &dyn BlockDevice) -> Vec<u64> {
    let allowed = [1024, image.journal_byte(0)];
    let mut differing = Vec::new();
    compare(ours, theirs, |at, a, b| {
        if a != b {
            let units = a.chunks(1024).zip(b.chunks(1024)).enumerate().filter(|(_, (a, b))| a != b);
            differing
                .extend(units.map(|(unit, _)| at + unit as u64 * 1024).filter(|at| !allowed.contains(at)));
        }
    });
    differing
}

/// The fields of the super block that a replay and what follows it decide: sizes, state, features, journal, errors. Not
/// the free blocks and inodes: there e2fsck puts the sum of the groups, where the kernel has what was last committed.
fn check_super_block(ours: &dyn BlockDevice, theirs: &dyn BlockDevice) {
    let [ours, theirs] = [ours, theirs].map(|device| {
        let mut bytes = vec![0; 1024];
        device.read_at(1024, &mut [IoSliceMut::new(&mut bytes)]).unwrap();
        bytes
    });
    for field in [0x00..0x0C, 0x14..0x28, 0x3A..0x3C, 0x4C..0x78, 0xE0..0x100, 0x194..0x1A8] {
        let (a, b) = (&ours[field.clone()], &theirs[field.clone()]);
        assert_eq!(a, b, "super block, bytes {field:x?}");
    }
}

/// Recovers in scratches of several sizes; all must give the same bytes, and the same as e2fsck and, where `mounts`,
/// the kernel. Gives what recovery said in the smallest scratch.
pub fn check(image: &Image) -> Recovery {
    let (ours, recovery) = recover(image, MIN_SCRATCH_BYTES);
    let recovery = recovery.unwrap();
    for scratch_bytes in [5000, 64 * 1024, 1 << 20] {
        let (other, said) = recover(image, scratch_bytes);
        compare(&ours, &other, |at, a, b| assert!(a == b, "{scratch_bytes} bytes of scratch, near {at}"));
        let said = said.unwrap();
        assert_eq!(Recovery { passes: said.passes, ..recovery }, said);
    }
    let (theirs, said) = by_e2fsck(image);
    let differing = differences(image, &ours, &theirs);
    assert_eq!(differing, [0; 0], "against e2fsck, which said {said}; we {recovery:?}");
    check_super_block(&ours, &theirs);
    check_idempotent(image, &ours);
    recovery
}

/// What e2fsck makes of the journal and only of it.
fn by_e2fsck(image: &Image) -> (FileDevice, String) {
    let copy = image.copy("e2fsck");
    let output = run_any("e2fsck", &["-fy", "-E", "journal_only", path_text(&copy)]);
    assert!(output.status.code().is_some_and(|code| code < 4), "{output:?}");
    (FileDevice::open(&copy).unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the kernel makes of it. Without orphans, a read-only mount changes nothing else.
pub fn check_against_kernel(image: &Image) {
    let copy = image.copy("kernel");
    drop(Mounted::new(&copy, "ro"));
    let (overlay, recovery) = recover(image, 64 * 1024);
    recovery.unwrap();
    let theirs = FileDevice::open(&copy).unwrap();
    assert_eq!(differences(image, &overlay, &theirs), [0; 0], "against the kernel");
}

/// Whether the kernel mounts it.
pub fn kernel_mounts(image: &Image) -> bool {
    Mounted::try_new(&image.copy("kernel-tries"), "ro").is_ok()
}

/// The recovered bytes need no recovery, for us and for e2fsck, which then finds nothing wrong.
fn check_idempotent(image: &Image, ours: &dyn BlockDevice) {
    let path = image.directory.path().join("recovered");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(ours.len_bytes()).unwrap();
    compare(ours, ours, |at, bytes, _| {
        if bytes.iter().any(|byte| *byte != 0) {
            file.write_all_at(bytes, at).unwrap();
        }
    });
    check_clean(&path);
    let recovered = Image::at(tempfile::tempdir().unwrap(), path);
    let (again, recovery) = recover(&recovered, MIN_SCRATCH_BYTES);
    assert!(!recovery.unwrap().was_dirty);
    compare(&again, ours, |at, a, b| assert!(a == b, "recovered twice, near {at}"));
}

fn check_clean(path: &Path) {
    let output = run_any("e2fsck", &["-fn", path_text(path)]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
