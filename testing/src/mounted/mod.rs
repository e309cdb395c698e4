//! Mounts of images, as other people's programs see them, and what is judged when those have run.
//!
//! Who calls it: `testing/tests/mounted`. An image is made by mke2fs, mounted by a [`Driver`], worked on by a suite
//! that this project did not write, described through the mount, unmounted, checked by e2fsck, mounted by the host's
//! kernel and described again: [`judged()`]. The two descriptions must be one.
//!
//! The driver is `rumpcap mount`, or what [`DRIVER_VARIABLE`] says: the kernel's own ext4 and fuse2fs are the controls
//! that tell our faults from those of a suite.
//!
//! Failure: a suite that does not end in time is ended with its server; everything it left mounted is unmounted.

mod command;
mod driver;
mod image;
mod judged;
mod mount;
mod suites;

pub use command::{Ended, Limits, run_within};
pub use driver::{DRIVER_VARIABLE, Driver};
pub use image::Image;
pub use judged::{Judged, judge_image, judged};
pub use mount::{Mounted, Options};
pub use suites::{can_run, is_long, long_or, program};
