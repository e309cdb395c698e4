//! Attributes of an inode: mode, owner, times, flags.
//!
//! Who calls it: `vnops_change`. Whom it calls: `inode_edit`.

use crate::Ext4;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{InodeNo, Node, SetAttributes, Timestamp};
use rumpcap_vm::Reservation;

/// See `Change::set_attributes`.
pub(crate) fn set(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _set: &SetAttributes,
    _now: Timestamp,
) -> Result<Node> {
    Err(Error::Unsupported { what: "setting attributes" })
}
