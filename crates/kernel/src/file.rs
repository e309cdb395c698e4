//! [`File`]: an open file. A handle of a few words: it holds no page, no vnode and no reservation between calls.

use crate::{Metadata, Mount};
use rumpcap_host::{Error, Result};
use std::io::{Read, Seek, SeekFrom};

/// A part of a file: bytes on the device, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len_bytes: u64,
    /// Reads as zeros because nothing is stored.
    pub hole: bool,
}

/// An open file.
pub struct File {
    mount: Mount,
    metadata: Metadata,
    position: u64,
}

impl File {
    /// Attributes.
    pub fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    /// The mount that it is of.
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Reads at `offset`; gives the bytes read: short only at the end of the file.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let _ = (buf, offset);
        Err(Error::NotFound)
    }

    /// The segment that holds `offset`, as far as it goes (cut to the size of the file); `None` at the end.
    /// For copies that keep holes.
    pub fn segment_at(&self, offset: u64) -> Result<Option<Segment>> {
        let _ = offset;
        Err(Error::NotFound)
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.read_at(buf, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let _ = to;
        Ok(self.position)
    }
}
