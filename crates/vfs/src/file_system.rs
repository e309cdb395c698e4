//! [`FileSystem`]: what a file system implements. Everything above it is shared by all of them.
//!
//! Who calls it: `vfs`. Whom an implementation calls: `vm` for pages of its device, and nothing else.
//!
//! Memory: an implementation has a fixed size after mount. Every method gets the operation's reservation and pins
//! at most [`FileSystem::max_pins`] pages at once; what it needs from a page beyond that it copies to the stack.
//! Methods may block for I/O. They take no lock that they hold across a page request; those of [`Change`] hold the writer's own,
//! which nobody waits for, since the mount's lock is held alone around it.

use crate::change::Change;
use crate::node::{FileKind, InodeNo, Node};
use core::ops::{ControlFlow, Range};
use rumpcap_host::Result;
use rumpcap_vm::{DeviceObject, Reservation};

/// A place in a directory, to continue from. Opaque; 0 is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirCookie(pub u64);

/// One entry of a directory. The name is lent from a pinned page or the stack for the duration of the call.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name: 1 to 255 bytes, any but `/` and NUL.
    pub name: &'a [u8],
    /// The inode that it names.
    pub ino: InodeNo,
    /// The kind, as far as the directory says it.
    pub kind: FileKind,
    /// Where the listing continues behind this entry.
    pub next: DirCookie,
}

/// Receives directory entries; `Break` ends the listing.
pub type DirSink<'a> = dyn FnMut(DirEntry<'_>) -> ControlFlow<()> + 'a;

/// Receives names of extended attributes with their namespace prefix (`user.`, `system.posix_acl_access` ...) and the
/// length of each one's value in bytes; `Break` ends the listing.
pub type XattrSink<'a> = dyn FnMut(&[u8], u64) -> ControlFlow<()> + 'a;

/// Where a part of a file's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// On the device, contiguous.
    Device {
        /// Byte on the device.
        offset: u64,
        /// Bytes from there on; at least 1.
        len_bytes: u64,
    },
    /// Nowhere: reads as zeros. Also what is allocated and not yet written.
    Hole {
        /// Bytes; at least 1. `u64::MAX` when nothing follows to the end of the file.
        len_bytes: u64,
    },
    /// In the inode itself: [`FileSystem::read_inline`] gives it.
    Inline,
}

/// Sizes of a file system, as `statvfs` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks that can hold data, overhead subtracted as the kernel's ext4 does by default.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for users other than root.
    pub blocks_available: u64,
    /// Inodes.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}

/// A mounted file system, as far as it is read; [`FileSystem::change`] is the rest.
pub trait FileSystem: Send + Sync {
    /// The most pages that any method pins at once.
    fn max_pins(&self) -> u32;

    /// The file system as one that can be written; `None` where it is mounted to be read.
    fn change(&self) -> Option<&dyn Change> {
        None
    }

    /// Why it can be read and not written, where it was to be written.
    fn read_only_reason(&self) -> Option<&'static str> {
        None
    }

    /// The device that [`Extent::Device`] speaks of.
    fn device(&self) -> &DeviceObject;

    /// Inodes that share a page of the inode table; at least 1. For deciding when it pays to sort.
    fn inodes_per_page(&self) -> u32 {
        1
    }

    /// How many inodes there are, free ones included: no directory is reached through more.
    fn inodes(&self) -> u64;

    /// The page of an inode among those of all inodes in the order of their numbers: inodes of one number share a page,
    /// and pages of successive numbers mostly follow each other on the device. For deciding how far to read ahead.
    fn inode_page(&self, ino: InodeNo) -> u64 {
        ino.0
    }

    /// The inode of the root directory.
    fn root(&self) -> InodeNo;

    /// Sizes and free space.
    fn stat_fs(&self, r: &Reservation<'_>) -> Result<StatFs>;

    /// Reads inode `ino`. `ahead`: the caller is about to read inodes of higher numbers near by too; up to this many
    /// pages of the inode table may be read ahead.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum` for a broken inode, `NotFound` for a free one or a number that does not exist.
    fn read_node(&self, r: &Reservation<'_>, ino: InodeNo, ahead: u32) -> Result<Node>;

    /// The inode that `name` names in directory `dir`. `.` and `..` are looked up like any other.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `Corrupt`, `Checksum`, `Encrypted`.
    fn lookup(&self, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<InodeNo>;

    /// Hands the entries of `dir`, `.` and `..` included, from `from` on to `sink`, until it breaks or the directory
    /// ends. Order is that of the device. The sink must not call back into the kernel.
    ///
    /// # Errors
    /// `NotADirectory`, `Corrupt`, `Checksum`, `Encrypted`; entries before the broken block have been handed over.
    fn read_dir(
        &self,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        sink: &mut DirSink<'_>,
    ) -> Result<()>;

    /// As [`FileSystem::read_dir`], for whoever lists a directory in pieces while it is changed, and keeps cookies for long: an entry that
    /// is there all the time is handed over exactly once, whatever comes and goes between the pieces. `.` and `..` come first; the
    /// order of the others is the file system's. Cookies have at most 63 bits, are never 0 behind an entry, and are good for the
    /// next mount too. They are not those of [`FileSystem::read_dir`], which may be quicker.
    ///
    /// The default is for file systems whose entries never move.
    ///
    /// # Errors
    /// As [`FileSystem::read_dir`].
    fn read_dir_stable(
        &self,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        sink: &mut DirSink<'_>,
    ) -> Result<()> {
        self.read_dir(r, dir, from, sink)
    }

    /// As [`FileSystem::read_dir`], for entries whose inode numbers are in `inodes`. Passing over the others is to be
    /// quick: a walk of a large directory scans it many times.
    fn read_dir_range(
        &self,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        inodes: Range<u64>,
        sink: &mut DirSink<'_>,
    ) -> Result<()> {
        self.read_dir(r, dir, from, &mut |entry| {
            if inodes.contains(&entry.ino.0) { sink(entry) } else { ControlFlow::Continue(()) }
        })
    }

    /// Where byte `offset` of the file is, and how far that goes on. `offset` may be past the end of the file.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Encrypted`.
    fn map(&self, r: &Reservation<'_>, node: &Node, offset: u64) -> Result<Extent>;

    /// Copies content that is kept in the inode; what is short of `buf` reads as zeros up to the file's size.
    /// Gives the number of bytes copied.
    fn read_inline(&self, r: &Reservation<'_>, node: &Node, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Copies the target of a symbolic link; gives its length.
    ///
    /// # Errors
    /// `WrongType` when it is none; `Range` when `buf` is too short; `Corrupt`; `Encrypted`.
    fn read_link(&self, r: &Reservation<'_>, node: &Node, buf: &mut [u8]) -> Result<usize>;

    /// Hands over the names of the extended attributes.
    fn list_xattr(&self, r: &Reservation<'_>, node: &Node, sink: &mut XattrSink<'_>) -> Result<()>;

    /// Copies the value of extended attribute `name`; gives its length. With an empty `buf` only the length.
    ///
    /// # Errors
    /// `NoAttribute`; `Range` when `buf` is not empty and too short.
    fn get_xattr(&self, r: &Reservation<'_>, node: &Node, name: &[u8], buf: &mut [u8]) -> Result<usize>;
}
