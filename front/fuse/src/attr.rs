//! Attributes and node ids, as the protocol has them.
//!
//! Who calls it: `ops`. A node id is the generation of an inode in its upper half and its number in the lower one; the root's is 1.

use crate::wire;
use crate::wire::sent::{Attr, EntryOut, Statx, SxTime};
use rumpcap::{FileKind, Metadata, NodeId, Timestamp};
use std::time::Duration;

/// Which bits of a `statx` are answered: the basic ones and the time of creation.
const STATX_BASIC: u32 = 0x7ff;
const STATX_BTIME: u32 = 0x800;

/// Flags of an inode that `statx` shows under the same bits.
const STATX_FLAGS: u32 = 0x4 | 0x10 | 0x20 | 0x40 | 0x800;

/// The node id of an inode.
pub(crate) fn node_id(id: NodeId, root: NodeId) -> u64 {
    if id == root { wire::ROOT } else { u64::from(id.generation) << 32 | (id.ino & u64::from(u32::MAX)) }
}

/// The inode of a node id.
pub(crate) fn inode(node: u64, root: NodeId) -> NodeId {
    match node {
        wire::ROOT => root,
        node => NodeId { ino: node & u64::from(u32::MAX), generation: (node >> 32) as u32 },
    }
}

/// Seconds as the protocol carries them: negative ones wrap.
fn seconds(time: Timestamp) -> u64 {
    time.seconds as u64
}

/// Major and minor number in one, as `stat` has it.
fn device_number((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// Major and minor number of a device.
pub(crate) fn device_numbers(rdev: u32) -> (u32, u32) {
    ((rdev >> 8) & 0xfff, (rdev & 0xff) | (rdev >> 12) & 0xf_ff00)
}

/// Attributes.
pub(crate) fn attr(m: &Metadata, block_bytes: u32) -> Attr {
    let (atime, mtime, ctime) = (m.accessed(), m.modified(), m.changed());
    Attr {
        ino: m.ino(),
        size: m.len(),
        blocks: m.blocks(),
        atime: seconds(atime),
        mtime: seconds(mtime),
        ctime: seconds(ctime),
        atimensec: atime.nanoseconds,
        mtimensec: mtime.nanoseconds,
        ctimensec: ctime.nanoseconds,
        mode: m.mode(),
        nlink: m.nlink(),
        uid: m.uid(),
        gid: m.gid(),
        rdev: device_number(m.rdev()),
        blksize: block_bytes,
        flags: 0,
    }
}

/// How long a client may rely on what it was told.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// Of a name and the inode that it names.
    pub entry: Duration,
    /// Of attributes.
    pub attributes: Duration,
    /// Of a name that is not there.
    pub negative: Duration,
}

impl Default for Validity {
    /// Practically for ever: nobody else changes the image.
    fn default() -> Validity {
        let long = Duration::from_secs(365 * 24 * 3600);
        Validity { entry: long, attributes: long, negative: long }
    }
}

/// An entry of a directory with its attributes.
pub(crate) fn entry(m: &Metadata, root: NodeId, block_bytes: u32, valid: Validity) -> EntryOut {
    EntryOut {
        nodeid: node_id(m.id(), root),
        generation: u64::from(m.generation()),
        entry_valid: valid.entry.as_secs(),
        attr_valid: valid.attributes.as_secs(),
        entry_valid_nsec: valid.entry.subsec_nanos(),
        attr_valid_nsec: valid.attributes.subsec_nanos(),
        attr: attr(m, block_bytes),
    }
}

/// A name that is not there.
pub(crate) fn no_entry(valid: Validity) -> EntryOut {
    let (entry_valid, entry_valid_nsec) = (valid.negative.as_secs(), valid.negative.subsec_nanos());
    EntryOut { entry_valid, entry_valid_nsec, ..EntryOut::default() }
}

fn sx_time(time: Timestamp) -> SxTime {
    SxTime { sec: time.seconds, nsec: time.nanoseconds, reserved: 0 }
}

/// Attributes with the time of creation.
pub(crate) fn statx(m: &Metadata, block_bytes: u32) -> Statx {
    let (major, minor) = m.rdev();
    Statx {
        mask: STATX_BASIC | m.created().map_or(0, |_| STATX_BTIME),
        blksize: block_bytes,
        attributes: u64::from(m.flags() & STATX_FLAGS),
        attributes_mask: u64::from(STATX_FLAGS),
        nlink: m.nlink(),
        uid: m.uid(),
        gid: m.gid(),
        mode: m.mode() as u16,
        ino: m.ino(),
        size: m.len(),
        blocks: m.blocks(),
        atime: sx_time(m.accessed()),
        btime: m.created().map(sx_time).unwrap_or_default(),
        ctime: sx_time(m.changed()),
        mtime: sx_time(m.modified()),
        rdev_major: major,
        rdev_minor: minor,
        ..Statx::default()
    }
}

/// The type of an entry of a directory, as `getdents` has it.
pub(crate) fn dirent_kind(kind: FileKind) -> u32 {
    match kind {
        FileKind::Fifo => 1,
        FileKind::CharDevice => 2,
        FileKind::Directory => 4,
        FileKind::BlockDevice => 6,
        FileKind::Regular => 8,
        FileKind::Symlink => 10,
        FileKind::Socket => 12,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_come_back() {
        let root = NodeId { ino: 2, generation: 0 };
        assert_eq!(node_id(root, root), 1);
        assert_eq!(inode(1, root), root);
        for id in
            [NodeId { ino: 12, generation: 0 }, NodeId { ino: u64::from(u32::MAX), generation: u32::MAX }]
        {
            assert_eq!(inode(node_id(id, root), root), id);
        }
    }

    #[test]
    fn device_numbers_come_back() {
        for numbers in [(0, 0), (8, 1), (0xfff, 0xf_ffff), (1, 0x100)] {
            assert_eq!(device_numbers(device_number(numbers)), numbers);
            let host = rustix::fs::makedev(numbers.0, numbers.1);
            assert_eq!(u64::from(device_number(numbers)), host, "as the host has it, for 12 and 20 bits");
        }
    }
}
