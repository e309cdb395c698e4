//! Whole kernels in a simulated world: scheduler, clock and disk come from a seed, and the same seed is the same run.
//!
//! Who calls it: `cargo xtask sim`, and the test `seeds`. Whom it calls: the library `rumpcap` through its public interface,
//! over `rumpcap-host` with the feature `shuttle`, which gives it the model checker's threads, locks and clock.
//!
//! | part | of the world |
//! |---|---|
//! | `plan` | everything that a seed decides before the run: limit, policy, faults, how many threads |
//! | `schedule` | who runs next |
//! | `disk` | how long a request takes and whether it fails; where writes will be kept, and lost with the power |
//! | `image` | what is on the disk, and the truth to compare with |
//! | `work` | what the threads do |
//! | `run` | one run from boot to the end, and what must hold there |
//! | `trace` | what happened, as a digest |
//!
//! SIM-1. Nothing decides but the seed: no time, no address, no order of a hash, no thread of the host. Two runs of one
//! seed have the same digest. SIM-2. What the kernel gives equals the truth; an error is given only to a thread whose own
//! request has failed, or where memory that is kept may be refused. SIM-3. At the end everything is given back.
#![cfg(feature = "shuttle")]
#![forbid(unsafe_code)]

pub mod disk;
pub mod image;
pub mod plan;
pub mod run;
pub mod schedule;
pub mod trace;
pub mod work;
