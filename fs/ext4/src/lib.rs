//! ext2, ext3 and ext4: reading and writing them, and making new ones ([`mkfs`]).
//!
//! Who calls it: `vfs` through [`rumpcap_vfs::FileSystem`] and [`rumpcap_vfs::Change`]; the kernel's API to mount and for [`Info`]. Whom it
//! calls: `vm` for the pages of its device.
//!
//! Reading order: `layout` (bytes) → `super_block` → `group` → `inode` → `map` (`extent`, `block_map`) → `dir`
//! (`htree`, `hash`, `casefold`) → `xattr` → `vnops` (the whole as a file system) → `mount`. Writing: `transaction` (an
//! operation is whole or not there) → `inode_edit` → `alloc` → `map_change` → `dir_change` → `xattr` → `content`, `namespace`,
//! `attributes`, `orphan` → `vnops_change` → `mount_write`. `journal` recovers a log and writes one; `mkfs` makes file systems.
//!
//! Memory: [`Ext4`] is a few hundred bytes, fixed at mount; one that is written wires less than half of the frames besides
//! (`transaction`). All metadata are pages of the device's object; an operation pins at most [`MAX_PINS`] of them.
#![forbid(unsafe_code)]
// A module's header names the files that it is made of, which are private: its readers have the source at hand.
#![allow(rustdoc::private_intra_doc_links)]

mod acl;
mod alloc;
mod attributes;
mod block;
mod block_map;
mod casefold;
pub mod check;
pub mod checksum;
mod content;
mod dir;
mod dir_change;
mod extent;
pub mod features;
mod group;
mod hash;
mod htree;
mod info;
mod inline_data;
mod inode;
mod inode_edit;
pub mod journal;
mod journaled_content;
pub mod layout;
mod map;
mod map_change;
pub mod mkfs;
mod mount;
mod mount_write;
mod namespace;
pub mod node;
mod orphan;
mod region;
mod stat_fs;
pub mod super_block;
mod symlink;
mod transaction;
mod vnops;
mod vnops_change;
mod xattr;

pub use block::Ext4;
pub use info::Info;
pub use mount::Options;
pub use super_block::SuperBlock;

/// The most pages that any method pins at once: a page of the structure that is walked, and one of what it points
/// to (the leaf of a directory with its extent block, an attribute with its inode).
pub const MAX_PINS: u32 = 4;
