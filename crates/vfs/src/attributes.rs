//! Changes of attributes, ordinary and extended.
//!
//! Who calls it: `rumpcap` (the library).

use crate::change::{SetAttributes, SetXattr};
use crate::mount::Mount;
use crate::node::{InodeNo, Node, Timestamp};
use rumpcap_host::Result;

impl Mount {
    /// Sets attributes of an inode.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::set_attributes`].
    pub fn set_attributes(&self, ino: InodeNo, set: &SetAttributes, now: Timestamp) -> Result<Node> {
        let change = self.change()?;
        // The number may be an old one: nothing is stored for a free inode.
        self.node(&change, ino)?;
        let node = change.fs.set_attributes(&change, ino, set, now);
        self.changed(ino, node.as_ref().ok());
        node
    }

    /// Sets an extended attribute of an inode, or removes it if `value` is `None`.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::set_xattr`].
    pub fn set_xattr(
        &self,
        ino: InodeNo,
        name: &[u8],
        value: Option<&[u8]>,
        how: SetXattr,
        now: Timestamp,
    ) -> Result<Node> {
        let change = self.change()?;
        // The number may be an old one: nothing is stored for a free inode.
        self.node(&change, ino)?;
        let node = change.fs.set_xattr(&change, ino, name, value, how, now);
        self.changed(ino, node.as_ref().ok());
        node
    }
}
