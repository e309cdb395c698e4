//! The memory of the kernel: a hard limit, and progress inside it by construction.
//!
//! Who calls it: `vfs` and the file systems, for pages; `rumpcap` (the library) to boot. Whom it calls: `block`
//! for the content of pages, `host` for one region of memory, locks and the clock.
//!
//! Reading order: [`plan`] derives every size from the limit · `region` and `frames` turn one region of host memory
//! into tables and frames (all `unsafe` of the kernel) · `page` is one page's state · `page_table` finds pages
//! without a lock · `page_queue` and `policy` order them for eviction · `object` groups them · `resident` is the state
//! under the one lock · `gate` gives reservations · `hit` copies what is there without one, announced in `copying` ·
//! `fault` brings pages in · `modify` changes them, `dirty` (content) and `held` (metadata, by a transaction) are what
//! becomes of changed ones, `losses` of those that could not be written · `pagedaemon` gives memory back · `wired` and `pool` are memory that is not pages ·
//! `device_object` is a disk as an object · `trace` tells what happens.
//!
//! The invariants F1 to F6 are those of ARCHITECTURE.md; each module names those it upholds.

#[cfg(all(test, feature = "loom"))]
mod atomics;
mod boot;
mod copying;
mod counters;
mod device_object;
mod dirty;
mod fault;
mod frames;
mod gate;
mod held;
mod hit;
mod list;
mod losses;
mod modify;
mod object;
mod page;
mod page_queue;
mod page_table;
mod pagedaemon;
pub mod plan;
mod policy;
mod pool;
mod region;
mod report;
mod resident;
mod trace;
mod wait;
mod wired;

pub use boot::{BootOptions, Daemon, Vm};
pub use device_object::DeviceObject;
pub use dirty::{Dirty, DirtyDevice, Due, UNIT_BYTES, Writeback};
pub use fault::{BusyPages, Pager};
pub use frames::{PageLease, PageRef};
pub use gate::Reservation;
pub use held::{HeldAs, HeldPage, HeldPages, HeldRef};
pub use hit::ObjectHint;
pub use modify::PageMut;
pub use object::ObjectId;
pub use page::{PAGE_SHIFT, PAGE_SIZE, PageIndex};
pub use pagedaemon::Reclaim;
pub use policy::PolicyKind;
pub use pool::{ItemNo, MAX_SLABS, Pool};
pub use report::{MemoryReport, PoolBytes};
pub use trace::{Trace, TraceEvent};
pub use wired::WiredRun;
