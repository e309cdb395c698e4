//! From byte or block of a file to the device.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;
use rumpcap_vm::Reservation;

impl Ext4 {
    /// The block of the device that holds block `logical` of `node`; `None` for a hole and for what is not written.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub(crate) fn map_block(&self, r: &Reservation<'_>, node: &Node, logical: u64) -> Result<Option<u64>> {
        let _ = (r, node, logical);
        Err(Error::Unsupported { what: "stub" })
    }
}
