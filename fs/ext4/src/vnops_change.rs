//! [`Change`] for [`Ext4`]: one line per operation, to the module that does it; and a note of the inodes that it has changed (LC-2 of
//! `transaction::last_change`), whatever came of it.
//!
//! Who calls it: `vfs`, with the mount's lock held alone.

use crate::{Ext4, attributes, content, namespace, xattr};
use core::ops::Range;
use rumpcap_host::Result;
use rumpcap_vfs::{
    Allocate, Change, Commit, Committed, EntryName, InUse, InodeNo, NewFile, Node, Remove, Removed, Rename,
    Renamed, SetAttributes, SetXattr, Step, Store, SyncFile, Timestamp, Written,
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
        let made = namespace::create(self, r, at, new, now);
        self.names_changed([at.dir], made.iter());
        made
    }

    fn create_nameless(
        &self,
        r: &Reservation<'_>,
        dir: InodeNo,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        let made = namespace::create_nameless(self, r, dir, new, now);
        self.names_changed([], made.iter());
        made
    }

    fn link(&self, r: &Reservation<'_>, ino: InodeNo, at: EntryName<'_>, now: Timestamp) -> Result<Node> {
        let linked = namespace::link(self, r, ino, at, now);
        self.names_changed([at.dir, ino], None);
        linked
    }

    fn remove(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        what: Remove,
        in_use: &InUse<'_>,
        now: Timestamp,
    ) -> Result<Removed> {
        let removed = namespace::remove(self, r, at, what, in_use, now);
        self.names_changed([at.dir], removed.iter().map(|removed| &removed.node));
        removed
    }

    fn delete_step(&self, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<bool> {
        namespace::delete_step(self, r, ino, now)
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
        let renamed = namespace::rename(self, r, from, to, how, in_use, now);
        self.names_changed([from.dir, to.dir], renamed.iter().map(|renamed| &renamed.moved));
        let other = renamed.iter().flat_map(|renamed| &renamed.other);
        self.names_changed([], other.map(|other| &other.node));
        renamed
    }

    fn set_attributes(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        set: &SetAttributes,
        now: Timestamp,
    ) -> Result<Node> {
        let set = attributes::set(self, r, ino, set, now);
        self.note_changed(ino, SyncFile::All);
        set
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
        // Whether it has changed more than times, it notes itself.
        let written = content::write(self, r, ino, offset, data, now, store);
        self.note_changed(ino, SyncFile::All);
        written
    }

    fn set_size(&self, r: &Reservation<'_>, ino: InodeNo, size_bytes: u64, now: Timestamp) -> Result<Step> {
        let step = content::set_size(self, r, ino, size_bytes, now);
        self.note_changed(ino, SyncFile::Content);
        step
    }

    fn punch(&self, r: &Reservation<'_>, ino: InodeNo, range: Range<u64>, now: Timestamp) -> Result<Step> {
        let step = content::punch(self, r, ino, range, now);
        self.note_changed(ino, SyncFile::Content);
        step
    }

    fn allocate(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        range: Range<u64>,
        how: Allocate,
        now: Timestamp,
    ) -> Result<Step> {
        let step = content::allocate(self, r, ino, range, how, now);
        self.note_changed(ino, SyncFile::Content);
        step
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
        let set = xattr::set(self, r, ino, name, value, how, now);
        self.note_changed(ino, SyncFile::All);
        set
    }

    fn commit(&self, r: &Reservation<'_>, when: Commit, now: Timestamp) -> Result<()> {
        self.commit_now(r, when, now)
    }

    fn is_committed(&self, ino: InodeNo, what: SyncFile) -> Option<Committed> {
        self.is_file_committed(ino, what)
    }

    fn commit_file(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        what: SyncFile,
        now: Timestamp,
    ) -> Result<Committed> {
        self.commit_file_now(r, ino, what, now)
    }

    fn make_durable(&self, what: Committed, now: Timestamp) -> Result<()> {
        self.make_file_durable(what, now)
    }

    fn wants_background(&self) -> bool {
        self.wants_checkpoint()
    }

    fn background(&self, now: Timestamp) -> Result<bool> {
        self.checkpoint_some(now)
    }

    fn sync(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
        self.sync_now(r, now)
    }

    fn unmount(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
        self.end_writing(r, now)
    }
}

impl Ext4 {
    /// Names in the directories `dirs`, or of these inodes, were changed: who syncs one wants them to be there.
    fn names_changed<'n, const N: usize>(
        &self,
        dirs: [InodeNo; N],
        nodes: impl IntoIterator<Item = &'n Node>,
    ) {
        let nodes = nodes.into_iter().map(|node| node.attributes.ino);
        dirs.into_iter().chain(nodes).for_each(|ino| self.note_changed(ino, SyncFile::Content));
    }
}
