//! Inodes: from their bytes to a live node.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::node::Ext4Node;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node};
use rumpcap_vm::Reservation;

impl Ext4 {
    /// Seed of the checksums of what belongs to `node`: its directory and extent blocks.
    pub(crate) fn inode_checksum_seed(&self, node: &Node) -> u32 {
        node.checksum_seed()
    }

    /// Reads inode `ino`; up to `ahead` pages of its table may be read ahead.
    ///
    /// # Errors
    /// `NotFound` for a free inode or a number that does not exist; `Corrupt`, `Checksum`, `Io`.
    pub(crate) fn inode(&self, r: &Reservation<'_>, ino: InodeNo, ahead: u32) -> Result<Node> {
        let _ = (r, ino, ahead);
        Err(Error::Unsupported { what: "stub" })
    }
}
