//! Where an attribute goes: into the inode, into the block, or with its value into an inode of its own.
//!
//! Who calls it: `set`, `inherit`, `attributes`; `free` and `inline` for drafts. Whom it calls: `draft` for the entries, `store` to put them,
//! `value_inode` for references.
//!
//! The order is the kernel's: the inode if there is room, else the block, else (with the feature) an inode for the value. An attribute
//! whose new value has no room beside it moves to the other place.
//!
//! Memory: two drafts on the stack.
#![deny(clippy::indexing_slicing)]
// What is added here was checked to lie within a page, or counts blocks of a value.
#![allow(clippy::arithmetic_side_effects)]

use super::draft::{Content, Draft, Entry, Form};
use super::name::Name;
use super::{INODE_HEAD, block_area, inode_area};
use crate::inode_edit::Inode;
use crate::layout::{INODE_BASE_BYTES, RawXattrHeader};
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node, SetXattr};
use zerocopy::FromBytes;

/// What came of setting an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is done. An inode that had the value before may have lost its last reference: it is an orphan now.
    Done { orphan: Option<InodeNo> },
    /// Nothing was changed: the value is to be put into an inode of its own first.
    NeedsInode,
}

/// What is wanted of an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// That it has this value.
    Value(Content<'a>),
    /// That it is removed: it must be there.
    Removed,
    /// That it is not there.
    Absent,
}

impl<'a> Wanted<'a> {
    fn content(self) -> Option<Content<'a>> {
        match self {
            Wanted::Value(content) => Some(content),
            Wanted::Removed | Wanted::Absent => None,
        }
    }
}

/// Where [`Handle::place`] put an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    /// Into one of the two places.
    Here,
    /// There is room only if the value goes into an inode of its own.
    Nowhere,
}

/// The attributes' block of an inode.
pub(super) struct Outside {
    pub draft: Draft,
    /// Its number; `None` for one that is not there yet.
    pub number: Option<u64>,
    /// How many inodes share it.
    pub references: u32,
}

impl Outside {
    /// Whether nobody shares it.
    pub fn is_ours(&self) -> bool {
        self.references == 1
    }
}

impl Handle<'_> {
    /// Sets or removes attribute `name` of an inode; puts the inode, with a new time of change.
    ///
    /// # Errors
    /// `Exists`, `NoAttribute` by `how`; `NoSpace`, `Corrupt`, `Checksum`, `Io`.
    pub(crate) fn store_attribute(
        &mut self,
        inode: &mut Inode,
        name: Name<'_>,
        wanted: Wanted<'_>,
        how: SetXattr,
    ) -> Result<Stored> {
        let content = wanted.content();
        let node = self.node(inode)?;
        let mut inside = self.inside(&node)?;
        let mut outside = self.outside(&node)?;
        let is_ours = outside.is_ours();
        let old_inside = inside.as_ref().and_then(|draft| draft.find(name));
        let old_outside = outside.draft.find(name);
        if old_inside.is_some() && old_outside.is_some() {
            return Err(Error::Corrupt { what: "extended attributes: a name twice", at: inode.ino.0 });
        }
        let old = old_inside.or(old_outside);
        check_presence(old.is_some(), wanted, how)?;
        match content {
            Some(content) => {
                let placed = self.place(inside.as_mut(), &mut outside.draft, name, content)?;
                if placed == Placed::Nowhere {
                    return Ok(Stored::NeedsInode);
                }
            }
            None => {
                let _ = inside.as_mut().and_then(|draft| draft.remove(name));
                let _ = outside.draft.remove(name);
            }
        }
        self.charge(inode, old, content)?;
        self.store_outside(inode, &mut outside, content)?;
        self.store_inside(inode, inside)?;
        if content.is_some() {
            self.note_attributes()?;
        }
        let dead = old.map_or(0, |old| old.value_inode());
        // The reference of a block that others share is not given back (PL-2).
        let orphan = if dead != 0 && (old_inside.is_some() || is_ours) {
            self.drop_value_reference(&node, dead)?
        } else {
            None
        };
        Ok(Stored::Done { orphan })
    }

    /// A copy of the attributes in the inode; `None` if it has no room for any.
    pub(super) fn inside(&self, node: &Node) -> Result<Option<Draft>> {
        if let Some(area) = inode_area(self.fs, self.r, node)? {
            return Draft::of(&area, Form::Inode).map(Some);
        }
        let room = inside_room(self.fs.sb.inode_size, node);
        Ok((room > 0).then(|| Draft::empty(Form::Inode, room)))
    }

    /// A copy of the attributes in the block, or an empty one.
    pub(super) fn outside(&self, node: &Node) -> Result<Outside> {
        use crate::node::Ext4Node;
        let size = self.fs.sb.block_size as usize;
        let Some(area) = block_area(self.fs, self.r, node)? else {
            return Ok(Outside { draft: Draft::empty(Form::Block, size), number: None, references: 1 });
        };
        let draft = Draft::of(&area, Form::Block)?;
        let head = RawXattrHeader::read_from_prefix(draft.bytes()).map(|(head, _)| head);
        let references = head.map_or(0, |head| head.reference_count.get());
        if references == 0 {
            return Err(Error::Corrupt { what: "extended attribute block: reference count", at: area.at });
        }
        Ok(Outside { draft, number: Some(node.file_acl()), references })
    }

    /// As [`Handle::outside`], where there is a block.
    pub(super) fn outside_if_there(&self, node: &Node) -> Result<Option<Outside>> {
        self.outside(node).map(|outside| outside.number.is_some().then_some(outside))
    }

    /// Puts an attribute into one of the two drafts, and takes it out of the other.
    fn place(
        &self,
        inside: Option<&mut Draft>,
        outside: &mut Draft,
        name: Name<'_>,
        content: Content<'_>,
    ) -> Result<Placed> {
        let has_inodes = self.fs.sb.features.has_ea_inode();
        let block_size = self.fs.sb.block_size as usize;
        let is_large =
            |bytes: &[u8]| bytes.len().next_multiple_of(4) > block_size.saturating_sub(SMALL_SHORT_OF_BLOCK);
        if has_inodes && matches!(content, Content::Bytes(bytes) if is_large(bytes)) {
            return Ok(Placed::Nowhere);
        }
        let mut inside = inside;
        if let Some(inside) = &mut inside
            && inside.set(name, content, 0).is_ok()
        {
            let _ = outside.remove(name);
            return Ok(Placed::Here);
        }
        // Where values can have inodes, one of them is not to take the room of all entries.
        let reserve = if has_inodes { (block_size / 8).min(1024) } else { 0 };
        if outside.set(name, content, reserve).is_ok() {
            let _ = inside.and_then(|inside| inside.remove(name));
            return Ok(Placed::Here);
        }
        match content {
            Content::Bytes(bytes) if has_inodes && !bytes.is_empty() => Ok(Placed::Nowhere),
            _ => Err(Error::NoSpace { what: "bytes for extended attributes" }),
        }
    }

    /// Counts what values in inodes take (PL-3).
    pub(super) fn charge(
        &self,
        inode: &mut Inode,
        old: Option<Entry>,
        new: Option<Content<'_>>,
    ) -> Result<()> {
        let sb = &self.fs.sb;
        let cluster_bytes = u64::from(sb.block_size) << sb.cluster_log;
        let blocks = |len: u32| (u64::from(len).div_ceil(cluster_bytes) << sb.cluster_log) as i64;
        let before =
            old.filter(|old| old.value_inode() != 0).map_or(0, |old| blocks(old.head.value_len.get()));
        let after = match new {
            Some(Content::Inode { len, .. }) => blocks(len),
            _ => 0,
        };
        if before == after { Ok(()) } else { inode.add_blocks(sb, after - before) }
    }
}

/// A value that is shorter than a block by less than this goes into an inode at once, where it can: header, entry with a name of three
/// bytes, and end of the entries would have room beside it.
const SMALL_SHORT_OF_BLOCK: usize = 32 + 20 + 4;

fn check_presence(is_there: bool, wanted: Wanted<'_>, how: SetXattr) -> Result<()> {
    match how {
        SetXattr::Create if is_there => Err(Error::Exists),
        SetXattr::Replace if !is_there => Err(Error::NoAttribute),
        _ if !is_there && matches!(wanted, Wanted::Removed) => Err(Error::NoAttribute),
        _ => Ok(()),
    }
}

/// Bytes that an inode has for attributes; 0 if there is not room for an entry.
fn inside_room(inode_size: u32, node: &Node) -> usize {
    use crate::node::Ext4Node;
    let used = INODE_BASE_BYTES as u32 + u32::from(node.extra_isize());
    let room = inode_size.saturating_sub(used);
    if node.extra_isize() == 0 || room < INODE_HEAD * 2 { 0 } else { room as usize }
}
