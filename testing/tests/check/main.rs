//! The check of a file system against `e2fsck -fn`: on images of every feature, on damaged ones, on those that debugfs has cut into;
//! and on devices that fail.
//!
//! `RUMPCAP_CHECK_COUNT` says how many damaged images of each base are compared; `RUMPCAP_CHECK_SEED=<base>:<seed>` runs one of them and
//! says what both find.

mod damage;
mod faults;
mod matrix;
mod support;
mod surgery;
