//! A served image, looked at through clients that others wrote: `nfs3_client`, libnfs's tools, the kernel's where it has one. What they
//! left behind is judged by e2fsck and debugfs.

#![allow(clippy::unwrap_used, reason = "what prepares a test may panic")]

mod hostile;
mod kernel;
mod memory;
mod reading;
mod restart;
mod rights;
mod support;
mod tools;
mod writing;
