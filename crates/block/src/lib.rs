//! Block devices: where the bytes of a file system come from.
//!
//! Who calls it: `vm` (pages of a device's object), `vfs` (large reads straight into the caller's buffer),
//! file systems (recovery of a journal), front ends (opening an image, finding its partitions). Whom it calls: `host`.
//!
//! | device | is |
//! |---|---|
//! | [`FileDevice`] | a regular file or block device of the host |
//! | [`MemoryDevice`] | memory |
//! | [`Slice`] | a window onto another device: a partition, or what is behind an offset |
//! | [`Overlay`] | a copy-on-write view of another, which is never written |
//! | [`Counting`] | counts the requests to another |
//! | [`FaultInjector`] | fails, delays or tears the requests to another |
//!
//! Memory: every device is made once, before or at mount, in memory that does not grow with its size or use; reading
//! and writing take none. [`partition`] is for front ends and uses the heap.
#![forbid(unsafe_code)]

mod counting;
mod device;
mod fault;
mod file;
mod memory;
mod overlay;
pub mod partition;
mod slice;
mod vectors;

pub use counting::{Counting, Counts};
pub use device::BlockDevice;
pub use fault::{Effect, Fault, FaultInjector, Operation, Recurring, TORN_READ_FILL};
pub use file::FileDevice;
pub use memory::MemoryDevice;
pub use overlay::Overlay;
pub use rumpcap_host::file::OpenOptions;
pub use slice::Slice;
pub use vectors::{MAX_PIECES, ReadCursor};
