//! [`Ext4`]: a mounted file system, and access to its blocks.
//!
//! Who calls it: every module of this crate. Whom it calls: `vm`.
//!
//! A block of up to 4 KiB is part of one page; a larger one is several pages, seen one at a time.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::journal::Recovery;
use crate::super_block::SuperBlock;
use crate::transaction::Writer;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{DeviceObject, PAGE_SIZE, PageRef, Reservation};

/// log2 of the bytes of a unit whose check a page remembers.
pub(crate) const UNIT_SHIFT: u32 = 10;

/// Where byte `at` of the device is within its page.
pub(crate) fn within_page(at: u64) -> usize {
    const MASK: u64 = PAGE_SIZE as u64 - 1;
    (at & MASK) as usize
}

/// A mounted ext2, ext3 or ext4.
pub struct Ext4 {
    pub(crate) device: DeviceObject,
    pub(crate) sb: SuperBlock,
    /// Byte of the device at which the super block is that was read.
    pub(crate) super_block_offset: u64,
    /// What was replayed from the journal, if it was.
    pub(crate) recovery: Option<Recovery>,
    /// What it needs to be changed, if it is mounted so.
    pub(crate) writer: Option<Box<Writer>>,
    /// Why it was mounted to be read although it was to be written.
    pub(crate) read_only_reason: Option<&'static str>,
}

impl Ext4 {
    /// The checked super block.
    pub fn super_block(&self) -> &SuperBlock {
        &self.sb
    }

    /// What was replayed from the journal at mount; `None` when nothing had to be, or was not to be.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// Byte of the device at which byte `within` of block `block` is.
    ///
    /// # Errors
    /// `Corrupt` naming a block that does not exist; `within` past the block.
    pub(crate) fn byte_of(&self, block: u64, within: u32) -> Result<u64> {
        if block >= self.sb.blocks_count || within >= self.sb.block_size {
            return Err(Error::Corrupt { what: "block number past the end of the file system", at: block });
        }
        Ok(block << self.sb.block_log | u64::from(within))
    }

    /// The page that holds byte `within` of block `block`. For what part of it belongs to the block see
    /// [`Ext4::block_part`].
    ///
    /// # Errors
    /// `Corrupt` naming a block that does not exist; as `DeviceObject::page`.
    pub(crate) fn block_page<'r>(
        &self,
        r: &'r Reservation<'_>,
        block: u64,
        within: u32,
    ) -> Result<PageRef<'r>> {
        self.device.page(r, self.byte_of(block, within)?, 0)
    }

    /// The bytes of block `block` that are in `page` (which [`Ext4::block_page`] gave for the same `within`), from the
    /// block's first byte in this page on: the whole block where it is not larger than a page.
    pub(crate) fn block_part<'p>(&self, page: &'p [u8; PAGE_SIZE], block: u64) -> &'p [u8] {
        let len = (self.sb.block_size as usize).min(PAGE_SIZE);
        let start = if len == PAGE_SIZE { 0 } else { within_page(block << self.sb.block_log) };
        page.get(start..).and_then(|bytes| bytes.get(..len)).unwrap_or_default()
    }
}
