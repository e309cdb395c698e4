//! [`Aside`]: a file system that was just made, mounted without its journal, to be filled.
//!
//! Who calls it: front ends that fill through a mount what cannot be known beforehand (a stream), between [`super::Maker::finish`] and the
//! mount, and behind its end. Whom it calls: `mount_write` for the super block.
//!
//! A journal is of no use to what is thrown away when it fails: every change would be written twice, and what has been in the log would
//! stay on the device, cut as the clock had it. So the super block tells of none meanwhile; its inode and its blocks stay in use.
//!
//! AS-1. From the mount's first change to its end the super block says that it was not unmounted (MW-2): what is cut off is no file
//! system in order, and is not written before it is checked.

use crate::layout::{SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::mount_write::change_super_block;
use rumpcap_block::BlockDevice;
use rumpcap_host::Result;
use std::io::IoSlice;

const COMPAT_HAS_JOURNAL: u32 = 0x4;

/// The journal of a new file system, while it is filled.
pub struct Aside<'d> {
    device: &'d dyn BlockDevice,
    /// The bit, if it was set.
    has_journal: u32,
}

impl<'d> Aside<'d> {
    /// From now on `device`, which is not mounted, holds a file system without a journal.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where there is no super block.
    pub fn put(device: &'d dyn BlockDevice) -> Result<Aside<'d>> {
        let mut has_journal = 0;
        change_super_block(device, |raw| {
            let compat = raw.features_compat.get();
            has_journal = compat & COMPAT_HAS_JOURNAL;
            raw.features_compat.set(compat & !COMPAT_HAS_JOURNAL);
        })?;
        Ok(Aside { device, has_journal })
    }

    /// The journal is back, empty as it was made. What was filled is durable behind it.
    ///
    /// # Errors
    /// `Io`.
    pub fn bring_back(self) -> Result<()> {
        self.device.flush()?;
        change_super_block(self.device, |raw| {
            raw.features_compat.set(raw.features_compat.get() | self.has_journal);
        })?;
        self.device.flush()
    }

    /// Nothing is known by a super block any more.
    ///
    /// # Errors
    /// `Io`.
    pub fn erase(self) -> Result<()> {
        self.device.write_at(SUPER_BLOCK_OFFSET, &mut [IoSlice::new(&[0; SUPER_BLOCK_BYTES])])?;
        self.device.flush()
    }
}
