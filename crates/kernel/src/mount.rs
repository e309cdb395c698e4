//! [`Mount`]: a mounted file system, with the names of `std::fs`.

use crate::{File, Kernel, Metadata, ReadDir, Walk};
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::StatFs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STUB: Error = Error::Unsupported { what: "stub" };

/// How a file system is mounted.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// Where temporary files (the overlay that a journal is replayed into) are made; the host's default if `None`.
    pub temporary_directory: Option<PathBuf>,
    /// Look at the file system as it is on the device, without its journal.
    pub ignore_journal: bool,
}

/// What a mount says of itself: for people, in order.
#[derive(Clone, Debug, Default)]
pub struct FileSystemInfo {
    /// `ext2`, `ext3`, `ext4`.
    pub kind: &'static str,
    /// Volume label.
    pub label: String,
    /// UUID in its usual spelling.
    pub uuid: String,
    /// Names of the features, as the file system's own tools spell them.
    pub features: Vec<&'static str>,
    /// Everything else: names in `snake_case` and values.
    pub details: Vec<(&'static str, String)>,
    /// What the user should know: a journal that was replayed, a fast-commit area that was not, errors recorded.
    pub warnings: Vec<String>,
}

/// A mounted file system. Cheap to clone; the last clone unmounts.
///
/// Paths are relative to the mount's root, whether they begin with `/` or not.
#[derive(Clone)]
pub struct Mount {
    pub(crate) kernel: Kernel,
}

impl Mount {
    pub(crate) fn new(kernel: Kernel, _device: Arc<dyn BlockDevice>, _o: &MountOptions) -> Result<Mount> {
        Ok(Mount { kernel })
    }

    /// The kernel that it is mounted in.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Opens a file or directory, following symbolic links.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        let _ = path;
        Err(STUB)
    }

    /// Opens by inode number (as `Metadata::ino` gives it), without a path.
    pub fn open_ino(&self, ino: u64) -> Result<File> {
        let _ = ino;
        Err(STUB)
    }

    /// Lists a directory.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<ReadDir> {
        let _ = path;
        Err(STUB)
    }

    /// Attributes, following symbolic links.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let _ = path;
        Err(STUB)
    }

    /// Attributes, of the link itself where the last component is a symbolic link.
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let _ = path;
        Err(STUB)
    }

    /// Attributes by inode number.
    pub fn metadata_ino(&self, ino: u64) -> Result<Metadata> {
        let _ = ino;
        Err(STUB)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let _ = path;
        Err(STUB)
    }

    /// The target of the symbolic link with this inode number.
    pub fn read_link_ino(&self, ino: u64) -> Result<PathBuf> {
        let _ = ino;
        Err(STUB)
    }

    /// The path with all symbolic links, `.` and `..` resolved.
    pub fn canonicalize(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let _ = path;
        Err(STUB)
    }

    /// Visits everything below `path`, `path` itself first. See [`Walk`].
    pub fn walk(&self, path: impl AsRef<Path>) -> Result<Walk> {
        let _ = path;
        Err(STUB)
    }

    /// Extended attributes of an inode: full name (`user.mime`, `security.selinux`, `system.posix_acl_access` ...) and
    /// value, sorted by name.
    pub fn xattrs_ino(&self, ino: u64) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let _ = ino;
        Err(STUB)
    }

    /// Value of one extended attribute of an inode.
    pub fn xattr_ino(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        let _ = (ino, name);
        Err(STUB)
    }

    /// Sizes and free space.
    pub fn stat_fs(&self) -> Result<StatFs> {
        Err(STUB)
    }

    /// What the file system says of itself.
    pub fn info(&self) -> Result<FileSystemInfo> {
        Err(STUB)
    }
}
