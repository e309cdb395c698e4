//! Undamaged images of every feature: nothing is found, at any limit; what is not clean is found.

use crate::support::{e2fsck, ours};
use rumpcap::block::FileDevice;
use rumpcap_testing::images::{build, matrix};
use rumpcap_testing::skip;
use std::sync::Arc;

/// Images that are only unclean to e2fsck by the usage of quota, which is not checked here.
const ONLY_QUOTA: &[&str] = &["project", "everything"];

#[test]
fn what_e2fsck_calls_clean_is_clean_and_the_rest_is_not() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    for spec in matrix::all() {
        let image = spec.image();
        let is_clean = spec.clean || ONLY_QUOTA.contains(&spec.name) || e2fsck(&image).is_clean;
        let mut sums = Vec::new();
        for limit_kib in [512, 8192] {
            let device = Arc::new(FileDevice::open(&image).expect("opening an image"));
            let (verdict, summary) = ours(device, limit_kib << 10);
            assert_eq!(verdict.is_clean, is_clean, "{} at {limit_kib} KiB: {:?}", spec.name, verdict.lines);
            let summary = summary.expect("a check to the end");
            sums.push((summary.inodes_used, summary.blocks_used, summary.directories, summary.errors));
        }
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{}: {sums:?}", spec.name);
    }
}
