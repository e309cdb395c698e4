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
const NAME_MAX: usize = 255;

/// Whether a symbolic link as the last component is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The link's target is meant.
    Yes,
    /// The link itself is meant.
    No,
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

    /// One component.
    fn step(&self, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<Node> {
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
        assert!(is_only_slashes(b"") && is_only_slashes(b"//") && !is_only_slashes(b"/a"));
    }
}
