//! [`Change`]: what a file system implements to be written.
//!
//! Who calls it: `vfs`, with the mount's lock held alone (one writer at a time, and no reader beside it), so every method sees the
//! file system at rest. Whom an implementation calls: `vm` for pages of its device.
//!
//! Every method is atomic: it is done, or it returns an error and nothing has changed. Those that say so work in steps, each of which
//! is atomic and leaves a file system that is in order. Nodes are given by number and read anew, since a caller's copy may be old;
//! what a method changed comes back, to be remembered. Between steps the caller gives the lock back, so that others get in.
//!
//! Durability: what was changed survives a power cut when [`Change::sync`] has returned, in the order in which it was done. Content
//! that is dirty in pages is written ([`DirtyDevice`]) before what refers to it is committed.

use crate::file_system::FileSystem;
use crate::node::{FileKind, InodeNo, Node, Timestamp};
use core::ops::Range;
use rumpcap_host::Result;
use rumpcap_vm::{DirtyDevice, Reservation};

/// What a mount may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Read; the device is never written.
    #[default]
    Read,
    /// Change the file system.
    Write,
}

/// In which order content and what refers to it reach the device, as the mount option `data=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataMode {
    /// Content before the commit that refers to it: no power cut shows what was in the blocks before.
    #[default]
    Ordered,
    /// Content in its own time.
    Writeback,
    /// Content through the journal, as metadata.
    Journal,
}

/// An entry of a directory, by name.
#[derive(Clone, Copy, Debug)]
pub struct EntryName<'a> {
    /// The directory.
    pub dir: InodeNo,
    /// 1 to 255 bytes, any but `/` and NUL, not `.` or `..`.
    pub name: &'a [u8],
}

/// A file to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, 12 of them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group. A directory with the set-group-ID bit gives its own instead, and the bit to new directories.
    pub gid: u32,
    /// Major and minor number of a device file.
    pub rdev: (u32, u32),
    /// Target of a symbolic link: 1 to 4,095 bytes without NUL.
    pub target: &'a [u8],
}

/// Attributes to be set; `None` leaves one as it is. The time of change is set in any case.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttributes {
    /// Permission bits, 12 of them.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Time of last access.
    pub atime: Option<Timestamp>,
    /// Time of last change of content.
    pub mtime: Option<Timestamp>,
    /// Time of last change of the inode, where it is not to be now: for copies.
    pub ctime: Option<Timestamp>,
    /// Flags, as `FS_IOC_SETFLAGS` takes them: those that it cannot set are not touched.
    pub flags: Option<u32>,
    /// Project id.
    pub project: Option<u32>,
}

/// What may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remove {
    /// Anything but a directory: `unlink`.
    File,
    /// An empty directory: `rmdir`.
    Directory,
}

/// What a rename does where the new name is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// Replaces it.
    Replace,
    /// Refuses: `Exists`. `RENAME_NOREPLACE`.
    Refuse,
    /// Exchanges the two; both must be there. `RENAME_EXCHANGE`.
    Exchange,
    /// As `Replace`, and leaves a whiteout (character device 0, 0) under the old name. `RENAME_WHITEOUT`.
    Whiteout,
}

/// Which attribute may be there before one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Either.
    Any,
    /// None: else `Exists`. `XATTR_CREATE`.
    Create,
    /// One: else `NoAttribute`. `XATTR_REPLACE`.
    Replace,
}

/// How a range of a file is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// The file becomes longer if the range does: `fallocate` without a mode.
    Extend,
    /// Its length stays: `FALLOC_FL_KEEP_SIZE`.
    KeepSize,
}

/// What became of an inode that lost a name.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    /// The inode, as it is now or was at its end.
    pub node: Node,
    /// It has no names left. If it is in use it is an orphan until it is deleted.
    pub is_nameless: bool,
    /// It is not in use, and more than one step deletes it: the caller goes on with [`Change::delete_step`].
    pub is_left: bool,
}

/// What a rename changed.
#[derive(Clone, Copy, Debug)]
pub struct Renamed {
    /// The inode that was renamed.
    pub moved: Node,
    /// That which had the new name, if there was one: removed, or exchanged.
    pub other: Option<Removed>,
    /// The directories, old and new, as they are now.
    pub dirs: [Node; 2],
}

/// A place of the device that content goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Byte of the device that the first byte of the data goes to.
    pub offset: u64,
    /// Bytes of the data that go there, in a row: what [`Written::len_bytes`] will say.
    pub len_bytes: usize,
    /// The blocks that these bytes are in hold nothing of this file yet: what of them is not written now is to be zeros. All of them or
    /// none: where that changes, the run ends.
    pub is_new: bool,
}

/// Stores content where it is placed. It is the last step of a change that can fail.
pub type Store<'a> = dyn FnMut(Placed) -> Result<()> + 'a;

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Bytes that were written, at least 1; the caller goes on behind them.
    pub len_bytes: usize,
    /// The inode now.
    pub node: Node,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The inode now.
    pub node: Node,
    /// Whether no step is left.
    pub is_done: bool,
}

/// Whether an inode is in use by an open file, so that it outlives its last name.
pub type InUse<'a> = dyn Fn(InodeNo) -> bool + 'a;

/// A file system that can be written.
///
/// Errors that any method gives: `ReadOnly` behind an error that stopped writing; `NoSpace`; `Corrupt`, `Checksum`, `Io`; `NotPermitted` for
/// inodes that are immutable or append only; `NotFound` for an inode that is not there.
pub trait Change: FileSystem {
    /// What pages of this file system's files are dirty for.
    fn dirty_device(&self) -> DirtyDevice;

    /// Bytes of a block: 1, 2 or 4 KiB.
    fn block_bytes(&self) -> u64;

    /// An inode, even if it has no names left: for those who have it open.
    ///
    /// # Errors
    /// As [`FileSystem::read_node`].
    fn read_nameless(&self, r: &Reservation<'_>, ino: InodeNo) -> Result<Node> {
        self.read_node(r, ino, 0)
    }

    /// Makes a file. `now` is its times' value.
    ///
    /// # Errors
    /// `Exists`, `NotADirectory`, `NameTooLong`, `TooManyHardLinks` for a directory in one that is full of them; `InvalidInput`.
    fn create(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node>;

    /// Makes a file without a name, an orphan until it gets one by [`Change::link`] or is deleted: `O_TMPFILE`.
    ///
    /// # Errors
    /// As [`Change::create`].
    fn create_nameless(
        &self,
        r: &Reservation<'_>,
        dir: InodeNo,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node>;

    /// Gives inode `ino` one more name.
    ///
    /// # Errors
    /// `Exists`, `NotADirectory`, `IsADirectory` for a directory, `TooManyHardLinks`, `NameTooLong`.
    fn link(&self, r: &Reservation<'_>, ino: InodeNo, at: EntryName<'_>, now: Timestamp) -> Result<Node>;

    /// Removes a name. The inode that has no other is deleted if one step does it, unless it is in use; else it is an orphan.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `NotADirectory`, `NotEmpty`.
    fn remove(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        what: Remove,
        in_use: &InUse<'_>,
        now: Timestamp,
    ) -> Result<Removed>;

    /// Does a step of deleting an inode that has no names and is in use no more; gives whether it was the last. What a power cut leaves is
    /// finished at the next mount.
    ///
    /// # Errors
    /// `Busy` when it has names.
    fn delete_step(&self, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<bool>;

    /// Does all steps of deleting an inode.
    ///
    /// # Errors
    /// As [`Change::delete_step`].
    fn delete(&self, r: &Reservation<'_>, ino: InodeNo, now: Timestamp) -> Result<()> {
        while !self.delete_step(r, ino, now)? {}
        Ok(())
    }

    /// Renames.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `NotEmpty`, `IsADirectory`, `NotADirectory`, `TooManyHardLinks`, `NameTooLong`; `InvalidInput` for a directory
    /// into one below itself.
    fn rename(
        &self,
        r: &Reservation<'_>,
        from: EntryName<'_>,
        to: EntryName<'_>,
        how: Rename,
        in_use: &InUse<'_>,
        now: Timestamp,
    ) -> Result<Renamed>;

    /// Sets attributes.
    ///
    /// # Errors
    /// `InvalidInput` for flags that cannot be set on this inode.
    fn set_attributes(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        set: &SetAttributes,
        now: Timestamp,
    ) -> Result<Node>;

    /// Writes a beginning of `data` at byte `offset` of a regular file, which becomes longer if need be: allocates, and has `store`
    /// put the content where it is placed, at most once. A file in its inode is written there, or grows out of it (and the bytes that
    /// were there are stored by the file system itself).
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`, `FileTooLarge`; what `store` gives.
    fn write(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
        now: Timestamp,
        store: &mut Store<'_>,
    ) -> Result<Written>;

    /// Sets the length of a regular file, in steps: the length is right after the first; blocks behind it are freed until it is done. A
    /// power cut between is finished at the next mount. The caller has zeroed what of the last block is behind the new end, and
    /// forgotten the pages behind it.
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`, `FileTooLarge`.
    fn set_size(&self, r: &Reservation<'_>, ino: InodeNo, size_bytes: u64, now: Timestamp) -> Result<Step>;

    /// Frees the blocks that lie wholly in `range` of a regular file, in steps; its length stays. The caller zeroes what is left at both
    /// ends, and has forgotten the pages between.
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`; `Unsupported`.
    fn punch(&self, r: &Reservation<'_>, ino: InodeNo, range: Range<u64>, now: Timestamp) -> Result<Step>;

    /// Allocates what is not yet allocated of `range`, as space that reads as zeros, in steps.
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`, `FileTooLarge`; `Unsupported` where the file's map has no such space.
    fn allocate(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        range: Range<u64>,
        how: Allocate,
        now: Timestamp,
    ) -> Result<Step>;

    /// Sets extended attribute `name`, or removes it if `value` is `None`.
    ///
    /// # Errors
    /// `Exists`, `NoAttribute`, `Range`, `NoSpace`; `InvalidInput` for a name or a value (of an access control list) that is none;
    /// `Unsupported` for a namespace that cannot be stored.
    fn set_xattr(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        name: &[u8],
        value: Option<&[u8]>,
        how: SetXattr,
        now: Timestamp,
    ) -> Result<Node>;

    /// Commits what was changed if it is old enough (by the file system's interval) or the caller wants it at once; writes dirty content
    /// first. Does not flush.
    ///
    /// # Errors
    /// The error that stops writing.
    fn commit(&self, r: &Reservation<'_>, when: Commit, now: Timestamp) -> Result<()>;

    /// Whether nothing has to be committed to make a file durable: then what is to be given to [`Change::make_durable`]. For an answer
    /// at once: the mount's lock is not held. It may give `None` without need.
    fn is_committed(&self, ino: InodeNo, what: SyncFile) -> Option<Committed>;

    /// Commits what was changed if `what` of a file needs it; its own content was written before. Does not flush.
    ///
    /// # Errors
    /// The error that stops writing.
    fn commit_file(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        what: SyncFile,
        now: Timestamp,
    ) -> Result<Committed>;

    /// Makes durable what was committed, and all content that was written before the call. The mount's lock is not held, so others go on
    /// meanwhile.
    ///
    /// # Errors
    /// The error that stops writing; `Io`.
    fn make_durable(&self, what: Committed, now: Timestamp) -> Result<()>;

    /// Whether there is something to be done that nobody waits for yet. For an answer at once.
    fn wants_background(&self) -> bool {
        false
    }

    /// Does a portion of it; gives whether there is more. The mount's lock is not held: others go on meanwhile.
    ///
    /// # Errors
    /// The error that stops writing.
    fn background(&self, now: Timestamp) -> Result<bool> {
        let _ = now;
        Ok(false)
    }

    /// Makes all changes and all content durable.
    ///
    /// # Errors
    /// The error that stops writing, or the first of a write of content that nobody was told of yet.
    fn sync(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()>;

    /// Syncs, and leaves the file system as one that was unmounted in order. Nothing can be changed after.
    ///
    /// # Errors
    /// As [`Change::sync`]; the file system then needs recovery.
    fn unmount(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()>;
}

/// How much of a file is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFile {
    /// Its content, its attributes and its names: `fsync`.
    All,
    /// Its content, and what it takes to read that: `fdatasync`.
    Content,
}

/// What has to become durable before a file is: of the file system that gave it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Committed {
    /// The newest transaction that counts, 0 for none.
    pub number: u64,
    /// Where that went.
    pub place: Option<u32>,
}

/// When to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// If it is due.
    IfDue,
    /// Now.
    Now,
}
