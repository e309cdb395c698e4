//! Block devices: where the bytes of a file system come from.
//!
//! Who calls it: `vm` (pages of a device's object), `vfs` (large reads straight into the caller's buffer),
//! file systems (recovery of a journal). Whom it calls: `host`.
#![forbid(unsafe_code)]

mod device;
mod file;
mod overlay;

pub use device::BlockDevice;
pub use file::FileDevice;
pub use overlay::Overlay;
