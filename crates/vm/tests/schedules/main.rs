//! The real gate, page allocation, busy and wanted pages, wired memory, pools and pagedaemon under many schedules.
//!
//! `cargo test -p rumpcap-vm --features shuttle --test schedules`; the number of schedules of each test is in the variable
//! RUMPCAP_SCHEDULES. A deadlock, a lost wake-up or a broken assertion fails with the schedule to replay.
#![allow(clippy::unwrap_used)]

mod copies;
mod memory;
mod objects;
mod pages;
mod support;
