//! [`Description`]: everything that is known of a tree.

use crate::oracle::Content;
use std::collections::BTreeMap;

/// Seconds and nanoseconds since 1970.
pub type Time = (i64, u32);

/// Everything that is known of a tree: entries by path, the root's being empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The entries.
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

/// What is known of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Inode number.
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Hard links.
    pub nlink: u32,
    /// Major and minor number of devices.
    pub rdev: (u32, u32),
    /// Units of 512 bytes.
    pub blocks: Option<u64>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation; the inner `None` where the inode keeps none.
    pub crtime: Option<Option<Time>>,
    /// Flags, as `lsattr` shows them.
    pub flags: Option<u32>,
    /// Generation of the inode number.
    pub generation: Option<u32>,
    /// Project.
    pub project: Option<u32>,
    /// Extended attributes.
    pub xattrs: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Content of a regular file.
    pub content: Option<Content>,
    /// Content or entries are encrypted and were not looked at.
    pub encrypted: bool,
}

/// Bits of `flags`: encrypted.
pub const FLAG_ENCRYPTED: u32 = 0x800;

impl Description {
    /// The paths of all entries of the type (`S_IFMT` bits of the mode) `kind`.
    pub fn of_kind(&self, kind: u32) -> impl Iterator<Item = (&Vec<u8>, &Entry)> {
        self.entries.iter().filter(move |(_, entry)| entry.mode & 0o170_000 == kind)
    }
}

/// `directory` joined with `name`, without a slash at the beginning.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
