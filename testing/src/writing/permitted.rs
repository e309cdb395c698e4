//! What flags of inodes forbid: nothing about an inode that is immutable changes, and one that can only be appended to keeps what it has.
//!
//! Who calls it: `apply`. Source: chattr(1), ioctl_iflags(2).

use super::model::{InodeId, Kind, Model};
use super::operation::{Handle, Op, crowd_names};
use rumpcap::{Allocate, Rename};

/// Nothing of it may change.
pub const IMMUTABLE: u32 = 0x10;
/// It may only become longer.
pub const APPEND: u32 = 0x20;
/// Names in it have no case.
pub const CASEFOLD: u32 = 0x4000_0000;
/// Synchronous; not dumped; no time of access.
const OF_FILES: u32 = 0x8 | 0x40 | 0x80;
/// Synchronous names.
const SYNCHRONOUS_NAMES: u32 = 0x1_0000;
/// Top of a hierarchy: not inherited.
const TOP: u32 = 0x2_0000;
/// What only directories have.
pub const OF_DIRECTORIES: u32 = SYNCHRONOUS_NAMES | TOP | CASEFOLD;
/// The flags that the model knows of.
pub const KNOWN: u32 = IMMUTABLE | APPEND | OF_FILES | OF_DIRECTORIES;

/// The flags of what is made in a directory that has `flags`.
pub fn inherited(flags: u32, kind: &Kind) -> u32 {
    match kind {
        Kind::Directory { .. } => flags & (OF_FILES | SYNCHRONOUS_NAMES | CASEFOLD),
        Kind::File(_) => flags & OF_FILES,
        _ => 0,
    }
}

/// Whether flags forbid an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Permitted {
    Yes,
    No,
    /// It is not foretold.
    Unknown,
}

use Permitted::{No, Unknown, Yes};

fn unless(is_forbidden: bool) -> Permitted {
    if is_forbidden { No } else { Yes }
}

impl Model {
    fn flags(&self, id: Option<InodeId>) -> u32 {
        id.and_then(|id| self.find(id)).map_or(0, |inode| inode.flags)
    }

    fn is_immutable(&self, id: Option<InodeId>) -> bool {
        self.flags(id) & IMMUTABLE != 0
    }

    fn is_fixed(&self, id: Option<InodeId>) -> bool {
        self.flags(id) & (IMMUTABLE | APPEND) != 0
    }

    /// The directory of a path, and what the path names.
    fn places(&self, path: &str) -> (Option<InodeId>, Option<InodeId>) {
        self.place(path).map_or((None, None), |(dir, found)| (Some(dir), found))
    }

    fn target(&self, file: &Handle) -> Option<InodeId> {
        match file {
            Handle::Path(path) => self.places(path).1,
            Handle::Slot(slot) => self.slots()[*slot],
        }
    }

    /// Whether flags permit `op`, which nothing else forbids.
    pub(super) fn permits(&self, op: &Op) -> Permitted {
        match op {
            Op::Create { path, .. }
            | Op::MakeDir { path, .. }
            | Op::MakeNode { path, .. }
            | Op::Symlink { path, .. } => unless(self.is_immutable(self.places(path).0)),
            Op::MakeNameless { dir, .. } => unless(self.is_immutable(self.dir_at(dir))),
            Op::Link { existing, new } => {
                let (existing, dir) = (self.places(existing).1, self.places(new).0);
                unless(self.is_fixed(existing) || self.is_immutable(dir))
            }
            Op::LinkOpen { new, .. } => unless(self.is_immutable(self.places(new).0)),
            Op::Unlink { path } | Op::RemoveDir { path } => {
                let (dir, found) = self.places(path);
                unless(self.is_fixed(dir) || self.is_fixed(found))
            }
            Op::Rename { from, to, how } => self.permits_rename(from, to, *how),
            Op::Crowd { dir, .. } => unless(self.is_immutable(self.dir_at(dir))),
            Op::Thin { dir, count, name_len, .. } => {
                let any = crowd_names(dir, *count, *name_len).any(|name| self.is_fixed(self.places(&name).1));
                if any || self.is_fixed(self.dir_at(dir)) { Unknown } else { Yes }
            }
            Op::Open { path, .. } => {
                if self.is_fixed(self.places(path).1) {
                    Unknown
                } else {
                    Yes
                }
            }
            Op::Write { file, offset, .. } => {
                let id = self.target(file);
                let is_at_end = self.len_of(file) == Some(*offset);
                unless(self.is_immutable(id) || self.is_fixed(id) && !is_at_end)
            }
            Op::SetLen { file, .. } | Op::Punch { file, .. } | Op::ZeroRange { file, .. } => {
                unless(self.is_fixed(self.target(file)))
            }
            Op::Allocate { file, how, .. } => {
                let flags = self.flags(self.target(file));
                // Linux permits it, if the file was opened to be appended to.
                if flags & (IMMUTABLE | APPEND) == APPEND && *how == Allocate::Extend {
                    return Unknown;
                }
                unless(flags & (IMMUTABLE | APPEND) != 0)
            }
            Op::SetMode { path, .. }
            | Op::SetOwner { path, .. }
            | Op::SetTimes { path, .. }
            | Op::SetXattr { path, .. }
            | Op::SetAcl { path, .. }
            | Op::RemoveXattr { path, .. } => unless(self.is_fixed(self.places(path).1)),
            Op::SetFlags { path, flags } => {
                let now = self.flags(self.places(path).1);
                unless(now & flags & IMMUTABLE != 0 && now != *flags)
            }
            Op::Close { .. } | Op::Read { .. } | Op::Sync | Op::Fsync { .. } | Op::Remount => Yes,
        }
    }

    fn permits_rename(&self, from: &str, to: &str, how: Rename) -> Permitted {
        let ((from, moved), (to, other)) = (self.places(from), self.places(to));
        let is_forbidden = self.is_fixed(from)
            || self.is_fixed(moved)
            || self.is_fixed(other)
            || self.is_immutable(to)
            || self.is_fixed(to) && other.is_some();
        match is_forbidden {
            // Two names of one inode: nothing would be done.
            true if moved == other => Unknown,
            true if how == Rename::Refuse && other.is_some() => Unknown,
            is_forbidden => unless(is_forbidden),
        }
    }
}
