//! The rest of inline content, which is the value of `system.data`: its room, its length, its end.
//!
//! Who calls it: `content` and `dir_change`. Whom it calls: `place`.
//!
//! It is always in the inode itself. Attributes move to the block when it needs their room only by being set anew: what is here takes
//! what is free.
#![deny(clippy::indexing_slicing)]

use super::draft::Content;
use super::name::Name;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};

impl Handle<'_> {
    /// The most bytes that content kept in an inode can have beyond the 60 of `i_block`, with the attributes that it has now; `None` if
    /// the inode has no room for inline content at all.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn inline_space(&self, inode: &Inode) -> Result<Option<usize>> {
        let inside = self.inside(&self.node(inode)?)?;
        Ok(inside.and_then(|inside| inside.room_for(Name::INLINE_DATA)))
    }

    /// Makes the rest of inline content `len` bytes long (0 is a length too: the attribute is made), and has `change` change it: it gets
    /// its bytes, zeros where it became longer. Puts the inode.
    ///
    /// # Errors
    /// `NoSpace` for more than [`Handle::inline_space`]; `Corrupt`, `Io`.
    pub fn set_inline_attribute<T>(
        &mut self,
        inode: &mut Inode,
        len: usize,
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T> {
        const ZEROS: [u8; rumpcap_vm::PAGE_SIZE] = [0; rumpcap_vm::PAGE_SIZE];
        let full = Error::NoSpace { what: "bytes for inline content" };
        let mut inside = self.inside(&self.node(inode)?)?.ok_or(full)?;
        let old = inside.clone();
        let was = old.find(Name::INLINE_DATA);
        let new = ZEROS.get(..len).ok_or(full)?;
        inside.set(Name::INLINE_DATA, Content::Bytes(new), 0).map_err(|_| full)?;
        let entry = inside.find(Name::INLINE_DATA).ok_or(full)?;
        let bytes = inside.value_mut(&entry);
        let kept = was.as_ref().map(|was| old.value(was)).unwrap_or_default();
        bytes.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
        let value = change(bytes);
        self.store_inside(inode, Some(inside))?;
        Ok(value)
    }

    /// Drops the rest of inline content, where there is any. Puts the inode.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn remove_inline_attribute(&mut self, inode: &mut Inode) -> Result<()> {
        let mut inside = self.inside(&self.node(inode)?)?;
        let removed = inside.as_mut().and_then(|inside| inside.remove(Name::INLINE_DATA));
        if removed.is_some() { self.store_inside(inode, inside) } else { Ok(()) }
    }
}
