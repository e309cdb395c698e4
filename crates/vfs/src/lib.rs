//! The virtual file system. (Interface of the first step.)
#![forbid(unsafe_code)]

mod file_system;
mod node;

pub use file_system::{DirCookie, DirEntry, DirSink, Extent, FileSystem, StatFs, XattrSink};
pub use node::{Attributes, FileKind, InodeNo, Node, NodePrivate, Timestamp};
