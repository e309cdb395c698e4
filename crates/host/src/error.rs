//! The one error type of the kernel: small, `Copy`, with static context.
//!
//! Who makes one: every layer. Making one never allocates, so an error path needs no memory.
//!
//! Failure is told by *what* (a static name of the structure or feature) and *where* (a byte offset on the
//! device unless the variant says otherwise), never by a formatted string.

use core::fmt;

/// The result of a kernel operation.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a kernel operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No entry of that name.
    NotFound,
    /// A component that must be a directory is none.
    NotADirectory,
    /// A directory was given where a file is needed.
    IsADirectory,
    /// Not a symbolic link, or not a regular file, where one is needed.
    WrongType,
    /// More than 40 symbolic links in one path.
    TooManyLinks,
    /// A name is longer than 255 bytes or a path is longer than the limit.
    NameTooLong,
    /// The caller's argument makes no sense; says which.
    InvalidInput {
        /// The argument, by name.
        what: &'static str,
    },
    /// No such extended attribute.
    NoAttribute,
    /// The caller's buffer is too small for the value; says how many bytes it takes.
    Range {
        /// Bytes that the value takes.
        need: u64,
    },
    /// The device or mount was not opened for writing, or is written no more behind an error.
    ReadOnly,
    /// There is an entry, or an attribute, of that name already.
    Exists,
    /// A directory has entries besides `.` and `..`.
    NotEmpty,
    /// The inode's flags (immutable, append only) forbid it.
    NotPermitted,
    /// A file has as many hard links as the file system can count.
    TooManyHardLinks,
    /// Longer than the file system can map or count.
    FileTooLarge,
    /// Used by somebody, so that it cannot go or be used now; says what.
    Busy {
        /// What is used.
        what: &'static str,
    },
    /// A structure of the file system contradicts itself.
    Corrupt {
        /// The structure and the rule that it breaks.
        what: &'static str,
        /// Where: the inode or block number, or byte offset, that `what` names.
        at: u64,
    },
    /// A checksum of the file system does not match.
    Checksum {
        /// The structure whose checksum it is.
        what: &'static str,
        /// Where: the inode, group or block number that `what` names.
        at: u64,
    },
    /// The image is none that a file system here knows.
    NotAFileSystem,
    /// The image uses a feature, by its name, that is known and not supported.
    Unsupported {
        /// The feature's name, as the file system's own tools spell it.
        what: &'static str,
    },
    /// The image uses incompatible features that nobody here knows.
    UnknownFeature {
        /// The unknown bits.
        bits: u32,
    },
    /// Name or content is encrypted and there is no key.
    Encrypted,
    /// The file system is full; says of what.
    NoSpace {
        /// `blocks` or `inodes`.
        what: &'static str,
    },
    /// The host's device failed.
    Io {
        /// The host's errno, 0 if it gave none.
        errno: i32,
        /// Byte offset of the request on the device.
        at: u64,
    },
    /// The device is shorter than the file system on it.
    ShortDevice {
        /// Bytes that the request, or the file system, needs the device to have.
        need: u64,
        /// Bytes that it has.
        have: u64,
    },
    /// The memory limit is too small; says the number that would do.
    LimitTooSmall {
        /// Bytes that would do.
        need: u64,
        /// Bytes of the limit.
        have: u64,
    },
    /// Wired memory has reached the share of the limit that it may take.
    NoMemory {
        /// Who asked.
        what: &'static str,
        /// Frames that it asked for.
        need: u64,
        /// Frames that could be wired at that moment.
        have: u64,
    },
    /// What was asked for belongs to something that is gone meanwhile.
    Stale,
    /// The host refused memory, a thread or a file at boot.
    Host {
        /// What was asked for.
        what: &'static str,
        /// The host's errno, 0 if it gave none.
        errno: i32,
    },
}

impl Error {
    /// The errno that a POSIX caller expects, by its Linux number.
    pub const fn errno(self) -> i32 {
        match self {
            Error::NotPermitted => 1,
            Error::NotFound => 2,
            Error::Io { errno: 0, .. } | Error::ShortDevice { .. } => 5,
            Error::Io { errno, .. } => errno,
            Error::LimitTooSmall { .. } | Error::NoMemory { .. } => 12,
            Error::Busy { .. } => 16,
            Error::Exists => 17,
            Error::NotADirectory => 20,
            Error::IsADirectory => 21,
            Error::WrongType | Error::InvalidInput { .. } | Error::NotAFileSystem => 22,
            Error::FileTooLarge => 27,
            Error::NoSpace { .. } => 28,
            Error::ReadOnly => 30,
            Error::TooManyHardLinks => 31,
            Error::Range { .. } => 34,
            Error::NameTooLong => 36,
            Error::NotEmpty => 39,
            Error::TooManyLinks => 40,
            Error::NoAttribute => 61,
            Error::Checksum { .. } => 74,
            Error::Unsupported { .. } | Error::UnknownFeature { .. } => 95,
            Error::Stale => 116,
            Error::Corrupt { .. } => 117,
            Error::Encrypted => 126,
            Error::Host { errno: 0, .. } => 5,
            Error::Host { errno, .. } => errno,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::NotFound => f.write_str("no such file or directory"),
            Error::NotADirectory => f.write_str("not a directory"),
            Error::IsADirectory => f.write_str("is a directory"),
            Error::WrongType => f.write_str("wrong type of file for this operation"),
            Error::TooManyLinks => f.write_str("too many levels of symbolic links"),
            Error::NameTooLong => f.write_str("name too long"),
            Error::InvalidInput { what } => write!(f, "invalid {what}"),
            Error::NoAttribute => f.write_str("no such extended attribute"),
            Error::Range { need } => write!(f, "buffer too small, {need} bytes needed"),
            Error::ReadOnly => f.write_str("opened read-only"),
            Error::Exists => f.write_str("exists already"),
            Error::NotEmpty => f.write_str("directory not empty"),
            Error::NotPermitted => f.write_str("operation not permitted by the file's flags"),
            Error::TooManyHardLinks => f.write_str("too many hard links"),
            Error::FileTooLarge => f.write_str("file too large"),
            Error::Busy { what } => write!(f, "in use: {what}"),
            Error::NoSpace { what } => write!(f, "no space left in the file system: too few {what}"),
            Error::Corrupt { what, at } => write!(f, "corrupt file system: {what} (at {at})"),
            Error::Checksum { what, at } => write!(f, "checksum mismatch: {what} (at {at})"),
            Error::NotAFileSystem => f.write_str("no known file system found"),
            Error::Unsupported { what } => write!(f, "unsupported feature: {what}"),
            Error::UnknownFeature { bits } => write!(f, "unknown incompatible features: {bits:#x}"),
            Error::Encrypted => f.write_str("encrypted, and there is no key"),
            Error::Io { errno, at } => write!(f, "input/output error (errno {errno}) at byte {at}"),
            Error::ShortDevice { need, have } => {
                write!(f, "the image is shorter than its file system: {need} bytes needed, {have} there")
            }
            Error::LimitTooSmall { need, have } => {
                write!(f, "memory limit too small: {have} bytes given, {need} would do")
            }
            Error::NoMemory { what, need, have } => {
                write!(f, "out of memory for {what}: {need} frames asked for, {have} can be wired")
            }
            Error::Stale => f.write_str("gone while it was asked for"),
            Error::Host { what, errno } => write!(f, "host refused {what} (errno {errno})"),
        }
    }
}

impl core::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::NotFound => std::io::ErrorKind::NotFound,
            Error::NotADirectory => std::io::ErrorKind::NotADirectory,
            Error::IsADirectory => std::io::ErrorKind::IsADirectory,
            Error::InvalidInput { .. } => std::io::ErrorKind::InvalidInput,
            Error::ReadOnly => std::io::ErrorKind::ReadOnlyFilesystem,
            Error::Exists => std::io::ErrorKind::AlreadyExists,
            Error::NotEmpty => std::io::ErrorKind::DirectoryNotEmpty,
            Error::NotPermitted => std::io::ErrorKind::PermissionDenied,
            Error::TooManyHardLinks => std::io::ErrorKind::TooManyLinks,
            Error::FileTooLarge => std::io::ErrorKind::FileTooLarge,
            Error::Busy { .. } => std::io::ErrorKind::ResourceBusy,
            Error::NoSpace { .. } => std::io::ErrorKind::StorageFull,
            Error::Corrupt { .. } | Error::Checksum { .. } => std::io::ErrorKind::InvalidData,
            Error::Unsupported { .. } | Error::UnknownFeature { .. } => std::io::ErrorKind::Unsupported,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}
