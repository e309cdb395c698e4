//! The fake world: real images made by the real tools, oracles that this project did not write, a corruptor, failing
//! devices and a counting allocator.
//!
//! Who calls it: the tests in `testing/tests`, the fuzz targets, the benchmarks. Whom it calls: the library
//! `rumpcap` through its public interface only, `mke2fs` and its relatives, and the host kernel's loop mount.
//!
//! This is test support: a tool that fails or a host that lies ends in a panic which says what was being done. What a
//! host cannot do (no root, no loop devices) is skipped, said and counted: [`skip`].
#![deny(unsafe_code)]

pub mod corrupt;
pub mod counting;
pub mod exercise;
pub mod fuzz;
pub mod images;
pub mod loop_mount;
pub mod mounted;
pub mod oracle;
pub mod seed;
pub mod skip;
pub mod tools;
pub mod tree;
pub mod watchdog;
pub mod writing;

/// The smallest limit that every image must work at.
pub const SMALLEST_LIMIT_BYTES: u64 = 256 << 10;
