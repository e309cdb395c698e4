//! [`Host`]: files of the host, by open directories and names in them; no link is followed but in what the user named.

use super::{Attributes, Failure, Identity, Name, NameAndValue, Of, Place, Source};
use crate::host_tree::{self, Reach, Xattrs, kind_of};
use rumpcap::{FileKind, Timestamp};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, Stat};
use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Files of the host.
#[derive(Default)]
pub struct Host {
    xattrs: Xattrs,
}

impl Host {
    /// The directory that holds `path`, which is not one itself, and its name there.
    ///
    /// # Errors
    /// The host's.
    pub fn place_of(path: &Path) -> Result<(OwnedFd, Name), Failure> {
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty()).map_err(Failure::Host)?;
        let name = path.file_name().unwrap_or(OsStr::new(".")).as_bytes();
        Ok((directory, Name { name: name.into(), ino: 0 }))
    }

    /// Opens the directory that the user named: links in that name are the user's own and are followed.
    ///
    /// # Errors
    /// The host's.
    pub fn named_directory(path: &Path) -> Result<(OwnedFd, Attributes), Failure> {
        let fd = host_tree::open_named(path).map_err(Failure::Host)?;
        let stat = rustix::fs::fstat(&fd).map_err(Failure::Host)?;
        Ok((fd, attributes(&stat)))
    }

    /// Opens the regular file, or the pipe, that the user named: behind a link, if it is one.
    ///
    /// # Errors
    /// The host's.
    pub fn named_file(path: &Path) -> Result<(File, Attributes), Failure> {
        let file = File::from(host_tree::open_named(path).map_err(Failure::Host)?);
        let stat = rustix::fs::fstat(&file).map_err(Failure::Host)?;
        if kind_of(&stat) == FileKind::Fifo {
            // It is opened so that opening does not wait; reading may.
            rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(Failure::Host)?;
        }
        Ok((file, attributes(&stat)))
    }
}

/// What the host says of a file, in the copy's words.
pub fn attributes(stat: &Stat) -> Attributes {
    let kind = kind_of(stat);
    let rdev = match kind {
        FileKind::CharDevice | FileKind::BlockDevice => {
            (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
        }
        _ => (0, 0),
    };
    let time = |seconds, nanoseconds: u64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
    Attributes {
        identity: Identity { place: Place::Host(stat.st_dev), ino: stat.st_ino },
        kind,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        nlink: stat.st_nlink,
        len_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        stored_bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        rdev,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

impl Source for Host {
    type Directory = OwnedFd;
    type File = File;

    fn look_at(&self, directory: &OwnedFd, name: &Name) -> Result<Attributes, Failure> {
        let stat = host_tree::stat_at(directory.as_fd(), &name.name).map_err(Failure::Host)?;
        Ok(attributes(&stat))
    }

    fn enter(&self, directory: &OwnedFd, name: &Name) -> Result<(OwnedFd, Attributes), Failure> {
        let fd = host_tree::open_directory(directory.as_fd(), &name.name).map_err(Failure::Host)?;
        let stat = rustix::fs::fstat(&fd).map_err(Failure::Host)?;
        Ok((fd, attributes(&stat)))
    }

    fn open(&self, directory: &OwnedFd, name: &Name) -> Result<(File, Attributes), Failure> {
        let file = host_tree::open_at(directory.as_fd(), &name.name).map_err(Failure::Host)?;
        let stat = rustix::fs::fstat(&file).map_err(Failure::Host)?;
        Ok((file, attributes(&stat)))
    }

    fn names(&self, directory: &OwnedFd) -> Result<Vec<Name>, Failure> {
        let names = host_tree::names(directory).map_err(Failure::Host)?;
        Ok(names.into_iter().map(|name| Name { name, ino: 0 }).collect())
    }

    fn next_data(&self, file: &File, offset: u64, of: &Attributes) -> Result<Option<Range<u64>>, Failure> {
        // Without holes, asking for them takes longer than reading a small file.
        if of.stored_bytes >= of.len_bytes {
            return Ok((offset < of.len_bytes).then_some(offset..of.len_bytes));
        }
        let data = host_tree::next_data(file, offset, of.len_bytes).map_err(Failure::Host)?;
        Ok(data.map(|(start, end)| start..end))
    }

    fn read(&self, file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Failure> {
        host_tree::read(file, buffer, offset).map_err(Failure::Read)
    }

    fn link_target(&self, directory: &OwnedFd, name: &Name) -> Result<Vec<u8>, Failure> {
        let target = rustix::fs::readlinkat(directory, &*name.name, Vec::new()).map_err(Failure::Host)?;
        Ok(target.into_bytes())
    }

    fn xattrs(&mut self, of: Of<'_, Host>) -> Result<Vec<NameAndValue>, Failure> {
        let reach = match &of {
            Of::Directory(fd) => Reach::Open(fd.as_fd()),
            Of::File(file) => Reach::Open(file.as_fd()),
            Of::Entry(directory, name) => Reach::Named(directory.as_fd(), &name.name),
        };
        self.xattrs.read(reach).map_err(Failure::Host)
    }
}
