//! [`Mount`]: one mounted file system. Every operation on it begins here, at the gate.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: the file system, the caches.
//!
//! Reservation (F1): a file system's own pins and two pages more: one of data, one that the layers between may hold.

use crate::file_system::{FileSystem, StatFs};
use crate::node::{InodeNo, Node};
use crate::vfs::Vfs;
use rumpcap_host::Result;
use rumpcap_host::sync::Arc;
use rumpcap_vm::Reservation;

/// Pages that an operation pins besides its file system's: the page of data that is copied, and one to spare.
const DATA_PINS: u32 = 2;

/// One mounted file system; dropped, it is unmounted.
pub struct Mount {
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) fs: std::sync::Arc<dyn FileSystem>,
    pub(crate) number: u32,
    frames: u32,
}

impl Mount {
    /// Mounts `fs`.
    pub fn new(vfs: Arc<Vfs>, fs: std::sync::Arc<dyn FileSystem>) -> Mount {
        let (number, frames) = (vfs.mount_number(), fs.max_pins() + DATA_PINS);
        Mount { vfs, fs, number, frames }
    }

    /// Enters the gate for one operation. Waits, first come first served; the caller holds no page and no reservation.
    pub fn enter(&self) -> Reservation<'_> {
        self.vfs.vm.reserve(self.frames)
    }

    /// The file system.
    pub fn fs(&self) -> &dyn FileSystem {
        &*self.fs
    }

    /// The virtual file system that it is mounted in.
    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// The node of an inode, from the vnode table or the file system.
    ///
    /// # Errors
    /// Those of [`FileSystem::read_node`].
    pub fn node(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Node> {
        if let Some(node) = self.vfs.vnodes.node(self.number, ino) {
            return Ok(node);
        }
        let node = self.fs.read_node(r, ino, 0)?;
        self.vfs.vnodes.remember(self.number, &node);
        Ok(node)
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
        self.vfs.names.forget_mount(self.number);
        self.vfs.vnodes.forget_mount(self.number);
    }
}
