//! Lengths and holes of files.

use crate::change::Allocate;
use crate::mount::Mount;
use crate::node::Timestamp;
use crate::open_file::OpenFile;
use core::ops::Range;
use rumpcap_host::{Error, Result};

impl Mount {
    /// Sets the length of a file.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::set_size`].
    pub fn set_len(&self, open: &OpenFile, len_bytes: u64, now: Timestamp) -> Result<()> {
        let _ = (open, len_bytes, now, self.change()?);
        Err(Error::Unsupported { what: "writing" })
    }

    /// Makes `range` a hole; the length stays.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::punch`].
    pub fn punch_hole(&self, open: &OpenFile, range: Range<u64>, now: Timestamp) -> Result<()> {
        let _ = (open, range, now, self.change()?);
        Err(Error::Unsupported { what: "writing" })
    }

    /// Makes `range` zeros; the length stays.
    ///
    /// # Errors
    /// As [`Mount::punch_hole`].
    pub fn zero_range(&self, open: &OpenFile, range: Range<u64>, now: Timestamp) -> Result<()> {
        let _ = (open, range, now, self.change()?);
        Err(Error::Unsupported { what: "writing" })
    }

    /// Allocates what is not yet allocated of `range`.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`crate::Change::allocate`].
    pub fn allocate(&self, open: &OpenFile, range: Range<u64>, how: Allocate, now: Timestamp) -> Result<()> {
        let _ = (open, range, how, now, self.change()?);
        Err(Error::Unsupported { what: "writing" })
    }
}
