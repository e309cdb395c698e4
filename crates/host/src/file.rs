//! Files of the host: positioned, vectored reads and writes.
//!
//! Who calls it: `block`. May block in the host. A short transfer is continued, an interrupted one repeated.

use crate::{Error, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;

/// How a file of the host is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Opened for writing too.
    pub write: bool,
    /// Bypass the host's cache (`O_DIRECT`): requests must then be aligned.
    pub direct: bool,
}

/// An open regular file or block device of the host.
pub struct HostFile {
    fd: OwnedFd,
    len_bytes: u64,
}

fn host_error(what: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |e| match e {
        rustix::io::Errno::NOENT => Error::NotFound,
        rustix::io::Errno::ISDIR => Error::IsADirectory,
        e => Error::Host { what, errno: e.raw_os_error() },
    }
}

impl HostFile {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::WrongType`] for what is neither a regular file nor
    /// a block device, [`Error::Host`] for the rest.
    pub fn open(path: &Path, options: OpenOptions) -> Result<HostFile> {
        let mut flags = OFlags::CLOEXEC;
        flags |= if options.write { OFlags::RDWR } else { OFlags::RDONLY };
        if options.direct {
            flags |= OFlags::DIRECT;
        }
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(host_error("the image"))?;
        HostFile::from_fd(fd)
    }

    /// Makes a new, nameless file in `directory`, gone when closed.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn temporary(directory: &Path) -> Result<HostFile> {
        let refused = host_error("a temporary file");
        let flags = OFlags::CLOEXEC | OFlags::RDWR | OFlags::TMPFILE;
        let mode = Mode::RUSR | Mode::WUSR;
        HostFile::from_fd(rustix::fs::open(directory, flags, mode).map_err(refused)?)
    }

    fn from_fd(fd: OwnedFd) -> Result<HostFile> {
        let stat = rustix::fs::fstat(&fd).map_err(host_error("the image's size"))?;
        let len_bytes = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
            FileType::BlockDevice => rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0))
                .map_err(host_error("the device's size"))?,
            FileType::Directory => return Err(Error::IsADirectory),
            _ => return Err(Error::WrongType),
        };
        Ok(HostFile { fd, len_bytes })
    }

    /// Length in bytes when it was opened.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Fills `bufs` from `offset` on, all of them.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ShortDevice`] when the file ends first. The buffers' content is then undefined.
    pub fn read_exact_at(&self, mut bufs: &mut [IoSliceMut<'_>], mut offset: u64) -> Result<()> {
        IoSliceMut::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            match rustix::io::preadv(&self.fd, bufs, offset) {
                Ok(0) => {
                    let left: u64 = bufs.iter().map(|b| b.len() as u64).sum();
                    return Err(Error::ShortDevice { need: offset.saturating_add(left), have: offset });
                }
                Ok(n) => {
                    IoSliceMut::advance_slices(&mut bufs, n);
                    offset = offset.saturating_add(n as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::Io { errno: e.raw_os_error(), at: offset }),
            }
        }
        Ok(())
    }

    /// Writes all of `bufs` from `offset` on.
    ///
    /// # Errors
    /// [`Error::Io`]; a part may have been written.
    pub fn write_all_at(&self, mut bufs: &mut [IoSlice<'_>], mut offset: u64) -> Result<()> {
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            match rustix::io::pwritev(&self.fd, bufs, offset) {
                Ok(0) => return Err(Error::Io { errno: 0, at: offset }),
                Ok(n) => {
                    IoSlice::advance_slices(&mut bufs, n);
                    offset = offset.saturating_add(n as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::Io { errno: e.raw_os_error(), at: offset }),
            }
        }
        Ok(())
    }

    /// Sets the length of a file that was opened for writing.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn set_len(&mut self, len_bytes: u64) -> Result<()> {
        rustix::fs::ftruncate(&self.fd, len_bytes).map_err(host_error("a file's length"))?;
        self.len_bytes = len_bytes;
        Ok(())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fdatasync(&self.fd).map_err(|e| Error::Io { errno: e.raw_os_error(), at: 0 })
    }
}
