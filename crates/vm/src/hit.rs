//! A hit without a reservation: bytes of a resident page, copied in a time that depends on nobody.
//!
//! Who calls it: `vfs` (data of files), before it enters the gate. Whom it calls: `page_table`, `frames`.
//!
//! The caller keeps a [`ObjectHint`] of the object between operations: four bytes of identity, four of age. So a hit
//! finds its page without a look at the vnode table, and writes nothing that a hit on another processor reads or writes.
//!
//! HI-1. A page is held for one copy into memory of the caller, and its holder waits for nothing (exact LRU, which is there
//! to compare with, takes the resident lock). So to F2 it is what I/O in flight is: it ends by itself.
//! HI-2. While somebody waits for a frame no copy begins: a waiter waits for copies that had begun, not for new ones.
//! HI-3. A hint names its object only as long as its identity cannot have been given again (OB-2).
//!
//! Memory: none. Failure: none; what is not there is read through the gate.

use crate::boot::Vm;
use crate::object::{GENERATIONS, ObjectId};
use crate::frames::PageToCopy;
use crate::page::PageIndex;
use crate::page_table::Found;
use core::sync::atomic::Ordering::{Acquire, SeqCst};

/// Objects destroyed in one tick of a hint's clock: half of the generations, so that a hint of this tick or of the one
/// before is younger than all of them.
const TICK_DESTROYED: u64 = GENERATIONS as u64 / 2;

/// An object as it was found by an earlier operation, in eight bytes.
///
/// Its clock has 32 bits of [`TICK_DESTROYED`] objects: it is ambiguous after 2^46 objects, two years of a million a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHint(u64);

impl ObjectHint {
    /// Names no object: its slot is beyond every table.
    pub const NONE: ObjectHint = ObjectHint(u64::MAX);

    fn new(object: ObjectId, tick: u32) -> ObjectHint {
        ObjectHint(u64::from(tick) << 32 | u64::from(object.0))
    }

    fn object(self) -> ObjectId {
        ObjectId(self.0 as u32)
    }

    fn tick(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As a word, to be kept in an atomic.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`ObjectHint::to_bits`] gave.
    pub fn from_bits(bits: u64) -> ObjectHint {
        ObjectHint(bits)
    }
}

impl Vm {
    /// A hint of `object`, which the caller keeps alive now.
    pub fn hint(&self, object: ObjectId) -> ObjectHint {
        ObjectHint::new(object, self.tick())
    }

    fn tick(&self) -> u32 {
        (self.objects_destroyed.load(Acquire) / TICK_DESTROYED) as u32
    }

    /// Copies bytes of page `index` from `within` on into `out`, if the page is there and nobody waits for memory (HI-2).
    /// Never blocks. False: nothing was copied, nothing counted; read it with a reservation.
    pub fn copy_resident(&self, hint: ObjectHint, index: PageIndex, within: usize, out: &mut [u8]) -> bool {
        if self.frame_waiters.load(SeqCst) > 0 || self.trace.is_some() {
            return false;
        }
        let Some(page) = self.page_to_copy(hint.object(), index) else { return false };
        // Behind the announcement: that the identity was this object's until now says that it was at the announcement.
        if self.tick().wrapping_sub(hint.tick()) > 1 {
            return false;
        }
        out.copy_from_slice(&page[within..within + out.len()]);
        self.touch(page.frame());
        page.count_hit();
        true
    }

    /// The page, if it is there: announced, or pinned if this processor's announcement is taken.
    fn page_to_copy(&self, object: ObjectId, index: PageIndex) -> Option<PageToCopy<'_>> {
        let frame = self.table.peek(object.0, index)?;
        match self.table.copies.announce(frame) {
            Some(announced) => {
                let is_valid = self.table.page(frame).is_valid(object.0, index);
                is_valid.then(|| PageToCopy::announced(self, frame, announced))
            }
            None => match self.table.find(object.0, index) {
                Found::Pinned(frame) => Some(PageToCopy::pinned(self, frame)),
                _ => None,
            },
        }
    }
}
