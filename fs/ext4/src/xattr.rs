//! Extended attributes. (Signatures; the bodies are written on another branch.)
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Node, XattrSink};
use rumpcap_vm::Reservation;

/// Hands over names and lengths.
pub(crate) fn list(fs: &Ext4, r: &Reservation<'_>, node: &Node, sink: &mut XattrSink<'_>) -> Result<()> {
    let _ = (fs, r, node, sink);
    Err(Error::Unsupported { what: "stub" })
}

/// Copies the value of `name`; with an empty `buf` gives only its length.
pub(crate) fn get(fs: &Ext4, r: &Reservation<'_>, node: &Node, name: &[u8], buf: &mut [u8]) -> Result<usize> {
    let _ = (fs, r, node, name, buf);
    Err(Error::Unsupported { what: "stub" })
}

/// Where the value of `system.data` is: what inline content has beyond the 60 bytes of `i_block`. It is always kept in the
/// inode itself. `None` when there is no such attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InlineTail {
    /// Byte of the device at which the value begins.
    pub place: u64,
    /// Its length in bytes, checked to lie within the inode.
    pub len_bytes: u32,
}

/// Finds the value of `system.data`.
pub(crate) fn inline_tail(fs: &Ext4, r: &Reservation<'_>, node: &Node) -> Result<Option<InlineTail>> {
    let _ = (fs, r, node);
    Err(Error::Unsupported { what: "stub" })
}
