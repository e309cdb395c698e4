//! [`Mount`]: one mounted file system. Every operation on it begins here, at the gate.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: the file system, the caches.
//!
//! Reservation (F1): a file system's own pins and two pages more: one of data, one that the layers between may hold.

use crate::file_system::{FileSystem, StatFs};
use crate::node::{InodeNo, Node, Timestamp};
use crate::open::Closed;
use crate::open_file::OpenFile;
use crate::vfs::Vfs;
use crate::writing::{Inside, Writing};
use rumpcap_host::sync::Arc;
use rumpcap_host::{Error, Result};
use rumpcap_vm::Reservation;

/// Pages that an operation pins besides its file system's: the page of data that is copied, and one to spare.
const DATA_PINS: u32 = 2;

/// One mounted file system. Dropped, it is gone from the caches; what was changed is synced before ([`Mount::unmount`]) or lost.
pub struct Mount {
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) fs: std::sync::Arc<dyn FileSystem>,
    pub(crate) number: u32,
    pub(crate) frames: u32,
    /// For a file system that can be written.
    pub(crate) writing: Option<Box<Writing>>,
}

impl Mount {
    /// Mounts `fs`, to be written if it can be.
    pub fn new(vfs: Arc<Vfs>, fs: std::sync::Arc<dyn FileSystem>) -> Mount {
        let (number, frames) = (vfs.mount_number(), fs.max_pins() + DATA_PINS);
        let writing = fs.change().map(|_| Box::new(Writing::new(&vfs.vm)));
        Mount { vfs, fs, number, frames, writing }
    }

    /// Enters the gate for one operation that reads. Waits, first come first served, and for a change in progress; the caller
    /// holds no page and no reservation, and is not inside already.
    pub fn enter(&self) -> Inside<'_> {
        let reservation = self.vfs.vm.reserve(self.frames);
        Inside::new(self.writing.as_ref().map(|writing| writing.share()), reservation)
    }

    /// The file system.
    pub fn fs(&self) -> &dyn FileSystem {
        &*self.fs
    }

    /// The virtual file system that it is mounted in.
    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        self.writing.is_some()
    }

    /// The node of an inode, from the vnode table or the file system.
    ///
    /// # Errors
    /// Those of [`FileSystem::read_node`].
    pub fn node(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Node> {
        if let Some(node) = self.vfs.vnodes.node(self.number, ino) {
            return Ok(node);
        }
        let node = match self.fs.read_node(r, ino, 0) {
            Err(Error::NotFound) => self.node_without_names(r, ino)?,
            node => node?,
        };
        self.vfs.vnodes.remember(self.number, &node);
        Ok(node)
    }

    /// The node of an inode that has no names any more and is open.
    fn node_without_names(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Node> {
        let is_open = self.writing.as_ref().is_some_and(|writing| writing.opens.is_open(ino));
        let change = self.fs.change().filter(|_| is_open);
        change.ok_or(Error::NotFound)?.read_nameless(r, ino)
    }

    /// The node as it is now, of one that was read in an earlier operation.
    ///
    /// # Errors
    /// Those of [`FileSystem::read_node`].
    pub fn current(&self, r: &Reservation<'_>, node: &Node) -> Result<Node> {
        if self.is_writable() { self.node(r, node.attributes.ino) } else { Ok(*node) }
    }

    /// Opens a file: from now on it is in use, until [`Mount::close`].
    ///
    /// # Errors
    /// `NoMemory` with too many open files, on a mount that can be written.
    pub fn open(&self, _: &Reservation<'_>, node: Node) -> Result<OpenFile> {
        if let Some(writing) = &self.writing {
            writing.opens.open(node.attributes.ino)?;
        }
        Ok(OpenFile::new(node))
    }

    /// Closes a file that [`Mount::open`] has opened, once. One without names that nobody else has open is deleted; the caller is not
    /// inside.
    pub fn close(&self, open: &OpenFile, now: Timestamp) {
        self.close_ino(open.ino(), now);
    }

    /// As [`Mount::close`], by the number of an inode that is open: for those who keep no [`OpenFile`] between operations.
    pub fn close_ino(&self, ino: InodeNo, now: Timestamp) {
        let Some(writing) = &self.writing else { return };
        if writing.opens.close(ino) == Closed::Done {
            return;
        }
        let Ok(change) = self.change() else { return };
        if writing.opens.close_nameless(ino) {
            self.delete(change, ino, now);
        }
    }

    /// Sizes and free space.
    ///
    /// # Errors
    /// Those of [`FileSystem::stat_fs`].
    pub fn stat_fs(&self) -> Result<StatFs> {
        self.fs.stat_fs(&self.enter())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.write_dirty_pages();
        self.vfs.names.forget_mount(self.number);
        self.vfs.vnodes.forget_mount(self.number);
    }
}
