//! Host memory: the one region that a kernel is cut from.
//!
//! Who calls it: `vm`, once, at boot. The region is anonymous, zeroed and committed by the host page by page
//! when first touched, so that a large limit costs nothing until it is used.

use crate::{Error, Result};

/// A zeroed, page-aligned range of host memory, given back when dropped.
pub struct Region(memmap2::MmapMut);

impl Region {
    /// Asks the host for `len_bytes` of zeroed memory.
    ///
    /// # Errors
    /// [`Error::Host`] when the host has none.
    pub fn new(len_bytes: usize) -> Result<Region> {
        let refused = |e: std::io::Error| Error::Host {
            what: "the kernel's memory",
            errno: e.raw_os_error().unwrap_or(0),
        };
        let mut options = memmap2::MmapOptions::new();
        options.len(len_bytes).no_reserve_swap();
        options.map_anon().map(Region).map_err(refused)
    }

    /// First byte.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// Commits a part of the region at once, which saves a page fault for each of its pages when they are first touched. A
    /// host that does not know this commits them then.
    pub fn populate(&self, offset_bytes: usize, len_bytes: usize) {
        let _ = self.0.advise_range(memmap2::Advice::PopulateWrite, offset_bytes, len_bytes);
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Physical memory of the host in bytes, for a kernel without a limit; 1 GiB where the host does not say.
pub fn host_memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let bytes = info.totalram.saturating_mul(info.mem_unit.into());
    if bytes == 0 { 1 << 30 } else { bytes }
}
