//! [`Geometry`]: how many of everything a new file system has. Pure arithmetic on the options and the length.
//!
//! Who calls it: `Maker::new`, front ends that want the numbers before. Everything else of this module relies on it.
//!
//! Invariants:
//! - GE-1 blocks, groups, inodes, descriptors are those that mke2fs gives for the same options (compared by the tests);
//! - GE-2 the metadata of each flexible group fit into its groups (walked through once, by `placement`);
//! - GE-3 a last group that has no room for its own metadata and 50 blocks is left away.

use super::defaults::Options;
use super::placement;
use crate::features::Features;
use crate::layout::{GROUP_LONG_BYTES, GROUP_SHORT_BYTES, INODE_BASE_BYTES};
use rumpcap_host::{Error, Result};

/// The first inode that is not reserved.
pub(super) const FIRST_INODE: u32 = 11;
/// Blocks that the last group must have beside its metadata (GE-3).
const LAST_GROUP_SLACK: u64 = 50;
/// Groups of a flexible group: for each of its groups, all of it is walked through.
const FLEX_MAX: u32 = 256;
/// The journal's least length.
const JOURNAL_BLOCKS_MIN: u64 = 1024;
const JOURNAL_BLOCKS_MAX: u64 = 10_240_000;
const MIB: u64 = 1 << 20;

/// How many of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Features: those of the options, less what this size cannot have.
    pub features: Features,
    /// log2 of `block_size`.
    pub block_log: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks.
    pub blocks_count: u64,
    /// Blocks kept for root.
    pub blocks_reserved: u64,
    /// Block at which group 0 begins.
    pub first_data_block: u64,
    /// Blocks of a group.
    pub blocks_per_group: u32,
    /// Groups.
    pub group_count: u32,
    /// Inodes.
    pub inodes_count: u32,
    /// Inodes of a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Blocks of a group's inode table.
    pub table_blocks: u32,
    /// Bytes of a descriptor.
    pub desc_size: u32,
    /// Blocks of descriptors.
    pub desc_blocks: u32,
    /// Blocks behind them for more.
    pub reserved_desc_blocks: u32,
    /// log2 of the groups whose metadata are together.
    pub flex_log: u32,
    /// Blocks of the journal, 0 without.
    pub journal_blocks: u32,
}

fn invalid<T>(what: &'static str) -> Result<T> {
    Err(Error::InvalidInput { what })
}

impl Geometry {
    /// The numbers for a device of `len_bytes`.
    ///
    /// # Errors
    /// `Unsupported`, `UnknownFeature` for features; `InvalidInput` naming the option that does not go; `NoSpace` when the
    /// device is too small for what is asked.
    pub fn new(options: &Options, len_bytes: u64) -> Result<Geometry> {
        options.features.check_makeable()?;
        let mut g = Geometry::units(options, len_bytes)?;
        let wanted = g.wanted_inodes(options)?;
        let all_blocks = g.blocks_count;
        while !g.fit_groups(wanted, all_blocks)? {}
        g.blocks_reserved = reserved_blocks(g.blocks_count, options.reserved_basis_points);
        g.choose_journal(options)?;
        placement::check(&g)?;
        Ok(g)
    }

    /// Sizes of the units, and the blocks of the device.
    fn units(options: &Options, len_bytes: u64) -> Result<Geometry> {
        let mut features = options.features;
        let block_size = options.block_size.unwrap_or(if len_bytes < 512 * MIB { 1024 } else { 4096 });
        if !block_size.is_power_of_two() || !(1024..=65_536).contains(&block_size) {
            return invalid("block size: a power of two from 1024 to 65536");
        }
        let size = options.inode_size;
        if !size.is_power_of_two() || size < INODE_BASE_BYTES as u32 || size > block_size {
            return invalid("inode size: a power of two from 128 to the size of a block");
        }
        if options.reserved_basis_points > 5000 {
            return invalid("share of reserved blocks: at most 50 per cent");
        }
        if !options.groups_per_flex.is_power_of_two() || options.groups_per_flex > FLEX_MAX {
            return invalid("groups of a flexible group: a power of two up to 256");
        }
        let block_log = block_size.trailing_zeros();
        let blocks_count = len_bytes >> block_log;
        if blocks_count > u64::from(u32::MAX) {
            if !features.has_64bit() {
                return invalid("size: 2^32 blocks and more need the feature 64bit");
            }
            // Its file cannot map what would be reserved.
            features = features.without_resize_inode();
        }
        let desc_size = if features.has_64bit() { GROUP_LONG_BYTES } else { GROUP_SHORT_BYTES };
        Ok(Geometry {
            features,
            block_log,
            block_size,
            blocks_count,
            blocks_reserved: 0,
            first_data_block: u64::from(block_log == 10),
            // Counts of a group's free blocks have 16 bits where descriptors are short.
            blocks_per_group: (block_size * 8).min((1 << 16) - 8),
            group_count: 0,
            inodes_count: 0,
            inodes_per_group: 0,
            inode_size: options.inode_size,
            table_blocks: 0,
            desc_size: desc_size as u32,
            desc_blocks: 0,
            reserved_desc_blocks: 0,
            flex_log: if features.has_flex_bg() { options.groups_per_flex.trailing_zeros() } else { 0 },
            journal_blocks: 0,
        })
    }

    fn wanted_inodes(&self, options: &Options) -> Result<u32> {
        if let Some(inodes) = options.inodes {
            return Ok(inodes.max(FIRST_INODE + 1));
        }
        let per_inode = options.bytes_per_inode.unwrap_or_else(|| self.default_bytes_per_inode());
        if !(1024..=1 << 26).contains(&per_inode) {
            return invalid("bytes per inode: from 1024 to 67108864");
        }
        let inodes = (self.blocks_count << self.block_log) / u64::from(per_inode);
        Ok(u32::try_from(inodes).unwrap_or(u32::MAX).max(FIRST_INODE + 1))
    }

    /// By the size of the file system, and not more than an inode for each block.
    fn default_bytes_per_inode(&self) -> u32 {
        let by_size = match self.blocks_count << self.block_log {
            n if n < 3 * MIB => 8192,
            n if n < 512 * MIB => 4096,
            n if n < 4 * MIB * MIB => 16_384,
            n if n < 16 * MIB * MIB => 32_768,
            _ => 65_536,
        };
        by_size.max(self.block_size)
    }

    /// Divides the blocks into groups; false if the last group had to go, or groups had to shrink (then with all blocks of
    /// the device again), so that all is to be done again. Ends: groups only shrink, and of one size few can go.
    fn fit_groups(&mut self, wanted: u32, all_blocks: u64) -> Result<bool> {
        let blocks = self.blocks_count.checked_sub(self.first_data_block).filter(|&n| n > 0);
        let blocks = blocks.ok_or(Error::NoSpace { what: "blocks" })?;
        let groups = blocks.div_ceil(u64::from(self.blocks_per_group));
        self.group_count =
            u32::try_from(groups).or_else(|_| invalid("size: more than 2^32 groups of blocks"))?;
        self.desc_blocks = self.group_count.div_ceil(self.block_size / self.desc_size);
        if wanted.div_ceil(self.group_count) > self.block_size * 8 {
            if self.blocks_per_group < 256 {
                return invalid("number of inodes: more than the groups' bitmaps can hold");
            }
            self.blocks_per_group -= 8;
            self.blocks_count = all_blocks;
            return Ok(false);
        }
        self.fit_inodes(wanted);
        self.reserved_desc_blocks =
            if self.features.has_resize_inode() { self.reserved_descriptors() } else { 0 };
        if self.reserved_desc_blocks == 0 {
            self.features = self.features.without_resize_inode();
        }
        let most = 3 + self.table_blocks + self.desc_blocks + self.reserved_desc_blocks;
        if most > self.blocks_per_group {
            return if self.desc_blocks > self.blocks_per_group / 2 {
                invalid("size: descriptors do not fit into a group; larger blocks would do")
            } else {
                invalid("number of inodes: their table does not fit into a group")
            };
        }
        let rest = blocks % u64::from(self.blocks_per_group);
        let need = u64::from(self.overhead_of(self.group_count - 1));
        if rest > 0 && self.group_count == 1 && rest < need {
            return Err(Error::NoSpace { what: "blocks" });
        }
        if rest > 0 && self.group_count > 1 && rest < need + LAST_GROUP_SLACK {
            self.blocks_count -= rest;
            return Ok(false);
        }
        Ok(true)
    }

    /// Inodes of a group: at least their share of `wanted`, filling whole blocks, a multiple of eight.
    fn fit_inodes(&mut self, wanted: u32) {
        let per_block = self.block_size / self.inode_size;
        // Counts of 16 bits again.
        let most = (1 << 16) - per_block;
        let mut share = wanted.div_ceil(self.group_count).min(most);
        loop {
            let table = share.div_ceil(per_block);
            self.inodes_per_group = (table * per_block).max(8) & !7;
            self.table_blocks = self.inodes_per_group.div_ceil(per_block);
            if let Some(count) = self.inodes_per_group.checked_mul(self.group_count) {
                self.inodes_count = count;
                return;
            }
            share -= 1;
        }
    }

    /// Blocks behind the descriptors: room for 1,024 times the size, or 2^32 blocks, as far as one block can list them.
    fn reserved_descriptors(&self) -> u32 {
        let limit = u64::from(u32::MAX);
        let most = if self.blocks_count < limit / 1024 { self.blocks_count * 1024 } else { limit };
        let groups = (most - self.first_data_block).div_ceil(u64::from(self.blocks_per_group));
        let blocks = groups.div_ceil(u64::from(self.block_size / self.desc_size)) as u32;
        blocks.saturating_sub(self.desc_blocks).min(self.block_size / 4)
    }

    fn choose_journal(&mut self, options: &Options) -> Result<()> {
        if !self.features.has_journal() {
            return Ok(());
        }
        let blocks = match options.journal_bytes {
            Some(bytes) => {
                let blocks = bytes >> self.block_log;
                if !(JOURNAL_BLOCKS_MIN..=JOURNAL_BLOCKS_MAX).contains(&blocks) {
                    return invalid("journal size: from 1024 to 10240000 blocks");
                }
                if blocks > self.blocks_count / 2 {
                    return invalid("journal size: more than half of the file system");
                }
                blocks as u32
            }
            None => default_journal(self.blocks_count),
        };
        self.journal_blocks = blocks;
        if blocks == 0 {
            self.features = self.features.without_journal();
        }
        Ok(())
    }

    /// Blocks of `group`'s own metadata.
    pub(super) fn overhead_of(&self, group: u32) -> u32 {
        2 + self.table_blocks + self.super_run_blocks(group)
    }

    /// Blocks of super block and descriptors at the beginning of `group`, 0 if it has none.
    pub(super) fn super_run_blocks(&self, group: u32) -> u32 {
        if self.has_super_block(group) { 1 + self.desc_blocks + self.reserved_desc_blocks } else { 0 }
    }

    /// Whether `group` has a super block.
    pub fn has_super_block(&self, group: u32) -> bool {
        if group <= 1 || !self.features.has_sparse_super() {
            return true;
        }
        let is_power_of = |base: u32| {
            let mut rest = group;
            while rest.is_multiple_of(base) {
                rest /= base;
            }
            rest == 1
        };
        is_power_of(3) || is_power_of(5) || is_power_of(7)
    }

    /// First block of `group`.
    pub fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Block behind `group`, the last of which may be short.
    pub fn group_end(&self, group: u32) -> u64 {
        (self.group_start(group) + u64::from(self.blocks_per_group)).min(self.blocks_count)
    }

    /// Bytes of the file system.
    pub fn len_bytes(&self) -> u64 {
        self.blocks_count << self.block_log
    }

    /// Blocks that hold metadata from the beginning, the journal among them.
    pub(super) fn overhead_blocks(&self) -> u64 {
        let groups: u64 = (0..self.group_count).map(|group| u64::from(self.overhead_of(group))).sum();
        groups + self.first_data_block + u64::from(self.journal_blocks)
    }
}

fn reserved_blocks(blocks: u64, basis_points: u32) -> u64 {
    (u128::from(blocks) * u128::from(basis_points) / 10_000) as u64
}

/// Blocks of the journal of a file system of so many blocks, 0 if it is too small for one.
fn default_journal(blocks: u64) -> u32 {
    const STEPS: [(u64, u32); 8] = [
        (2048, 0),
        (32_768, 1024),
        (256 << 10, 4096),
        (512 << 10, 8192),
        (4096 << 10, 16_384),
        (8192 << 10, 32_768),
        (16_384 << 10, 65_536),
        (32_768 << 10, 131_072),
    ];
    STEPS.iter().find(|(below, _)| blocks < *below).map_or(262_144, |&(_, journal)| journal)
}
