//! Directories: listing and lookup. (Signatures; the bodies are written on another branch.)
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{DirCookie, DirSink, InodeNo, Node};
use rumpcap_vm::Reservation;

pub(crate) fn read_dir(
    fs: &Ext4,
    r: &Reservation<'_>,
    dir: &Node,
    from: DirCookie,
    sink: &mut DirSink<'_>,
) -> Result<()> {
    let _ = (fs, r, dir, from, sink);
    Err(Error::Unsupported { what: "stub" })
}

pub(crate) fn lookup(fs: &Ext4, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<InodeNo> {
    let _ = (fs, r, dir, name);
    Err(Error::Unsupported { what: "stub" })
}
