//! [`Op`]: one operation, with all that it needs. As it prints in a report, it can be pasted into a test.

use super::acl::Acl;
use crate::seed::Random;
use rumpcap::{Allocate, FileKind, Rename, SetXattr, Timestamp};
use std::ops::Range;

/// A file by its path, or one that is held open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    /// Opened for the operation alone.
    Path(String),
    /// Opened by [`Op::Open`].
    Slot(usize),
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Create {
        path: String,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    MakeDir {
        path: String,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    MakeNode {
        path: String,
        kind: FileKind,
        rdev: (u32, u32),
        mode: u32,
    },
    Symlink {
        path: String,
        target: String,
    },
    /// A file without a name, which is open: `O_TMPFILE`.
    MakeNameless {
        dir: String,
        slot: usize,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// One more name for a file that is open.
    LinkOpen {
        slot: usize,
        new: String,
    },
    Link {
        existing: String,
        new: String,
    },
    Unlink {
        path: String,
    },
    RemoveDir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        how: Rename,
    },
    /// Makes `count` empty files, for directories with an index.
    Crowd {
        dir: String,
        count: u32,
        name_len: usize,
    },
    /// Removes every `step`th of them.
    Thin {
        dir: String,
        count: u32,
        name_len: usize,
        step: usize,
    },
    Open {
        path: String,
        slot: usize,
    },
    Close {
        slot: usize,
    },
    Write {
        file: Handle,
        offset: u64,
        len: usize,
        seed: u64,
    },
    Read {
        file: Handle,
        offset: u64,
        len: usize,
    },
    SetLen {
        file: Handle,
        len: u64,
    },
    Punch {
        file: Handle,
        range: Range<u64>,
    },
    ZeroRange {
        file: Handle,
        range: Range<u64>,
    },
    Allocate {
        file: Handle,
        range: Range<u64>,
        how: Allocate,
    },
    SetMode {
        path: String,
        mode: u32,
    },
    SetOwner {
        path: String,
        uid: u32,
        gid: u32,
    },
    SetTimes {
        path: String,
        atime: Timestamp,
        mtime: Timestamp,
    },
    SetXattr {
        path: String,
        name: String,
        len: usize,
        seed: u64,
        how: SetXattr,
    },
    /// The list of a file, or that which a directory gives to what is made in it.
    SetAcl {
        path: String,
        is_default: bool,
        acl: Acl,
    },
    /// Those that the model knows of; no others are set or taken.
    SetFlags {
        path: String,
        flags: u32,
    },
    RemoveXattr {
        path: String,
        name: String,
    },
    Sync,
    Fsync {
        file: Handle,
    },
    /// Closes all that is open, unmounts and mounts.
    Remount,
}

/// The names of a crowd.
pub fn crowd_names(dir: &str, count: u32, name_len: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{dir}/{n:0>name_len$}"))
}

/// The bytes that an operation with `seed` writes: the same whenever it is asked for.
pub fn data(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

impl Op {
    /// Whether all that came before is durable when it has succeeded.
    pub fn is_sync(&self) -> bool {
        matches!(self, Op::Sync | Op::Fsync { .. } | Op::Remount)
    }
}
