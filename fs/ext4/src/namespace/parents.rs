//! Links of directories, and which directory is above which.
//!
//! Who calls it: `create`, `remove`, `rename`.
//!
//! A directory's links are its name, its `.`, and the `..` of each directory in it. With dir_nlink, a directory with a tree that has more
//! than an inode can count has the count 1, for good.
#![deny(clippy::indexing_slicing)]

use super::LINKS_MAX;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use crate::{SuperBlock, dir};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::InodeNo;

/// The directory that is its own parent.
const ROOT: InodeNo = InodeNo(2);

/// Whether a directory can have one more directory in it.
///
/// # Errors
/// `TooManyHardLinks`.
pub(super) fn check_room(sb: &SuperBlock, parent: &Inode) -> Result<()> {
    let is_counted = !(sb.features.has_dir_nlink() && parent.is_indexed(sb));
    if parent.raw.links.get() >= LINKS_MAX && is_counted { Err(Error::TooManyHardLinks) } else { Ok(()) }
}

/// `parent` has one more directory in it.
pub(super) fn add_link(sb: &SuperBlock, parent: &mut Inode) {
    let links = match parent.raw.links.get() {
        1 => 1,
        links if links >= LINKS_MAX && parent.is_indexed(sb) => 1,
        links => links.saturating_add(1),
    };
    parent.raw.links = links.into();
}

/// `parent` has one directory less in it.
pub(super) fn take_link(parent: &mut Inode) {
    let links = parent.raw.links.get();
    // 1 is not counted any more, and its name and `.` are always there.
    if links > 2 {
        parent.raw.links = (links - 1).into();
    }
}

/// That `below` is neither `above` nor a directory below it: a walk up to the root.
///
/// # Errors
/// `InvalidInput` if it is; `Corrupt` for parents in a circle, or a parent that is none.
pub(super) fn check_not_below(h: &Handle<'_>, below: InodeNo, above: InodeNo) -> Result<()> {
    let (mut at, mut seen, mut steps, mut power) = (below, InodeNo(0), 0_u64, 1_u64);
    while at != above {
        if at == ROOT {
            return Ok(());
        }
        // A circle is found within three times its length: `seen` stays for twice as many steps each time.
        if at == seen {
            return Err(Error::Corrupt { what: "directory: parents in a circle", at: at.0 });
        }
        if steps == power {
            (seen, steps, power) = (at, 0, power * 2);
        }
        steps += 1;
        let node = h.fs.inode(h.r, at, 0)?;
        at = dir::lookup(h.fs, h.r, &node, b"..")?;
    }
    Err(Error::InvalidInput { what: "directory that would be below itself" })
}
