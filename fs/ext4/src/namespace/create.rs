//! New inodes: what they are from the beginning, what they inherit, and their first names.
//!
//! Who calls it: `mod`, `rename` for whiteouts. Whom it calls: `alloc`, `dir_change`, `map_change` for long links, `xattr`, `orphan`.
//!
//! Source of what is inherited: "ext4 Data Structures and Algorithms" (flags of inodes), chattr(1), inode(7).
#![deny(clippy::indexing_slicing)]

use super::parents;
use crate::inode_edit::Inode;
use crate::layout::{BLOCK_BYTES, inode_flags};
use crate::map_change::Fill;
use crate::transaction::Handle;
use crate::{Ext4, dir};
use core::mem::offset_of;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{EntryName, FileKind, InodeNo, NewFile, Node, Timestamp};
use rumpcap_vm::Reservation;
use zerocopy::IntoBytes;

/// Flags that a new inode takes over from its directory.
const INHERITED: u32 = inode_flags::SECURE_DELETE
    | inode_flags::UNDELETE
    | inode_flags::COMPRESS
    | inode_flags::SYNC
    | inode_flags::NO_DUMP
    | inode_flags::NO_ATIME
    | inode_flags::NO_COMPRESS
    | inode_flags::JOURNAL_DATA
    | inode_flags::NO_TAIL
    | inode_flags::DIR_SYNC
    | inode_flags::DAX
    | inode_flags::PROJECT_INHERIT
    | inode_flags::CASEFOLD;
/// Of those, what only directories have.
const DIRECTORIES_ONLY: u32 = inode_flags::DIR_SYNC | inode_flags::CASEFOLD | inode_flags::PROJECT_INHERIT;
/// Of those, what files that are neither have too.
const ANY_KIND: u32 = inode_flags::NO_DUMP | inode_flags::NO_ATIME;

/// Mode bit: set group id.
const SET_GROUP_ID: u32 = 0o2000;
/// Majors and minors are below these.
const MAJORS: u32 = 1 << 12;
const MINORS: u32 = 1 << 20;

/// See `Change::create`.
pub(crate) fn create(
    fs: &Ext4,
    r: &Reservation<'_>,
    at: EntryName<'_>,
    new: &NewFile<'_>,
    now: Timestamp,
) -> Result<Node> {
    check(fs, new)?;
    let made = fs.change(r, now, |h| {
        let mut dir = h.dir_to_change(at.dir)?;
        let is_dir = new.kind == FileKind::Directory;
        if is_dir {
            parents::check_room(&fs.sb, &dir)?;
        }
        let mut inode = h.new_file(&dir, new)?;
        inode.raw.links = if is_dir { 2 } else { 1 }.into();
        h.add_entry(&mut dir, at.name, inode.ino, new.kind)?;
        if is_dir {
            parents::add_link(&fs.sb, &mut dir);
        }
        h.put_changed_dir(&mut dir)?;
        h.put_inode(&inode)?;
        h.node(&inode)
    });
    match made {
        // The inode is made before the name is looked for; one that is there is the better reason.
        Err(Error::NoSpace { .. }) if is_there(fs, r, at)? => Err(Error::Exists),
        made => made,
    }
}

fn is_there(fs: &Ext4, r: &Reservation<'_>, at: EntryName<'_>) -> Result<bool> {
    let dir = fs.inode(r, at.dir, 0)?;
    match dir::lookup(fs, r, &dir, at.name) {
        Ok(_) => Ok(true),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// See `Change::create_nameless`.
pub(crate) fn create_nameless(
    fs: &Ext4,
    r: &Reservation<'_>,
    dir: InodeNo,
    new: &NewFile<'_>,
    now: Timestamp,
) -> Result<Node> {
    if new.kind == FileKind::Directory {
        return Err(Error::IsADirectory);
    }
    check(fs, new)?;
    fs.change(r, now, |h| {
        let dir = h.dir_to_change(dir)?;
        let mut inode = h.new_file(&dir, new)?;
        h.add_orphan(&mut inode)?;
        h.put_inode(&inode)?;
        h.node(&inode)
    })
}

/// What can be refused before anything is read.
fn check(fs: &Ext4, new: &NewFile<'_>) -> Result<()> {
    let (major, minor) = new.rdev;
    match new.kind {
        FileKind::Unknown => Err(Error::InvalidInput { what: "kind of file" }),
        FileKind::CharDevice | FileKind::BlockDevice if major >= MAJORS || minor >= MINORS => {
            Err(Error::InvalidInput { what: "device number" })
        }
        FileKind::Symlink if new.target.is_empty() || new.target.contains(&0) => {
            Err(Error::InvalidInput { what: "target of a symbolic link" })
        }
        // A block holds the target and a NUL.
        FileKind::Symlink if new.target.len() >= fs.sb.block_size as usize => Err(Error::NameTooLong),
        _ => Ok(()),
    }
}

impl Handle<'_> {
    /// A new inode in `dir`, without links and stored, with all that is its own: attributes, inherited ones, content.
    pub(super) fn new_file(&mut self, dir: &Inode, new: &NewFile<'_>) -> Result<Inode> {
        let (ino, generation) = self.allocate_inode(dir.ino, new.kind)?;
        let mut inode = self.new_inode(ino, generation)?;
        self.set_first_attributes(dir, &mut inode, new);
        // Before anything else changes it: what is behind the fixed fields is zeros from here on.
        self.put_new_inode(&inode)?;
        self.inherit_acl(dir, &mut inode)?;
        match new.kind {
            FileKind::Regular => self.begin_map(&mut inode),
            FileKind::Directory => self.begin_dir(&mut inode, dir.ino)?,
            FileKind::Symlink => self.begin_symlink(&mut inode, new.target)?,
            FileKind::CharDevice | FileKind::BlockDevice => set_device(&mut inode, new.rdev),
            _ => {}
        }
        Ok(inode)
    }

    fn set_first_attributes(&self, dir: &Inode, inode: &mut Inode, new: &NewFile<'_>) {
        let (mut mode, mut gid) = (new.mode & 0o7777, new.gid);
        if u32::from(dir.raw.mode.get()) & SET_GROUP_ID != 0 {
            gid = u32::from(dir.raw.gid_lo.get()) | u32::from(dir.raw.gid_hi.get()) << 16;
            if new.kind == FileKind::Directory {
                mode |= SET_GROUP_ID;
            }
        }
        let raw = &mut inode.raw;
        raw.mode = ((mode | kind_bits(new.kind)) as u16).into();
        (raw.uid_lo, raw.uid_hi) = ((new.uid as u16).into(), ((new.uid >> 16) as u16).into());
        (raw.gid_lo, raw.gid_hi) = ((gid as u16).into(), ((gid >> 16) as u16).into());
        inode.set_flags(inherited_flags(dir, new.kind), 0);
        inode.set_atime(self.now);
        inode.set_mtime(self.now);
        inode.set_ctime(&self.fs.sb, self.now);
        inode.set_crtime(self.now);
        let at = offset_of!(crate::layout::RawInode, project);
        if self.fs.sb.features.has_project()
            && dir.has_flag(inode_flags::PROJECT_INHERIT)
            && inode.has_field(at)
            && dir.has_field(at)
        {
            inode.raw.project = dir.raw.project;
        }
    }

    /// A target of fewer than 60 bytes is in the inode; else in a block, with a NUL behind it.
    fn begin_symlink(&mut self, inode: &mut Inode, target: &[u8]) -> Result<()> {
        if target.len() < BLOCK_BYTES {
            for (to, from) in inode.raw.block.as_mut_bytes().iter_mut().zip(target) {
                *to = *from;
            }
        } else {
            self.begin_map(inode);
            let block = self.map_blocks(inode, 0, 1, Fill::Written)?.first;
            self.create_block(block, |bytes| {
                for (to, from) in bytes.iter_mut().zip(target) {
                    *to = *from;
                }
            })?;
        }
        inode.set_size_bytes(target.len() as u64);
        Ok(())
    }
}

/// The bits of a mode that tell the kind.
fn kind_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::Regular => 0o100_000,
        FileKind::Directory => 0o040_000,
        FileKind::Symlink => 0o120_000,
        FileKind::CharDevice => 0o020_000,
        FileKind::BlockDevice => 0o060_000,
        FileKind::Fifo => 0o010_000,
        FileKind::Socket => 0o140_000,
        FileKind::Unknown => 0,
    }
}

fn inherited_flags(dir: &Inode, kind: FileKind) -> u32 {
    let flags = dir.raw.flags.get() & INHERITED;
    match kind {
        FileKind::Directory => flags,
        FileKind::Regular => flags & !DIRECTORIES_ONLY,
        _ => flags & ANY_KIND,
    }
}

/// Numbers of 8 bits each are in the first word; others in the second, with the minor around the major.
fn set_device(inode: &mut Inode, (major, minor): (u32, u32)) {
    let [old, new, ..] = &mut inode.raw.block;
    if major < 256 && minor < 256 {
        *old = (major << 8 | minor).into();
    } else {
        *new = (minor & 0xFF | major << 8 | (minor & !0xFF) << 12).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn inode(mode: u16, flags: u32) -> Inode {
        let mut raw = crate::layout::RawInode::new_zeroed();
        (raw.mode, raw.flags) = (mode.into(), flags.into());
        Inode { ino: InodeNo(12), at: 0, raw }
    }

    #[test]
    fn device_numbers_are_read_back() {
        for number in [(0, 0), (8, 1), (255, 255), (256, 0), (8, 256), (0xFFF, 0xF_FFFF)] {
            let mut inode = inode(0o020_000, 0);
            set_device(&mut inode, number);
            let block = inode.raw.block.map(|word| word.get());
            assert_eq!(crate::inode::device_number(&inode.raw, &block), number);
        }
    }

    #[test]
    fn flags_go_to_those_that_they_are_for() {
        let dir = inode(0o040_755, u32::MAX);
        assert_eq!(inherited_flags(&dir, FileKind::Directory), 0x6201_C4CF);
        assert_eq!(inherited_flags(&dir, FileKind::Regular), 0x0200_C4CF);
        assert_eq!(inherited_flags(&dir, FileKind::Fifo), 0xC0);
    }
}
