//! What the attributes of a deleted inode take outside of it, given back.
//!
//! Who calls it: `namespace`, in steps. Whom it calls: `place`, `value_inode`.
//!
//! A step gives back one value that is in an inode of its own, or a part of it, and with it its entry: so what is left is in order
//! behind each. The block goes last.
#![deny(clippy::indexing_slicing)]

use super::draft::{Draft, Entry};
use super::name::Name;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use rumpcap_host::Result;
use rumpcap_vfs::{InodeNo, Node};

/// How far [`Handle::free_attributes`] has come.
#[must_use = "what is left is freed by further operations"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    /// Nothing is left.
    All,
    /// It is to be called again, in an operation of its own.
    Part,
}

impl Handle<'_> {
    /// Frees a step's worth of what the attributes of an inode, which is an orphan, take outside of it: inodes that hold values, its
    /// share of a block. Puts the inode if it changed. An inode that has no value in another inode takes one step.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub fn free_attributes(&mut self, inode: &mut Inode) -> Result<Freed> {
        let node = self.node(inode)?;
        if let Some(mut inside) = self.inside(&node)?
            && let Some(entry) = with_value_inode(&inside)
        {
            if self.free_value(&node, entry.value_inode())? {
                self.charge(inode, Some(entry), None)?;
                remove(&mut inside, &entry);
                self.store_inside(inode, Some(inside))?;
            }
            return Ok(Freed::Part);
        }
        let Some(mut outside) = self.outside_if_there(&node)? else { return Ok(Freed::All) };
        if outside.is_ours()
            && let Some(entry) = with_value_inode(&outside.draft)
        {
            if self.free_value(&node, entry.value_inode())? {
                self.charge(inode, Some(entry), None)?;
                remove(&mut outside.draft, &entry);
                let is_last = outside.draft.is_empty();
                self.store_outside(inode, &mut outside, None)?;
                self.put_inode(inode)?;
                return Ok(if is_last { Freed::All } else { Freed::Part });
            }
            return Ok(Freed::Part);
        }
        outside.draft.entries().try_for_each(|entry| self.charge(inode, Some(entry), None))?;
        self.give_up_block(inode, &outside)?;
        self.put_inode(inode)?;
        Ok(Freed::All)
    }

    /// Frees a value's inode, or a part of it, if nobody else refers to it; gives whether its entry is to go.
    fn free_value(&mut self, owner: &Node, ino: u32) -> Result<bool> {
        let mut value = self.value_inode(InodeNo(ino.into()))?;
        if self.references_but_one(owner, &value)? > 0 {
            self.lower_references(&mut value)?;
            return Ok(true);
        }
        let is_empty = self.shrink_value(&mut value)?;
        if is_empty {
            self.free_value_inode(&mut value)?;
        }
        Ok(is_empty)
    }
}

/// The first entry whose value is in an inode.
fn with_value_inode(draft: &Draft) -> Option<Entry> {
    draft.entries().find(|entry| entry.value_inode() != 0)
}

fn remove(draft: &mut Draft, entry: &Entry) {
    let name = draft.name_of(entry);
    let mut suffix: ArrayVec<u8, 255> = ArrayVec::new();
    suffix.extend(name.suffix.iter().copied());
    let _ = draft.remove(Name { index: name.index, suffix: &suffix });
}
