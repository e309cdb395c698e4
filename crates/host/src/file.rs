//! Files of the host: positioned, vectored reads and writes.
//!
//! Who calls it: `block`. May block in the host. A short transfer is continued, an interrupted one repeated.

use crate::{Error, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};

/// Temporary files hold what may be secret in the image: nobody else's business.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Segments that the host takes in one call (`IOV_MAX`); more are done in several calls.
const MAX_SEGMENTS: usize = 1024;

/// Bytes of a sector where nobody says otherwise.
const SECTOR_BYTES: u32 = 512;

/// Where the host wants temporary files, unless the user says otherwise. Allocates: for boot and mount only.
pub fn temporary_directory() -> PathBuf {
    std::env::temp_dir()
}

/// Names tried for a temporary file before giving up: one is enough unless someone guesses the clock.
const NAME_ATTEMPTS: u32 = 100;

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
    is_block_device: bool,
}

fn host_error(what: &'static str) -> impl Fn(Errno) -> Error + Copy {
    move |e| match e {
        Errno::NOENT => Error::NotFound,
        Errno::ISDIR => Error::IsADirectory,
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
        // Without NONBLOCK the open of a FIFO would wait for a writer; on files and block devices it means nothing.
        let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags |= if options.write { OFlags::RDWR } else { OFlags::RDONLY };
        if options.direct {
            flags |= OFlags::DIRECT;
        }
        // Looking at an image is not to change it, not even its time of access; the host lets owners ask for that.
        let quiet = rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty());
        let opened = match quiet {
            Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
            opened => opened,
        };
        HostFile::from_fd(opened.map_err(host_error("the image"))?)
    }

    /// Makes a new, nameless file in `directory`, gone when closed, also when the process is killed.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn temporary(directory: &Path) -> Result<HostFile> {
        let flags = OFlags::CLOEXEC | OFlags::RDWR | OFlags::TMPFILE;
        match rustix::fs::open(directory, flags, OWNER_ONLY) {
            Ok(fd) => HostFile::from_fd(fd),
            // What file systems and hosts without nameless files answer.
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::ISDIR | Errno::NOSYS) => {
                HostFile::temporary_by_name(directory)
            }
            Err(e) => Err(host_error("a temporary file")(e)),
        }
    }

    /// As [`HostFile::temporary`], for directories whose file system has no nameless files: makes a file with
    /// a name that nobody has and takes the name away.
    fn temporary_by_name(directory: &Path) -> Result<HostFile> {
        let refused = host_error("a temporary file");
        let flags = OFlags::CLOEXEC | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let process = rustix::process::getpid();
        for attempt in 0..NAME_ATTEMPTS {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let path = directory.join(format!(".rumpcap-{process}-{}-{attempt}", now.tv_nsec));
            match rustix::fs::open(&path, flags, OWNER_ONLY) {
                Ok(fd) => {
                    rustix::fs::unlink(&path).map_err(refused)?;
                    return HostFile::from_fd(fd);
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(refused(e)),
            }
        }
        Err(refused(Errno::EXIST))
    }

    fn from_fd(fd: OwnedFd) -> Result<HostFile> {
        let stat = rustix::fs::fstat(&fd).map_err(host_error("the image's size"))?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let len_bytes = match file_type {
            FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
            FileType::BlockDevice => rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0))
                .map_err(host_error("the device's size"))?,
            FileType::Directory => return Err(Error::IsADirectory),
            _ => return Err(Error::WrongType),
        };
        Ok(HostFile { fd, len_bytes, is_block_device: file_type == FileType::BlockDevice })
    }

    /// Length in bytes when it was opened.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Bytes of a sector: what a block device says, 512 for a regular file.
    ///
    /// A regular file can be the image of a disk with other sectors; only what is on it tells.
    pub fn sector_bytes(&self) -> u32 {
        if !self.is_block_device {
            return SECTOR_BYTES;
        }
        rustix::fs::ioctl_blksszget(&self.fd).unwrap_or(SECTOR_BYTES)
    }

    /// Fills `bufs` from `offset` on, all of them.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ShortDevice`] when the file ends first. The buffers' content is then undefined.
    pub fn read_exact_at(&self, mut bufs: &mut [IoSliceMut<'_>], mut offset: u64) -> Result<()> {
        IoSliceMut::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            let segments = bufs.len().min(MAX_SEGMENTS);
            let read = match &mut bufs[..segments] {
                // The host takes a vector in, one buffer as it is: a few per cent of a small read.
                [one] => rustix::io::pread(&self.fd, &mut **one, offset),
                several => rustix::io::preadv(&self.fd, several, offset),
            };
            match read {
                Ok(0) => {
                    let left: u64 = bufs.iter().map(|b| b.len() as u64).sum();
                    let have = offset.min(self.len_bytes);
                    return Err(Error::ShortDevice { need: offset.saturating_add(left), have });
                }
                Ok(n) => {
                    IoSliceMut::advance_slices(&mut bufs, n);
                    offset = offset.saturating_add(n as u64);
                }
                Err(Errno::INTR) => {}
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
            let segments = bufs.len().min(MAX_SEGMENTS);
            match rustix::io::pwritev(&self.fd, &bufs[..segments], offset) {
                Ok(0) => return Err(Error::Io { errno: 0, at: offset }),
                Ok(n) => {
                    IoSlice::advance_slices(&mut bufs, n);
                    offset = offset.saturating_add(n as u64);
                }
                Err(Errno::INTR) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    /// A directory of its own, removed at the end.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
            let path = std::env::temp_dir().join(format!("rumpcap-host-{name}-{now}"));
            std::fs::create_dir(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn round_trip(file: &HostFile) {
        file.write_all_at(&mut [IoSlice::new(b"ab"), IoSlice::new(b"cd")], 5000).unwrap();
        let mut read = [0u8; 4];
        file.read_exact_at(&mut [IoSliceMut::new(&mut read)], 5000).unwrap();
        assert_eq!(&read, b"abcd");
    }

    #[test]
    fn temporary_files_have_no_name() {
        let scratch = Scratch::new("temporary");
        let nameless = HostFile::temporary(&scratch.0).unwrap();
        let unlinked = HostFile::temporary_by_name(&scratch.0).unwrap();
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0);
        round_trip(&nameless);
        round_trip(&unlinked);
    }

    #[test]
    fn temporary_in_no_directory_is_an_error() {
        let missing = Path::new("/nonexistent-directory");
        assert_eq!(HostFile::temporary(missing).err(), Some(Error::NotFound));
    }

    #[test]
    fn opening_what_is_no_image_fails_at_once() {
        let scratch = Scratch::new("fifo");
        let fifo = scratch.0.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, OWNER_ONLY, 0).unwrap();
        let wrong = Some(Error::WrongType);
        assert_eq!(HostFile::open(&fifo, OpenOptions::default()).err(), wrong);
        let write = OpenOptions { write: true, direct: false };
        assert_eq!(HostFile::open(&fifo, write).err(), wrong);
        assert_eq!(HostFile::open(Path::new("/dev/zero"), OpenOptions::default()).err(), wrong);
        let directory = HostFile::open(&scratch.0, OpenOptions::default());
        assert_eq!(directory.err(), Some(Error::IsADirectory));
    }

    #[test]
    fn reading_past_the_end_says_by_how_much() {
        let scratch = Scratch::new("short");
        let path = scratch.0.join("image");
        std::fs::write(&path, [7u8; 100]).unwrap();
        let file = HostFile::open(&path, OpenOptions::default()).unwrap();
        let mut read = [0u8; 64];
        let error = file.read_exact_at(&mut [IoSliceMut::new(&mut read)], 80).unwrap_err();
        assert_eq!(error, Error::ShortDevice { need: 144, have: 100 });
        let error = file.read_exact_at(&mut [IoSliceMut::new(&mut read)], 200).unwrap_err();
        assert_eq!(error, Error::ShortDevice { need: 264, have: 100 });
    }

    #[test]
    fn more_segments_than_the_host_takes_at_once() {
        let scratch = Scratch::new("segments");
        let file = HostFile::temporary(&scratch.0).unwrap();
        let bytes: Vec<u8> = (0..3000u32).map(|i| (i % 251) as u8).collect();
        let mut written: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        file.write_all_at(&mut written, 3).unwrap();
        let mut read = vec![0u8; 3000];
        let mut into: Vec<IoSliceMut<'_>> = read.chunks_mut(1).map(IoSliceMut::new).collect();
        file.read_exact_at(&mut into, 3).unwrap();
        assert_eq!(read, bytes);
    }
}
