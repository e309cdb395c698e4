//! Writing files.

use crate::mount::Mount;
use crate::node::Timestamp;
use crate::open_file::OpenFile;
use rumpcap_host::{Error, Result};

impl Mount {
    /// Writes all of `data` at `offset`; short only behind an error after some bytes. May block for I/O.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::write`] and of the device.
    pub fn write_at(&self, open: &OpenFile, offset: u64, data: &[u8], now: Timestamp) -> Result<usize> {
        let _ = (open, offset, data, now, self.change()?);
        Err(Error::Unsupported { what: "writing" })
    }
}
