//! What a new file inherits of its directory: the default access control list.
//!
//! Who calls it: `namespace`. Whom it calls: `place`, `acl`.
#![deny(clippy::indexing_slicing)]

use super::draft::Content;
use super::name::Name;
use super::place::{Stored, Wanted};
use super::{find, value};
use crate::acl::mode::{self, Meaning};
use crate::inode_edit::Inode;
use crate::transaction::Handle;
use arrayvec::ArrayVec;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, Node, SetXattr};
use rumpcap_vm::PAGE_SIZE;

/// Longest list that is set or inherited: what a block has room for, but for larger ones that others keep in inodes.
pub(crate) const ACL_BYTES_MAX: usize = PAGE_SIZE;

/// A list in the device's form.
pub(crate) type AclBytes = ArrayVec<u8, ACL_BYTES_MAX>;

impl Handle<'_> {
    /// Gives a new inode in directory `parent` what it inherits: its access control list (which may change the mode) and, for a
    /// directory, the default one. If there is anything to inherit, puts it as a new inode first: it comes before anything else
    /// that is kept behind the fixed fields.
    ///
    /// # Errors
    /// `NoSpace`, `Corrupt`, `Io`.
    pub fn inherit_acl(&mut self, parent: &Inode, inode: &mut Inode) -> Result<()> {
        if inode.kind() == FileKind::Symlink {
            return Ok(());
        }
        let Some(default) = self.acl_bytes(&self.node(parent)?, Name::DEFAULT_ACL)? else { return Ok(()) };
        if mode::is_empty(&default) {
            return Ok(());
        }
        let mut access = default.clone();
        let (mode, meaning) = mode::inherit(&mut access, u32::from(inode.raw.mode.get()))
            .map_err(|_| malformed(&parent.ino.0))?;
        inode.raw.mode = (mode as u16).into();
        let is_directory = inode.kind() == FileKind::Directory;
        if meaning == Meaning::Mode && !is_directory {
            return Ok(());
        }
        self.put_new_inode(inode)?;
        if is_directory {
            self.store_list(inode, Name::DEFAULT_ACL, &default)?;
        }
        if meaning == Meaning::More {
            self.store_list(inode, Name::ACCESS_ACL, &access)?;
        }
        Ok(())
    }

    fn store_list(&mut self, inode: &mut Inode, name: Name<'_>, list: &[u8]) -> Result<()> {
        let wanted = Wanted::Value(Content::Bytes(list));
        match self.store_attribute(inode, name, wanted, SetXattr::Any)? {
            Stored::Done { .. } => Ok(()),
            Stored::NeedsInode => Err(Error::NoSpace { what: "bytes for extended attributes" }),
        }
    }

    /// An access control list of `node`, in the device's form.
    ///
    /// # Errors
    /// `Corrupt`, also for one longer than [`ACL_BYTES_MAX`]; `Checksum`, `Io`.
    pub(crate) fn acl_bytes(&self, node: &Node, name: Name<'_>) -> Result<Option<AclBytes>> {
        let Some(found) = find(self.fs, self.r, node, name)? else { return Ok(None) };
        let len = found.len() as usize;
        if len > ACL_BYTES_MAX {
            return Err(malformed(&node.attributes.ino.0));
        }
        let mut list = AclBytes::new();
        list.extend(core::iter::repeat_n(0, len));
        value::copy_raw(self.fs, self.r, node, found, &mut list)?;
        Ok(Some(list))
    }
}

fn malformed(ino: &u64) -> Error {
    Error::Corrupt { what: "POSIX ACL", at: *ino }
}
