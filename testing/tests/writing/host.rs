//! The model and the generator are right: the host's own ext4 does what the model says. And both go on with what the other has left.

use crate::support::{first_seed, fsck, judge, ops};
use rumpcap::DataMode;
use rumpcap::block::MemoryDevice;
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::skip;
use rumpcap_testing::tools::scratch;
use rumpcap_testing::writing::{Generator, HostTarget, LibraryTarget, Model, Op, Run, Setup, Target, shrink};
use std::path::Path;
use std::sync::Arc;

/// In the smallest memory.
const SMALL: Option<u64> = Some(256 << 10);

/// Runs `work` on the kernel's mount of a new image.
fn on_the_kernel<T>(setup: &Setup, work: impl FnOnce(&mut Run, &mut HostTarget) -> T) -> T {
    let directory = scratch();
    let image = directory.path().join("image");
    std::fs::write(&image, &*setup.image()).expect("an image");
    // Linux does not find data of files with a block map that has no block yet when it looks for data (SEEK_DATA).
    let mount = LoopMount::new(&image, "noatime,nodelalloc").expect("the kernel mounts it");
    work(&mut Run::new(Model::new(None)), &mut HostTarget::new(mount.path().to_owned()))
}

fn against_the_kernel(name: &str, seed: u64, count: usize) {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: nobody to judge the model");
    }
    let setup = Setup::named(name);
    let (ops, result) = on_the_kernel(&setup, |run, target| {
        let result = run.run(target, seed, setup.can, count, 10);
        assert!(run.skipped * 5 < count && run.refused * 5 < count, "too few operations do something");
        (std::mem::take(&mut run.ops), result)
    });
    if let Err(failure) = result {
        let fails = |ops: &[Op]| on_the_kernel(&setup, |run, target| run.replay(target, ops).is_err());
        let small = shrink(&ops[..=failure.at], 200, fails);
        let what = on_the_kernel(&setup, |run, target| run.replay(target, &small));
        panic!("{name}, seed {seed}: {failure}; of that {what:?}\n{small:#?}");
    }
}

#[test]
fn the_model_is_right_on_ext4() {
    (1..=3).for_each(|seed| against_the_kernel("w-ext4-4k", seed, 400));
}

#[test]
fn the_model_is_right_on_ext2() {
    (1..=2).for_each(|seed| against_the_kernel("w-ext2-1k", seed, 400));
}

#[test]
fn the_model_is_right_with_inline_data() {
    (1..=2).for_each(|seed| against_the_kernel("w-inline-and-ea-inode", seed, 400));
}

/// The kernel changes an image, then we, then the kernel; e2fsck looks at it each time.
fn in_turn(name: &str, seed: u64, turns: usize, count: usize) -> Result<(), String> {
    let setup = Setup::named(name);
    let directory = scratch();
    let image = directory.path().join("image");
    std::fs::write(&image, &*setup.image()).expect("an image");
    let mut run = Run::new(Model::new(None));
    let mut generator = Generator::new(seed, setup.can);
    for turn in 0..turns {
        run.model.apply(&Op::Remount, None);
        let is_ours = turn % 2 == 1;
        let done = if is_ours {
            by_us(&mut run, &mut generator, &image, count)
        } else {
            by_kernel(&mut run, &mut generator, &image, count)
        };
        done.and_then(|()| fsck(&image)).map_err(|why| format!("{name}, seed {seed}, turn {turn}: {why}"))?;
    }
    judge(&setup, &std::fs::read(&image).expect("an image"), &mut run.model, SMALL)
}

fn some(
    run: &mut Run,
    target: &mut dyn Target,
    generator: &mut Generator,
    count: usize,
) -> Result<(), String> {
    let mut left = count;
    while left > 0 {
        let op = generator.next(&run.model);
        // Each has its turn, and mounts once in it.
        if op == Op::Remount {
            continue;
        }
        run.step(target, &op).map_err(|failure| format!("{op:?}: {failure}"))?;
        left -= 1;
    }
    run.compare(target).map_err(|failure| failure.to_string())
}

fn by_kernel(run: &mut Run, generator: &mut Generator, image: &Path, count: usize) -> Result<(), String> {
    let mount = LoopMount::new(image, "noatime").expect("the kernel mounts it");
    let mut target = HostTarget::new(mount.path().to_owned());
    some(run, &mut target, generator, count)
}

fn by_us(run: &mut Run, generator: &mut Generator, image: &Path, count: usize) -> Result<(), String> {
    let device = Arc::new(MemoryDevice::from_bytes(&std::fs::read(image).expect("an image")));
    let target = LibraryTarget::new(device.clone(), SMALL, DataMode::Ordered);
    let mut target = target.map_err(|error| error.to_string())?;
    some(run, &mut target, generator, count)?;
    target.unmount().map_err(|error| error.to_string())?;
    std::fs::write(image, device.to_bytes()).expect("an image");
    Ok(())
}

#[test]
fn the_kernel_and_we_in_turn() {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: nobody to take turns with");
    }
    let names = ["w-bigalloc", "w-bigalloc-64k", "w-bigalloc-1k", "w-bigalloc-inline-data", "w-ext4-1k"];
    for (n, name) in names.into_iter().enumerate() {
        let done = in_turn(name, first_seed() + 300 + n as u64, 4, ops(60));
        done.unwrap_or_else(|why| panic!("{why}"));
    }
}
