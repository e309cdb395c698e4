//! Long random sequences on every configuration: each answer and everything that is there equals the model's, while mounted, after unmounting and
//! for the kernel; e2fsck finds nothing.
//!
//! `RUMPCAP_OPS` says how many operations each configuration is given, `RUMPCAP_SEED` where the seeds begin, `RUMPCAP_SETUP` which configuration
//! alone is to be looked at.

use crate::support::{Case, Plan, first_seed, is_wanted, ops, require};
use rumpcap::DataMode;
use rumpcap::block::MemoryDevice;
use rumpcap_testing::images::build;
use rumpcap_testing::skip;
use rumpcap_testing::writing::{LibraryTarget, Limit, Setup, setups};
use std::sync::Arc;

/// Of each configuration.
const FEW: usize = 60;
const LIMITS: [Limit; 3] = [Some(256 << 10), Some(512 << 10), None];

/// Every `n`th of the configurations, from `first` on: the tests share them.
fn every(first: usize, n: usize) {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let writable = setups().into_iter().filter(|setup| !setup.read_only);
    for (at, setup) in writable.enumerate().skip(first).step_by(n) {
        if !is_wanted(&setup) {
            continue;
        }
        // Another seed is also another limit and another mode for each.
        let turn = at + first_seed() as usize;
        let data = match turn % 7 {
            5 if setup.has_journal => DataMode::Writeback,
            6 if setup.has_journal => DataMode::Journal,
            _ => DataMode::Ordered,
        };
        let case = Case { setup, limit: LIMITS[turn % 3], data };
        let count = ops(FEW);
        let run = require(&case, &Plan::Generated { seed: first_seed() + at as u64, count });
        println!(
            "{}, {:?}, {data:?}: {count} operations, {} skipped, {} refused",
            case.setup.spec.name, case.limit, run.skipped, run.refused
        );
        assert!(run.skipped * 4 < count && run.refused * 5 < count, "too few operations do something");
    }
}

#[test]
fn sequences_1_of_4() {
    every(0, 4);
}

#[test]
fn sequences_2_of_4() {
    every(1, 4);
}

#[test]
fn sequences_3_of_4() {
    every(2, 4);
}

#[test]
fn sequences_4_of_4() {
    every(3, 4);
}

/// One configuration, at every limit and in every mode.
#[test]
fn limits_and_modes() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    for (n, limit) in LIMITS.into_iter().enumerate() {
        for data in [DataMode::Ordered, DataMode::Writeback, DataMode::Journal] {
            let case = Case { setup: Setup::named("w-ext4-1k"), limit, data };
            require(&case, &Plan::Generated { seed: first_seed() + 100 + n as u64, count: ops(FEW) });
        }
    }
}

/// Clusters of several blocks, at every limit.
#[test]
fn clusters() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let names = ["w-bigalloc", "w-bigalloc-64k", "w-bigalloc-1k", "w-bigalloc-inline-data"];
    for (n, name) in names.into_iter().enumerate() {
        for (at, limit) in LIMITS.into_iter().enumerate() {
            let data = if at == 2 { DataMode::Journal } else { DataMode::Ordered };
            let case = Case { setup: Setup::named(name), limit, data };
            let seed = first_seed() + 200 + 10 * n as u64 + at as u64;
            require(&case, &Plan::Generated { seed, count: ops(FEW) });
        }
    }
}

/// What can be read and not written says so.
#[test]
fn features_that_are_not_written() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    for setup in setups().into_iter().filter(|setup| setup.read_only) {
        let device = Arc::new(MemoryDevice::from_bytes(&setup.image()));
        let mounted = LibraryTarget::new(device.clone(), None, DataMode::Ordered);
        assert_eq!(mounted.err(), Some(rumpcap::Error::ReadOnly), "{}", setup.spec.name);
        assert!(device.to_bytes() == **setup.image(), "{}: changed", setup.spec.name);
    }
}
