//! Looking from a directory that is known by its inode number: for programs that copy or remove trees, which resolve no path for each file.

use crate::{Metadata, Mount, ReadDir};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Follow, InodeNo};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

impl Mount {
    /// Attributes of `name` in the directory with inode number `dir`; of the link itself where it is a symbolic link.
    ///
    /// # Errors
    /// As [`Mount::symlink_metadata`]; `InvalidInput` for a name with a slash.
    ///
    /// ```no_run
    /// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
    /// let etc = mount.metadata("/etc")?.ino();
    /// println!("{} bytes", mount.metadata_at(etc, "passwd".as_ref())?.len());
    /// # Ok(()) }
    /// ```
    pub fn metadata_at(&self, dir: u64, name: &OsStr) -> Result<Metadata> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.contains(&b'/') {
            return Err(Error::InvalidInput { what: "name" });
        }
        let r = self.vfs().enter();
        Ok(Metadata(self.vfs().resolve(&r, InodeNo(dir), bytes, Follow::No)?.attributes))
    }

    /// Lists the directory with inode number `dir`.
    ///
    /// # Errors
    /// As [`Mount::open_ino`]; `NotADirectory`.
    pub fn read_dir_ino(&self, dir: u64) -> Result<ReadDir> {
        let r = self.vfs().enter();
        let node = self.vfs().node(&r, InodeNo(dir))?;
        drop(r);
        ReadDir::new(self, node)
    }
}
