//! The mount as clients see it, against the kernel's own ext4.
//!
//! The same calls are made on a mount by FUSE and on a loop mount of an equal image, and their outcomes, errnos included, compared; then
//! what is in both images, seen by the kernel, and e2fsck finds nothing. Needs root, loop devices and `/dev/fuse`; without them each test
//! says why it is skipped.

#![allow(clippy::unwrap_used, reason = "what prepares a test may panic")]

mod ends;
mod faults;
mod fixture;
mod reading;
mod writing;
