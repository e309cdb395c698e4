//! Mounting: from a device to an [`Ext4`], through the journal where it holds what is not yet in its place.
//!
//! Who calls it: the kernel's API. Whom it calls: `super_block`, the journal, `block` for the overlay.
//!
//! Memory: may use the heap (mount is before the steady state). Reads the super block and what the journal needs.

use crate::layout::{SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::{Ext4, SuperBlock};
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{DeviceObject, Vm};
use std::path::PathBuf;
use std::sync::Arc;

/// How a file system is mounted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Look at the file system as it is on the device, without its journal.
    pub ignore_journal: bool,
    /// Where the overlay that a journal is replayed into is made; the host's default if `None`.
    pub temporary_directory: Option<PathBuf>,
    /// Byte of the device of the super block to use, for one whose primary is lost; `None` for the primary.
    pub super_block_offset: Option<u64>,
}

impl Ext4 {
    /// Mounts the file system on `device` under the kernel `vm`, for reading.
    ///
    /// # Errors
    /// `NotAFileSystem`, `Unsupported`, `UnknownFeature`, `ShortDevice`; `Corrupt`, `Checksum`; `Io`; what the journal says.
    pub fn mount(vm: &Arc<Vm>, device: Arc<dyn BlockDevice>, options: &Options) -> Result<Ext4> {
        Ext4::over(vm, device, options)
    }

    /// The file system as it is on `device`.
    fn over(vm: &Arc<Vm>, device: Arc<dyn BlockDevice>, options: &Options) -> Result<Ext4> {
        let device = DeviceObject::attach(vm, device)?;
        let offset = options.super_block_offset.unwrap_or(SUPER_BLOCK_OFFSET);
        let have = device.len_bytes();
        if offset.checked_add(SUPER_BLOCK_BYTES as u64).is_none_or(|end| end > have) {
            return Err(Error::NotAFileSystem);
        }
        let r = vm.reserve(1);
        let mut bytes = [0; SUPER_BLOCK_BYTES];
        device.copy(&r, offset, &mut bytes)?;
        let sb = SuperBlock::parse(&bytes, offset)?;
        let need = sb.len_bytes();
        if need > have {
            return Err(Error::ShortDevice { need, have });
        }
        Ok(Ext4 { device, sb, is_recovered: false })
    }
}
