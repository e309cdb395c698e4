//! Kernel-quality file systems in user space, under a hard memory limit.
//!
//! (Interface of the first step; bodies follow.)
#![forbid(unsafe_code)]

mod file;
mod kernel;
mod metadata;
mod mount;
mod read_dir;
mod walk;

pub use file::{File, Segment};
pub use kernel::{Builder, Kernel};
pub use metadata::{FileType, Metadata};
pub use mount::{FileSystemInfo, Mount, MountOptions};
pub use read_dir::{DirEntry, ReadDir};
pub use rumpcap_block as block;
pub use rumpcap_host::{Error, Result};
pub use rumpcap_vfs::{FileKind, StatFs, Timestamp};
pub use rumpcap_vm::MemoryReport;
pub use walk::{Walk, WalkEntry, WalkError};
