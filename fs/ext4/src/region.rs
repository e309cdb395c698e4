//! [`Region`]: bytes of the device in a row, read through pages, one pinned at a time.
//!
//! Who calls it: `dir` and `xattr`, for structures that may be larger than a page or lie across two. Whom it calls: `vm`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::checksum::crc32c;
use rumpcap_host::Result;
use rumpcap_vm::{PAGE_SIZE, PageRef, Reservation};

/// log2 of the bytes that a note on a page covers.
const NOTE_LOG: u32 = 10;
/// Bits of a place that are the offset in its page.
const OFFSET_MASK: u64 = PAGE_SIZE as u64 - 1;

/// Bytes of the device in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// First byte on the device.
    pub start: u64,
    /// How many.
    pub len: u32,
}

/// The part of a region that one page holds.
pub(crate) struct Window<'r> {
    page: PageRef<'r>,
    within: usize,
    len: usize,
    /// Offset in the region of the window's first byte.
    pub base: u32,
}

impl Window<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.page.get(self.within..).and_then(|bytes| bytes.get(..self.len)).unwrap_or_default()
    }

    /// Which note of the page ([`PageRef::is_checked`]) is that of the structure whose first byte in this page is the
    /// window's first.
    pub(crate) fn note(&self) -> u32 {
        (self.within >> NOTE_LOG) as u32
    }

    /// The page itself, for its notes.
    pub(crate) fn page(&self) -> &PageRef<'_> {
        &self.page
    }
}

impl Region {
    /// The `len` bytes from byte `at` of this region on; `None` when they are not all in it.
    pub(crate) fn part(&self, at: u32, len: u32) -> Option<Region> {
        at.checked_add(len).filter(|&end| end <= self.len)?;
        Some(Region { start: self.start.checked_add(u64::from(at))?, len })
    }

    /// The whole of what byte `at` of this region shares its page with, of this region. `ahead`: pages to read along.
    pub(crate) fn window<'r>(
        &self,
        fs: &Ext4,
        r: &'r Reservation<'_>,
        at: u32,
        ahead: u32,
    ) -> Result<Window<'r>> {
        let place = self.start.saturating_add(u64::from(at));
        let page = fs.device.page(r, place, ahead)?;
        let in_page = (place & OFFSET_MASK) as usize;
        let before = in_page.min(at as usize);
        let within = in_page.saturating_sub(before);
        let base = (at as usize).saturating_sub(before);
        let len = (self.len as usize).saturating_sub(base).min(PAGE_SIZE.saturating_sub(within));
        Ok(Window { page, within, len, base: base as u32 })
    }

    /// Copies the region into the first bytes of `buf`, or as much of it as there is room for.
    pub(crate) fn read(&self, fs: &Ext4, r: &Reservation<'_>, buf: &mut [u8]) -> Result<()> {
        let len = buf.len().min(self.len as usize);
        fs.device.copy(r, self.start, buf.get_mut(..len).unwrap_or_default())
    }

    /// Continues a crc32c over the region.
    pub(crate) fn crc32c(&self, fs: &Ext4, r: &Reservation<'_>, mut sum: u32) -> Result<u32> {
        let mut at = 0;
        while at < self.len {
            let window = self.window(fs, r, at, 0)?;
            sum = crc32c(sum, window.bytes());
            at = window.base.saturating_add(window.len.max(1) as u32);
        }
        Ok(sum)
    }
}
