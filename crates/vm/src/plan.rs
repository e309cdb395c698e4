//! The plan: every size of a kernel, derived from its limit. Pure arithmetic, done once at boot.
//!
//! Who calls it: `boot`; anybody who wants to know what a limit is worth.

use crate::PAGE_SIZE;
use crate::object::Object;
use crate::page::Page;
use crate::page_queue::PageLinks;
use crate::policy::GhostEntry;
use rumpcap_host::{Error, Result};

/// Bytes of the limit that stand for what a kernel keeps outside the region from boot on: its own fixed structures
/// (`Vm`: gate, wait channels, counters), those of its mounts (super block geometry, namecache and vnode table
/// heads, at most [`MAX_MOUNTS`]) and the part of the pagedaemon's stack that it touches.
pub const BOOT_CHARGE_BYTES: usize = 2 * PAGE_SIZE;

/// Mounts and devices that a kernel may have at once, apart from what memory allows.
pub const MAX_MOUNTS: usize = 16;

/// The fewest frames that a kernel boots with: the largest reservation of any operation (12), twice, so that one
/// operation's wait never is for itself, and a frame each for vnodes, names and a walk's buffer.
pub const MIN_FRAMES: u32 = 27;

/// All sizes of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The limit, rounded down to whole pages.
    pub limit_bytes: usize,
    /// Bytes of the region: the limit without [`BOOT_CHARGE_BYTES`].
    pub region_bytes: usize,
    /// Frames for pages, pools and buffers.
    pub frames: u32,
    /// Buckets of the page hash; a power of two, at least `frames`.
    pub buckets: u32,
    /// Pages that are remembered after they went: see `policy/s3_fifo`. A power of two.
    pub ghosts: u32,
    /// Objects: one for a vnode with pages, one for a device.
    pub objects: u32,
    /// The most pages read in one request, the wanted one included: a 16th of the frames, so that read-ahead of a few
    /// threads does not push out what they work on; at most [`MAX_RUN`].
    pub run_pages: u32,
    /// Pages that one object may own before its own are recycled first, whoever asks (F4): three quarters.
    pub object_share: u32,
    /// Pages that may be dirty before a writer has to write some: a quarter.
    pub dirty_pages: u32,
}

/// The most pages of one request to a device: 128 KiB, as Linux reads ahead by default. More would make the
/// list of buffers on the stack longer and the share of a small kernel's frames no larger.
pub const MAX_RUN: usize = 32;

/// Ghosts for each bucket of the page hash: two memories' worth of metadata and two of data (`policy/s3_fifo`).
const GHOSTS_PER_BUCKET: u32 = 4;

/// Bytes of tables that each frame needs besides its own 4,096.
const BYTES_PER_FRAME: usize = size_of::<Page>()
    + size_of::<PageLinks>()
    + GHOSTS_PER_BUCKET as usize * size_of::<GhostEntry>()
    + size_of::<u32>();

impl Plan {
    /// The plan for `limit_bytes`.
    ///
    /// # Errors
    /// `LimitTooSmall` with the smallest limit that has a plan.
    pub fn new(limit_bytes: u64) -> Result<Plan> {
        let too_small = Error::LimitTooSmall { need: Plan::smallest_limit_bytes(), have: limit_bytes };
        let pages = usize::try_from(limit_bytes).unwrap_or(usize::MAX) / PAGE_SIZE;
        let limit = pages.min(u32::MAX as usize / 2) * PAGE_SIZE;
        let region = limit.checked_sub(BOOT_CHARGE_BYTES).ok_or(too_small)?;
        // The hash is rounded up to a power of two: at most 4 bytes a frame more than BYTES_PER_FRAME says.
        let mut frames = region / (PAGE_SIZE + BYTES_PER_FRAME);
        while frames >= MIN_FRAMES as usize {
            let plan = Plan::with_frames(limit, region, frames as u32);
            if plan.tables_bytes() + frames * PAGE_SIZE <= region {
                return Ok(plan);
            }
            frames -= 1;
        }
        Err(too_small)
    }

    fn with_frames(limit_bytes: usize, region_bytes: usize, frames: u32) -> Plan {
        Plan {
            limit_bytes,
            region_bytes,
            frames,
            buckets: frames.next_power_of_two(),
            ghosts: frames.next_power_of_two() * GHOSTS_PER_BUCKET,
            objects: (frames / 2).clamp(16, 1 << 16) + MAX_MOUNTS as u32,
            run_pages: (frames / 16).clamp(2, MAX_RUN as u32),
            object_share: frames - frames / 4,
            dirty_pages: frames / 4,
        }
    }

    /// Bytes of all tables, the alignment of each and of the first frame included.
    pub fn tables_bytes(&self) -> usize {
        let frames = self.frames as usize;
        let tables = frames * (size_of::<Page>() + size_of::<PageLinks>())
            + self.buckets as usize * size_of::<u32>()
            + self.ghosts as usize * size_of::<GhostEntry>()
            + self.objects as usize * size_of::<Object>();
        (tables + 5 * 8).next_multiple_of(PAGE_SIZE)
    }

    /// The smallest limit that has a plan, in bytes.
    pub fn smallest_limit_bytes() -> u64 {
        let plan = Plan::with_frames(0, 0, MIN_FRAMES);
        (BOOT_CHARGE_BYTES + plan.tables_bytes() + MIN_FRAMES as usize * PAGE_SIZE) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_limit_has_a_plan_and_a_page_less_has_none() {
        let need = Plan::smallest_limit_bytes();
        assert!(Plan::new(need).is_ok());
        let have = need - 1;
        assert_eq!(Plan::new(have), Err(Error::LimitTooSmall { need, have }));
        assert_eq!(Plan::new(0), Err(Error::LimitTooSmall { need, have: 0 }));
    }

    proptest! {
        #[test]
        fn a_plan_fits_its_limit(limit in 0u64..1 << 40) {
            if let Ok(plan) = Plan::new(limit) {
                let used = plan.tables_bytes() + plan.frames as usize * PAGE_SIZE + BOOT_CHARGE_BYTES;
                prop_assert!(used as u64 <= limit);
                prop_assert!(plan.frames >= MIN_FRAMES);
                // What is lost to rounding stays below 2 % and a few pages.
                prop_assert!(used as u64 + limit / 50 + 3 * PAGE_SIZE as u64 >= plan.limit_bytes as u64);
            } else {
                prop_assert!(limit < Plan::smallest_limit_bytes());
            }
        }
    }
}
