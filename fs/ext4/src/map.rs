//! From a block of a file to the device, whatever maps the file.
//!
//! Who calls it: `vnops` for [`Extent`]s (the hot path of reads), `dir` and `xattr` for single blocks. Whom it calls: `extent`
//! or `block_map`, by the inode's flag.
//!
//! Invariant MAP-1: a [`Run`] holds at least one block, and its blocks are all within the file system.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::layout::inode_flags;
use crate::node::Ext4Node;
use crate::{Ext4, block_map, extent};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Extent, Node};
use rumpcap_vm::Reservation;

/// Count of a hole that nothing follows.
pub(crate) const TO_THE_END: u64 = u64::MAX;

/// Blocks of a file in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// On the device, in a row there too.
    Blocks {
        /// Block of the device.
        first: u64,
        /// How many, at least 1.
        count: u64,
    },
    /// Nowhere, or not written yet.
    Hole {
        /// How many, at least 1; [`TO_THE_END`].
        count: u64,
    },
}

impl Ext4 {
    /// The run that begins with block `logical` of `node`.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum` (at: the block of the tree, or the inode for its root), `Encrypted`, `Io`.
    pub(crate) fn run(&self, r: &Reservation<'_>, node: &Node, logical: u64) -> Result<Run> {
        if node.has_flag(inode_flags::EXTENTS) {
            extent::find(self, r, node, logical)
        } else {
            block_map::find(self, r, node, logical)
        }
    }

    /// The block of the device that holds block `logical` of `node`; `None` for a hole and for what is not written.
    ///
    /// # Errors
    /// As [`Ext4::run`].
    pub(crate) fn map_block(&self, r: &Reservation<'_>, node: &Node, logical: u64) -> Result<Option<u64>> {
        Ok(match self.run(r, node, logical)? {
            Run::Blocks { first, .. } => Some(first),
            Run::Hole { .. } => None,
        })
    }

    /// Where byte `offset` of `node`'s content is, and how far that goes on.
    ///
    /// # Errors
    /// As [`Ext4::run`]; `Encrypted`.
    pub(crate) fn extent_at(&self, r: &Reservation<'_>, node: &Node, offset: u64) -> Result<Extent> {
        if node.has_flag(inode_flags::ENCRYPT) {
            return Err(Error::Encrypted);
        }
        if node.is_inline() {
            return Ok(Extent::Inline);
        }
        let log = self.sb.block_log;
        let within = offset & !(u64::MAX << log);
        let bytes = |count: u64| count.saturating_mul(1 << log).saturating_sub(within);
        Ok(match self.run(r, node, offset >> log)? {
            // MAP-1 and SB-5: no overflow.
            Run::Blocks { first, count } => {
                Extent::Device { offset: first << log | within, len_bytes: bytes(count) }
            }
            Run::Hole { count: TO_THE_END } => Extent::Hole { len_bytes: u64::MAX },
            Run::Hole { count } => Extent::Hole { len_bytes: bytes(count) },
        })
    }
}
