//! [`Entry`]: one entry of a listing; [`Reader`]: the entries of a directory, `.` and `..` included where wanted.

use super::Hidden;
use crate::session::{Session, Target};
use rumpcap::{FileKind, Metadata, Mount, ReadDir, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One entry of a listing.
pub struct Entry {
    /// The name as it is shown: of an argument, its whole path.
    pub name: Box<[u8]>,
    /// Inode number.
    pub ino: u64,
    /// The kind, as far as the directory says it.
    pub kind: FileKind,
    /// Attributes, once they have been fetched.
    pub metadata: Option<Box<Metadata>>,
    /// Whether it has an access control list.
    pub has_acl: bool,
}

impl Entry {
    /// An argument of the command line.
    pub fn of_argument(target: &Target, metadata: Metadata, with_acl: bool) -> Entry {
        Entry {
            name: target.path.as_os_str().as_bytes().into(),
            ino: metadata.ino(),
            kind: metadata.file_type().kind(),
            has_acl: with_acl && has_acl(&target.mount, metadata.ino()),
            metadata: Some(Box::new(metadata)),
        }
    }

    /// Reads the attributes.
    pub fn fetch(&mut self, mount: &Mount, with_acl: bool) -> Result<()> {
        let metadata = mount.metadata_ino(self.ino)?;
        self.kind = metadata.file_type().kind();
        self.has_acl = with_acl && has_acl(mount, self.ino);
        self.metadata = Some(Box::new(metadata));
        Ok(())
    }

    /// The path in the image, of an entry of `directory`.
    pub fn path_in(&self, directory: &Path) -> PathBuf {
        directory.join(OsStr::from_bytes(&self.name))
    }

    /// A directory?
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

/// A broken attribute block is told of by `xattr` and `cp`; the `+` of a listing is no place for it.
fn has_acl(mount: &Mount, ino: u64) -> bool {
    let is_acl = |name: &[u8]| matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    mount.xattrs_ino(ino).is_ok_and(|all| all.iter().any(|(name, _)| is_acl(name)))
}

/// The entries of a directory.
pub struct Reader {
    dots: std::vec::IntoIter<Entry>,
    entries: Option<ReadDir>,
    hidden: Hidden,
}

impl Reader {
    /// The entries of `here`; an error of opening it is named and counted.
    pub fn new(session: &mut Session, here: &Target, hidden: Hidden) -> Reader {
        let entries = here.mount.read_dir(&here.path).map_err(|e| session.fail(&here.path, &e)).ok();
        let mut dots = Vec::new();
        if hidden == Hidden::ShowWithDots && entries.is_some() {
            for name in [".", ".."] {
                match here.mount.symlink_metadata(here.path.join(name)) {
                    Ok(m) => dots.push(dot(name, &m)),
                    Err(e) => session.fail(&here.path.join(name), &e),
                }
            }
        }
        Reader { dots: dots.into_iter(), entries, hidden }
    }
}

fn dot(name: &str, metadata: &Metadata) -> Entry {
    let name = name.as_bytes().into();
    Entry { name, ino: metadata.ino(), kind: FileKind::Directory, metadata: None, has_acl: false }
}

impl Iterator for Reader {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if let Some(dot) = self.dots.next() {
            return Some(Ok(dot));
        }
        loop {
            let found = match self.entries.as_mut()?.next()? {
                Ok(found) => found,
                Err(e) => return Some(Err(e)),
            };
            let name = found.file_name().as_bytes();
            if self.hidden == Hidden::Skip && name.first() == Some(&b'.') {
                continue;
            }
            let entry =
                |kind| Entry { name: name.into(), ino: found.ino(), kind, metadata: None, has_acl: false };
            return Some(found.file_type().map(|t| entry(t.kind())));
        }
    }
}
