//! The bytes of a new super block, and of its copies.
//!
//! Who calls it: `groups`, at the very end.

use super::maker::Image;
use crate::checksum::crc32c;
use crate::layout::{
    RawInode, RawSuperBlock, STATE_VALID, SUPER_BLOCK_BYTES, SUPER_BLOCK_MAGIC, SUPER_FLAG_SIGNED_HASH,
};
use crate::mkfs::geometry::FIRST_INODE;
use crate::mkfs::inode::EXTRA_BYTES;
use crate::mkfs::journal::JOURNAL_INODE;
use zerocopy::{FromZeros, IntoBytes};

const REVISION_DYNAMIC: u32 = 1;
const ERRORS_CONTINUE: u16 = 1;
const DEFAULT_MOUNT_XATTR_ACL: u32 = 0x4 | 0x8;
const HASH_HALF_MD4: u8 = 1;
const CHECKSUM_CRC32C: u8 = 1;
/// The journal's map is kept in `s_jnl_blocks`.
const JOURNAL_BACKUP_BLOCKS: u8 = 1;

/// Counts that are known at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Free {
    pub blocks: u64,
    pub inodes: u32,
}

/// The super block of group 0.
pub(super) fn primary(image: &Image<'_>, free: Free) -> RawSuperBlock {
    let g = &image.g;
    let mut sb = RawSuperBlock::new_zeroed();
    sb.inodes_count.set(g.inodes_count);
    sb.blocks_count_lo.set(g.blocks_count as u32);
    sb.blocks_count_hi.set((g.blocks_count >> 32) as u32);
    sb.reserved_blocks_lo.set(g.blocks_reserved as u32);
    sb.reserved_blocks_hi.set((g.blocks_reserved >> 32) as u32);
    sb.free_blocks_lo.set(free.blocks as u32);
    sb.free_blocks_hi.set((free.blocks >> 32) as u32);
    sb.free_inodes.set(free.inodes);
    sb.first_data_block.set(g.first_data_block as u32);
    sb.log_block_size.set(g.block_log - 10);
    sb.log_cluster_size.set(g.block_log - 10);
    sb.blocks_per_group.set(g.blocks_per_group);
    sb.clusters_per_group.set(g.blocks_per_group);
    sb.inodes_per_group.set(g.inodes_per_group);
    sb.max_mount_count.set(u16::MAX);
    sb.magic.set(SUPER_BLOCK_MAGIC);
    sb.state.set(STATE_VALID);
    sb.errors.set(ERRORS_CONTINUE);
    sb.revision.set(REVISION_DYNAMIC);
    sb.first_inode.set(FIRST_INODE);
    sb.inode_size.set(g.inode_size as u16);
    sb.features_compat.set(g.features.compat);
    sb.features_incompat.set(g.features.incompat);
    sb.features_ro_compat.set(g.features.ro_compat);
    sb.uuid = image.uuid;
    sb.volume_name = image.label;
    sb.reserved_gdt_blocks.set(g.reserved_desc_blocks as u16);
    sb.default_mount_options.set(DEFAULT_MOUNT_XATTR_ACL);
    sb.log_groups_per_flex = g.flex_log as u8;
    sb.flags.set(SUPER_FLAG_SIGNED_HASH);
    sb.hash_seed = image.hasher.seed.map(Into::into);
    sb.default_hash_version = HASH_HALF_MD4;
    sb.overhead_clusters.set(g.overhead_blocks() as u32);
    if g.features.has_64bit() {
        sb.descriptor_size.set(g.desc_size as u16);
    }
    if g.inode_size as usize >= size_of::<RawInode>() {
        sb.min_extra_isize.set(EXTRA_BYTES as u16);
        sb.want_extra_isize.set(EXTRA_BYTES as u16);
    }
    if g.features.has_metadata_csum() {
        sb.checksum_type = CHECKSUM_CRC32C;
    }
    if g.features.has_metadata_csum_seed() {
        sb.checksum_seed.set(image.csum_seed);
    }
    set_times(&mut sb, image.time);
    if g.journal_blocks > 0 {
        set_journal(&mut sb, image);
    }
    seal(&mut sb);
    sb
}

fn set_times(sb: &mut RawSuperBlock, time: u64) {
    let (lo, hi) = (time as u32, (time >> 32) as u8);
    for field in [&mut sb.write_time, &mut sb.last_check, &mut sb.mkfs_time] {
        field.set(lo);
    }
    (sb.write_time_hi, sb.last_check_hi, sb.mkfs_time_hi) = (hi, hi, hi);
}

/// Where the journal is, and its map once more, for repair.
fn set_journal(sb: &mut RawSuperBlock, image: &Image<'_>) {
    sb.journal_inode.set(JOURNAL_INODE);
    sb.journal_backup_type = JOURNAL_BACKUP_BLOCKS;
    let size = u64::from(image.g.journal_blocks) << image.g.block_log;
    let words = image.journal_words.into_iter().chain([(size >> 32) as u32, size as u32]);
    for (to, word) in sb.journal_blocks.iter_mut().zip(words) {
        to.set(word);
    }
}

/// The copy for `group`: not said to be clean, so that whoever goes back to it checks the file system.
pub(super) fn backup(primary: &RawSuperBlock, group: u32) -> RawSuperBlock {
    let mut sb = *primary;
    sb.block_group.set(group as u16);
    sb.state.set(0);
    seal(&mut sb);
    sb
}

fn seal(sb: &mut RawSuperBlock) {
    if sb.checksum_type == CHECKSUM_CRC32C {
        let sum = crc32c(!0, &sb.as_bytes()[..SUPER_BLOCK_BYTES - 4]);
        sb.checksum.set(sum);
    }
}
