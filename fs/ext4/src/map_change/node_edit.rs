//! One node of an extent tree, read and changed: header, entries, checksum.
//!
//! Who calls it: `tree`. Whom it calls: `transaction`, `extent::tree_node`.
//!
//! NE-1. A node that was changed has its checksum again before its page is let go. NE-2. No page stays pinned behind a call, so any two
//! nodes may share a page.
#![deny(clippy::indexing_slicing)]

use crate::checksum::crc32c;
use crate::extent::Leaf;
use crate::extent::tree_node::{Entry, Header, TreeNode};
use crate::inode::inode_seed;
use crate::inode_edit::Inode;
use crate::layout::{
    BLOCK_BYTES, EXTENT_ENTRY_BYTES, EXTENT_INITIALIZED_MAX, EXTENT_MAGIC, RawExtentHeader, RawExtentIndex,
    RawExtentLeaf,
};
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::PAGE_SIZE;
use zerocopy::{FromBytes, IntoBytes};

/// Entries that the root has room for.
pub(super) const ROOT_ENTRIES: u16 = (BLOCK_BYTES / EXTENT_ENTRY_BYTES - 1) as u16;

/// Most entries of a node: a block is no larger than a page here.
const MOST_ENTRIES: usize = PAGE_SIZE / EXTENT_ENTRY_BYTES;

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the inode.
    Root,
    /// In a block.
    Block(u64),
}

/// Entries of a node, copied to the stack.
pub(super) struct Entries {
    all: [Entry; MOST_ENTRIES],
    pub header: Header,
}

impl Entries {
    /// Those that the node has.
    pub fn all(&self) -> &[Entry] {
        self.all.get(..usize::from(self.header.entries)).unwrap_or_default()
    }

    /// The first, if there is one.
    pub fn first_mut(&mut self) -> Option<&mut Entry> {
        if self.header.entries == 0 { None } else { self.all.first_mut() }
    }
}

impl Leaf {
    /// The block behind the last, in the file.
    pub fn end(&self) -> u64 {
        u64::from(self.logical).saturating_add(self.len)
    }

    /// As it is stored.
    pub fn entry(&self) -> Entry {
        let mark = if self.is_written { 0 } else { EXTENT_INITIALIZED_MAX };
        let raw = RawExtentLeaf {
            logical: self.logical.into(),
            len: (self.len as u16).wrapping_add(mark).into(),
            start_hi: ((self.first >> 32) as u16).into(),
            start_lo: (self.first as u32).into(),
        };
        zerocopy::transmute!(raw)
    }
}

/// An entry of an index: where the node is that begins with block `logical`.
pub(super) fn index_entry(logical: u32, child: u64) -> Entry {
    let raw = RawExtentIndex {
        logical: logical.into(),
        child_lo: (child as u32).into(),
        child_hi: ((child >> 32) as u16).into(),
        unused: 0.into(),
    };
    zerocopy::transmute!(raw)
}

/// The node that an index entry names.
pub(super) fn child_of(entry: Entry) -> u64 {
    let raw: RawExtentIndex = zerocopy::transmute!(entry);
    u64::from(raw.child_lo.get()) | u64::from(raw.child_hi.get()) << 32
}

/// Entries that a block has room for.
pub(super) fn block_entries(block_size: u32) -> u16 {
    ((block_size as usize - EXTENT_ENTRY_BYTES) / EXTENT_ENTRY_BYTES) as u16
}

/// The root of an empty tree.
pub(super) fn store_empty_root(inode: &mut Inode) {
    let bytes = inode.raw.block.as_mut_bytes();
    bytes.fill(0);
    store_header(bytes, Header { entries: 0, max: ROOT_ENTRIES, depth: 0 });
}

/// Where entries `entries` are in a node, in bytes.
fn bytes_of(entries: Range<u16>) -> Range<usize> {
    let at = |entry: u16| (usize::from(entry) + 1) * EXTENT_ENTRY_BYTES;
    at(entries.start)..at(entries.end)
}

fn store_header(bytes: &mut [u8], header: Header) {
    if let Ok((raw, _)) = RawExtentHeader::mut_from_prefix(bytes) {
        (raw.magic, raw.entries) = (EXTENT_MAGIC.into(), header.entries.into());
        (raw.max, raw.depth) = (header.max.into(), header.depth.into());
    }
}

/// The room for entries in the bytes of a node.
fn room(bytes: &mut [u8], max: u16) -> &mut [Entry] {
    let all = bytes.as_chunks_mut().0.get_mut(1..).and_then(|all| all.get_mut(..usize::from(max)));
    all.unwrap_or_default()
}

impl Handle<'_> {
    /// Seed of the checksums of an inode's tree.
    fn tree_seed(&self, inode: &Inode) -> u32 {
        inode_seed(&self.fs.sb, inode.ino, inode.raw.generation.get())
    }

    /// The node at `place`, to be read.
    pub(super) fn tree_node(&self, inode: &Inode, place: Place) -> Result<TreeNode<'_, '_>> {
        match place {
            Place::Root => {
                let mut bytes = [0; BLOCK_BYTES];
                bytes.copy_from_slice(inode.raw.block.as_bytes());
                let mut root = TreeNode::root_of(self.fs, self.r, bytes, inode.ino.0);
                let header = root.header()?;
                root.check_order(&header)?;
                Ok(root)
            }
            Place::Block(block) => TreeNode::block_of(self.fs, self.r, self.tree_seed(inode), block),
        }
    }

    /// All entries of the node at `place`.
    pub(super) fn tree_entries(&self, inode: &Inode, place: Place) -> Result<Entries> {
        let mut node = self.tree_node(inode, place)?;
        let mut entries = Entries { all: [Entry::default(); MOST_ENTRIES], header: node.header()? };
        for (at, to) in (0..entries.header.entries).zip(&mut entries.all) {
            *to = node.entry(at)?;
        }
        Ok(entries)
    }

    /// Replaces entries `old` of the node at `place`, whose header is `header`, by `new`; there is room for them.
    pub(super) fn splice_entries(
        &mut self,
        inode: &mut Inode,
        place: Place,
        header: Header,
        old: Range<u16>,
        new: &[Entry],
    ) -> Result<()> {
        let corrupt = Error::Corrupt { what: "extent tree: number of entries", at: inode.ino.0 };
        let kept = header.entries.checked_sub(old.end.saturating_sub(old.start)).ok_or(corrupt)?;
        let entries = kept.saturating_add(new.len() as u16);
        if entries > header.max || old.end > header.entries || old.start > old.end {
            return Err(corrupt);
        }
        let new_header = Header { entries, ..header };
        // Entries behind those that are replaced move if their number changes.
        let is_moving = entries != header.entries;
        let end = if is_moving { entries.max(header.entries) } else { old.end };
        self.edit_node(inode, place, header, old.start..end, |bytes| {
            store_header(bytes, new_header);
            let all = room(bytes, header.max);
            let (start, tail) = (usize::from(old.start), usize::from(old.end));
            let behind = start.saturating_add(new.len());
            if let Some(all) = all.get_mut(..usize::from(end.max(old.end)))
                && is_moving
            {
                all.copy_within(tail..usize::from(header.entries), behind);
            }
            for (to, from) in all.iter_mut().skip(start).zip(new) {
                *to = *from;
            }
        })
    }

    /// Makes the first `entries` entries of a node all that it has.
    pub(super) fn cut_entries(
        &mut self,
        inode: &mut Inode,
        place: Place,
        header: Header,
        entries: u16,
    ) -> Result<()> {
        self.edit_node(inode, place, header, 0..0, |bytes| store_header(bytes, Header { entries, ..header }))
    }

    /// Stores the first block of entry `at`.
    pub(super) fn store_key(
        &mut self,
        inode: &mut Inode,
        place: Place,
        header: Header,
        at: u16,
        key: u32,
    ) -> Result<()> {
        self.edit_node(inode, place, header, at..at.saturating_add(1), |bytes| {
            if let Some(entry) = room(bytes, header.max).get_mut(usize::from(at)) {
                let [b0, b1, b2, b3, ..] = entry;
                [*b0, *b1, *b2, *b3] = key.to_le_bytes();
            }
        })
    }

    /// Makes block `block` a node with `entries`.
    pub(super) fn create_node(
        &mut self,
        inode: &Inode,
        block: u64,
        depth: u16,
        entries: &[Entry],
    ) -> Result<()> {
        let max = block_entries(self.fs.sb.block_size);
        let (seed, has_sum) = (self.tree_seed(inode), self.fs.sb.features.has_metadata_csum());
        self.create_block(block, |bytes| {
            store_header(bytes, Header { entries: entries.len() as u16, max, depth });
            for (to, from) in room(bytes, max).iter_mut().zip(entries) {
                *to = *from;
            }
            if has_sum {
                seal(bytes, max, seed);
            }
        })
    }

    /// Makes the root a node of `depth` with `entries`.
    pub(super) fn store_root(&mut self, inode: &mut Inode, depth: u16, entries: &[Entry]) {
        store_empty_root(inode);
        let bytes = inode.raw.block.as_mut_bytes();
        store_header(bytes, Header { entries: entries.len() as u16, max: ROOT_ENTRIES, depth });
        for (to, from) in room(bytes, ROOT_ENTRIES).iter_mut().zip(entries) {
            *to = *from;
        }
    }

    /// Changes a node: its header, and entries `changed` (NE-1).
    fn edit_node(
        &mut self,
        inode: &mut Inode,
        place: Place,
        header: Header,
        changed: Range<u16>,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        let Place::Block(block) = place else {
            change(inode.raw.block.as_mut_bytes());
            return Ok(());
        };
        let (seed, has_sum) = (self.tree_seed(inode), self.fs.sb.features.has_metadata_csum());
        let tail = bytes_of(0..header.max).end;
        let tail = if has_sum { tail..tail + 4 } else { 0..0 };
        self.edit(block, &[0..EXTENT_ENTRY_BYTES, bytes_of(changed), tail], |bytes| {
            change(bytes);
            if has_sum {
                seal(bytes, header.max, seed);
            }
        })
    }
}

/// Puts the checksum behind the room for `max` entries.
fn seal(bytes: &mut [u8], max: u16, seed: u32) {
    let tail = bytes_of(0..max).end;
    let Some((covered, rest)) = bytes.split_at_mut_checked(tail) else { return };
    if let Some(sum) = rest.first_chunk_mut() {
        *sum = crc32c(seed, covered).to_le_bytes();
    }
}
