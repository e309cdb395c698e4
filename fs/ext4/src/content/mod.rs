//! Content of regular files: where it goes, how long it is.
//!
//! Who calls it: `vnops_change`. Whom it calls: `map_change`, `orphan`.

use crate::Ext4;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Allocate, InodeNo, Step, Store, Timestamp, Written};
use rumpcap_vm::Reservation;

const STUB: Error = Error::Unsupported { what: "writing content" };

/// See `Change::write`.
pub(crate) fn write(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _offset: u64,
    _data: &[u8],
    _now: Timestamp,
    _store: &mut Store<'_>,
) -> Result<Written> {
    Err(STUB)
}

/// See `Change::set_size`.
pub(crate) fn set_size(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _size: u64,
    _now: Timestamp,
) -> Result<Step> {
    Err(STUB)
}

/// See `Change::punch`.
pub(crate) fn punch(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _range: Range<u64>,
    _now: Timestamp,
) -> Result<Step> {
    Err(STUB)
}

/// See `Change::allocate`.
pub(crate) fn allocate(
    _fs: &Ext4,
    _r: &Reservation<'_>,
    _ino: InodeNo,
    _range: Range<u64>,
    _how: Allocate,
    _now: Timestamp,
) -> Result<Step> {
    Err(STUB)
}
