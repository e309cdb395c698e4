//! [`SuperBlock`]: the checked super block: the geometry and features that everything else relies on.
//!
//! Who calls it: `mount`, once; the rest of the crate reads its fields. A few hundred bytes, `Copy`, fixed after mount.
//!
//! Invariants (established by [`SuperBlock::parse`], relied on without further checks):
//! - SB-1 `1024 <= block_size <= 65536`, a power of two, `block_size == 1 << block_log`.
//! - SB-2 `128 <= inode_size <= block_size`, a power of two: an inode never crosses a block.
//! - SB-3 `inodes_per_group` and `blocks_per_group` are not 0; the inodes of a group fill at least one block.
//! - SB-4 `1 <= group_count`; `inodes_count <= group_count * inodes_per_group`.
//! - SB-5 `blocks_count << block_log` does not overflow; `first_data_block < blocks_count`.
//! - SB-6 `desc_size` is a power of two from 32 to 1024.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::checksum::crc32c;
use crate::features::Features;
use crate::layout::{
    GROUP_LONG_BYTES, GROUP_SHORT_BYTES, INODE_BASE_BYTES, RawSuperBlock, SUPER_BLOCK_BYTES,
    SUPER_BLOCK_MAGIC, SUPER_FLAG_UNSIGNED_HASH,
};
use rumpcap_host::{Error, Result};
use zerocopy::{FromBytes, IntoBytes};

/// Largest `s_log_block_size`: 64 KiB.
const LOG_BLOCK_SIZE_MAX: u32 = 6;
/// `s_creator_os`: the Hurd, which keeps a block of its own where others count changes of an inode.
const CREATOR_HURD: u32 = 1;

/// Largest `log2` of blocks in a cluster that the file system's tools make (a cluster of 512 MiB at most).
const CLUSTER_LOG_MAX: u32 = 19;
/// `s_checksum_type` of crc32c, the only one that was ever defined.
const CHECKSUM_CRC32C: u8 = 1;

/// The checked super block.
#[derive(Clone, Copy, Debug)]
pub struct SuperBlock {
    /// Features.
    pub features: Features,
    /// log2 of `block_size`, 10 to 16.
    pub block_log: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// log2 of blocks in a cluster; 0 without bigalloc.
    pub cluster_log: u32,
    /// Blocks of the file system: block numbers are below this.
    pub blocks_count: u64,
    /// Block at which group 0 begins.
    pub first_data_block: u64,
    /// Blocks of a group.
    pub blocks_per_group: u32,
    /// Groups.
    pub group_count: u32,
    /// Inodes; inode numbers run from 1 to this.
    pub inodes_count: u32,
    /// Inodes of a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode on the device.
    pub inode_size: u32,
    /// The first inode that is not reserved, at least 11.
    pub first_inode: u32,
    /// log2 of the groups whose bitmaps and inode tables are kept together; 0 without flex_bg.
    pub flex_log: u32,
    /// Bytes of a group descriptor.
    pub desc_size: u32,
    /// Groups of descriptor blocks below this are placed behind the super block, from it on as meta_bg says.
    pub first_meta_bg: u32,
    /// Groups that hold the backups with sparse_super2.
    pub backup_groups: [u32; 2],
    /// Blocks kept behind the descriptors for more of them.
    pub reserved_gdt_blocks: u32,
    /// Block that held the super block that was read: descriptors follow it.
    pub super_block_block: u64,
    /// Seed of crc32c checksums.
    pub csum_seed: u32,
    /// UUID.
    pub uuid: [u8; 16],
    /// Seed of directory hashes.
    pub hash_seed: [u32; 4],
    /// Hash of new directories' trees.
    pub default_hash_version: u8,
    /// Whether the hashes of legacy, half-MD4 and TEA trees take characters as unsigned.
    pub hash_unsigned: bool,
    /// Encoding of casefolded names: 1 is UTF-8 12.1.
    pub encoding: u16,
    /// Flags of the encoding: 1 is strict.
    pub encoding_flags: u16,
    /// Inode of the journal, 0 if there is none inside.
    pub journal_inode: u32,
    /// Whether inodes count their changes; the Hurd has something else there.
    pub has_versions: bool,
    /// Clean and reserved counts for `statvfs`.
    pub counts: Counts,
    /// `s_state`.
    pub state: u16,
}

/// The counts that the super block keeps.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Free blocks.
    pub blocks_free: u64,
    /// Blocks kept for root.
    pub blocks_reserved: u64,
    /// Free inodes.
    pub inodes_free: u32,
    /// Clusters of metadata that are always in use; 0 when not recorded.
    pub overhead_clusters: u32,
}

fn corrupt(what: &'static str) -> Error {
    Error::Corrupt { what, at: crate::layout::SUPER_BLOCK_OFFSET }
}

fn require(holds: bool, what: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(corrupt(what)) }
}

fn wide(lo: u32, hi: u32) -> u64 {
    u64::from(lo) | u64::from(hi) << 32
}

impl SuperBlock {
    /// Checks the bytes of a super block, found at byte `offset` of the device.
    ///
    /// # Errors
    /// `NotAFileSystem` without the magic number; `Unsupported`, `UnknownFeature`; `Checksum`; `Corrupt`.
    pub fn parse(bytes: &[u8; SUPER_BLOCK_BYTES], offset: u64) -> Result<SuperBlock> {
        let raw = RawSuperBlock::ref_from_bytes(bytes).map_err(|_| Error::NotAFileSystem)?;
        if raw.magic.get() != SUPER_BLOCK_MAGIC {
            return Err(Error::NotAFileSystem);
        }
        let features = Features {
            compat: raw.features_compat.get(),
            incompat: raw.features_incompat.get(),
            ro_compat: raw.features_ro_compat.get(),
        };
        features.check()?;
        verify(raw, &features, offset)?;
        let block_log = raw.log_block_size.get();
        require(block_log <= LOG_BLOCK_SIZE_MAX, "super block: block size")?;
        let block_log = block_log.saturating_add(10);
        let sb = SuperBlock {
            features,
            block_log,
            block_size: 1 << block_log,
            cluster_log: cluster_log(raw, &features)?,
            blocks_count: blocks_count(raw, &features),
            first_data_block: u64::from(raw.first_data_block.get()),
            blocks_per_group: raw.blocks_per_group.get(),
            group_count: 0,
            inodes_count: raw.inodes_count.get(),
            inodes_per_group: raw.inodes_per_group.get(),
            inode_size: inode_size(raw),
            first_inode: first_inode(raw),
            flex_log: flex_log(raw, &features),
            desc_size: desc_size(raw, &features),
            first_meta_bg: raw.first_meta_block_group.get(),
            backup_groups: raw.backup_groups.map(|group| group.get()),
            reserved_gdt_blocks: u32::from(raw.reserved_gdt_blocks.get()),
            super_block_block: offset >> block_log,
            csum_seed: csum_seed(raw, &features),
            uuid: raw.uuid,
            hash_seed: raw.hash_seed.map(|word| word.get()),
            default_hash_version: raw.default_hash_version,
            hash_unsigned: raw.flags.get() & SUPER_FLAG_UNSIGNED_HASH != 0,
            encoding: raw.encoding.get(),
            encoding_flags: raw.encoding_flags.get(),
            journal_inode: raw.journal_inode.get(),
            has_versions: raw.creator_os.get() != CREATOR_HURD,
            counts: counts(raw, &features),
            state: raw.state.get(),
        };
        sb.with_groups()
    }

    /// Checks the geometry (SB-2 to SB-6) and counts the groups.
    fn with_groups(mut self) -> Result<SuperBlock> {
        let bits_per_block = self.block_size << 3;
        let clusters_per_group = self.blocks_per_group >> self.cluster_log;
        require(
            clusters_per_group > 0 && clusters_per_group <= bits_per_block,
            "super block: blocks per group",
        )?;
        let size = self.inode_size;
        let sizes = INODE_BASE_BYTES as u32..=self.block_size;
        require(size.is_power_of_two() && sizes.contains(&size), "super block: inode size")?;
        let per_block = self.block_size >> size.trailing_zeros();
        let per_group = per_block..=bits_per_block;
        require(per_group.contains(&self.inodes_per_group), "super block: inodes per group")?;
        let descriptor = GROUP_SHORT_BYTES as u32..=1024;
        let size = self.desc_size;
        require(size.is_power_of_two() && descriptor.contains(&size), "super block: descriptor size")?;
        require(self.blocks_count <= u64::MAX >> 17, "super block: blocks count")?;
        let blocks = self.blocks_count.checked_sub(self.first_data_block).filter(|&n| n > 0);
        let blocks = blocks.ok_or_else(|| corrupt("super block: first data block"))?;
        let groups = blocks.div_ceil(u64::from(self.blocks_per_group));
        self.group_count = u32::try_from(groups).map_err(|_| corrupt("super block: number of groups"))?;
        let inodes = groups.saturating_mul(u64::from(self.inodes_per_group));
        let count = u64::from(self.inodes_count);
        require(count > 0 && count <= inodes, "super block: inodes count")?;
        Ok(self)
    }

    /// Bytes that the device must have.
    pub fn len_bytes(&self) -> u64 {
        self.blocks_count << self.block_log
    }

    /// Blocks of a group's inode table.
    pub fn inode_table_blocks(&self) -> u32 {
        // SB-1 to SB-3: at most 8 * 65536 inodes of at most 65536 bytes.
        let bytes = u64::from(self.inodes_per_group) << self.inode_size.trailing_zeros();
        bytes.div_ceil(u64::from(self.block_size)) as u32
    }

    /// First block of `group`; may be past the end for a group that does not exist.
    pub fn group_first_block(&self, group: u32) -> u64 {
        let blocks = u64::from(group).saturating_mul(u64::from(self.blocks_per_group));
        self.first_data_block.saturating_add(blocks)
    }

    /// Whether `group` holds a copy of the super block.
    pub fn has_super_block(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_sparse_super2() {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || !self.features.has_sparse_super() {
            return true;
        }
        [3, 5, 7].iter().any(|&base| is_power_of(group, base))
    }
}

/// Whether `n` is `base` to some power of at least 1; `base` is at least 2, so at most 31 rounds.
fn is_power_of(n: u32, base: u32) -> bool {
    let mut power = base;
    while power < n {
        power = power.saturating_mul(base);
    }
    power == n
}

/// Verifies the super block's own checksum.
fn verify(raw: &RawSuperBlock, features: &Features, offset: u64) -> Result<()> {
    if !features.has_metadata_csum() {
        return Ok(());
    }
    if raw.checksum_type != CHECKSUM_CRC32C {
        return Err(Error::Unsupported { what: "metadata checksums that are not crc32c" });
    }
    let covered = raw.as_bytes().get(..core::mem::offset_of!(RawSuperBlock, checksum)).unwrap_or_default();
    if crc32c(!0, covered) != raw.checksum.get() {
        return Err(Error::Checksum { what: "super block", at: offset });
    }
    Ok(())
}

/// Puts the checksum into a super block that was changed, if it has one.
pub(crate) fn seal_super_block(raw: &mut RawSuperBlock) {
    let features = Features { ro_compat: raw.features_ro_compat.get(), ..Features::default() };
    if features.has_metadata_csum() {
        let bytes = raw.as_bytes();
        let covered = bytes.get(..core::mem::offset_of!(RawSuperBlock, checksum)).unwrap_or_default();
        raw.checksum = crc32c(!0, covered).into();
    }
}

fn csum_seed(raw: &RawSuperBlock, features: &Features) -> u32 {
    if features.has_metadata_csum_seed() { raw.checksum_seed.get() } else { crc32c(!0, &raw.uuid) }
}

fn cluster_log(raw: &RawSuperBlock, features: &Features) -> Result<u32> {
    if !features.has_bigalloc() {
        return Ok(0);
    }
    let log = raw.log_cluster_size.get().checked_sub(raw.log_block_size.get());
    log.filter(|&log| log <= CLUSTER_LOG_MAX).ok_or_else(|| corrupt("super block: cluster size"))
}

fn blocks_count(raw: &RawSuperBlock, features: &Features) -> u64 {
    let hi = if features.has_64bit() { raw.blocks_count_hi.get() } else { 0 };
    wide(raw.blocks_count_lo.get(), hi)
}

fn inode_size(raw: &RawSuperBlock) -> u32 {
    if raw.revision.get() == 0 { INODE_BASE_BYTES as u32 } else { u32::from(raw.inode_size.get()) }
}

fn first_inode(raw: &RawSuperBlock) -> u32 {
    const RESERVED: u32 = 10;
    if raw.revision.get() == 0 {
        RESERVED.saturating_add(1)
    } else {
        raw.first_inode.get().max(RESERVED.saturating_add(1))
    }
}

fn flex_log(raw: &RawSuperBlock, features: &Features) -> u32 {
    // As the kernel has it: what cannot be shifted by means no flex groups.
    let log = u32::from(raw.log_groups_per_flex);
    if features.has_flex_bg() && log < u32::BITS { log } else { 0 }
}

fn desc_size(raw: &RawSuperBlock, features: &Features) -> u32 {
    if !features.has_64bit() {
        return GROUP_SHORT_BYTES as u32;
    }
    // A size that is too small for the long form is caught by SB-6: 0 is no power of two.
    let size = u32::from(raw.descriptor_size.get());
    if size < GROUP_LONG_BYTES as u32 { 0 } else { size }
}

fn counts(raw: &RawSuperBlock, features: &Features) -> Counts {
    let hi = |word: u32| if features.has_64bit() { word } else { 0 };
    Counts {
        blocks_free: wide(raw.free_blocks_lo.get(), hi(raw.free_blocks_hi.get())),
        blocks_reserved: wide(raw.reserved_blocks_lo.get(), hi(raw.reserved_blocks_hi.get())),
        inodes_free: raw.free_inodes.get(),
        overhead_clusters: raw.overhead_clusters.get(),
    }
}
