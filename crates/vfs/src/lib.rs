//! The virtual file system: what all file systems share above their on-disk format.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: `vm` for pages and reservations, the file systems through
//! [`FileSystem`].
//!
//! Reading order: `node` and `file_system` are the contract, `change` that of writing · `cache` is a bounded cache of fixed-size entries, of which
//! `vnode` and `namecache` are the two · `vfs` holds them for a kernel · `mount` is one mounted file system · `namei`
//! resolves paths · `open_file` is what a handle remembers · `data` reads files through pages or past them · `batch` orders a directory's entries for a walk.
//! For changes: `writing` has a mount's locks · `tree` changes names, `attributes` what its name says · `write` writes files, `resize` makes them
//! longer, shorter and holey · `open` counts open files · `durable` syncs and unmounts.
#![forbid(unsafe_code)]

mod alarm;
mod attributes;
mod batch;
mod cache;
mod change;
mod data;
mod durable;
mod file_system;
mod mount;
mod namecache;
mod namei;
mod node;
mod open;
mod open_file;
mod resize;
mod tree;
mod vfs;
mod vnode;
mod write;
mod writing;

pub use alarm::{Alarm, Woken};
pub use batch::{Batch, DirScan, Record};
pub use change::{
    Access, Allocate, Change, Commit, Committed, DataMode, EntryName, InUse, NewFile, Placed, Remove,
    Removed, Rename, Renamed, SetAttributes, SetXattr, Step, Store, SyncFile, Written,
};
pub use data::{DIRECT_READ_BYTES, LentPage};
pub use file_system::{DirCookie, DirEntry, DirSink, Extent, FileSystem, StatFs, XattrSink};
pub use mount::Mount;
pub use namei::{Follow, PATH_MAX, SYMLINKS_MAX};
pub use node::{Attributes, FileKind, InodeNo, Node, NodePrivate, Timestamp};
pub use open_file::OpenFile;
pub use tree::At;
pub use vfs::Vfs;
pub use writing::Inside;
