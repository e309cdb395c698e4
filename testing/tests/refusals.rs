//! What cannot be mounted is refused with the right error: unknown features by their bits, short images by their length,
//! limits by the number that would do.

use rumpcap::block::{BlockDevice, FileDevice};
use rumpcap::{Error, Kernel, MountOptions};
use rumpcap_testing::corrupt::DamagedImage;
use rumpcap_testing::images::{journal, matrix};
use rumpcap_testing::oracle::{self, Library};
use rumpcap_testing::{SMALLEST_LIMIT_BYTES, loop_mount, skip};
use std::sync::Arc;

const SUPER_BLOCK: usize = 1024;

fn image_bytes(name: &str) -> Arc<Vec<u8>> {
    Arc::new(std::fs::read(matrix::named(name).image()).expect("reading an image"))
}

fn mount_error(device: impl BlockDevice + 'static) -> Error {
    Library::open_device(Arc::new(device), Some(SMALLEST_LIMIT_BYTES)).err().expect("must not be mounted")
}

#[test]
fn unknown_features_are_told_by_their_bits() {
    // Without checksums, so that the change is not taken for damage.
    let mut image = DamagedImage::new(image_bytes("no-checksums"));
    let known = image.get(SUPER_BLOCK + 0x60, 4);
    image.put(SUPER_BLOCK + 0x60, &[known[0], known[1], known[2], known[3] | 0x48]);
    assert_eq!(mount_error(image), Error::UnknownFeature { bits: 0x4800_0000 });
}

#[test]
fn unknown_features_that_do_not_matter_for_reading_are_accepted() {
    let mut image = DamagedImage::new(image_bytes("no-checksums"));
    image.put(SUPER_BLOCK + 0x67, &[0x48]);
    image.put(SUPER_BLOCK + 0x5f, &[0x48]);
    assert!(Library::open_device(Arc::new(image), Some(SMALLEST_LIMIT_BYTES)).is_ok());
}

#[test]
fn what_is_no_file_system_is_not_mounted() {
    for len in [0, 1, 1023, 1024, 2047, 2048, 4096, 1 << 20] {
        let image = DamagedImage::new(Arc::new(vec![0; len]));
        assert_eq!(mount_error(image), Error::NotAFileSystem, "{len} zeros");
    }
}

#[test]
fn a_super_block_with_a_wrong_checksum_is_told() {
    let mut image = DamagedImage::new(image_bytes("small"));
    image.put(SUPER_BLOCK + 0x78, b"another label");
    assert!(matches!(mount_error(image), Error::Checksum { .. }));
}

#[test]
fn a_short_image_says_so() {
    let bytes = image_bytes("small-4k");
    for len in [bytes.len() / 2, bytes.len() - 1, 1 << 20, 65_536] {
        let mut image = DamagedImage::new(Arc::clone(&bytes));
        image.truncate(len as u64);
        let expected = Error::ShortDevice { need: bytes.len() as u64, have: len as u64 };
        assert_eq!(mount_error(image), expected);
    }
}

/// From a page upwards: either the limit is refused with a number that does, or everything works within it.
#[test]
fn every_limit_works_or_names_one_that_does() {
    let image = matrix::named("small").image();
    let (expected, _) = oracle::describe(&image);
    let mut refused = 0;
    for kib in [
        0, 1, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 192, 224, 255, 256, 257, 300, 384,
        512,
    ] {
        let limit = kib << 10;
        let found = match oracle::by_library(&image, Some(limit)) {
            Ok(found) => found,
            Err(Error::LimitTooSmall { need, have }) => {
                refused += 1;
                assert!(limit < SMALLEST_LIMIT_BYTES, "{limit} bytes must do, {need} asked for");
                assert_eq!(have, limit, "the limit is not what was given");
                assert!(
                    need > have && need <= SMALLEST_LIMIT_BYTES,
                    "{need} would do, it says, instead of {have}"
                );
                oracle::by_library(&image, Some(need))
                    .unwrap_or_else(|e| panic!("{need} bytes do not do: {e}"))
            }
            Err(e) => panic!("at {limit} bytes: {e}"),
        };
        if let Some(difference) = oracle::diff(&expected, &found) {
            panic!("at {limit} bytes: {difference}");
        }
    }
    assert!(refused > 0, "a kernel within no bytes at all");
}

/// Mount and recovery at limits around the smallest, with the largest blocks: an error with a number, or a mount.
#[test]
fn every_image_mounts_at_the_smallest_limit_of_boot() {
    let boot = Kernel::builder().memory_limit(1).boot();
    let Err(Error::LimitTooSmall { need, .. }) = boot else { panic!("booted within a byte") };
    let mut images: Vec<_> =
        ["ext4-64k", "ext2-64k", "meta-bg", "inode-4096"].map(|n| matrix::named(n).image()).to_vec();
    if loop_mount::available() {
        images.push(journal::named("dirty-wrapped").image());
    } else {
        skip::skip("no loop mounts: no journal to recover at the smallest limit");
    }
    for image in images {
        let mount = |limit| {
            let kernel = Kernel::builder().memory_limit(limit).boot()?;
            kernel.mount(Arc::new(FileDevice::open(&image)?), &MountOptions::default())
        };
        match mount(need) {
            Ok(_) => {}
            Err(Error::LimitTooSmall { need: more, .. }) => {
                assert!(more > need && more <= SMALLEST_LIMIT_BYTES, "{}: {more}", image.display());
                mount(more).unwrap_or_else(|e| panic!("{}: {more} bytes do not do: {e}", image.display()));
            }
            Err(e) => panic!("{}: {e}", image.display()),
        }
    }
}
