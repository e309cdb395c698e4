//! The hypercalls: everything that the kernel asks of the outside, and the only way to ask.
//!
//! Who calls it: every other crate. Whom it calls: the standard library, `rustix`, `memmap2`.
//!
//! A kernel crate takes no time, no thread, no lock, no memory and no file but through here, so that a
//! test can put a simulated host underneath and so that `grep host::` lists all of a kernel's effects.
//!
//! Memory: only [`memory::Region`] is large; it is asked for once, at boot.
#![forbid(unsafe_code)]

pub mod clock;
pub mod error;
pub mod file;
pub mod memory;
pub mod sync;
pub mod thread;

pub use error::{Error, Result};
