//! A regular file or block device of the host.

use crate::BlockDevice;
use rumpcap_host::file::{HostFile, OpenOptions};
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;

/// A regular file or block device of the host, read-only unless opened for writing.
pub struct FileDevice {
    file: HostFile,
    options: OpenOptions,
}

impl FileDevice {
    /// Opens `path` read-only.
    ///
    /// # Errors
    /// As [`HostFile::open`].
    pub fn open(path: &Path) -> Result<FileDevice> {
        FileDevice::open_with(path, OpenOptions::default())
    }

    /// Opens `path` as `options` say.
    ///
    /// # Errors
    /// As [`HostFile::open`].
    pub fn open_with(path: &Path, options: OpenOptions) -> Result<FileDevice> {
        Ok(FileDevice { file: HostFile::open(path, options)?, options })
    }
}

impl BlockDevice for FileDevice {
    fn len_bytes(&self) -> u64 {
        self.file.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.file.read_exact_at(bufs, offset)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        if !self.options.write {
            return Err(Error::ReadOnly);
        }
        self.file.write_all_at(bufs, offset)
    }

    fn flush(&self) -> Result<()> {
        if self.options.write { self.file.sync() } else { Ok(()) }
    }

    fn alignment_bytes(&self) -> usize {
        if self.options.direct { 4096 } else { 1 }
    }
}
