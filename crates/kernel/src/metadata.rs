//! [`Metadata`]: what is known of a file, under the names of `std::fs`.

use rumpcap_vfs::{Attributes, FileKind, Timestamp};

/// The type of a file.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
/// use rumpcap::FileKind;
/// match mount.symlink_metadata("/dev/console")?.file_type().kind() {
///     FileKind::CharDevice => println!("a device"),
///     kind => println!("{kind:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileType(pub(crate) FileKind);

impl FileType {
    /// The kind, for a `match`.
    pub fn kind(self) -> FileKind {
        self.0
    }
    /// A directory?
    pub fn is_dir(self) -> bool {
        self.0 == FileKind::Directory
    }
    /// A regular file?
    pub fn is_file(self) -> bool {
        self.0 == FileKind::Regular
    }
    /// A symbolic link?
    pub fn is_symlink(self) -> bool {
        self.0 == FileKind::Symlink
    }
}

/// What is known of a file.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
/// let metadata = mount.symlink_metadata("/etc/passwd")?;
/// println!("{:o} {}:{} {} bytes", metadata.mode(), metadata.uid(), metadata.gid(), metadata.len());
/// println!("changed at {} s, {} hard links", metadata.modified().seconds, metadata.nlink());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata(pub(crate) Attributes);

impl Metadata {
    /// The type.
    pub fn file_type(&self) -> FileType {
        FileType(self.0.kind())
    }
    /// A directory?
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }
    /// A regular file?
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }
    /// A symbolic link?
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }
    /// Length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.0.size_bytes
    }
    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.0.ino.0
    }
    /// Generation of the inode number.
    pub fn generation(&self) -> u32 {
        self.0.generation
    }
    /// Type and permission bits (`st_mode`).
    pub fn mode(&self) -> u32 {
        self.0.mode
    }
    /// Hard links.
    pub fn nlink(&self) -> u32 {
        self.0.nlink
    }
    /// Owner.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }
    /// Group.
    pub fn gid(&self) -> u32 {
        self.0.gid
    }
    /// Major and minor number of a device file.
    pub fn rdev(&self) -> (u32, u32) {
        self.0.rdev
    }
    /// Space taken, in units of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.0.blocks_512
    }
    /// Inode flags, as `lsattr` shows them.
    pub fn flags(&self) -> u32 {
        self.0.flags
    }
    /// Project id.
    pub fn project(&self) -> u32 {
        self.0.project
    }
    /// Last access.
    pub fn accessed(&self) -> Timestamp {
        self.0.atime
    }
    /// Last change of the content.
    pub fn modified(&self) -> Timestamp {
        self.0.mtime
    }
    /// Last change of the inode.
    pub fn changed(&self) -> Timestamp {
        self.0.ctime
    }
    /// Creation, where the file system keeps it.
    pub fn created(&self) -> Option<Timestamp> {
        self.0.crtime
    }
}
