//! The command against GNU coreutils, findutils and tar on the same image, mounted by the kernel.
//!
//! Needs root and loop devices; without them each test says why it is skipped. `hostile`, `exits`, `fsck` and `watching` need neither.

#![allow(clippy::unwrap_used, reason = "what prepares a test may panic")]

mod across;
mod archive;
mod copy;
mod digest;
mod ends;
mod exits;
mod fixture;
mod fsck;
mod hostile;
mod listing;
mod mkfs;
mod mkfs_tar;
mod partitions;
mod search;
mod serve;
mod space;
mod terminal;
mod trace;
mod watching;
mod writing;
