//! The model and the generator are right: the host's own ext4 does what the model says.

use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::skip;
use rumpcap_testing::tools::scratch;
use rumpcap_testing::writing::{HostTarget, Model, Op, Run, Setup, shrink};

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
