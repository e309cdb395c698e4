//! [`Source`]: a tree that is copied into an image: of the host ([`Host`]), or of an image ([`Image`]).
//!
//! Who calls it: `into`, `planter`. A directory is opened once and its entries are asked for by name in it, so that neither side resolves a path
//! for a file.

mod host;
mod image;

use crate::image_tree::Refusal;
use crate::outcome::Stop;
pub use host::Host;
pub use image::Image;
use rumpcap::{Error, FileKind, Timestamp};
use rustix::io::Errno;
use std::ops::Range;

/// What a copy is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// What it is, and which of its kind.
    pub identity: Identity,
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    pub owner: (u32, u32),
    /// Names that it has.
    pub nlink: u64,
    pub len_bytes: u64,
    /// Bytes that are stored of it, as far as that is known; fewer than `len_bytes` where it has holes.
    pub stored_bytes: u64,
    /// Numbers of a device.
    pub rdev: (u32, u32),
    pub atime: Timestamp,
    pub mtime: Timestamp,
}

/// Which file it is, under whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub place: Place,
    pub ino: u64,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// On a device of the host.
    Host(u64),
    /// In an image of the session.
    Image(usize),
}

/// A name in a directory, and the inode number that the directory has beside it.
pub struct Name {
    pub name: Box<[u8]>,
    pub ino: u64,
}

/// An extended attribute.
pub type NameAndValue = (Vec<u8>, Vec<u8>);

/// A file whose extended attributes are read.
pub enum Of<'a, S: Source + ?Sized> {
    Directory(&'a S::Directory),
    File(&'a S::File),
    /// What cannot be opened.
    Entry(&'a S::Directory, &'a Name),
}

/// A tree that is copied.
pub trait Source {
    /// A directory that is open.
    type Directory;
    /// A regular file that is open.
    type File;

    /// What `name` is; the link itself where it is a symbolic link.
    fn look_at(&self, directory: &Self::Directory, name: &Name) -> Result<Attributes, Failure>;

    /// Opens a directory.
    fn enter(
        &self,
        directory: &Self::Directory,
        name: &Name,
    ) -> Result<(Self::Directory, Attributes), Failure>;

    /// Opens a regular file.
    fn open(&self, directory: &Self::Directory, name: &Name) -> Result<(Self::File, Attributes), Failure>;

    /// The names in a directory, the next one last.
    fn names(&self, directory: &Self::Directory) -> Result<Vec<Name>, Failure>;

    /// The next run of data at or behind `offset`; `None` if all the rest is a hole.
    fn next_data(
        &self,
        file: &Self::File,
        offset: u64,
        of: &Attributes,
    ) -> Result<Option<Range<u64>>, Failure>;

    /// Reads as much as there is, at most all of `buffer`.
    fn read(&self, file: &Self::File, buffer: &mut [u8], offset: u64) -> Result<usize, Failure>;

    /// What a symbolic link says.
    fn link_target(&self, directory: &Self::Directory, name: &Name) -> Result<Vec<u8>, Failure>;

    /// All extended attributes.
    fn xattrs(&mut self, of: Of<'_, Self>) -> Result<Vec<NameAndValue>, Failure>;
}

/// Why one path was not copied.
pub enum Failure {
    /// The host's word.
    Host(Errno),
    /// The host's word, of reading.
    Read(std::io::Error),
    /// The word of the image that is read.
    Source(Error),
    /// The word of the image that is written.
    Image(Refusal),
    Said(&'static str),
    Stop(Stop),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Image(refusal)
    }
}
