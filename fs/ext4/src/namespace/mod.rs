//! Names: making, linking, renaming and removing files.
//!
//! Who calls it: `vnops_change`. Whom it calls: `dir_change`, `alloc`, `orphan`, `xattr`.

use crate::Ext4;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{EntryName, InUse, InodeNo, NewFile, Node, Remove, Removed, Rename, Renamed, Timestamp};
use rumpcap_vm::Reservation;

const STUB: Error = Error::Unsupported { what: "changing names" };

/// See `Change::create`.
pub(crate) fn create(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _at: EntryName<'_>,
    _new: &NewFile<'_>,
    _now: Timestamp,
) -> Result<Node> {
    Err(STUB)
}

/// See `Change::create_nameless`.
pub(crate) fn create_nameless(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _dir: InodeNo,
    _new: &NewFile<'_>,
    _now: Timestamp,
) -> Result<Node> {
    Err(STUB)
}

/// See `Change::link`.
pub(crate) fn link(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _at: EntryName<'_>,
    _now: Timestamp,
) -> Result<Node> {
    Err(STUB)
}

/// See `Change::remove`.
pub(crate) fn remove(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _at: EntryName<'_>,
    _what: Remove,
    _in_use: &InUse<'_>,
    _now: Timestamp,
) -> Result<Removed> {
    Err(STUB)
}

/// See `Change::delete`.
pub(crate) fn delete(_fs: &Ext4, _r: &Reservation<'_>, _ino: InodeNo, _now: Timestamp) -> Result<()> {
    Err(STUB)
}

/// See `Change::rename`.
pub(crate) fn rename(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _from: EntryName<'_>,
    _to: EntryName<'_>,
    _how: Rename,
    _in_use: &InUse<'_>,
    _now: Timestamp,
) -> Result<Renamed> {
    Err(STUB)
}
