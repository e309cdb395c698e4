//! Making a file system: ext2, ext3 or ext4 on a device, empty or filled on the way.
//!
//! Who calls it: front ends (`rumpcap mkfs`), tests. Whom it calls: `block` for the device; `layout`, `hash`, `checksum`,
//! `acl` and `xattr` for the bytes, which are those that the rest of the crate reads. It needs no kernel and no mount.
//!
//! Reading order: [`Options`] → `geometry` (how many of everything) → `placement` (where the metadata of groups are) →
//! `space` (what is taken) → [`Maker`] → `mapping` (`extents`, `indirect`), `inode`, `attributes`, `directory` → `groups`
//! (what is written last). Beside them `aside`: filling what was made through a mount.
//!
//! The idea: the file system is fresh, so space is taken in ascending order and nothing is ever given back. All that is in use is
//! then said by two numbers, the next block and the next inode, and by arithmetic: every bitmap and every free count follows.
//!
//! - MK-1 A block below the next free one is in use; one at or above it is in use only if `placement` says so.
//! - MK-2 An inode below the next free one is in use, no other is.
//! - MK-3 The super block is written last, behind a flush: what was cut off in the middle is no file system.
//! - MK-4 The bytes depend on the options, the length and the calls alone: no clock, no random numbers, no host.
//!
//! Memory: buffers of some blocks and [`STREAM_BYTES`], made by [`Maker::new`] and one at the end; nothing grows with the file system, a file or a
//! directory. The one thing that arithmetic does not give, the directories of each group, is kept where it belongs on
//! the device: in the group's descriptor.
//!
//! Failure: any error leaves a device that is no file system; the caller throws it away.
//!
//! Source: "ext4 Data Structures and Algorithms" (format); the numbers of a file system of a given size are those of
//! mke2fs, with which the tests compare.

mod aside;
mod attributes;
mod defaults;
mod directory;
mod extents;
mod geometry;
mod groups;
mod indirect;
mod inode;
mod journal;
mod maker;
mod mapping;
mod placement;
mod resize;
mod space;
mod stream;
mod super_block;

pub use aside::Aside;
pub use attributes::Xattr;
pub use defaults::{Kind, Options, Prior, features_of};
pub use directory::Entry;
pub use geometry::Geometry;
pub use inode::Attributes;
pub use maker::{FileMaker, LOST_FOUND_INODE, Maker, ROOT_INODE};
pub use stream::STREAM_BYTES;
