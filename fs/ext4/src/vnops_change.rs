//! [`Change`] for [`Ext4`]: one line per operation, to the module that does it.
//!
//! Who calls it: `vfs`, with the mount's lock held alone.

use crate::{Ext4, attributes, content, namespace, xattr};
use core::ops::Range;
use rumpcap_host::Result;
use rumpcap_vfs::{
    Allocate, Change, Commit, EntryName, InUse, InodeNo, NewFile, Node, Remove, Removed, Rename, Renamed,
    SetAttributes, SetXattr, Step, Store, Timestamp, Written,
};
use rumpcap_vm::{DirtyDevice, Reservation};

impl Change for Ext4 {
    fn dirty_device(&self) -> DirtyDevice {
        self.writer.as_ref().expect("`FileSystem::change` gives a file system that has a writer").dirty
    }

    fn block_bytes(&self) -> u64 {
        self.sb.block_size.into()
    }

    fn read_nameless(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Node> {
        self.inode_even_nameless(r, ino)
    }

    fn create(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        namespace::create(self, r, at, new, now)
    }

    fn create_nameless(
        &self,
        r: &Reservation<'_>,
        dir: InodeNo,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        namespace::create_nameless(self, r, dir, new, now)
    }

    fn link(&self, r: &Reservation<'_>, ino: InodeNo, at: EntryName<'_>, now: Timestamp) -> Result<Node> {
        namespace::link(self, r, ino, at, now)
    }

    fn remove(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        what: Remove,
        in_use: &InUse<'_>,
        now: Timestamp,
    ) -> Result<Removed> {
        namespace::remove(self, r, at, what, in_use, now)
    }

    fn delete(&self, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<()> {
        namespace::delete(self, r, ino, now)
    }

    fn rename(
        &self,
        r: &Reservation<'_>,
        from: EntryName<'_>,
        to: EntryName<'_>,
        how: Rename,
        in_use: &InUse<'_>,
        now: Timestamp,
    ) -> Result<Renamed> {
        namespace::rename(self, r, from, to, how, in_use, now)
    }

    fn set_attributes(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        set: &SetAttributes,
        now: Timestamp,
    ) -> Result<Node> {
        attributes::set(self, r, ino, set, now)
    }

    fn write(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
        now: Timestamp,
        store: &mut Store<'_>,
    ) -> Result<Written> {
        content::write(self, r, ino, offset, data, now, store)
    }

    fn set_size(&self, r: &Reservation<'_>, ino: InodeNo, size_bytes: u64, now: Timestamp) -> Result<Step> {
        content::set_size(self, r, ino, size_bytes, now)
    }

    fn punch(&self, r: &Reservation<'_>, ino: InodeNo, range: Range<u64>, now: Timestamp) -> Result<Step> {
        content::punch(self, r, ino, range, now)
    }

    fn allocate(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        range: Range<u64>,
        how: Allocate,
        now: Timestamp,
    ) -> Result<Step> {
        content::allocate(self, r, ino, range, how, now)
    }

    fn set_xattr(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        name: &[u8],
        value: Option<&[u8]>,
        how: SetXattr,
        now: Timestamp,
    ) -> Result<Node> {
        xattr::set(self, r, ino, name, value, how, now)
    }

    fn commit(&self, r: &Reservation<'_>, when: Commit, now: Timestamp) -> Result<()> {
        self.commit_now(r, when, now)
    }

    fn sync(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
        self.sync_now(r, now)
    }

    fn unmount(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
        self.end_writing(r, now)
    }
}
