//! The model and the generator are right: the host's own ext4 does what the model says.

use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::skip;
use rumpcap_testing::writing::{HostTarget, Model, Run, Setup};

fn against_the_kernel(name: &str, seed: u64, count: usize) {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: nobody to judge the model");
    }
    let setup = Setup::named(name);
    let image = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(image.path(), &*setup.image()).expect("an image");
    let mount = LoopMount::new(image.path(), "noatime").expect("the kernel mounts it");
    let mut target = HostTarget::new(mount.path().to_owned());
    let mut run = Run::new(Model::new(None));
    let result = run.run(&mut target, seed, setup.can, count, 10);
    if let Err(failure) = result {
        let op = &run.ops[failure.at];
        panic!("{name}, seed {seed}, operation {} ({op:?}): {}", failure.at, failure.what);
    }
    println!("{name}: {count} operations, {} skipped, {} refused", run.skipped, run.refused);
    assert!(run.skipped * 5 < count && run.refused * 5 < count, "too few operations do something");
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
