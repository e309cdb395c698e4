//! Path resolution: from a path to an inode, one component at a time, through the namecache.
//!
//! Who calls it: `rumpcap` (the library). Rules, as POSIX has them: at most [`SYMLINKS_MAX`] symbolic links; `..` of the
//! mount's root is the root; an absolute link starts at the mount's root; a trailing slash asks for a directory; an empty
//! path is the start.
//!
//! Memory: two paths of [`PATH_MAX`] bytes on the stack. Holds no page between components.

use crate::mount::Mount;
use crate::node::{FileKind, InodeNo, Node};
use arrayvec::ArrayVec;
use rumpcap_host::{Error, Result};
use rumpcap_vm::Reservation;

/// The longest path in bytes that is left to resolve at any time, links' targets included.
pub const PATH_MAX: usize = 4096;

/// Symbolic links in one path, as Linux has it.
pub const SYMLINKS_MAX: u32 = 40;

/// Longest name in bytes, in any file system here.
pub(crate) const NAME_MAX: usize = 255;

/// Whether a symbolic link as the last component is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The link's target is meant.
    Yes,
    /// The link itself is meant.
    No,
}

/// `FS_CASEFOLD_FL`: names that differ in case are one, so that a change of one entry is a change of many names; they are not
/// remembered where they may change.
pub(crate) const CASEFOLD_FLAG: u32 = 0x4000_0000;

/// The last component of a path, which may not be there.
pub(crate) struct LastName {
    /// Empty for the root and the empty path.
    pub(crate) name: ArrayVec<u8, NAME_MAX>,
    /// A slash is behind it.
    pub(crate) wants_directory: bool,
}

/// Cuts the last component off a path: what is before it, the component, and whether slashes are behind it.
fn split_last(path: &[u8]) -> (&[u8], &[u8], bool) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    let (whole, slashes) = path.split_at(end);
    let start = whole.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = whole.split_at(start);
    (parent, name, !slashes.is_empty())
}

/// Cuts the first component off a path: the component, and the rest without the slashes before it.
fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    let (_, path) = path.split_at(start);
    let end = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
    path.split_at(end)
}

fn is_only_slashes(path: &[u8]) -> bool {
    path.iter().all(|b| *b == b'/')
}

impl Mount {
    /// The node that `path` names, from directory `start` on (the root for an absolute path).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `TooManyLinks`, `NameTooLong`, and those of the file system.
    pub fn resolve(&self, r: &Reservation<'_>, start: InodeNo, path: &[u8], follow: Follow) -> Result<Node> {
        let mut left: ArrayVec<u8, PATH_MAX> = ArrayVec::new();
        left.try_extend_from_slice(path).map_err(|_| Error::NameTooLong)?;
        let from = if path.first() == Some(&b'/') { self.fs.root() } else { start };
        let mut here = self.node(r, from)?;
        let mut links = 0;
        loop {
            let (name, rest) = split_first(&left);
            if name.is_empty() {
                return Ok(here);
            }
            let next = self.step(r, &here, name)?;
            let is_last = is_only_slashes(rest);
            let wants_directory = is_last && !rest.is_empty();
            if next.kind() == FileKind::Symlink && (!is_last || wants_directory || follow == Follow::Yes) {
                links += 1;
                if links > SYMLINKS_MAX {
                    return Err(Error::TooManyLinks);
                }
                left = self.expand(r, &next, rest)?;
                if left.first() == Some(&b'/') {
                    here = self.node(r, self.fs.root())?;
                }
                continue;
            }
            if !rest.is_empty() && next.kind() != FileKind::Directory {
                return Err(Error::NotADirectory);
            }
            here = next;
            let cut = left.len() - rest.len();
            left.drain(..cut);
        }
    }

    /// The directory of a path's last component, and that component, which need not be there and is not followed.
    pub(crate) fn resolve_parent(
        &self,
        r: &Reservation<'_>,
        start: InodeNo,
        path: &[u8],
    ) -> Result<(Node, LastName)> {
        if path.is_empty() {
            return Err(Error::NotFound);
        }
        let (parent, last, wants_directory) = split_last(path);
        let mut name = ArrayVec::new();
        name.try_extend_from_slice(last).map_err(|_| Error::NameTooLong)?;
        let start = if path.first() == Some(&b'/') { self.fs.root() } else { start };
        let dir = self.resolve(r, start, parent, Follow::Yes)?;
        if dir.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        Ok((dir, LastName { name, wants_directory }))
    }

    /// What `path` names, links followed; or where it would be, if it alone is missing.
    pub(crate) fn resolve_or_parent(
        &self,
        r: &Reservation<'_>,
        start: InodeNo,
        path: &[u8],
    ) -> Result<core::result::Result<Node, (Node, LastName)>> {
        let (mut dir, mut last) = self.resolve_parent(r, start, path)?;
        for _ in 0..=SYMLINKS_MAX {
            if last.name.is_empty() || last.wants_directory {
                let node = self.resolve(r, dir.attributes.ino, &last.name, Follow::Yes)?;
                return if node.kind() == FileKind::Directory {
                    Ok(Ok(node))
                } else {
                    Err(Error::NotADirectory)
                };
            }
            let node = match self.step(r, &dir, &last.name) {
                Err(Error::NotFound) => return Ok(Err((dir, last))),
                node => node?,
            };
            if node.kind() != FileKind::Symlink {
                return Ok(Ok(node));
            }
            let target = self.expand(r, &node, b"")?;
            (dir, last) = self.resolve_parent(r, dir.attributes.ino, &target)?;
        }
        Err(Error::TooManyLinks)
    }

    /// One component.
    pub(crate) fn step(&self, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<Node> {
        if dir.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        if name.len() > NAME_MAX {
            return Err(Error::NameTooLong);
        }
        let at = dir.attributes.ino;
        if name == b"." || (name == b".." && at == self.fs.root()) {
            return Ok(*dir);
        }
        let ino = match self.vfs.names.find(self.number, at, name) {
            Some(known) => known.ok_or(Error::NotFound)?,
            None => self.look_up(r, dir, name)?,
        };
        self.node(r, ino)
    }

    fn look_up(&self, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<InodeNo> {
        let found = self.fs.lookup(r, dir, name);
        if self.is_writable() && dir.attributes.flags & CASEFOLD_FLAG != 0 {
            return found;
        }
        match found {
            Ok(ino) => self.vfs.names.remember(self.number, dir.attributes.ino, name, Some(ino)),
            Err(Error::NotFound) => self.vfs.names.remember(self.number, dir.attributes.ino, name, None),
            Err(_) => {}
        }
        found
    }

    /// A link's target with the rest of the path behind it.
    fn expand(&self, r: &Reservation<'_>, link: &Node, rest: &[u8]) -> Result<ArrayVec<u8, PATH_MAX>> {
        let mut target = [0; PATH_MAX];
        let len = self.fs.read_link(r, link, &mut target)?;
        let target = target.get(..len).ok_or(Error::NameTooLong)?;
        if target.is_empty() {
            return Err(Error::NotFound);
        }
        let mut path = ArrayVec::new();
        path.try_extend_from_slice(target).map_err(|_| Error::NameTooLong)?;
        path.try_extend_from_slice(rest).map_err(|_| Error::NameTooLong)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_at_runs_of_slashes() {
        assert_eq!(split_first(b"//a//b/"), (&b"a"[..], &b"//b/"[..]));
        assert_eq!(split_first(b"a"), (&b"a"[..], &b""[..]));
        assert_eq!(split_first(b"///"), (&b""[..], &b""[..]));
        assert_eq!(split_last(b"/a//b//"), (&b"/a//"[..], &b"b"[..], true));
        assert_eq!(split_last(b"a"), (&b""[..], &b"a"[..], false));
        assert_eq!(split_last(b"//"), (&b""[..], &b""[..], true));
        assert!(is_only_slashes(b"") && is_only_slashes(b"//") && !is_only_slashes(b"/a"));
    }
}
