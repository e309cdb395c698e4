//! [`File`]: an open file. A handle of a few words: it holds no page, no vnode and no reservation between calls, so that
//! any number of files may be open under any limit.

use crate::{Metadata, Mount};
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Allocate, Extent, LentPage, OpenFile, SyncFile};
use rumpcap_vm::PAGE_SIZE;
use std::io::{Read, Seek, SeekFrom, Write};

/// A part of a file: bytes on the device, or a hole.
///
/// ```no_run
/// # fn f(file: &rumpcap::File) -> rumpcap::Result<()> {
/// let mut at = 0;
/// while let Some(segment) = file.segment_at(at)? {
///     println!("{} bytes of {}", segment.len_bytes, if segment.hole { "hole" } else { "data" });
///     at += segment.len_bytes;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub len_bytes: u64,
    /// Reads as zeros because nothing is stored.
    pub hole: bool,
}

/// An open file.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
/// let file = mount.open("/var/log/syslog")?;
/// let mut last = [0; 100];
/// let n = file.read_at(&mut last, file.metadata()?.len().saturating_sub(100))?;
/// println!("{}", String::from_utf8_lossy(&last[..n]));
/// # Ok(()) }
/// ```
pub struct File {
    mount: Mount,
    open: OpenFile,
    position: u64,
    /// It stays in use when this handle goes: who keeps it closes it.
    pub(crate) is_kept: bool,
}

/// Bytes of a page that the kernel lends without copying. They count as wired memory while they are held.
///
/// ```no_run
/// # fn f(file: &rumpcap::File) -> rumpcap::Result<()> {
/// if let Some(bytes) = file.lend(0)? {
///     println!("begins with {:02x?}", &bytes[..bytes.len().min(4)]);
/// }
/// # Ok(()) }
/// ```
pub struct Lease {
    page: LentPage,
    range: core::ops::Range<usize>,
}

impl core::ops::Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.page[self.range.clone()]
    }
}

impl File {
    pub(crate) fn new(mount: &Mount, open: OpenFile) -> File {
        File { mount: mount.clone(), open, position: 0, is_kept: false }
    }

    pub(crate) fn node(&self) -> &rumpcap_vfs::Node {
        self.open.node()
    }

    /// Attributes, as they are now.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub fn metadata(&self) -> Result<Metadata> {
        if !self.mount.is_writable() {
            return Ok(Metadata(self.open.node().attributes));
        }
        Ok(Metadata(self.mount.vfs().current(&self.mount.vfs().enter(), self.open.node())?.attributes))
    }

    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.open.node().attributes.ino.0
    }

    /// The mount that it is of.
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Reads at `offset`; gives the bytes read: short only at the end of the file. May block for I/O.
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`, `Encrypted`, `Corrupt`, `Checksum`, `Io`, `ShortDevice`.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.mount.vfs().read_at(&self.open, offset, buf)
    }

    /// Writes all of `buf` at `offset`, and makes the file longer if need be; short only behind an error after some bytes. What is between
    /// the old end and `offset` reads as zeros. Durable after [`File::sync`].
    ///
    /// # Errors
    /// `ReadOnly`, `NoSpace`, `FileTooLarge`, `NotPermitted`, `IsADirectory`, `WrongType`, `Corrupt`, `Checksum`, `Io`.
    pub fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        self.mount.vfs().write_at(&self.open, offset, buf, self.mount.now())
    }

    /// Sets the length: cuts the file, or makes it longer by zeros that take no space.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.mount.vfs().set_len(&self.open, len_bytes, self.mount.now())
    }

    /// Makes `range` a hole, which reads as zeros and takes no space; the length stays.
    ///
    /// # Errors
    /// As [`File::write_at`]; `Unsupported` where the file system's files have no such holes.
    pub fn punch_hole(&self, range: Range<u64>) -> Result<()> {
        self.mount.vfs().punch_hole(&self.open, range, self.mount.now())
    }

    /// Makes `range` zeros, by space that is allocated and not written where that is possible; the length stays.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn zero_range(&self, range: Range<u64>) -> Result<()> {
        self.mount.vfs().zero_range(&self.open, range, self.mount.now())
    }

    /// Allocates what is not yet allocated of `range`, as space that reads as zeros.
    ///
    /// # Errors
    /// As [`File::write_at`]; `Unsupported` where the file system has no such space.
    pub fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        self.mount.vfs().allocate(&self.open, range, how, self.mount.now())
    }

    /// Makes the file durable: content, attributes, names. `fsync`.
    ///
    /// # Errors
    /// The error that stops writing; the first of writing this file's content since it was synced last, whoever wrote it. An error is
    /// told once here, and once by [`Mount::sync`] or [`Mount::unmount`].
    pub fn sync(&self) -> Result<()> {
        self.mount.vfs().sync_file(&self.open, SyncFile::All, self.mount.now())
    }

    /// Makes the file's content durable, and what it takes to read it (length and places, not times). `fdatasync`.
    ///
    /// # Errors
    /// As [`File::sync`].
    pub fn sync_data(&self) -> Result<()> {
        self.mount.vfs().sync_file(&self.open, SyncFile::Content, self.mount.now())
    }

    /// The bytes from `offset` to the end of its page or of the file, lent without copying (as a copy, if the mount can be written); `None` at the end of the
    /// file and where no page is kept: in a hole, and in a file that is stored in its inode. Read there instead.
    ///
    /// # Errors
    /// As [`File::read_at`]; `NoMemory` when so many pages are lent out that others would starve: give some back.
    pub fn lend(&self, offset: u64) -> Result<Option<Lease>> {
        let r = self.mount.vfs().enter();
        let node = self.mount.vfs().current(&r, self.open.node())?;
        let Some(page) = self.mount.vfs().lend(&r, &node, offset)? else { return Ok(None) };
        let start = (offset % PAGE_SIZE as u64) as usize;
        let left = usize::try_from(node.attributes.size_bytes - offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(left).min(PAGE_SIZE);
        Ok(Some(Lease { page, range: start..end }))
    }

    /// The segment that holds `offset`, as far as it goes (cut to the size of the file); `None` at the end. For copies
    /// that keep holes. What is allocated and was never written is a hole.
    ///
    /// # Errors
    /// As [`File::read_at`].
    pub fn segment_at(&self, offset: u64) -> Result<Option<Segment>> {
        let r = self.mount.vfs().enter();
        let node = self.mount.vfs().current(&r, self.open.node())?;
        let left = node.attributes.size_bytes.saturating_sub(offset);
        if left == 0 {
            return Ok(None);
        }
        let (len, hole) = match self.mount.vfs().fs().map(&r, &node, offset)? {
            Extent::Device { len_bytes, .. } => (len_bytes, false),
            Extent::Hole { len_bytes } => (len_bytes, true),
            Extent::Inline => (left, false),
        };
        Ok(Some(Segment { offset, len_bytes: len.min(left), hole }))
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.read_at(buf, self.position)?;
        self.position = self.position.saturating_add(n as u64);
        Ok(n)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.write_at(buf, self.position)?;
        self.position = self.position.saturating_add(n as u64);
        Ok(n)
    }

    /// Nothing: what was written is in the kernel. See [`File::sync`].
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.is_kept {
            self.mount.vfs().close(&self.open, self.mount.now());
        }
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.metadata()?.len().checked_add_signed(by),
        };
        self.position = position.ok_or(Error::InvalidInput { what: "seek" })?;
        Ok(self.position)
    }
}
