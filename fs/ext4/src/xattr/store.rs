//! The places of attributes to the device: the inode, the block, and who shares that block.
//!
//! Who calls it: `place`, `free`, `inline`. Whom it calls: `draft` and `seal`, `value_inode` for references, `alloc`, `inode_edit`.
//!
//! PL-1. A block whose count of references is 2 or more is not changed but for that count: who changes its attributes gets a
//! copy. PL-2. A block holds one reference to each inode that has one of its values, however many share the block. PL-3. An
//! inode's `i_blocks` counts its share of a block as a whole one, and what values in inodes take, as the kernel has it.
//!
//! Memory: a copy of a shared block changes a page for each inode that has one of its values; with more of them than a transaction has
//! pages that is `NoMemory`.
#![deny(clippy::indexing_slicing)]
// References are at least 1 where one is taken off.
#![allow(clippy::arithmetic_side_effects)]

use super::draft::{Content, Draft, ENTRIES_MAX};
use super::place::Outside;
use super::seal::block_checksum;
use crate::alloc::Use;
use crate::inode_edit::Inode;
use crate::layout::RawXattrHeader;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use core::mem::offset_of;
use core::ops::Range;
use rumpcap_host::Result;
use zerocopy::FromBytes;

/// `s_feature_compat`: some inode has attributes.
const COMPAT_EXT_ATTR: u32 = 0x8;

/// Where a block has its count of references.
const REFERENCE_COUNT: Range<usize> =
    offset_of!(RawXattrHeader, reference_count)..offset_of!(RawXattrHeader, reference_count) + 4;

impl Handle<'_> {
    /// Stores the inode, with its attributes if they were changed.
    pub(super) fn store_inside(&mut self, inode: &mut Inode, inside: Option<Draft>) -> Result<()> {
        inode.set_ctime(&self.fs.sb, self.now);
        let Some(mut draft) = inside.filter(|draft| draft.is_changed()) else { return self.put_inode(inode) };
        draft.seal(0, None);
        self.edit_inode_area(inode, |bytes| {
            let from = bytes.len().saturating_sub(draft.bytes().len());
            copy(bytes.get_mut(from..).unwrap_or_default(), draft.bytes());
        })
    }

    /// Stores the block, if it was changed: in its place, as a copy (PL-1), as a new one, or not at all when it is empty.
    pub(super) fn store_outside(
        &mut self,
        inode: &mut Inode,
        outside: &mut Outside,
        new: Option<Content<'_>>,
    ) -> Result<()> {
        if !outside.draft.is_changed() {
            return Ok(());
        }
        match outside.number {
            Some(number) if outside.draft.is_empty() => {
                self.drop_share(number, outside.references)?;
                set_file_acl(inode, 0);
                inode.add_blocks(&self.fs.sb, -self.cluster_blocks())
            }
            None if outside.draft.is_empty() => Ok(()),
            Some(number) if outside.is_ours() => {
                outside.draft.seal(number, self.checksum_seed());
                let draft = &outside.draft;
                self.edit(number, &draft.changed(), |bytes| copy(bytes, draft.bytes()))
            }
            Some(number) => {
                self.create_attribute_block(inode, &mut outside.draft)?;
                self.drop_share(number, outside.references)?;
                self.share_values(&outside.draft, new)
            }
            None => {
                self.create_attribute_block(inode, &mut outside.draft)?;
                inode.add_blocks(&self.fs.sb, self.cluster_blocks())
            }
        }
    }

    /// Stores a draft in a new block.
    fn create_attribute_block(&mut self, inode: &mut Inode, draft: &mut Draft) -> Result<()> {
        let goal = self.goal_of_inode(inode);
        let number = self.allocate_blocks(goal, 1)?.first;
        draft.seal(number, self.checksum_seed());
        self.create_block(number, |bytes| copy(bytes, draft.bytes()))?;
        set_file_acl(inode, number);
        Ok(())
    }

    /// One reference less to a block of attributes, which is freed at the last.
    pub(super) fn drop_share(&mut self, number: u64, references: u32) -> Result<()> {
        if references <= 1 {
            return self.free_blocks(number, 1, Use::Metadata);
        }
        let seed = self.checksum_seed();
        let head = 0..size_of::<RawXattrHeader>();
        self.edit(number, core::slice::from_ref(&head), |bytes| {
            if let Some(count) = bytes.get_mut(REFERENCE_COUNT) {
                count.copy_from_slice(&(references - 1).to_le_bytes());
            }
            let Some(seed) = seed else { return };
            let sum = block_checksum(bytes, number, seed);
            if let Ok((head, _)) = RawXattrHeader::mut_from_prefix(bytes) {
                head.checksum = sum.into();
            }
        })
    }

    /// A copy of a block refers to the same inodes for values, but for the new one, whose first reference this is (PL-2).
    fn share_values(&mut self, draft: &Draft, new: Option<Content<'_>>) -> Result<()> {
        let own = match new {
            Some(Content::Inode { ino, .. }) => ino,
            _ => 0,
        };
        let inodes: ArrayVec<u32, ENTRIES_MAX> =
            draft.entries().map(|entry| entry.value_inode()).filter(|&ino| ino != 0 && ino != own).collect();
        inodes.into_iter().try_for_each(|ino| self.add_value_reference(ino))
    }

    /// Notes in the super block that there are attributes.
    pub(super) fn note_attributes(&mut self) -> Result<()> {
        if self.fs.sb.features.compat & COMPAT_EXT_ATTR != 0
            || self.super_block()?.features_compat.get() & COMPAT_EXT_ATTR != 0
        {
            return Ok(());
        }
        self.edit_super(|raw| raw.features_compat = (raw.features_compat.get() | COMPAT_EXT_ATTR).into())
    }

    /// Blocks that a block of attributes takes: the rest of its cluster with it.
    fn cluster_blocks(&self) -> i64 {
        i64::from(self.fs.sb.cluster_blocks())
    }

    fn checksum_seed(&self) -> Option<u32> {
        let sb = &self.fs.sb;
        sb.features.has_metadata_csum().then_some(sb.csum_seed)
    }

    /// An inode that is deleted gives up its share of the block.
    pub(super) fn give_up_block(&mut self, inode: &mut Inode, outside: &Outside) -> Result<()> {
        let Some(number) = outside.number else { return Ok(()) };
        self.drop_share(number, outside.references)?;
        set_file_acl(inode, 0);
        inode.add_blocks(&self.fs.sb, -self.cluster_blocks())
    }
}

fn set_file_acl(inode: &mut Inode, block: u64) {
    inode.raw.file_acl_lo = (block as u32).into();
    inode.raw.file_acl_hi = ((block >> 32) as u16).into();
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
