//! [`ReadDir`]: the entries of a directory, as `std::fs::read_dir`, without `.` and `..`.
//!
//! Entries are taken from the kernel in chunks, so that a pass through the gate serves many; a chunk's names are on the
//! caller's heap.

use crate::{FileType, Metadata, Mount};
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{DirCookie, FileKind, InodeNo, Node};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Entries that are taken from the kernel at once.
const CHUNK: usize = 128;

/// Iterates over the entries of a directory. On a mount that is read they come in the order of the device; on one that is written in an
/// order that does not depend on where they are, so that an entry which is there all the time comes exactly once, whatever is
/// created and removed meanwhile. After an error the iteration ends.
pub struct ReadDir {
    mount: Mount,
    dir: Node,
    from: DirCookie,
    chunk: VecDeque<DirEntry>,
    error: Option<Error>,
    done: bool,
}

/// One entry.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
/// for entry in mount.read_dir("/home")? {
///     let entry = entry?;
///     if entry.file_type()?.is_dir() {
///         println!("{} (inode {})", entry.file_name().display(), entry.ino());
///     }
/// }
/// # Ok(()) }
/// ```
pub struct DirEntry {
    mount: Mount,
    name: OsString,
    ino: u64,
    kind: FileKind,
}

impl ReadDir {
    pub(crate) fn new(mount: &Mount, dir: Node) -> Result<ReadDir> {
        if dir.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        let chunk = VecDeque::new();
        Ok(ReadDir { mount: mount.clone(), dir, from: DirCookie(0), chunk, error: None, done: false })
    }

    fn take_chunk(&mut self) {
        let r = self.mount.vfs().enter();
        let (mount, chunk, from) = (&self.mount, &mut self.chunk, &mut self.from);
        self.done = true;
        let done = &mut self.done;
        let dir = match self.mount.vfs().current(&r, &self.dir) {
            Ok(dir) => dir,
            Err(error) => return self.error = Some(error),
        };
        let outcome = self.mount.vfs().fs().read_dir_stable(&r, &dir, *from, &mut |entry| {
            if chunk.len() == CHUNK {
                *done = false;
                return ControlFlow::Break(());
            }
            *from = entry.next;
            if entry.name != b"." && entry.name != b".." {
                let name = OsStr::from_bytes(entry.name).to_owned();
                chunk.push_back(DirEntry { mount: mount.clone(), name, ino: entry.ino.0, kind: entry.kind });
            }
            ControlFlow::Continue(())
        });
        self.error = outcome.err();
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Result<DirEntry>> {
        if self.chunk.is_empty() && !self.done {
            self.take_chunk();
        }
        match self.chunk.pop_front() {
            Some(entry) => Some(Ok(entry)),
            None => self.error.take().map(Err),
        }
    }
}

impl DirEntry {
    /// The name.
    pub fn file_name(&self) -> &OsStr {
        &self.name
    }

    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// The type; read from the inode where the directory does not say it.
    ///
    /// # Errors
    /// As [`DirEntry::metadata`].
    pub fn file_type(&self) -> Result<FileType> {
        match self.kind {
            FileKind::Unknown => Ok(self.metadata()?.file_type()),
            kind => Ok(FileType(kind)),
        }
    }

    /// Attributes (of a symbolic link itself).
    ///
    /// # Errors
    /// `NotFound` for an entry that names a free inode, `Corrupt`, `Checksum`, `Io`.
    pub fn metadata(&self) -> Result<Metadata> {
        let mount = self.mount.vfs();
        Ok(Metadata(mount.node(&mount.enter(), InodeNo(self.ino))?.attributes))
    }
}
