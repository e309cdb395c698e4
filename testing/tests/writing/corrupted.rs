//! Random operations on damaged images: errors, never a panic, a hang or more memory than the limit.
//!
//! `RUMPCAP_OPS` makes a hundred times as many images.

use crate::support::{caught, first_seed, is_thorough};
use rumpcap::block::MemoryDevice;
use rumpcap::{Allocate, DataMode, FileKind, Kernel, Mount, Owner, Rename, SetAttributes, SetXattr};
use rumpcap_testing::SMALLEST_LIMIT_BYTES;
use rumpcap_testing::corrupt::Base;
use rumpcap_testing::exercise;
use rumpcap_testing::images::{Kind, Spec, Tree, build, cache};
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip;
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_testing::writing::mount_options;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Far beyond what an image takes.
const HANGS: Duration = Duration::from_secs(60);
const IMAGES: u64 = 60;
const OPERATIONS: usize = 60;

fn bases() -> Vec<Base> {
    let small = |name, kind| Spec::new(name, kind).tree(Tree::Small).size(8).block(1024);
    let specs = [
        small("corrupt-ext2", Kind::Ext2).inode(128),
        small("corrupt-ext3", Kind::Ext3),
        small("corrupt-ext4-1k", Kind::Ext4),
        small("corrupt-no-csum", Kind::Ext4).features("^metadata_csum"),
        small("corrupt-inline", Kind::Ext4).features("inline_data,ea_inode"),
        small("corrupt-bigalloc", Kind::Ext4).features("bigalloc").arguments("-C 4096"),
        small("corrupt-inline-no-csum", Kind::Ext4).features("inline_data,ea_inode,^metadata_csum"),
    ];
    specs.iter().map(|spec| Base::load(spec.name, &spec.image())).collect()
}

/// Paths of what is there, as far as it can be read.
fn paths(mount: &Mount) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    let Ok(mut walk) = mount.walk("/") else { return paths };
    let mut errors = 0;
    while paths.len() < 300 && errors < 300 {
        match walk.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => paths.push(entry.path().to_owned()),
            Err(_) => errors += 1,
        }
    }
    paths
}

/// One operation on something, whatever it gives.
fn operation(mount: &Mount, paths: &[PathBuf], random: &mut Random) -> rumpcap::Result<()> {
    let path = random.pick(paths).clone();
    let new = random.pick(paths).join(format!("new{}", random.below(20)));
    let (offset, len) = (random.below(300_000), random.below(20_000));
    let range = offset..offset + len + 1;
    let owner = Owner::with_mode(0o700);
    match random.below(20) {
        0..3 => mount.create(new, &owner)?.write_at(&random.bytes(len as usize), offset / 10).map(drop),
        3 => mount.create_dir(new, &owner).map(drop),
        4 => mount.symlink("t".repeat(1 + random.below(100) as usize), new, &owner).map(drop),
        5 => mount.create_node(new, FileKind::Fifo, (0, 0), &owner).map(drop),
        6 => mount.hard_link(path, new).map(drop),
        7 | 8 => mount.remove_file(path),
        9 => mount.remove_dir(path),
        10 => mount.rename(path, new, Rename::Replace),
        11 => mount.rename(path, random.pick(paths), Rename::Exchange),
        12 => mount.open(path)?.set_len(offset / 4),
        13 => mount.open(path)?.punch_hole(range),
        14 => mount.open(path)?.allocate(range, Allocate::Extend),
        15 => {
            let ino = mount.symlink_metadata(path)?.ino();
            mount.set_xattr_ino(
                ino,
                b"user.name",
                &random.bytes(random.clone().below(900) as usize),
                SetXattr::Any,
            )
        }
        16 => {
            let ino = mount.symlink_metadata(path)?.ino();
            let first = mount.xattrs_ino(ino)?.into_iter().next();
            first.map_or(Ok(()), |(name, _)| mount.remove_xattr_ino(ino, &name))
        }
        17 => {
            mount.set_attributes(path, &SetAttributes { uid: Some(7), ..SetAttributes::default() }).map(drop)
        }
        18 => mount.sync(),
        _ => mount.open(path)?.write_at(&random.bytes(len as usize), offset).map(drop),
    }
}

/// What came of one image: operations that were done, and that were refused.
fn one(base: &Base, seed: u64) -> Result<(u32, u32), String> {
    let (image, _) = base.damage(seed);
    let bytes = image.to_bytes();
    let len = bytes.len() as u64;
    let device = Arc::new(MemoryDevice::from_bytes(&bytes));
    let mut random = Random::new(seed);
    let limit = *random.pick(&[SMALLEST_LIMIT_BYTES, 512 << 10]);
    let kernel = Kernel::builder().memory_limit(limit).boot().expect("booting");
    let options =
        mount_options(DataMode::Ordered, rumpcap::Timestamp { seconds: 1_750_000_000, nanoseconds: 0 });
    let Ok(mount) = kernel.mount(device, &options) else { return Ok((0, 1)) };
    let paths = paths(&mount);
    let (mut done, mut refused) = (0, 0);
    for _ in 0..OPERATIONS {
        match operation(&mount, &paths, &mut random) {
            Ok(()) => done += 1,
            Err(_) => refused += 1,
        }
    }
    exercise::exercise(&mount, len);
    let _ = mount.unmount();
    let report = kernel.memory_report();
    if report.peak_bytes > limit || report.stuck != 0 || report.pages_pinned != 0 {
        return Err(format!("{report:?}"));
    }
    Ok((done, refused))
}

#[test]
fn operations_on_damaged_images() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let watchdog = Watchdog::new(1, HANGS);
    let images = if is_thorough() { 100 * IMAGES } else { IMAGES };
    let (mut done, mut refused) = (0, 0);
    for base in bases() {
        for seed in first_seed()..first_seed() + images {
            watchdog.begin(0, format!("{}, seed {seed}", base.name));
            let result = caught(|| one(&base, seed)).unwrap_or_else(|why| {
                let kept = cache::directory().join(format!("broken-{}-{seed}.img", base.name));
                std::fs::write(&kept, base.damage(seed).0.to_bytes()).expect("an image to look at");
                panic!("{}, seed {seed}, kept as {}: {why}", base.name, kept.display())
            });
            (done, refused) = (done + result.0, refused + result.1);
            watchdog.end(0);
        }
    }
    println!("{done} operations done, {refused} refused");
    assert!(done > refused / 4 && refused > 100, "{done} done, {refused} refused");
}
