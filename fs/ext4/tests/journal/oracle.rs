//! Recovers an image with the code under test and with e2fsck and the kernel, and compares all bytes.

use crate::image::{Image, Mounted, path_text, run_any};
use rumpcap_block::{BlockDevice, FileDevice, Overlay};
use rumpcap_ext4::journal::{self, MIN_SCRATCH_BYTES, Recovery};
use rumpcap_host::Result;
use std::io::IoSliceMut;
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

/// Offsets of the units of 1 KiB that differ, but for the super blocks, the journal's and what is `allowed`.
pub fn differences(image: &Image, ours: &[u8], theirs: &[u8]) -> Vec<u64> {
    assert_eq!(ours.len(), theirs.len());
    let journal_super = image.journal_byte(0);
    let units = ours.chunks(1024).zip(theirs.chunks(1024)).enumerate();
    let differing = units.filter(|(_, (a, b))| a != b).map(|(unit, _)| unit as u64 * 1024);
    differing.filter(|at| *at != 1024 && *at != journal_super).collect()
}

/// The fields of the super block that a replay and what follows it decide: sizes, state, features, journal, errors. Not
/// the free blocks and inodes: there e2fsck puts the sum of the groups, where the kernel has what was last committed.
fn check_super_block(ours: &[u8], theirs: &[u8]) {
    for field in [0x00..0x0C, 0x14..0x28, 0x3A..0x3C, 0x4C..0x78, 0xE0..0x100, 0x194..0x1A8] {
        let (a, b) = (&ours[1024..][field.clone()], &theirs[1024..][field.clone()]);
        assert_eq!(a, b, "super block, bytes {field:x?}");
    }
}

/// Recovers in scratches of several sizes; all must give the same bytes, and the same as e2fsck and, where `mounts`,
/// the kernel. Gives what recovery said in the smallest scratch.
pub fn check(image: &Image) -> Recovery {
    let before = std::fs::read(&image.path).unwrap();
    let mut first: Option<(Vec<u8>, Recovery)> = None;
    for scratch_bytes in [MIN_SCRATCH_BYTES, 5000, 64 * 1024, 1 << 20] {
        let (overlay, recovery) = recover(image, scratch_bytes);
        let recovery = recovery.unwrap();
        let ours = bytes_of(&overlay);
        if let Some((bytes, said)) = &first {
            assert!(&ours == bytes, "scratch of {scratch_bytes} bytes gives other bytes");
            assert_eq!(Recovery { passes: recovery.passes, ..*said }, recovery);
        } else {
            first = Some((ours, recovery));
        }
    }
    assert!(std::fs::read(&image.path).unwrap() == before, "the image was written");
    let (ours, recovery) = first.unwrap();

    let theirs = by_e2fsck(image);
    assert_eq!(differences(image, &ours, &theirs), [0; 0], "against e2fsck");
    check_super_block(&ours, &theirs);
    check_idempotent(image, &ours);
    recovery
}

/// What e2fsck makes of the journal and only of it.
fn by_e2fsck(image: &Image) -> Vec<u8> {
    let copy = image.copy("e2fsck");
    let output = run_any("e2fsck", &["-fy", "-E", "journal_only", path_text(&copy)]);
    assert!(output.status.code().is_some_and(|code| code < 4), "{output:?}");
    std::fs::read(copy).unwrap()
}

/// What the kernel makes of it. Without orphans, a read-only mount changes nothing else.
pub fn check_against_kernel(image: &Image) {
    let copy = image.copy("kernel");
    drop(Mounted::new(&copy, "ro"));
    let (overlay, recovery) = recover(image, 64 * 1024);
    recovery.unwrap();
    let theirs = std::fs::read(&copy).unwrap();
    assert_eq!(differences(image, &bytes_of(&overlay), &theirs), [0; 0], "against the kernel");
}

/// Whether the kernel mounts it.
pub fn kernel_mounts(image: &Image) -> bool {
    Mounted::try_new(&image.copy("kernel-tries"), "ro").is_ok()
}

/// The recovered bytes need no recovery, for us and for e2fsck, which then finds nothing wrong.
fn check_idempotent(image: &Image, ours: &[u8]) {
    let path = image.directory.path().join("recovered");
    std::fs::write(&path, ours).unwrap();
    check_clean(&path);
    let recovered = Image { directory: tempfile::tempdir().unwrap(), path };
    let (overlay, recovery) = recover(&recovered, MIN_SCRATCH_BYTES);
    assert!(!recovery.unwrap().was_dirty);
    assert_eq!(differences(&recovered, &bytes_of(&overlay), ours), [0; 0]);
}

fn check_clean(path: &Path) {
    let output = run_any("e2fsck", &["-fn", path_text(path)]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
