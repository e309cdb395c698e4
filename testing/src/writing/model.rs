//! [`Model`]: a file system in memory, as simple as can be.
//!
//! Who calls it: [`crate::writing::Run`]; the rules of the operations are in `apply`. A copy shares all that is not changed, so that a state can be
//! kept for each operation.

use super::operation::Handle;
use crate::writing::Sparse;
use rumpcap::{FileKind, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files that can be held open at once.
pub const SLOTS: usize = 4;

/// Number of an inode in the model; never used twice.
pub type InodeId = u32;

/// The root's.
pub const ROOT: InodeId = 0;

/// What an inode is.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    File(Sparse),
    Directory { entries: BTreeMap<String, InodeId>, parent: InodeId },
    Symlink(String),
    Special(FileKind, (u32, u32)),
}

/// An inode. `None` where a time is not foretold.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Inode {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub atime: Option<Timestamp>,
    pub mtime: Option<Timestamp>,
    pub ctime: Option<Timestamp>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Of `permitted::KNOWN`.
    pub flags: u32,
    /// It has no name yet, and may get one.
    pub is_linkable: bool,
}

impl Inode {
    /// Of these kind, mode, owner and links, made at `time`; nothing else is known of it.
    pub fn new(kind: Kind, mode: u32, (uid, gid): (u32, u32), nlink: u32, time: Option<Timestamp>) -> Inode {
        let (atime, mtime, ctime) = (time, time, time);
        let (xattrs, flags, is_linkable) = (BTreeMap::new(), 0, false);
        Inode { kind, mode, uid, gid, nlink, atime, mtime, ctime, xattrs, flags, is_linkable }
    }

    /// A directory?
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }

    /// The bits of the type in `st_mode`.
    pub fn type_bits(&self) -> u32 {
        match &self.kind {
            Kind::File(_) => 0o100_000,
            Kind::Directory { .. } => 0o040_000,
            Kind::Symlink(_) => 0o120_000,
            Kind::Special(FileKind::CharDevice, _) => 0o020_000,
            Kind::Special(FileKind::BlockDevice, _) => 0o060_000,
            Kind::Special(FileKind::Fifo, _) => 0o010_000,
            Kind::Special(..) => 0o140_000,
        }
    }

    /// The content of a regular file.
    pub fn content(&self) -> Option<&Sparse> {
        match &self.kind {
            Kind::File(content) => Some(content),
            _ => None,
        }
    }
}

/// The file system.
#[derive(Clone)]
pub struct Model {
    inodes: BTreeMap<InodeId, Arc<Inode>>,
    next: InodeId,
    pub(super) slots: [Option<InodeId>; SLOTS],
    /// The time of every change, where it is known; a remount sets it one second on.
    pub(super) now: Option<Timestamp>,
}

impl Model {
    /// What mke2fs makes. Changes happen at `now`, if that is known.
    pub fn new(now: Option<Timestamp>) -> Model {
        let mut model = Model { inodes: BTreeMap::new(), next: 0, slots: [None; SLOTS], now };
        for mode in [0o755, 0o700] {
            let kind = Kind::Directory { entries: BTreeMap::new(), parent: ROOT };
            model.add(Inode::new(kind, mode, (0, 0), 2, None));
        }
        if let Kind::Directory { entries, .. } = &mut model.get_mut(ROOT).kind {
            entries.insert("lost+found".to_owned(), 1);
        }
        model.get_mut(ROOT).nlink = 3;
        model
    }

    /// An empty directory, made with `mode`, as the root of what is in it.
    pub fn directory(now: Option<Timestamp>, mode: u32) -> Model {
        let mut model = Model { inodes: BTreeMap::new(), next: 0, slots: [None; SLOTS], now };
        let kind = Kind::Directory { entries: BTreeMap::new(), parent: ROOT };
        model.add(Inode::new(kind, mode, (0, 0), 2, now));
        model
    }

    /// An inode.
    ///
    /// # Panics
    /// When there is none of that number.
    pub fn get(&self, id: InodeId) -> &Inode {
        &self.inodes[&id]
    }

    /// An inode, if it is there.
    pub fn find(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(&id).map(|inode| &**inode)
    }

    pub(super) fn get_mut(&mut self, id: InodeId) -> &mut Inode {
        Arc::make_mut(self.inodes.get_mut(&id).expect("an inode of the model"))
    }

    pub(super) fn add(&mut self, inode: Inode) -> InodeId {
        let id = self.next;
        self.next += 1;
        self.inodes.insert(id, Arc::new(inode));
        id
    }

    /// Forgets an inode without names that is not open.
    pub(super) fn forget_if_unused(&mut self, id: InodeId) {
        if self.get(id).nlink == 0 && !self.slots.contains(&Some(id)) {
            self.inodes.remove(&id);
        }
    }

    /// The inodes.
    pub fn inodes(&self) -> impl Iterator<Item = (InodeId, &Inode)> {
        self.inodes.iter().map(|(id, inode)| (*id, &**inode))
    }

    /// The length of a regular file.
    pub fn len_of(&self, file: &Handle) -> Option<u64> {
        Some(self.find(self.resolve(file)?)?.content()?.len())
    }

    /// The inode of a file.
    pub fn resolve(&self, file: &Handle) -> Option<InodeId> {
        match file {
            Handle::Slot(slot) => self.slots[*slot],
            Handle::Path(path) => self.place(path)?.1,
        }
    }

    /// Pages of content in all files.
    pub fn pages(&self) -> usize {
        self.inodes.values().filter_map(|inode| inode.content()).map(Sparse::pages).sum()
    }

    /// What is open.
    pub fn slots(&self) -> &[Option<InodeId>; SLOTS] {
        &self.slots
    }

    /// Every path with its inode, directories before what is in them; the root's is empty.
    pub fn paths(&self) -> Vec<(String, InodeId)> {
        let mut paths = vec![(String::new(), ROOT)];
        let mut at = 0;
        while let Some((path, id)) = paths.get(at).cloned() {
            if let Kind::Directory { entries, .. } = &self.get(id).kind {
                paths.extend(entries.iter().map(|(name, child)| (format!("{path}/{name}"), *child)));
            }
            at += 1;
        }
        paths
    }
}
