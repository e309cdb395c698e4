//! Reading files of the host for copies: by descriptors and names in open directories, with holes and extended attributes.
//!
//! Who calls it: `cp` into an image, `mkfs -d`.

use rumpcap::FileKind;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The longest list of names, and the longest value, that Linux gives.
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Kind of a file.
pub fn kind_of(stat: &Stat) -> FileKind {
    FileKind::from_mode(stat.st_mode)
}

/// Attributes of `name` in `at`; of the link itself where it is a symbolic link.
pub fn stat_at(at: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens `name` in `at` for reading, without changing its time of access where the host lets us.
pub fn open_at(at: BorrowedFd<'_>, name: &[u8]) -> Result<File, Errno> {
    open(at, name, OFlags::NOFOLLOW).map(File::from)
}

/// Opens the directory `name` in `at`.
pub fn open_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    open(at, name, OFlags::NOFOLLOW | OFlags::DIRECTORY)
}

/// Opens what the user named: links in that name are the user's own and are followed.
pub fn open_named(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    use std::os::unix::ffi::OsStrExt;
    open(rustix::fs::CWD, path.as_os_str().as_bytes(), OFlags::empty())
}

fn open(at: BorrowedFd<'_>, name: &[u8], how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | how;
    match rustix::fs::openat(at, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(at, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// The names in a directory, in falling order: the last one is the first.
pub fn names(directory: &OwnedFd) -> Result<Vec<Box<[u8]>>, Errno> {
    let mut names: Vec<Box<[u8]>> = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.into());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// The next run of data at or behind `offset`, within `size`; `None` if all the rest is a hole.
pub fn next_data(file: &File, offset: u64, size: u64) -> rustix::io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that does not know holes.
        Err(Errno::INVAL) => return Ok(Some((offset, size))),
        Err(e) => return Err(e),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}

/// Reads as much as there is, at most all of `buffer`.
pub fn read(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// How a file is reached whose attributes are read.
#[derive(Clone, Copy)]
pub enum Reach<'a> {
    /// It is open.
    Open(BorrowedFd<'a>),
    /// By its name in an open directory: what cannot be opened.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// An extended attribute.
pub type NameAndValue = (Vec<u8>, Vec<u8>);

/// Reads extended attributes; its buffer is kept.
#[derive(Default)]
pub struct Xattrs {
    buffer: Vec<u8>,
}

impl Xattrs {
    /// All attributes of a file: names and values, sorted by name.
    pub fn read(&mut self, reach: Reach<'_>) -> Result<Vec<NameAndValue>, Errno> {
        self.buffer.resize(XATTR_BYTES_MAX, 0);
        // There is no call for a name in an open directory.
        let path = match reach {
            Reach::Open(_) => Vec::new(),
            Reach::Named(at, name) => {
                [format!("/proc/self/fd/{}/", at.as_raw_fd()).as_bytes(), name].concat()
            }
        };
        let listed = match reach {
            Reach::Open(fd) => rustix::fs::flistxattr(fd, &mut self.buffer[..]),
            Reach::Named(..) => rustix::fs::llistxattr(&path, &mut self.buffer[..]),
        };
        let len = match listed {
            Err(Errno::OPNOTSUPP) => 0,
            listed => listed?,
        };
        if len == 0 {
            return Ok(Vec::new());
        }
        let names = self.buffer[..len].to_vec();
        let mut all = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let got = match reach {
                Reach::Open(fd) => rustix::fs::fgetxattr(fd, name, &mut self.buffer[..]),
                Reach::Named(..) => rustix::fs::lgetxattr(&path, name, &mut self.buffer[..]),
            };
            match got {
                Ok(len) => all.push((name.to_vec(), self.buffer[..len].to_vec())),
                // Gone since, or of a kind that is listed and not given.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e),
            }
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// As many open files as the host lets us have: a deep tree has a directory open for each level.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal shows when one is missed.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
