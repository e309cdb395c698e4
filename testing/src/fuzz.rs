//! The bodies of the fuzz targets: here, so that ordinary tests can run them from seeds too.
//!
//! Who calls it: `fuzz/fuzz_targets/*.rs` with libFuzzer's inputs, `testing/tests/fuzz_bodies.rs` with seeded ones. Errors are
//! fine; what must hold is asserted in [`crate::exercise`] and here.

use crate::SMALLEST_LIMIT_BYTES;
use crate::corrupt::{Base, DamagedImage, checksum};
use crate::exercise::{Outcome, exercise};
use crate::images::{Kind, Spec, Tree};
use rumpcap::block::BlockDevice;
use rumpcap::{Kernel, MountOptions};
use std::sync::{Arc, OnceLock};

/// Bytes of a change in the input of [`patched_image`]: place, where in it, and what.
const PATCH_BYTES: usize = 8;
/// More changes than that are left out: an image of nothing but noise is refused early.
const PATCHES: usize = 32;

/// Mounts `image` and exercises it, if it can be mounted.
///
/// # Panics
/// When something must not happen and does.
pub fn mount_and_walk(image: &[u8]) {
    run(DamagedImage::new(Arc::new(image.to_vec())));
}

/// Applies `patches` to a real image, makes the checksums right and exercises it.
///
/// # Panics
/// When something must not happen and does.
pub fn patched_image(patches: &[u8]) {
    let Some((first, patches)) = patches.split_first() else { return };
    let base = &bases()[usize::from(*first) % bases().len()];
    let mut image = base.undamaged();
    for patch in patches.chunks_exact(PATCH_BYTES).take(PATCHES) {
        let number = |at: usize| usize::from(u16::from_le_bytes([patch[at], patch[at + 1]]));
        let place = &base.places()[number(0) % base.places().len()];
        let at = number(2) % place.len;
        let len = (place.len - at).min(1 << (patch[2] % 3));
        image.put(place.offset + at, &patch[4..4 + len]);
        checksum::mend(&mut image, place, base.geometry());
    }
    run(image);
}

/// Exercises the damage that `seed` does to one of the real images.
///
/// # Panics
/// When something must not happen and does.
pub fn seeded_damage(base: u8, seed: u64) {
    run(bases()[usize::from(base) % bases().len()].damage(seed).0);
}

/// Mounts and exercises; what came of it, if it could be mounted.
fn run(image: DamagedImage) -> Option<Outcome> {
    let len = image.len_bytes();
    let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
    let mount = kernel.mount(Arc::new(image), &MountOptions::default());
    let outcome = mount.ok().map(|mount| exercise(&mount, len));
    let report = kernel.memory_report();
    assert!(report.peak_bytes <= SMALLEST_LIMIT_BYTES, "peak {}", report.peak_bytes);
    assert_eq!((report.stuck, report.pages_pinned), (0, 0), "{report:?}");
    outcome
}

/// Small real images of different make.
fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let small = |name, kind| Spec::new(name, kind).tree(Tree::Tiny).size(4).block(1024);
        let specs = [
            small("fuzz-ext2", Kind::Ext2).inode(128),
            small("fuzz-ext4", Kind::Ext4),
            small("fuzz-inline", Kind::Ext4).features("inline_data,ea_inode"),
            small("fuzz-no-csum", Kind::Ext4).features("^metadata_csum,^has_journal"),
        ];
        specs.iter().map(|spec| Base::load(spec.name, &spec.image())).collect()
    })
}

/// Images to begin [`mount_and_walk`] with.
pub fn corpus() -> Vec<(String, Vec<u8>)> {
    bases().iter().map(|base| (base.name.clone(), base.bytes().to_vec())).collect()
}
