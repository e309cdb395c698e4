//! Clusters of several blocks (bigalloc): which one a block in a hole has already, and which are free with an extent.
//!
//! Who calls it: `extents`. Whom it calls: `tree` for the extents beside one.
//!
//! Bitmaps count clusters, extents count blocks. A file that has a block of a cluster has the whole of it, mapped or not.
//!
//! CL-1. A block is at the same place within its cluster in the file and on the device. CL-2. Blocks of one cluster of the file are in one
//! cluster of the device, in which no other file has any. So a block in a hole beside one that is mapped is used without being
//! allocated, and a cluster is free when the last extent with a block of it is. CL-3. `i_blocks` counts whole clusters.
//!
//! A block that is unmapped while its cluster stays is not kept from use until that is durable (`transaction::freed`): only the same
//! place of the same file can have it, so a power cut then shows what an overwrite in place would have.
//!
//! With clusters of one block all of this is nothing: every block has a cluster of its own.
#![deny(clippy::indexing_slicing)]

use super::tree::Way;
use crate::SuperBlock;
use crate::extent::Leaf;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};

impl SuperBlock {
    /// Blocks of a cluster.
    pub(crate) fn cluster_blocks(&self) -> u32 {
        1 << self.cluster_log
    }

    /// Where in its cluster a block is, of the file or of the device.
    pub(super) fn within_cluster(&self, block: u64) -> u64 {
        block & (u64::from(self.cluster_blocks()) - 1)
    }

    /// The first block of a block's cluster.
    pub(super) fn cluster_start(&self, block: u64) -> u64 {
        block - self.within_cluster(block)
    }

    /// The first block of a cluster that is not before `block`.
    fn next_cluster_start(&self, block: u64) -> u64 {
        self.cluster_start(block.saturating_add(u64::from(self.cluster_blocks()) - 1))
    }

    fn is_in_one_cluster(&self, one: u64, other: u64) -> bool {
        one >> self.cluster_log == other >> self.cluster_log
    }
}

impl Way {
    /// The extent before the target, wherever in the tree it is: the way leads to it, if keys are those of the nodes below (TR-1).
    fn before_target(&self, inode: &Inode) -> Result<Option<Leaf>> {
        let is_behind_others = self.levels.iter().rev().skip(1).any(|level| level.index() > 0);
        if self.now.is_none() && is_behind_others {
            return Err(Error::Corrupt { what: "extent tree: order of keys", at: inode.ino.0 });
        }
        Ok(self.now)
    }
}

impl Handle<'_> {
    /// The cluster of the device that block `logical` is in, which is in a hole at the end of `way`: its first block, if the file has it already.
    pub(super) fn cluster_of_hole(&self, inode: &Inode, way: &Way, logical: u32) -> Result<Option<u64>> {
        let sb = &self.fs.sb;
        if sb.cluster_log == 0 {
            return Ok(None);
        }
        let logical = u64::from(logical);
        if let Some(before) = way.before_target(inode)?
            && sb.is_in_one_cluster(before.end().saturating_sub(1), logical)
        {
            return self.cluster_at(inode, &before, before.len.saturating_sub(1)).map(Some);
        }
        let Some(next) = way.next.filter(|&next| sb.is_in_one_cluster(u64::from(next), logical)) else {
            return Ok(None);
        };
        let behind = match way.behind {
            Some(behind) => Some(behind),
            None => self.tree_way(inode, next)?.now,
        };
        let behind = behind.filter(|behind| behind.logical == next);
        let behind = behind.ok_or(Error::Corrupt { what: "extent tree: order of keys", at: inode.ino.0 })?;
        self.cluster_at(inode, &behind, 0).map(Some)
    }

    /// First block of the cluster of block number `into` of an extent (CL-1).
    fn cluster_at(&self, inode: &Inode, extent: &Leaf, into: u64) -> Result<u64> {
        self.check_place_in_cluster(inode, extent)?;
        Ok(self.fs.sb.cluster_start(extent.first.saturating_add(into)))
    }

    /// See CL-1.
    fn check_place_in_cluster(&self, inode: &Inode, extent: &Leaf) -> Result<()> {
        let sb = &self.fs.sb;
        if sb.within_cluster(u64::from(extent.logical)) == sb.within_cluster(extent.first) {
            return Ok(());
        }
        Err(Error::Corrupt { what: "extent tree: place of an extent in its clusters", at: inode.ino.0 })
    }

    /// The clusters, as blocks of the device, that are free when blocks `gone` of `extent` are. `next`: the first block of the
    /// file behind those that stays mapped.
    pub(super) fn clusters_of_gone(
        &self,
        inode: &Inode,
        extent: &Leaf,
        gone: &Leaf,
        next: Option<u32>,
    ) -> Result<Range<u64>> {
        let sb = &self.fs.sb;
        let (start, end) = (gone.first, gone.first.saturating_add(gone.len));
        if sb.cluster_log == 0 {
            return Ok(start..end);
        }
        self.check_place_in_cluster(inode, extent)?;
        let last = gone.end().saturating_sub(1);
        let has_next = next.is_some_and(|next| sb.is_in_one_cluster(u64::from(next), last));
        let end = if has_next { sb.cluster_start(end) } else { sb.next_cluster_start(end) };
        let has_before = self.is_mapped_before(inode, extent, gone)?;
        let start = if has_before { sb.next_cluster_start(start) } else { sb.cluster_start(start) };
        Ok(start..end.max(start))
    }

    /// Whether a block before the first of `gone`, which is a part of `extent`, is mapped in the same cluster.
    fn is_mapped_before(&self, inode: &Inode, extent: &Leaf, gone: &Leaf) -> Result<bool> {
        let sb = &self.fs.sb;
        let first = u64::from(gone.logical);
        if sb.within_cluster(first) == 0 {
            return Ok(false);
        }
        if gone.logical > extent.logical {
            return Ok(true);
        }
        let before = self.tree_way(inode, gone.logical - 1)?.before_target(inode)?;
        Ok(before.is_some_and(|before| sb.is_in_one_cluster(before.end().saturating_sub(1), first)))
    }
}
