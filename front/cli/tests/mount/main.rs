//! `rumpcap mount` and `umount` as commands: background, signals, exit codes, other users, memory, a killed server.
//!
//! Needs `/dev/fuse`, and most of it root; without them each test says why it is skipped. What the mount itself does is tested in
//! `front/fuse`.

#![allow(clippy::unwrap_used, reason = "what prepares a test may panic")]

mod fixture;
mod killed;
mod memory;
mod options;
mod users;
