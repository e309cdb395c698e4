//! [`Context`]: what every step of a check has at hand: the file system, the reservation, where findings go.
//!
//! Who calls it: all modules of `check`. Whom it calls: `vm` for pages, `group` for descriptors.
//!
//! A check walks over the same structures once for each window of blocks or inodes. What a walk finds in a structure by
//! itself is told the first time ([`Telling::First`]); what it finds by means of the window is told always.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::finding::{Detail, Finding, Place, Severity};
use crate::Ext4;
use crate::group::{descriptor_place, is_right};
use crate::layout::{
    GROUP_INODE_UNINIT, GROUP_LONG_BYTES, GROUP_SHORT_BYTES, RawGroup, RawSuperBlock, SUPER_BLOCK_BYTES,
};
use crate::super_block::SuperBlock;
use core::ops::ControlFlow;
use rumpcap_host::Result;
use rumpcap_vm::Reservation;
use zerocopy::FromBytes;

/// What a check tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'n> {
    /// Something was found.
    Finding(Finding<'n>),
    /// How far it is.
    Progress {
        /// The name of the pass.
        pass: &'static str,
        /// Groups done.
        done: u64,
        /// Groups to be done.
        total: u64,
    },
}

/// `bg_flags`: the bitmap of blocks was never written.
pub(super) const GROUP_BLOCK_UNINIT: u16 = 0x2;

/// Who wants to know; may break to end the check.
pub type Sink<'s> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 's;

/// Whether this walk tells what structures by themselves have wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    First,
    Repeated,
}

/// What every step has at hand.
pub(super) struct Context<'c, 'v> {
    pub fs: &'c Ext4,
    pub sb: &'c SuperBlock,
    pub raw: RawSuperBlock,
    pub r: &'c Reservation<'v>,
    pub telling: Telling,
    pub errors: u64,
    pub notes: u64,
    sink: &'c mut Sink<'c>,
    is_stopped: bool,
}

/// A group's descriptor as it is on the device.
#[derive(Clone, Copy)]
pub(super) struct GroupPlaces {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    pub free_clusters: u32,
    pub free_inodes: u32,
    pub directories: u32,
    /// Inodes from the end of the table that were never used.
    pub unused: u32,
    pub flags: u16,
    /// Whether something is marked as never written where nothing can be.
    pub has_stray_marks: bool,
    pub block_bitmap_checksum: u32,
    pub inode_bitmap_checksum: u32,
    pub is_checksum_right: bool,
}

impl<'c, 'v> Context<'c, 'v> {
    pub fn new(fs: &'c Ext4, r: &'c Reservation<'v>, sink: &'c mut Sink<'c>) -> Result<Context<'c, 'v>> {
        let mut bytes = [0; SUPER_BLOCK_BYTES];
        fs.device.copy(r, fs.super_block_offset, &mut bytes)?;
        let raw = zerocopy::transmute!(bytes);
        let telling = Telling::First;
        Ok(Context { fs, sb: &fs.sb, raw, r, telling, errors: 0, notes: 0, sink, is_stopped: false })
    }

    /// Tells what a structure by itself has wrong.
    pub fn find(&mut self, place: Place, what: &'static str, detail: Detail) {
        self.find_named(place, what, detail, b"");
    }

    /// As [`Context::find`], of an entry with a name.
    pub fn find_named(&mut self, place: Place, what: &'static str, detail: Detail, name: &[u8]) {
        if self.telling == Telling::First {
            self.find_here(place, what, detail, name);
        }
    }

    /// Tells what was found by means of the present window.
    pub fn find_here(&mut self, place: Place, what: &'static str, detail: Detail, name: &[u8]) {
        self.errors = self.errors.saturating_add(1);
        self.tell(Event::Finding(Finding { severity: Severity::Error, place, what, detail, name }));
    }

    /// Tells that a number is not what it should be.
    pub fn expect(&mut self, place: Place, what: &'static str, is: u64, should_be: u64) {
        if is != should_be {
            self.find(place, what, Detail::ShouldBe { is, should_be });
        }
    }

    /// Tells what is worth knowing.
    pub fn note(&mut self, place: Place, what: &'static str, detail: Detail) {
        if self.telling == Telling::First {
            self.note_here(place, what, detail, b"");
        }
    }

    /// Tells what is worth knowing and was found by means of the present window.
    pub fn note_here(&mut self, place: Place, what: &'static str, detail: Detail, name: &[u8]) {
        self.notes = self.notes.saturating_add(1);
        self.tell(Event::Finding(Finding { severity: Severity::Note, place, what, detail, name }));
    }

    /// Tells how far the pass is, in groups.
    pub fn progress(&mut self, pass: &'static str, done: u32) {
        let total = u64::from(self.sb.group_count);
        self.tell(Event::Progress { pass, done: done.into(), total });
    }

    fn tell(&mut self, event: Event<'_>) {
        if !self.is_stopped {
            self.is_stopped = (self.sink)(event).is_break();
        }
    }

    /// Whether whoever listens wants no more.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether a block number is one that files may have. Number 0 of a larger block is the super block's.
    pub fn is_block(&self, block: u64) -> bool {
        block >= self.sb.first_data_block.max(1) && block < self.sb.blocks_count
    }

    /// Copies the first bytes of a block, as many as `buf` has.
    pub fn read(&self, block: u64, buf: &mut [u8]) -> Result<()> {
        self.fs.device.copy(self.r, self.fs.byte_of(block, 0)?, buf)
    }

    /// Bit `at` of the bitmap in `block`.
    pub fn bit(&self, block: u64, at: u32) -> Result<bool> {
        let mut byte = [0];
        self.fs.device.copy(self.r, self.fs.byte_of(block, at >> 3)?, &mut byte)?;
        let [byte] = byte;
        Ok(byte >> (at & 7) & 1 != 0)
    }

    /// Whether the file system has checksums of group descriptors, and with them the marks of what was never written.
    pub fn has_group_checksums(&self) -> bool {
        self.sb.features.has_metadata_csum() || self.sb.features.has_gdt_csum()
    }

    /// Whether usage by users and groups is kept.
    pub fn has_quota(&self) -> bool {
        self.sb.features.ro_compat & 0x100 != 0
    }

    /// The descriptor of `group`.
    pub fn group(&self, group: u32) -> Result<GroupPlaces> {
        let (block, within) = descriptor_place(self.sb, group)?;
        let size = self.sb.desc_size as usize;
        let mut bytes = [0; 1024];
        let bytes = bytes.get_mut(..size).unwrap_or_default();
        self.fs.device.copy(self.r, self.fs.byte_of(block, within)?, bytes)?;
        let is_checksum_right = is_right(self.sb, bytes, group);
        let mut long = [0; GROUP_LONG_BYTES];
        let len = if size >= GROUP_LONG_BYTES { GROUP_LONG_BYTES } else { GROUP_SHORT_BYTES };
        long.iter_mut().zip(bytes.iter().take(len)).for_each(|(to, from)| *to = *from);
        let raw = RawGroup::read_from_bytes(&long).expect("the array is as long as the structure");
        Ok(self.places(&raw, is_checksum_right))
    }

    fn places(&self, raw: &RawGroup, is_checksum_right: bool) -> GroupPlaces {
        let wide = |lo: u32, hi: u32| u64::from(lo) | u64::from(hi) << 32;
        let count = |lo: u16, hi: u16| u32::from(lo) | u32::from(hi) << 16;
        let flags = if self.has_group_checksums() { raw.flags.get() } else { 0 };
        let stored_unused = count(raw.unused_inodes_lo.get(), raw.unused_inodes_hi.get());
        let unused = if flags & GROUP_INODE_UNINIT != 0 { self.sb.inodes_per_group } else { stored_unused };
        let marks = raw.flags.get() & (GROUP_INODE_UNINIT | GROUP_BLOCK_UNINIT);
        let has_stray_marks = !self.has_group_checksums() && marks != 0;
        GroupPlaces {
            block_bitmap: wide(raw.block_bitmap_lo.get(), raw.block_bitmap_hi.get()),
            inode_bitmap: wide(raw.inode_bitmap_lo.get(), raw.inode_bitmap_hi.get()),
            inode_table: wide(raw.inode_table_lo.get(), raw.inode_table_hi.get()),
            free_clusters: count(raw.free_blocks_lo.get(), raw.free_blocks_hi.get()),
            free_inodes: count(raw.free_inodes_lo.get(), raw.free_inodes_hi.get()),
            directories: count(raw.used_directories_lo.get(), raw.used_directories_hi.get()),
            unused: if self.has_group_checksums() { unused } else { 0 },
            flags,
            has_stray_marks,
            block_bitmap_checksum: count(
                raw.block_bitmap_checksum_lo.get(),
                raw.block_bitmap_checksum_hi.get(),
            ),
            inode_bitmap_checksum: count(
                raw.inode_bitmap_checksum_lo.get(),
                raw.inode_bitmap_checksum_hi.get(),
            ),
            is_checksum_right,
        }
    }

    /// Blocks of a group's inode table.
    pub fn table_blocks(&self) -> u64 {
        let bytes = u64::from(self.sb.inodes_per_group) << self.sb.inode_size.trailing_zeros();
        bytes.div_ceil(1 << self.sb.block_log)
    }

    /// Whether all of a group's inode table is in the file system.
    pub fn has_table(&self, group: &GroupPlaces) -> bool {
        let end = group.inode_table.saturating_add(self.table_blocks());
        group.inode_table > self.sb.first_data_block && end <= self.sb.blocks_count
    }

    /// Inodes at the beginning of a group's table that may be in use; none where the table is nowhere.
    pub fn used_inodes(&self, group: &GroupPlaces) -> u32 {
        if self.has_table(group) { self.sb.inodes_per_group.saturating_sub(group.unused) } else { 0 }
    }

    /// First inode that is not reserved.
    pub fn first_inode(&self) -> u32 {
        if self.raw.revision.get() == 0 { 11 } else { self.raw.first_inode.get() }
    }

    /// Clusters of the file system.
    pub fn clusters(&self) -> u64 {
        let blocks = self.sb.blocks_count.saturating_sub(self.sb.first_data_block);
        blocks.div_ceil(1 << self.sb.cluster_log)
    }

    /// Clusters of a group, the last one's apart.
    pub fn clusters_per_group(&self) -> u32 {
        self.sb.blocks_per_group >> self.sb.cluster_log
    }

    /// The cluster of a block, counted from the first data block, as bitmaps do.
    pub fn cluster_of(&self, block: u64) -> u64 {
        block.saturating_sub(self.sb.first_data_block) >> self.sb.cluster_log
    }

    /// The first block of a cluster.
    pub fn block_of(&self, cluster: u64) -> u64 {
        (cluster << self.sb.cluster_log).saturating_add(self.sb.first_data_block)
    }
}

/// The half word at byte `at`; 0 past the end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u16::from_le_bytes(*word))
}

/// The word at byte `at`; 0 past the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}
