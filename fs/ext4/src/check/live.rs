//! [`Live`]: an inode as a check sees it: its raw fields, right or wrong, and what they amount to.
//!
//! Who calls it: the walks over inode tables ([`for_each`]) hand these out; every check of an inode takes one.
//! Whom it calls: `vm`. Nothing is refused here: whoever judges tells.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::Context;
use crate::checksum::crc32c;
use crate::inode::{copy_inode, first_page_checksum, has_checksum_hi, inode_seed, is_checksum};
use crate::layout::{BLOCK_BYTES, RawInode, inode_flags};
use core::ops::ControlFlow;
use rumpcap_host::Result;
use rumpcap_vfs::{FileKind, InodeNo};
use rumpcap_vm::{PAGE_SHIFT, PAGE_SIZE};
use zerocopy::IntoBytes;

/// Inodes with a meaning of their own.
pub(super) mod number {
    pub const ROOT: u32 = 2;
    pub const BOOT_LOADER: u32 = 5;
    pub const RESIZE: u32 = 7;
}

/// An inode, its fields unchecked.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub ino: u32,
    pub raw: RawInode,
    pub is_checksum_right: bool,
    /// Seed of the checksums of what belongs to it.
    pub seed: u32,
}

impl Live {
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(u32::from(self.raw.mode.get()))
    }

    pub fn has_flag(&self, flag: u32) -> bool {
        self.raw.flags.get() & flag != 0
    }

    pub fn is_directory(&self) -> bool {
        self.kind() == FileKind::Directory
    }

    pub fn size(&self) -> u64 {
        u64::from(self.raw.size_lo.get()) | u64::from(self.raw.size_hi.get()) << 32
    }

    pub fn block_bytes(&self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        bytes.iter_mut().zip(self.raw.block.as_bytes()).for_each(|(to, from)| *to = *from);
        bytes
    }

    pub fn attribute_block(&self, cx: &Context<'_, '_>) -> u64 {
        let hi = if cx.sb.features.has_64bit() { self.raw.file_acl_hi.get() } else { 0 };
        u64::from(self.raw.file_acl_lo.get()) | u64::from(hi) << 32
    }

    /// Whether the target of a symbolic link is in `i_block`: no blocks but those of attributes.
    pub fn is_fast_link(&self, cx: &Context<'_, '_>) -> bool {
        if self.has_flag(inode_flags::INLINE_DATA) || self.kind() != FileKind::Symlink {
            return false;
        }
        if cx.sb.features.has_ea_inode() && !self.has_flag(inode_flags::EXTENTS) {
            return self.size() < BLOCK_BYTES as u64;
        }
        let of_attributes = match self.attribute_block(cx) {
            0 => 0,
            _ => (cx.sb.block_size >> 9) << cx.sb.cluster_log,
        };
        let blocks = u64::from(self.raw.blocks_lo.get()) | u64::from(self.raw.blocks_hi.get()) << 32;
        blocks == u64::from(of_attributes) && !self.has_flag(inode_flags::EXTENTS)
    }

    /// Whether `i_block` maps blocks.
    pub fn is_mapped(&self, cx: &Context<'_, '_>) -> bool {
        match self.kind() {
            _ if self.has_flag(inode_flags::INLINE_DATA) => false,
            FileKind::Regular | FileKind::Directory => true,
            FileKind::Symlink => !self.is_fast_link(cx),
            _ => false,
        }
    }

    /// Whether it is in use, as far as links say; reserved inodes are apart.
    pub fn is_linked(&self) -> bool {
        self.raw.links.get() != 0
    }
}

/// Takes inodes, each with its number in the table and all its bytes.
pub(super) type Visit<'f> = dyn FnMut(&mut Context<'_, '_>, u32, &Live, &mut [u8]) -> Result<()> + 'f;

/// Reads the inodes of `group` from number `from` of its table to before `to`, each into `buf`, and hands them to `visit`.
pub(super) fn for_each(
    cx: &mut Context<'_, '_>,
    group: u32,
    range: core::ops::Range<u32>,
    table: u64,
    buf: &mut [u8],
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    let size = u64::from(cx.sb.inode_size);
    let start = table << cx.sb.block_log;
    let end = start.saturating_add(size.saturating_mul(range.end.into()));
    for index in range {
        if cx.is_stopped() {
            return Ok(ControlFlow::Break(()));
        }
        let place = start.saturating_add(size.saturating_mul(index.into()));
        let ahead = (end.saturating_sub(place) >> PAGE_SHIFT).min(u64::from(u32::MAX)) as u32;
        drop(cx.fs.device.page(cx.r, place, ahead)?);
        cx.fs.device.copy(cx.r, place, buf)?;
        let first = u64::from(group).saturating_mul(cx.sb.inodes_per_group.into());
        let ino = first.saturating_add(u64::from(index)).saturating_add(1);
        let Ok(ino) = u32::try_from(ino) else { break };
        if ino > cx.sb.inodes_count {
            break;
        }
        let live = live(cx, ino, buf);
        visit(cx, index, &live, buf)?;
    }
    Ok(ControlFlow::Continue(()))
}

/// Reads inode `ino` into `buf`; `None` where there is none of that number, or its table is nowhere.
pub(super) fn one(cx: &Context<'_, '_>, ino: u32, buf: &mut [u8]) -> Result<Option<Live>> {
    let Some(index) = ino.checked_sub(1).filter(|_| ino <= cx.sb.inodes_count) else { return Ok(None) };
    let (Some(group), Some(within)) =
        (index.checked_div(cx.sb.inodes_per_group), index.checked_rem(cx.sb.inodes_per_group))
    else {
        return Ok(None);
    };
    let places = cx.group(group)?;
    if within >= cx.used_inodes(&places) {
        return Ok(None);
    }
    let size = u64::from(cx.sb.inode_size);
    let place = (places.inode_table << cx.sb.block_log).saturating_add(size.saturating_mul(within.into()));
    cx.fs.device.copy(cx.r, place, buf)?;
    Ok(Some(live(cx, ino, buf)))
}

fn live(cx: &Context<'_, '_>, ino: u32, bytes: &[u8]) -> Live {
    let raw = copy_inode(bytes);
    let seed = inode_seed(cx.sb, InodeNo(ino.into()), raw.generation.get());
    Live { ino, raw, is_checksum_right: is_right(cx, &raw, bytes, seed), seed }
}

/// An inode of zeros was never written and has no checksum.
fn is_right(cx: &Context<'_, '_>, raw: &RawInode, bytes: &[u8], seed: u32) -> bool {
    if !cx.sb.features.has_metadata_csum() {
        return true;
    }
    if raw.mode.get() == 0 && bytes.iter().all(|byte| *byte == 0) {
        return true;
    }
    let has_hi = has_checksum_hi(cx.sb, raw);
    let (head, behind) = bytes.split_at_checked(PAGE_SIZE).unwrap_or((bytes, &[]));
    is_checksum(raw, crc32c(first_page_checksum(seed, head, has_hi), behind), has_hi)
}
