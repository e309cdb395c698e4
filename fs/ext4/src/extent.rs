//! The extent tree: from a logical block to a run, through at most five levels of blocks below the inode.
//!
//! Who calls it: `map`. Whom it calls: [`tree_node`] for the blocks of the tree.
//!
//! Memory: one page pinned at a time. A tree that is all in the inode touches no page.
//!
//! What is cheap is checked at every use: headers, that the depth falls by one from level to level (so that a walk ends),
//! that blocks are within the file system. The rest is checked once, see [`tree_node`].
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod tree_node;

use crate::Ext4;
use crate::layout::{EXTENT_INITIALIZED_MAX, RawExtentIndex, RawExtentLeaf};
use crate::map::{Run, TO_THE_END};
use rumpcap_host::Result;
use rumpcap_vfs::Node;
use rumpcap_vm::Reservation;
use tree_node::{Entry, Header, TreeNode};
use zerocopy::transmute;

/// The run that begins with block `logical` of `node`.
pub(crate) fn find(fs: &Ext4, r: &Reservation<'_>, node: &Node, logical: u64) -> Result<Run> {
    let Ok(target) = u32::try_from(logical) else { return Ok(Run::Hole { count: TO_THE_END }) };
    let mut tree = TreeNode::root(fs, r, node);
    let mut header = tree.header()?;
    tree.check_order(&header)?;
    // First logical block behind what the present node covers.
    let mut behind = None;
    while header.depth > 0 {
        let at = tree.last_not_above(&header, target)?.unwrap_or(0);
        if let Some(next) = tree.key(&header, at.saturating_add(1))? {
            behind = Some(next);
        }
        let child: RawExtentIndex = transmute!(tree.entry(at)?);
        let block = u64::from(child.child_lo.get()) | u64::from(child.child_hi.get()) << 32;
        let depth = header.depth.saturating_sub(1);
        tree = TreeNode::block(fs, r, node, block)?;
        header = tree.header()?;
        if header.depth != depth {
            return Err(tree.corrupt("extent tree: depth"));
        }
    }
    find_in_leaf(&mut tree, &header, target, behind)
}

fn find_in_leaf(
    tree: &mut TreeNode<'_, '_>,
    header: &Header,
    target: u32,
    behind: Option<u32>,
) -> Result<Run> {
    let at = tree.last_not_above(header, target)?;
    if let Some(at) = at {
        let leaf = Leaf::new(tree.entry(at)?);
        let into = u64::from(target.saturating_sub(leaf.logical));
        if let Some(count) = leaf.len.checked_sub(into).filter(|&count| count > 0) {
            return leaf.run(tree, into, count);
        }
    }
    let next = tree.key(header, at.map_or(0, |at| at.saturating_add(1)))?.or(behind);
    let Some(next) = next else { return Ok(Run::Hole { count: TO_THE_END }) };
    match next.checked_sub(target) {
        None | Some(0) => Err(tree.corrupt("extent tree: order of keys")),
        Some(count) => Ok(Run::Hole { count: u64::from(count) }),
    }
}

/// A leaf entry, its length and flag taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// First block of the file.
    pub logical: u32,
    /// How many.
    pub len: u64,
    /// First block of the device.
    pub first: u64,
    /// Whether they hold something.
    pub is_written: bool,
}

impl Leaf {
    /// Takes an entry apart.
    pub fn new(entry: Entry) -> Leaf {
        let raw: RawExtentLeaf = transmute!(entry);
        let len = raw.len.get();
        let is_written = len <= EXTENT_INITIALIZED_MAX;
        let len = if is_written { len } else { len.saturating_sub(EXTENT_INITIALIZED_MAX) };
        let first = u64::from(raw.start_lo.get()) | u64::from(raw.start_hi.get()) << 32;
        Leaf { logical: raw.logical.get(), len: u64::from(len), first, is_written }
    }

    /// The run of `count` blocks from block `into` of the leaf on, checked to be in the file system.
    fn run(&self, tree: &TreeNode<'_, '_>, into: u64, count: u64) -> Result<Run> {
        let sb = &tree.fs.sb;
        let end = self.first.saturating_add(self.len);
        if self.first <= sb.first_data_block || end > sb.blocks_count {
            return Err(tree.corrupt("extent outside the file system"));
        }
        if !self.is_written {
            return Ok(Run::Hole { count });
        }
        Ok(Run::Blocks { first: self.first.saturating_add(into), count })
    }
}
