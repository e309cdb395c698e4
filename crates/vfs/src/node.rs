//! [`Node`]: what a file system tells of one inode: its attributes, and what it wants to find again.
//!
//! A node is `Copy` and owns nothing: an operation holds it on its stack, the vnode table caches it.

/// Number of an inode within its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNo(pub u64);

/// Seconds and nanoseconds since 1970-01-01 00:00:00 UTC; seconds may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Not said: a directory entry without a type, or a mode with an unknown one.
    Unknown,
}

impl FileKind {
    /// The kind in the top four bits of a POSIX mode.
    pub const fn from_mode(mode: u32) -> FileKind {
        match mode & 0o170_000 {
            0o100_000 => FileKind::Regular,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Symlink,
            0o020_000 => FileKind::CharDevice,
            0o060_000 => FileKind::BlockDevice,
            0o010_000 => FileKind::Fifo,
            0o140_000 => FileKind::Socket,
            _ => FileKind::Unknown,
        }
    }
}

/// The attributes of an inode, as `stat` and `statx` give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: InodeNo,
    /// Generation of the inode number, 0 where the file system has none.
    pub generation: u32,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Hard links. 1 for a directory whose count is not kept (dir_nlink).
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Space taken, in units of 512 bytes, as `st_blocks`.
    pub blocks_512: u64,
    /// Major and minor number of a device file.
    pub rdev: (u32, u32),
    /// Flags as `FS_IOC_GETFLAGS` gives them (immutable 0x10, append 0x20, ...).
    pub flags: u32,
    /// Project id, 0 where there is none.
    pub project: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation, where the file system keeps it.
    pub crtime: Option<Timestamp>,
}

impl Attributes {
    /// The kind of file.
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode)
    }
}

/// What a file system keeps with a node for itself: e.g. the root of an extent tree. Opaque to others.
pub type NodePrivate = [u32; 20];

/// What a file system tells of one inode.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// The attributes.
    pub attributes: Attributes,
    /// The file system's own.
    pub private: NodePrivate,
}

impl Node {
    /// The kind of file.
    pub fn kind(&self) -> FileKind {
        self.attributes.kind()
    }
}
