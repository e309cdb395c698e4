//! The links that order frames: free frames, and pages for eviction.
//!
//! Who calls it: `resident` (free list), `policy` (queues). Every frame is in exactly one [`Place`]; pages of a queue
//! are linked through `queue`, the pages of one object through `object`.

use crate::dirty::Home;
use crate::list::{Linked, Links};

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// Never used since boot; zeroed memory says so.
    Fresh = 0,
    /// In the free list.
    Free = 1,
    /// In the policy's first queue (LRU's only one).
    Main = 2,
    /// In S3-FIFO's small queue.
    Small = 3,
    /// Wired: a pool's or a buffer's.
    Wired = 4,
    /// In the list of dirty pages.
    Dirty = 5,
    /// In no list: being written to its device.
    Writeback = 6,
    /// In a transaction's list.
    Held = 7,
}

/// The links of one frame. Guarded by the resident lock.
#[derive(zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct PageLinks {
    queue: Links,
    object: Links,
    /// Of a dirty page: where its bytes belong.
    pub(crate) home: Home,
    place: u8,
    /// The page is metadata. 0 or 1.
    metadata: u8,
    _unused: [u8; 6],
}

impl PageLinks {
    pub(crate) fn place(&self) -> Place {
        match self.place {
            0 => Place::Fresh,
            1 => Place::Free,
            2 => Place::Main,
            3 => Place::Small,
            4 => Place::Wired,
            5 => Place::Dirty,
            6 => Place::Writeback,
            _ => Place::Held,
        }
    }

    pub(crate) fn set_place(&mut self, place: Place) {
        self.place = place as u8;
    }

    /// Of the page that the frame holds.
    pub(crate) fn is_metadata(&self) -> bool {
        self.metadata != 0
    }

    pub(crate) fn set_metadata(&mut self, is_metadata: bool) {
        self.metadata = u8::from(is_metadata);
    }
}

/// The links of the queues.
pub(crate) struct ByQueue<'a>(pub(crate) &'a mut [PageLinks]);

impl Linked for ByQueue<'_> {
    fn links(&mut self, item: u32) -> &mut Links {
        &mut self.0[item as usize].queue
    }
}

/// The links of the objects.
pub(crate) struct ByObject<'a>(pub(crate) &'a mut [PageLinks]);

impl Linked for ByObject<'_> {
    fn links(&mut self, item: u32) -> &mut Links {
        &mut self.0[item as usize].object
    }
}
