//! Host memory: the one region that a kernel is cut from.
//!
//! Who calls it: `vm`, once, at boot. The region is anonymous, zeroed and committed by the host page by page
//! when first touched, so that a large limit costs nothing until it is used.

use crate::{Error, Result};

/// Size at and above which a region asks the host for huge pages: below it a single huge page (2 MiB on the
/// hosts of today) would be a large part of the limit and be committed whole at the first touch.
const HUGE_PAGE_REGION_BYTES: usize = 64 << 20;

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
        let map = options.map_anon().map_err(refused)?;
        if len_bytes >= HUGE_PAGE_REGION_BYTES {
            // Advice only: a host without huge pages serves small ones.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Region(map))
    }

    /// First byte.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
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
