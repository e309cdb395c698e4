//! placeholder of the interface
use crate::BlockDevice;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

/// A copy-on-write view of a device; what is written goes to a nameless temporary file of the host.
pub struct Overlay {
    base: Arc<dyn BlockDevice>,
}

impl Overlay {
    /// Puts an overlay on `base` with its temporary files in `temporary_directory`.
    ///
    /// # Errors
    /// `Host` when the directory takes no file.
    pub fn new(base: Arc<dyn BlockDevice>, temporary_directory: &Path) -> Result<Overlay> {
        let _ = temporary_directory;
        Ok(Overlay { base })
    }
}

impl BlockDevice for Overlay {
    fn len_bytes(&self) -> u64 {
        self.base.len_bytes()
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.base.read_at(offset, bufs)
    }
    fn write_at(&self, _offset: u64, _bufs: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
