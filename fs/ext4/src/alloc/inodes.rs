//! Inodes: allocated and freed in bitmaps and descriptors; the inodes themselves are `inode_edit`'s.
//!
//! Who calls it: `namespace`, `xattr`. Whom it calls: `orlov` for the group, the rest of `alloc`.
//!
//! IN-1. The lowest free inode of a group is taken, so what was never used stays together at the end of the table, and a search is a few
//! hundred words at most. IN-2. Reserved inodes are never handed out.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::bitmap::{To, first_free, first_used};
use super::descriptor::{Descriptor, Map};
use super::walk::Walk;
use crate::block::within_page;
use crate::checksum::crc32c;
use crate::inode::copy_inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};

impl Handle<'_> {
    /// Allocates an inode: a directory away from others if `parent` is the root (Orlov), anything else near its directory. Gives its number and
    /// the generation that it gets. The inode is not written.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt`, `Checksum` of a bitmap or descriptor; `Io`.
    pub fn allocate_inode(&mut self, parent: InodeNo, kind: FileKind) -> Result<(InodeNo, u32)> {
        let no_space = Error::NoSpace { what: "inodes" };
        if self.counts().inodes_free == 0 {
            return Err(no_space);
        }
        let goal = match kind {
            FileKind::Directory => self.group_for_directory(parent)?,
            _ => self.group_for_file(parent),
        };
        let mut walk = Walk::new(goal, self.fs.sb.group_count, self.hints().no_inodes);
        let mut found = None;
        while let Some(group) = walk.next() {
            let descriptor = self.descriptor(group)?;
            if descriptor.free(Map::Inodes) == 0 {
                walk.is_full(group);
            } else if let Some(bit) = self.free_inode_in(&descriptor)? {
                found = Some((descriptor, bit));
                break;
            }
        }
        self.hints().no_inodes = walk.known();
        let (descriptor, bit) = found.ok_or(no_space)?;
        self.take_inode(descriptor, bit, kind)
    }

    /// The group at which the search for an inode of a file begins: the first of its directory's flex group.
    fn group_for_file(&self, parent: InodeNo) -> u32 {
        self.group_of_inode(parent) & u32::MAX << self.fs.sb.flex_log
    }

    /// The group of inode `ino`; one that exists even if the inode does not.
    pub(super) fn group_of_inode(&self, ino: InodeNo) -> u32 {
        let sb = &self.fs.sb;
        let index = ino.0.clamp(1, u64::from(sb.inodes_count)).saturating_sub(1) as u32;
        index.checked_div(sb.inodes_per_group).unwrap_or(0)
    }

    fn free_inode_in(&self, descriptor: &Descriptor) -> Result<Option<u32>> {
        let sb = &self.fs.sb;
        let bits = Map::Inodes.bits(sb, descriptor.group);
        let reserved = if descriptor.group == 0 { sb.first_inode.saturating_sub(1) } else { 0 };
        self.look_at_bitmap(descriptor, Map::Inodes, |bitmap| {
            let bit = first_free(bitmap, reserved, bits);
            Ok((bit < bits).then_some(bit))
        })
    }

    fn take_inode(&mut self, mut descriptor: Descriptor, bit: u32, kind: FileKind) -> Result<(InodeNo, u32)> {
        let sb = &self.fs.sb;
        let behind = sb.inodes_per_group.saturating_sub(bit).saturating_sub(1);
        let unused = descriptor.unused_inodes(sb).min(behind);
        let before = u64::from(descriptor.group).saturating_mul(u64::from(sb.inodes_per_group));
        let ino = InodeNo(before.saturating_add(u64::from(bit)).saturating_add(1));
        self.change_bits(&mut descriptor, Map::Inodes, bit..bit.saturating_add(1), To::Used)?;
        descriptor.set_unused_inodes(sb, unused);
        if kind == FileKind::Directory {
            descriptor.set_directories(descriptor.directories().saturating_add(1));
        }
        self.put_descriptor(&descriptor)?;
        let counts = self.counts();
        counts.inodes_free = counts.inodes_free.saturating_sub(1);
        Ok((ino, self.new_generation(ino)?))
    }

    /// A generation that tells this use of the number from the one before, which is still in the inode's place: it follows from that, the
    /// file system, the number and the time, so that the same operations make the same image. The clock alone would not do: it ticks
    /// seldom, and may be fixed.
    fn new_generation(&self, ino: InodeNo) -> Result<u32> {
        let fs = self.fs;
        let at = fs.inode_place(self.r, ino)?.at;
        let page = fs.device.page(self.r, at, 0)?;
        let last = copy_inode(page.get(within_page(at)..).unwrap_or_default()).generation.get();
        let sum = crc32c(!0, &fs.sb.uuid);
        let sum = crc32c(sum, &ino.0.to_le_bytes());
        let sum = crc32c(sum, &self.now.seconds.to_le_bytes());
        let sum = crc32c(sum, &self.now.nanoseconds.to_le_bytes());
        let new = crc32c(sum, &last.to_le_bytes());
        Ok(if new == last { new.wrapping_add(1) } else { new })
    }

    /// Frees inode `ino`, which was of `kind`; its inode has been put as deleted.
    ///
    /// # Errors
    /// As [`Handle::free_blocks`].
    pub fn free_inode(&mut self, ino: InodeNo, kind: FileKind) -> Result<()> {
        let sb = &self.fs.sb;
        let corrupt = |what| Error::Corrupt { what, at: ino.0 };
        if ino.0 < u64::from(sb.first_inode) || ino.0 > u64::from(sb.inodes_count) {
            return Err(corrupt("freed inode is reserved, or does not exist"));
        }
        let group = self.group_of_inode(ino);
        let index = ino.0.saturating_sub(1) as u32;
        let bit = index.checked_rem(sb.inodes_per_group).unwrap_or(0);
        let mut descriptor = self.descriptor(group)?;
        let is_used = self.look_at_bitmap(&descriptor, Map::Inodes, |bitmap| {
            Ok(first_used(bitmap, bit, bit.saturating_add(1)) == bit)
        })?;
        if !is_used {
            return Err(corrupt("freed inode is free"));
        }
        if kind == FileKind::Directory {
            let left = descriptor.directories().checked_sub(1);
            descriptor
                .set_directories(left.ok_or(corrupt("group descriptor: directories of a freed inode"))?);
        }
        self.change_bits(&mut descriptor, Map::Inodes, bit..bit.saturating_add(1), To::Free)?;
        self.put_descriptor(&descriptor)?;
        self.hints().no_inodes.forget(group);
        let counts = self.counts();
        counts.inodes_free = counts.inodes_free.saturating_add(1);
        Ok(())
    }
}
