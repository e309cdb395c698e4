//! Kernel-quality file systems in user space, under a hard memory limit.
//!
//! A [`Kernel`] is booted with a limit; all its memory is cut from one region of that size, so that it cannot use more.
//! It mounts images of ext2, ext3 and ext4 ([`Kernel::mount`]) without root, loop devices or a virtual machine, reads and,
//! if that is asked for ([`MountOptions::access`]), changes them under the names of `std::fs`: [`Mount::open`], [`Mount::read_dir`], [`Mount::metadata`], [`Mount::walk`]. All
//! handles are `Send + Sync`; any number of threads may use them, at any limit that boots.
//!
//! ```no_run
//! use rumpcap::{Kernel, MountOptions, block::FileDevice};
//! use std::{io::Read, path::Path, sync::Arc};
//!
//! let kernel = Kernel::builder().memory_limit(512 << 10).boot()?;
//! let device = Arc::new(FileDevice::open(Path::new("disk.img"))?);
//! let mount = kernel.mount(device, &MountOptions::default())?;
//!
//! let mut text = String::new();
//! mount.open("/etc/os-release")?.read_to_string(&mut text)?;
//!
//! let mut walk = mount.walk("/")?;
//! while let Some(entry) = walk.next_entry()? {
//!     println!("{:>12} {}", entry.metadata().len(), entry.path().display());
//! }
//! println!("{} of {} bytes", kernel.memory_report().peak_bytes, 512 << 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Memory
//! The limit covers everything that the kernel keeps: page cache, metadata, vnodes, names, buffers. Handles
//! ([`File`], [`ReadDir`], [`Walk`]) are a few hundred bytes of the caller's own memory and hold none of the kernel's
//! between calls (a [`Walk`] holds a buffer that is counted and bounded).
#![forbid(unsafe_code)]

mod age;
mod by_inode;
mod change;
mod clock;
mod file;
mod kernel;
mod metadata;
mod mount;
mod read_dir;
mod served;
mod walk;

pub use change::Owner;
pub use file::{File, Lease, Segment};
pub use kernel::{Builder, Kernel};
pub use metadata::{FileType, Metadata};
pub use mount::{FileSystemInfo, Mount, MountOptions};
pub use read_dir::{DirEntry, ReadDir};
pub use rumpcap_block as block;
pub use rumpcap_ext4::check;
pub use rumpcap_host::{Error, Result};
pub use rumpcap_vfs::{
    Access, Allocate, DataMode, FileKind, Rename, SetAttributes, SetXattr, StatFs, Timestamp,
};
pub use rumpcap_vm::{Daemon, MemoryReport, PolicyKind, PoolBytes, Trace, TraceEvent};
pub use served::{NodeId, ServedEntry};
pub use walk::{Walk, WalkEntry, WalkError};

/// The examples of the README, compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
