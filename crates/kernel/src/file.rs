//! [`File`]: an open file. A handle of a few words: it holds no page, no vnode and no reservation between calls, so that
//! any number of files may be open under any limit.

use crate::{Metadata, Mount};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Extent, Node, OpenFile};
use rumpcap_vm::{PAGE_SIZE, PageLease};
use std::io::{Read, Seek, SeekFrom};

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
    page: PageLease,
    range: core::ops::Range<usize>,
}

impl core::ops::Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.page[self.range.clone()]
    }
}

impl File {
    pub(crate) fn new(mount: &Mount, node: Node) -> File {
        File { mount: mount.clone(), open: OpenFile::new(node), position: 0 }
    }

    /// Attributes, as they were when the file was opened.
    pub fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata(self.open.node().attributes))
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

    /// The bytes from `offset` to the end of its page or of the file, lent without copying; `None` at the end of the
    /// file and where no page is kept: in a hole, and in a file that is stored in its inode. Read there instead.
    ///
    /// # Errors
    /// As [`File::read_at`]; `NoMemory` when so many pages are lent out that others would starve: give some back.
    pub fn lend(&self, offset: u64) -> Result<Option<Lease>> {
        let r = self.mount.vfs().enter();
        let Some(page) = self.mount.vfs().lend(&r, self.open.node(), offset)? else { return Ok(None) };
        let start = (offset % PAGE_SIZE as u64) as usize;
        let left = usize::try_from(self.open.node().attributes.size_bytes - offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(left).min(PAGE_SIZE);
        Ok(Some(Lease { page, range: start..end }))
    }

    /// The segment that holds `offset`, as far as it goes (cut to the size of the file); `None` at the end. For copies
    /// that keep holes. What is allocated and was never written is a hole.
    ///
    /// # Errors
    /// As [`File::read_at`].
    pub fn segment_at(&self, offset: u64) -> Result<Option<Segment>> {
        let left = self.open.node().attributes.size_bytes.saturating_sub(offset);
        if left == 0 {
            return Ok(None);
        }
        let r = self.mount.vfs().enter();
        let (len, hole) = match self.mount.vfs().fs().map(&r, self.open.node(), offset)? {
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

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.open.node().attributes.size_bytes.checked_add_signed(by),
        };
        self.position = position.ok_or(Error::InvalidInput { what: "seek" })?;
        Ok(self.position)
    }
}
