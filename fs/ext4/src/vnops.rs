//! [`FileSystem`] for [`Ext4`]: one line per operation, to the module that does it.
//!
//! Who calls it: `vfs`.

use crate::{Ext4, MAX_PINS, dir, inline_data, stat_fs, symlink, xattr};
use core::ops::Range;
use rumpcap_host::Result;
use rumpcap_vfs::{Change, DirCookie, DirSink, Extent, FileSystem, InodeNo, Node, StatFs, XattrSink};
use rumpcap_vm::{DeviceObject, PAGE_SIZE, Reservation};

/// The root directory.
const ROOT_INODE: InodeNo = InodeNo(2);

impl FileSystem for Ext4 {
    fn max_pins(&self) -> u32 {
        MAX_PINS
    }

    fn change(&self) -> Option<&dyn Change> {
        self.writer.as_ref().map(|_| self as &dyn Change)
    }

    fn read_only_reason(&self) -> Option<&'static str> {
        self.read_only_reason
    }

    fn device(&self) -> &DeviceObject {
        &self.device
    }

    fn inodes_per_page(&self) -> u32 {
        (PAGE_SIZE as u32 >> self.sb.inode_size.trailing_zeros()).max(1)
    }

    fn inodes(&self) -> u64 {
        self.sb.inodes_count.into()
    }

    fn inode_page(&self, ino: InodeNo) -> u64 {
        // Inode numbers begin at 1.
        ino.0.saturating_sub(1) / u64::from(self.inodes_per_page())
    }

    fn root(&self) -> InodeNo {
        ROOT_INODE
    }

    fn stat_fs(&self, r: &Reservation<'_>) -> Result<StatFs> {
        stat_fs::stat_fs(self, r)
    }

    fn read_node(&self, r: &Reservation<'_>, ino: InodeNo, ahead: u32) -> Result<Node> {
        self.inode(r, ino, ahead)
    }

    fn lookup(&self, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<InodeNo> {
        dir::lookup(self, r, dir, name)
    }

    fn read_dir(
        &self,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        sink: &mut DirSink<'_>,
    ) -> Result<()> {
        dir::read_dir(self, r, dir, from, 0..u64::MAX, sink)
    }

    fn read_dir_stable(
        &self,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        sink: &mut DirSink<'_>,
    ) -> Result<()> {
        dir::read_dir_stable(self, r, dir, from, sink)
    }

    fn read_dir_range(
        &self,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        inodes: Range<u64>,
        sink: &mut DirSink<'_>,
    ) -> Result<()> {
        dir::read_dir(self, r, dir, from, inodes, sink)
    }

    fn map(&self, r: &Reservation<'_>, node: &Node, offset: u64) -> Result<Extent> {
        self.extent_at(r, node, offset)
    }

    fn read_inline(&self, r: &Reservation<'_>, node: &Node, offset: u64, buf: &mut [u8]) -> Result<usize> {
        inline_data::read(self, r, node, offset, buf)
    }

    fn read_link(&self, r: &Reservation<'_>, node: &Node, buf: &mut [u8]) -> Result<usize> {
        symlink::read(self, r, node, buf)
    }

    fn list_xattr(&self, r: &Reservation<'_>, node: &Node, sink: &mut XattrSink<'_>) -> Result<()> {
        xattr::list(self, r, node, sink)
    }

    fn get_xattr(&self, r: &Reservation<'_>, node: &Node, name: &[u8], buf: &mut [u8]) -> Result<usize> {
        xattr::get(self, r, node, name, buf)
    }
}
