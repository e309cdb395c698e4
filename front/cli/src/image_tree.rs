//! [`ImageTree`]: makes files in an image, each under one name in a directory that is known by its inode number.
//!
//! Who calls it: `cp` into an image, `tar -x`. Whom it calls: the library, by its `*_at` calls: no path is resolved for a file.
//!
//! I-1. Everything is made under one safe name ([`safe_name`]) in a directory that was reached as a directory: no symbolic link is
//!      followed, so nothing outside of the target is touched.
//! I-2. A file is always made anew: what had the name is unlinked, not written into. A directory that is there is used.

use crate::outcome::Stop;
use crate::target_dir::{Existing, safe_name};
use rumpcap::{Error, File, FileKind, Metadata, Mount, Owner, SetAttributes, SetXattr, Timestamp};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Lists that a directory may give to what is made in it.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// As [`ACL_ACCESS`]: that which directories pass on.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Why something could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The image's word.
    Image(Error),
    /// Something is there and is to stay.
    Exists,
    /// A directory is there, and a file was to take its place.
    IsDirectory,
    /// No directory is there, and one was to be used.
    NotDirectory,
    /// The name cannot be that of a file.
    Unsafe(&'static str),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Image(error) => error.fmt(f),
            Refusal::Exists => f.write_str("exists already in the image; kept"),
            Refusal::IsDirectory => f.write_str("cannot take the place of a directory in the image"),
            Refusal::NotDirectory => {
                f.write_str("a file or link has its place in the image: not a directory")
            }
            Refusal::Unsafe(reason) => f.write_str(reason),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Image(error)
    }
}

/// Behind such an error the rest fails as well.
pub fn ends_all(error: Error) -> Option<Stop> {
    match error {
        Error::NoSpace { what } => Some(Stop::Fatal(format!("the image is full: it has no {what} left"))),
        Error::ReadOnly => Some(Stop::Fatal("the image is written no more, behind an error".to_owned())),
        _ => None,
    }
}

/// What a file is to have beside its content.
pub struct Wanted<'a> {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Time of last access; `None` leaves what making it has set.
    pub atime: Option<Timestamp>,
    /// Time of last change of the content; likewise.
    pub mtime: Option<Timestamp>,
    /// Extended attributes.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// Whether the directory passes a list on, which is not to be.
    pub inherits: Inherits,
}

/// Whether what is made in a directory gets an access control list of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherits {
    /// It does.
    Acl,
    /// It does not.
    Nothing,
}

/// What an extended attribute could not be, with its name.
pub type XattrFailure = (Vec<u8>, Error);

/// A directory that was made or found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its inode number.
    pub ino: u64,
    /// Whether it was there.
    pub was_there: bool,
}

/// Makes files in an image.
pub struct ImageTree {
    /// The image.
    pub mount: Mount,
    /// What becomes of what has the name of something new.
    pub existing: Existing,
    /// When blocks that come free are free.
    pub freed: Freed,
}

/// When blocks that come free can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freed {
    /// With the next commit, which memory and the clock bring about.
    Later,
    /// At once, by a commit of its own: what is made depends on what was asked for alone.
    AtOnce,
}

impl ImageTree {
    /// What has `name` in directory `dir`.
    pub fn look_up(&self, dir: u64, name: &[u8]) -> Result<Option<Metadata>, Refusal> {
        match self.mount.metadata_at(dir, safe(name)?) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(Error::NotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether directory `dir` passes an access control list on.
    pub fn inherits(&self, dir: u64) -> Inherits {
        let is_there = self.mount.xattr_ino(dir, ACL_DEFAULT).is_ok();
        if is_there { Inherits::Acl } else { Inherits::Nothing }
    }

    /// Makes the directory `name` in `dir`, or uses that which is there.
    pub fn directory(&self, dir: u64, name: &[u8], owner: &Owner) -> Result<Directory, Refusal> {
        match self.mount.create_dir_at(dir, safe(name)?, owner) {
            Ok(made) => Ok(Directory { ino: made.ino(), was_there: false }),
            Err(Error::Exists) => match self.look_up(dir, name)? {
                Some(there) if there.is_dir() => Ok(Directory { ino: there.ino(), was_there: true }),
                _ => Err(Refusal::NotDirectory),
            },
            Err(e) => Err(e.into()),
        }
    }

    /// Makes the file `name` in `dir`, and opens it. I-2.
    pub fn file(&self, dir: u64, name: &[u8], owner: &Owner) -> Result<File, Refusal> {
        self.anew(dir, name, |name| self.mount.create_at(dir, name, owner))
    }

    /// Makes the symbolic link `name` in `dir`.
    pub fn symlink(&self, dir: u64, name: &[u8], to: &[u8], owner: &Owner) -> Result<Metadata, Refusal> {
        self.anew(dir, name, |name| self.mount.symlink_at(OsStr::from_bytes(to), dir, name, owner))
    }

    /// Makes the device, fifo or socket `name` in `dir`.
    pub fn node(
        &self,
        dir: u64,
        name: &[u8],
        kind: FileKind,
        rdev: (u32, u32),
        owner: &Owner,
    ) -> Result<Metadata, Refusal> {
        self.anew(dir, name, |name| self.mount.create_node_at(dir, name, kind, rdev, owner))
    }

    /// Makes `name` in `dir` another name of inode `ino`.
    pub fn link(&self, ino: u64, dir: u64, name: &[u8]) -> Result<(), Refusal> {
        // It may be its name already: unlinking it could take the last one.
        if self.look_up(dir, name)?.is_some_and(|there| there.ino() == ino) {
            return Ok(());
        }
        self.anew(dir, name, |name| self.mount.hard_link_at(ino, dir, name)).map(drop)
    }

    /// Runs `make`, and once more after removing what had the name.
    fn anew<T>(
        &self,
        dir: u64,
        name: &[u8],
        make: impl Fn(&OsStr) -> rumpcap::Result<T>,
    ) -> Result<T, Refusal> {
        let safe_name = safe(name)?;
        match make(safe_name) {
            Err(Error::Exists) => {}
            other => return Ok(other?),
        }
        if self.look_up(dir, name)?.is_some_and(|there| there.is_dir()) {
            return Err(Refusal::IsDirectory);
        }
        if self.existing == Existing::Keep {
            return Err(Refusal::Exists);
        }
        // Before as well: else what is left in its blocks were what memory had made be written.
        self.settle()?;
        self.mount.remove_file_at(dir, safe_name)?;
        self.settle()?;
        Ok(make(safe_name)?)
    }

    fn settle(&self) -> rumpcap::Result<()> {
        match self.freed {
            Freed::Later => Ok(()),
            Freed::AtOnce => self.mount.sync(),
        }
    }

    /// Gives inode `ino` its attributes, when its content is complete: making it, and setting an access control list, has changed
    /// the mode, writing the times. Attributes that it cannot have come back; the rest is set all the same.
    pub fn finish(&self, ino: u64, wanted: &Wanted<'_>) -> Result<Vec<XattrFailure>, Refusal> {
        let mut failed = Vec::new();
        if wanted.inherits == Inherits::Acl {
            for acl in [ACL_ACCESS, ACL_DEFAULT] {
                if !wanted.xattrs.iter().any(|(name, _)| name == acl) {
                    match self.mount.remove_xattr_ino(ino, acl) {
                        Ok(()) | Err(Error::NoAttribute | Error::Unsupported { .. }) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
            }
        }
        for (name, value) in wanted.xattrs {
            match self.mount.set_xattr_ino(ino, name, value, SetXattr::Any) {
                Ok(()) => {}
                Err(e) if ends_all(e).is_some() => return Err(e.into()),
                Err(e) => failed.push((name.clone(), e)),
            }
        }
        // A block of attributes may have been exchanged for another.
        if wanted.inherits == Inherits::Acl || wanted.xattrs.len() > 1 {
            self.settle()?;
        }
        let set = SetAttributes {
            mode: Some(wanted.mode & 0o7777),
            uid: Some(wanted.owner.0),
            gid: Some(wanted.owner.1),
            atime: wanted.atime,
            mtime: wanted.mtime,
            ..SetAttributes::default()
        };
        self.mount.set_attributes_ino(ino, &set)?;
        Ok(failed)
    }

    /// Sets the times of a directory that is full.
    pub fn times(&self, ino: u64, atime: Option<Timestamp>, mtime: Option<Timestamp>) -> Result<(), Refusal> {
        let set = SetAttributes { atime, mtime, ..SetAttributes::default() };
        Ok(self.mount.set_attributes_ino(ino, &set).map(drop)?)
    }
}

fn safe(name: &[u8]) -> Result<&OsStr, Refusal> {
    safe_name(name).map(OsStr::from_bytes).map_err(Refusal::Unsafe)
}
