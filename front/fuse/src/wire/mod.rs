//! The bytes of the FUSE protocol, version 7: what Linux sends and what it wants to hear.
//!
//! Who calls it: `request` parses, `reply` and `ops` build. All structures are in the host's byte order; their names are those of
//! `linux/fuse.h` without `fuse_`.
//!
//! Source: `include/uapi/linux/fuse.h` of Linux, which its tests compare sizes with.

pub mod flags;
pub mod opcode;
pub mod received;
pub mod sent;

/// The protocol's major version.
pub const MAJOR: u32 = 7;

/// The minor version that is spoken here: that of `STATX`.
pub const MINOR: u32 = 39;

/// The least minor version that is understood: that of `INIT_EXT`, of Linux 5.17.
pub const MINOR_MIN: u32 = 36;

/// Node id of the root.
pub const ROOT: u64 = 1;
