//! Files of the host by their paths, with their extended attributes; every error names its path.
//!
//! Who calls it: `populate`.

use crate::commands::mkfs::failed;
use crate::outcome::{Run, plain};
use rumpcap_ext4::mkfs::Xattr;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

/// The longest list of names, and the longest value, that Linux gives.
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Buffers for the attributes of a file.
#[derive(Default)]
pub(super) struct XattrBuffer {
    names: Vec<u8>,
    values: Vec<u8>,
}

impl XattrBuffer {
    /// The extended attributes of the file itself at `path`.
    pub(super) fn read(&mut self, path: &Path) -> Run<Vec<Xattr<'_>>> {
        self.names.resize(XATTR_BYTES_MAX, 0);
        let len = match rustix::fs::llistxattr(path, &mut self.names[..]) {
            Ok(len) => len,
            Err(Errno::OPNOTSUPP) => 0,
            Err(e) => return Err(at(path, e)),
        };
        if len == 0 {
            return Ok(Vec::new());
        }
        self.values.clear();
        let mut places = Vec::new();
        for name in self.names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let start = self.values.len();
            self.values.resize(start + XATTR_BYTES_MAX, 0);
            let len =
                rustix::fs::lgetxattr(path, name, &mut self.values[start..]).map_err(|e| at(path, e))?;
            self.values.truncate(start + len);
            places.push((name, start, len));
        }
        let values = &self.values;
        let mut all: Vec<_> = places
            .into_iter()
            .map(|(name, start, len)| Xattr { name, value: &values[start..start + len] })
            .collect();
        if let Some(other) = all.iter().find(|xattr| !xattr.is_storable()) {
            let name = other.name.escape_ascii();
            return Err(failed(
                path,
                &format!("extended attribute {name}: the file system has no place for it"),
            ));
        }
        all.sort_unstable_by_key(|xattr| xattr.name);
        Ok(all)
    }
}

/// The host's word on `path`.
pub(super) fn at(path: &Path, errno: Errno) -> crate::outcome::Stop {
    failed(path, &plain(&errno.into()))
}

/// What `path` is, itself.
pub(super) fn lstat(path: &Path) -> Run<Stat> {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| at(path, e))
}

/// Opens a file for reading, without changing its time of access where the host lets us.
pub(super) fn open(path: &Path) -> Run<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        opened => opened,
    };
    opened.map(File::from).map_err(|e| at(path, e))
}
