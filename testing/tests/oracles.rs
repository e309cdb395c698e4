//! The two oracles tell the same of images that both can read, so that each may stand for the other.

use rumpcap_testing::images::matrix;
use rumpcap_testing::{loop_mount, oracle, skip};

fn agree(name: &str) {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: debugfs is the only oracle");
    }
    let image = matrix::named(name).image();
    let kernel = oracle::by_kernel(&image).expect("the kernel mounts it");
    let debugfs = oracle::by_debugfs(&image);
    assert!(kernel.entries.len() > 100, "an image with hardly anything in it");
    if let Some(difference) = oracle::diff(&kernel, &debugfs) {
        panic!("the kernel and debugfs differ on {name}: {difference}");
    }
}

#[test]
fn on_extents() {
    agree("small");
}

#[test]
fn on_inline_data() {
    agree("ext4-4k-by-mke2fs");
}
