//! [`TargetDir`]: a directory of the host that is written into and never out of.
//!
//! Who calls it: `cp`. Whom it calls: the host, by `*at` calls only.
//!
//! T-1. A directory below the target is opened by `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, or, where the host
//!      has no `openat2`, component by component with `O_NOFOLLOW`. So a symbolic link in the tree, planted by the image or there before, is
//!      never written through.
//! T-2. Everything is made under one safe name ([`safe_name`]) in such a directory: never `..`, never with a `/`.
//! T-3. A file is always made anew (`O_EXCL`): what had the name is unlinked, not written into; so neither a symbolic nor a hard
//!      link leads the content elsewhere.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::path::Path;

/// What already has the name of something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Is replaced, if it is no directory.
    Replace,
    /// Stays; the new one is not made.
    Keep,
}

/// Why something could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host's word.
    Host(Errno),
    /// Something is there and is to stay.
    Exists,
    /// A directory is there, and a file was to take its place.
    IsDirectory,
    /// No directory is there, and one was to be used.
    NotDirectory,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Host(errno) => f.write_str(&crate::outcome::plain(&(*errno).into())),
            Refusal::Exists => f.write_str("exists already in the target; kept"),
            Refusal::IsDirectory => f.write_str("cannot take the place of a directory in the target"),
            Refusal::NotDirectory => {
                f.write_str("a file or link has its place in the target: not a directory")
            }
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal::Host(errno)
    }
}

/// `name`, if it can be the name of something in a directory.
///
/// # Errors
/// A message for the user.
pub fn safe_name(name: &[u8]) -> Result<&[u8], &'static str> {
    match name {
        b"" | b"." | b".." => Err("unsafe name in the image; not copied"),
        _ if name.contains(&b'/') || name.contains(&0) => Err("unsafe name in the image; not copied"),
        _ => Ok(name),
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory of the host that is written into.
pub struct TargetDir {
    root: OwnedFd,
}

impl TargetDir {
    /// Opens the directory that the user named: links in that name are the user's own and are followed.
    pub fn open(path: &Path) -> Result<TargetDir, Errno> {
        Ok(TargetDir { root: rustix::fs::open(path, DIRECTORY, Mode::empty())? })
    }

    /// Opens the directory `relative` below the target (`""` is the target itself). T-1.
    pub fn directory(&self, relative: &[u8]) -> Result<OwnedFd, Refusal> {
        if relative.is_empty() {
            return Ok(rustix::fs::openat(&self.root, ".", DIRECTORY, Mode::empty())?);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, relative, DIRECTORY, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => self.directory_step_by_step(relative),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Err(Refusal::NotDirectory),
            other => Ok(other?),
        }
    }

    fn directory_step_by_step(&self, relative: &[u8]) -> Result<OwnedFd, Refusal> {
        let mut at = rustix::fs::openat(&self.root, ".", DIRECTORY, Mode::empty())?;
        for name in relative.split(|b| *b == b'/') {
            let name = safe_name(name).map_err(|_| Refusal::NotDirectory)?;
            at = open_directory(at.as_fd(), name)?;
        }
        Ok(at)
    }
}

/// Opens the directory `name` in `at`, which must be one and no link to one.
fn open_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Refusal> {
    match rustix::fs::openat(at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) => Err(Refusal::NotDirectory),
        other => Ok(other?),
    }
}

/// Makes the directory `name` in `at`, or opens the one that is there.
pub fn make_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Refusal> {
    match rustix::fs::mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_directory(at, name),
        Err(e) => Err(e.into()),
    }
}

/// Makes the file `name` in `at`, open for writing. T-3.
pub fn make_file(at: BorrowedFd<'_>, name: &[u8], existing: Existing) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    anew(at, name, existing, || rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR))
}

/// Makes the symbolic link `name` in `at`. What it points to is not looked at.
pub fn make_symlink(at: BorrowedFd<'_>, name: &[u8], to: &[u8], existing: Existing) -> Result<(), Refusal> {
    anew(at, name, existing, || rustix::fs::symlinkat(to, at, name))
}

/// Makes the device, fifo or socket `name` in `at`.
pub fn make_node(
    at: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    device: (u32, u32),
    existing: Existing,
) -> Result<(), Refusal> {
    let number = rustix::fs::makedev(device.0, device.1);
    anew(at, name, existing, || rustix::fs::mknodat(at, name, kind, Mode::RUSR | Mode::WUSR, number))
}

/// Makes `name` in `at` another name of `first_name` in `first_at`. T-3 holds for it as for a file.
pub fn make_link(
    first_at: BorrowedFd<'_>,
    first_name: &[u8],
    at: BorrowedFd<'_>,
    name: &[u8],
    existing: Existing,
) -> Result<(), Refusal> {
    anew(at, name, existing, || rustix::fs::linkat(first_at, first_name, at, name, AtFlags::empty()))
}

/// Runs `make`, and once more after removing what had the name.
fn anew<T>(
    at: BorrowedFd<'_>,
    name: &[u8],
    existing: Existing,
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Refusal> {
    match make() {
        Err(Errno::EXIST) => {}
        other => return Ok(other?),
    }
    let there = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
        return Err(Refusal::IsDirectory);
    }
    if existing == Existing::Keep {
        return Err(Refusal::Exists);
    }
    rustix::fs::unlinkat(at, name, AtFlags::empty())?;
    Ok(make()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn unsafe_names_are_refused() {
        for bad in [b"".as_slice(), b".", b"..", b"a/b", b"/", b"/etc/passwd", b"../x", b"a\0b"] {
            assert!(safe_name(bad).is_err());
        }
        for good in [b"...".as_slice(), b"-rf", b"a\nb", b"\xff", b" "] {
            assert_eq!(safe_name(good), Ok(good));
        }
    }

    #[test]
    fn a_planted_link_is_never_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("victim"), "old").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("dir")).unwrap();
        std::os::unix::fs::symlink(outside.join("victim"), inside.join("file")).unwrap();
        let target = TargetDir::open(&inside).unwrap();
        assert_eq!(target.directory(b"dir").unwrap_err(), Refusal::NotDirectory);
        assert_eq!(target.directory_step_by_step(b"dir").unwrap_err(), Refusal::NotDirectory);
        for escape in [b"..".as_slice(), b"dir/..", b"/etc", b"../out", b"./../out"] {
            assert!(target.directory(escape).is_err(), "{escape:?}");
            assert!(target.directory_step_by_step(escape).is_err(), "{escape:?}");
        }
        let root = target.directory(b"").unwrap();
        assert_eq!(make_directory(root.as_fd(), b"dir").unwrap_err(), Refusal::NotDirectory);
        assert_eq!(make_file(root.as_fd(), b"file", Existing::Keep).unwrap_err(), Refusal::Exists);
        make_file(root.as_fd(), b"file", Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "old");
        assert!(fs::symlink_metadata(inside.join("file")).unwrap().is_file());
    }

    #[test]
    fn a_hard_link_that_was_there_keeps_its_content() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "old").unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let target = TargetDir::open(dir.path()).unwrap();
        let root = target.directory(b"").unwrap();
        make_file(root.as_fd(), b"b", Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "old");
    }

    #[test]
    fn directories_are_not_replaced_and_deep_ones_open() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        let target = TargetDir::open(dir.path()).unwrap();
        target.directory(b"a/b/c").unwrap();
        target.directory_step_by_step(b"a/b/c").unwrap();
        let root = target.directory(b"").unwrap();
        assert_eq!(make_file(root.as_fd(), b"a", Existing::Replace).unwrap_err(), Refusal::IsDirectory);
        assert_eq!(
            make_symlink(root.as_fd(), b"a", b"x", Existing::Replace).unwrap_err(),
            Refusal::IsDirectory
        );
    }
}
