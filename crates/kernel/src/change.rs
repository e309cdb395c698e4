//! Changes of a mount's tree and attributes, with the names of `std::fs`.
//!
//! Each works by path, and by directory and name (`*_at`): programs that have resolved a directory once, such as those that copy
//! trees, need not have it done for each file. The last component of a path is not followed where nothing else is said.

use crate::{File, Metadata, Mount};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{At, FileKind, InodeNo, NewFile, Remove, Rename, SetAttributes, SetXattr};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whose a new file is, and what its permission bits are.
///
/// ```
/// use rumpcap::Owner;
/// assert_eq!(Owner::default(), Owner { mode: 0o644, uid: 0, gid: 0 });
/// assert_eq!(Owner::with_mode(0o755).mode, 0o755);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits, 12 of them; no mask is applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Default for Owner {
    fn default() -> Owner {
        Owner::with_mode(0o644)
    }
}

impl Owner {
    /// The superuser's, with permission bits `mode`.
    pub const fn with_mode(mode: u32) -> Owner {
        Owner { mode, uid: 0, gid: 0 }
    }

    fn file(self, kind: FileKind) -> NewFile<'static> {
        NewFile { kind, mode: self.mode, uid: self.uid, gid: self.gid, rdev: (0, 0), target: b"" }
    }
}

/// `name` in directory `dir`.
fn named(dir: u64, name: &OsStr) -> Result<At<'_>> {
    let path = name.as_bytes();
    if path.is_empty() || path.contains(&b'/') || path.contains(&0) {
        return Err(Error::InvalidInput { what: "name" });
    }
    Ok(At { start: InodeNo(dir), path })
}

impl Mount {
    fn at<'a>(&self, path: &'a Path) -> At<'a> {
        At { start: self.vfs().fs().root(), path: path.as_os_str().as_bytes() }
    }

    /// Makes a regular file, which must not be there, and opens it.
    ///
    /// # Errors
    /// `ReadOnly`, `Exists`, `NotFound` and `NotADirectory` for what is before the last component, `NameTooLong`, `NoSpace`, `Corrupt`,
    /// `Checksum`, `Io`.
    ///
    /// ```no_run
    /// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
    /// use rumpcap::Owner;
    /// let file = mount.create("/etc/motd", &Owner::default())?;
    /// file.write_at(b"hello\n", 0)?;
    /// file.sync()?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, path: impl AsRef<Path>, owner: &Owner) -> Result<File> {
        self.create_file(self.at(path.as_ref()), owner)
    }

    /// As [`Mount::create`], in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::create`]; `InvalidInput` for a name with a slash.
    pub fn create_at(&self, dir: u64, name: &OsStr, owner: &Owner) -> Result<File> {
        self.create_file(named(dir, name)?, owner)
    }

    fn create_file(&self, at: At<'_>, owner: &Owner) -> Result<File> {
        Ok(File::new(self, self.vfs().create_open(at, &owner.file(FileKind::Regular), self.now())?))
    }

    /// Opens a file, following links; makes a regular one if it is not there.
    ///
    /// # Errors
    /// As [`Mount::create`] and [`Mount::open`].
    pub fn open_or_create(&self, path: impl AsRef<Path>, owner: &Owner) -> Result<File> {
        let (at, new) = (self.at(path.as_ref()), owner.file(FileKind::Regular));
        Ok(File::new(self, self.vfs().open_or_create(at, &new, self.now())?))
    }

    /// Makes a regular file without a name, in the file system of directory `dir`, and opens it: `O_TMPFILE`. It goes when it is closed,
    /// unless [`Mount::hard_link_at`] has given it a name.
    ///
    /// # Errors
    /// As [`Mount::create`].
    pub fn create_nameless(&self, dir: u64, owner: &Owner) -> Result<File> {
        let new = owner.file(FileKind::Regular);
        Ok(File::new(self, self.vfs().create_nameless(InodeNo(dir), &new, self.now())?))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Mount::create`]; `TooManyHardLinks`.
    pub fn create_dir(&self, path: impl AsRef<Path>, owner: &Owner) -> Result<Metadata> {
        self.make(self.at(path.as_ref()), &owner.file(FileKind::Directory))
    }

    /// As [`Mount::create_dir`], in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::create_dir`].
    pub fn create_dir_at(&self, dir: u64, name: &OsStr, owner: &Owner) -> Result<Metadata> {
        self.make(named(dir, name)?, &owner.file(FileKind::Directory))
    }

    /// Makes a pipe, a socket, a device with major and minor number `rdev`, or an empty regular file.
    ///
    /// # Errors
    /// As [`Mount::create`].
    pub fn create_node(
        &self,
        path: impl AsRef<Path>,
        kind: FileKind,
        rdev: (u32, u32),
        owner: &Owner,
    ) -> Result<Metadata> {
        self.make(self.at(path.as_ref()), &NewFile { rdev, ..owner.file(kind) })
    }

    /// As [`Mount::create_node`], in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::create`].
    pub fn create_node_at(
        &self,
        dir: u64,
        name: &OsStr,
        kind: FileKind,
        rdev: (u32, u32),
        owner: &Owner,
    ) -> Result<Metadata> {
        self.make(named(dir, name)?, &NewFile { rdev, ..owner.file(kind) })
    }

    /// Makes a symbolic link at `path` to `target`.
    ///
    /// # Errors
    /// As [`Mount::create`]; `InvalidInput`, `NameTooLong` for the target.
    pub fn symlink(
        &self,
        target: impl AsRef<Path>,
        path: impl AsRef<Path>,
        owner: &Owner,
    ) -> Result<Metadata> {
        self.make_link(target.as_ref(), self.at(path.as_ref()), owner)
    }

    /// As [`Mount::symlink`], in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::symlink`].
    pub fn symlink_at(
        &self,
        target: impl AsRef<Path>,
        dir: u64,
        name: &OsStr,
        owner: &Owner,
    ) -> Result<Metadata> {
        self.make_link(target.as_ref(), named(dir, name)?, owner)
    }

    fn make_link(&self, target: &Path, at: At<'_>, owner: &Owner) -> Result<Metadata> {
        let target = target.as_os_str().as_bytes();
        if target.is_empty() || target.contains(&0) {
            return Err(Error::InvalidInput { what: "target" });
        }
        self.make(at, &NewFile { mode: 0o777, target, ..owner.file(FileKind::Symlink) })
    }

    fn make(&self, at: At<'_>, new: &NewFile<'_>) -> Result<Metadata> {
        Ok(Metadata(self.vfs().create(at, new, self.now())?.attributes))
    }

    /// Gives the file at `existing` one more name, `new`.
    ///
    /// # Errors
    /// As [`Mount::create`]; `IsADirectory` for a directory; `TooManyHardLinks`.
    pub fn hard_link(&self, existing: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<Metadata> {
        let (existing, new) = (self.at(existing.as_ref()), self.at(new.as_ref()));
        Ok(Metadata(self.vfs().hard_link_path(existing, new, self.now())?.attributes))
    }

    /// Gives inode `ino` one more name in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::hard_link`].
    pub fn hard_link_at(&self, ino: u64, dir: u64, name: &OsStr) -> Result<Metadata> {
        Ok(Metadata(self.vfs().hard_link(InodeNo(ino), named(dir, name)?, self.now())?.attributes))
    }

    /// Removes a name of anything but a directory. A file that is open lives until it is closed.
    ///
    /// # Errors
    /// `ReadOnly`, `NotFound`, `IsADirectory`, `NotPermitted`, `Corrupt`, `Checksum`, `Io`.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        self.vfs().remove(self.at(path.as_ref()), Remove::File, self.now())
    }

    /// As [`Mount::remove_file`], in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::remove_file`].
    pub fn remove_file_at(&self, dir: u64, name: &OsStr) -> Result<()> {
        self.vfs().remove(named(dir, name)?, Remove::File, self.now())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`Mount::remove_file`]; `NotADirectory`, `NotEmpty`; `Busy` for the root.
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        self.vfs().remove(self.at(path.as_ref()), Remove::Directory, self.now())
    }

    /// As [`Mount::remove_dir`], in the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::remove_dir`].
    pub fn remove_dir_at(&self, dir: u64, name: &OsStr) -> Result<()> {
        self.vfs().remove(named(dir, name)?, Remove::Directory, self.now())
    }

    /// Renames.
    ///
    /// # Errors
    /// As [`Mount::remove_file`]; `Exists` with [`Rename::Refuse`]; `NotEmpty`, `IsADirectory`, `NotADirectory` for what the new name
    /// names; `InvalidInput` for a directory into itself; `Busy` for the root.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>, how: Rename) -> Result<()> {
        self.vfs().rename(self.at(from.as_ref()), self.at(to.as_ref()), how, self.now())
    }

    /// As [`Mount::rename`], with directories by inode number.
    ///
    /// # Errors
    /// As [`Mount::rename`].
    pub fn rename_at(&self, from_dir: u64, from: &OsStr, to_dir: u64, to: &OsStr, how: Rename) -> Result<()> {
        self.vfs().rename(named(from_dir, from)?, named(to_dir, to)?, how, self.now())
    }

    /// Sets attributes, of the link itself where the last component is a symbolic link.
    ///
    /// # Errors
    /// `ReadOnly`; as [`Mount::symlink_metadata`]; `InvalidInput` for flags that cannot be set.
    pub fn set_attributes(&self, path: impl AsRef<Path>, set: &SetAttributes) -> Result<Metadata> {
        self.set_attributes_ino(self.symlink_metadata(path)?.ino(), set)
    }

    /// Sets attributes of an inode.
    ///
    /// # Errors
    /// As [`Mount::set_attributes`].
    pub fn set_attributes_ino(&self, ino: u64, set: &SetAttributes) -> Result<Metadata> {
        Ok(Metadata(self.vfs().set_attributes(InodeNo(ino), set, self.now())?.attributes))
    }

    /// Sets an extended attribute of an inode, by its full name (`user.mime` ...).
    ///
    /// # Errors
    /// `ReadOnly`, `Exists`, `NoAttribute`, `Range`, `NoSpace`, `InvalidInput`, `Unsupported`.
    pub fn set_xattr_ino(&self, ino: u64, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.vfs().set_xattr(InodeNo(ino), name, Some(value), how, self.now()).map(drop)
    }

    /// Removes an extended attribute of an inode.
    ///
    /// # Errors
    /// As [`Mount::set_xattr_ino`].
    pub fn remove_xattr_ino(&self, ino: u64, name: &[u8]) -> Result<()> {
        self.vfs().set_xattr(InodeNo(ino), name, None, SetXattr::Replace, self.now()).map(drop)
    }

    /// Makes all changes and all content durable.
    ///
    /// # Errors
    /// `Io` for anything that could not be written since the last time; `ReadOnly` behind an error that stopped writing.
    pub fn sync(&self) -> Result<()> {
        self.vfs().sync(self.now())
    }
}
