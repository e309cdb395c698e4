//! Bits of the protocol's flag words.

/// Capabilities that are agreed on at the beginning.
pub mod init {
    #![allow(missing_docs)]
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const EXPORT_SUPPORT: u64 = 1 << 4;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const HAS_IOCTL_DIR: u64 = 1 << 11;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const WRITEBACK_CACHE: u64 = 1 << 16;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const POSIX_ACL: u64 = 1 << 20;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const SETXATTR_EXT: u64 = 1 << 29;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
}

/// Which attributes `SETATTR` sets.
pub mod setattr {
    #![allow(missing_docs)]
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
    pub const CTIME: u32 = 1 << 10;
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

/// What is said of a file that is opened: its cached pages stay.
pub const FOPEN_KEEP_CACHE: u32 = 1 << 1;
/// Entries of a directory may be cached.
pub const FOPEN_CACHE_DIR: u32 = 1 << 3;
/// Nothing is to be sent when a descriptor is closed.
pub const FOPEN_NOFLUSH: u32 = 1 << 5;
/// Direct writes within the file may come at once.
pub const FOPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
/// A write comes from the host's page cache, later than the client made it.
pub const WRITE_CACHE: u32 = 1 << 0;
/// A write takes the set-id bits.
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// Setting an access control list takes the set-group-ID bit.
pub const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// Only the content is to be durable.
pub const FSYNC_FDATASYNC: u32 = 1 << 0;
