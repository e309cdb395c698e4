//! The virtual file system: what all file systems share above their on-disk format.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: `vm` for pages and reservations, the file systems through
//! [`FileSystem`].
//!
//! Reading order: `node` and `file_system` are the contract, `change` that of writing · `cache` is a bounded cache of fixed-size entries, of which
//! `vnode` and `namecache` are the two · `vfs` holds them for a kernel · `mount` is one mounted file system · `namei`
//! resolves paths · `open_file` is what a handle remembers · `data` reads files through pages or past them · `batch` orders a directory's entries for a walk.
#![forbid(unsafe_code)]

mod batch;
mod cache;
mod change;
mod data;
mod file_system;
mod mount;
mod namecache;
mod namei;
mod node;
mod open_file;
mod vfs;
mod vnode;

pub use batch::{Batch, DirScan, Record};
pub use change::{
    Access, Allocate, Change, Commit, DataMode, EntryName, InUse, NewFile, Placed, Remove, Removed, Rename,
    Renamed, SetAttributes, SetXattr, Step, Store, Written,
};
pub use data::DIRECT_READ_BYTES;
pub use file_system::{DirCookie, DirEntry, DirSink, Extent, FileSystem, StatFs, XattrSink};
pub use mount::Mount;
pub use namei::{Follow, PATH_MAX, SYMLINKS_MAX};
pub use node::{Attributes, FileKind, InodeNo, Node, NodePrivate, Timestamp};
pub use open_file::OpenFile;
pub use vfs::Vfs;
