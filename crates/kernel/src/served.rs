//! [`NodeId`]: an inode as servers name it to their clients, and what a server does with one.
//!
//! Who calls it: servers of protocols whose clients keep names of inodes for long (FUSE's node ids, NFS's file handles). A number
//! alone would name another file once the first was removed, so it goes with the generation of the inode, which changes
//! whenever the number is given again. A server keeps no object for what its clients have looked up: the name is all.
//!
//! A file that a client has open is in use ([`File::keep`]) until the client closes it ([`Mount::release`]): the kernel counts that in its
//! own memory, under its limit.
//!
//! SE-1. While a [`File`] of an inode is open, or is kept, its number is not given to another. So an operation on a directory or a file that
//! is named by its number alone (`*_at`, `*_ino`) is on the right one as long as the caller has a `File` from [`Mount::open_id`]. On a mount
//! that is only read this is so without.

use crate::{File, Metadata, Mount};
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{DirCookie, FileKind, InodeNo, Node, OpenFile};

/// An inode: its number, and which of those that had the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// Inode number. At most 32 bits in ext2, ext3 and ext4.
    pub ino: u64,
    /// Generation of the number.
    pub generation: u32,
}

/// An entry of a directory, with its name lent.
#[derive(Clone, Copy, Debug)]
pub struct ServedEntry<'a> {
    /// The name, `.` and `..` included.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// The kind, `Unknown` where the directory does not say it.
    pub kind: FileKind,
    /// Where the listing goes on behind this entry; never 0, and of 63 bits.
    pub next: u64,
}

impl Metadata {
    /// The inode, as servers name it.
    pub fn id(&self) -> NodeId {
        NodeId { ino: self.ino(), generation: self.generation() }
    }
}

impl File {
    /// Leaves the file in use without this handle, until [`Mount::release`].
    pub fn keep(mut self) -> NodeId {
        self.is_kept = true;
        let attributes = &self.node().attributes;
        NodeId { ino: attributes.ino.0, generation: attributes.generation }
    }
}

impl Mount {
    /// The root directory.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub fn root_id(&self) -> Result<NodeId> {
        Ok(self.metadata_ino(self.vfs().fs().root().0)?.id())
    }

    /// The node of an inode, if the number is still its.
    fn served(&self, r: &rumpcap_vm::Reservation<'_>, id: NodeId) -> Result<Node> {
        match self.vfs().node(r, InodeNo(id.ino)) {
            Ok(node) if node.attributes.generation == id.generation => Ok(node),
            Ok(_) | Err(Error::NotFound) => Err(Error::Stale),
            Err(error) => Err(error),
        }
    }

    /// Attributes.
    ///
    /// # Errors
    /// `Stale` for an inode that is gone; `Corrupt`, `Checksum`, `Io`.
    pub fn metadata_id(&self, id: NodeId) -> Result<Metadata> {
        let r = self.vfs().enter();
        Ok(Metadata(self.served(&r, id)?.attributes))
    }

    /// Opens: from now on it is in use (SE-1).
    ///
    /// # Errors
    /// As [`Mount::metadata_id`]; `NoMemory` with too many files in use, on a mount that can be written.
    pub fn open_id(&self, id: NodeId) -> Result<File> {
        let r = self.vfs().enter();
        let node = self.served(&r, id)?;
        let open = self.vfs().open(&r, node)?;
        drop(r);
        let file = File::new(self, open);
        // It may have gone, and its number been given again, before it was in use.
        if self.is_writable() {
            self.metadata_id(id)?;
        }
        Ok(file)
    }

    /// A handle of an inode that is in use already ([`File::keep`]), which counts as none: for one operation of a server, that keeps nothing
    /// of its clients' handles. Whoever asks has not released it yet (SE-1).
    ///
    /// # Errors
    /// As [`Mount::metadata_id`].
    pub fn kept(&self, id: NodeId) -> Result<File> {
        let r = self.vfs().enter();
        let node = self.served(&r, id)?;
        drop(r);
        let mut file = File::new(self, OpenFile::new(node));
        file.is_kept = true;
        Ok(file)
    }

    /// One use less of a file that was kept ([`File::keep`]). One without names that nobody uses any more is deleted; may block for I/O.
    pub fn release(&self, id: NodeId) {
        self.vfs().close_ino(InodeNo(id.ino), self.now());
    }

    /// Hands the entries of a directory from `from` on (0 is the start) to `sink`, until it breaks or the directory ends. `sink` must not
    /// call the kernel. An entry that is there all the time is given once, however long `from` was kept and whatever came and went
    /// since; it has 63 bits and outlives a restart.
    ///
    /// # Errors
    /// As [`Mount::metadata_id`]; `NotADirectory`; `Encrypted`. Entries before a broken block have been handed over.
    pub fn read_dir_id(
        &self,
        id: NodeId,
        from: u64,
        sink: &mut dyn FnMut(ServedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let r = self.vfs().enter();
        let dir = self.served(&r, id)?;
        if dir.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        self.vfs().fs().read_dir_stable(&r, &dir, DirCookie(from), &mut |entry| {
            sink(ServedEntry { name: entry.name, ino: entry.ino.0, kind: entry.kind, next: entry.next.0 })
        })
    }

    /// Copies the target of a symbolic link, at most 4,095 bytes; gives its length.
    ///
    /// # Errors
    /// As [`Mount::metadata_id`]; `WrongType` when it is none; `Range` when `target` is too short; `Encrypted`.
    pub fn read_link_id(&self, id: NodeId, target: &mut [u8]) -> Result<usize> {
        let r = self.vfs().enter();
        let link = self.served(&r, id)?;
        self.vfs().fs().read_link(&r, &link, target)
    }

    /// Copies the value of an extended attribute; gives its length. With an empty `value` only the length.
    ///
    /// # Errors
    /// As [`Mount::metadata_id`]; `NoAttribute`; `Range` when `value` is not empty and too short.
    pub fn xattr_id(&self, id: NodeId, name: &[u8], value: &mut [u8]) -> Result<usize> {
        let r = self.vfs().enter();
        let node = self.served(&r, id)?;
        self.vfs().fs().get_xattr(&r, &node, name, value)
    }

    /// Hands the full names of the extended attributes, with the lengths of their values, to `sink`, until it breaks. `sink` must not call
    /// the kernel.
    ///
    /// # Errors
    /// As [`Mount::metadata_id`].
    pub fn list_xattr_id(
        &self,
        id: NodeId,
        sink: &mut dyn FnMut(&[u8], u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let r = self.vfs().enter();
        let node = self.served(&r, id)?;
        self.vfs().fs().list_xattr(&r, &node, sink)
    }
}
