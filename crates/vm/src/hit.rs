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
use crate::frames::PageToCopy;
use crate::object::{GENERATIONS, ObjectId};
use crate::page::PageIndex;
use crate::page_table::Found;
use crate::trace::TraceEvent;
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
        if self.frame_waiters.load(SeqCst) > 0 {
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
        drop(page);
        self.trace(TraceEvent::Hit { object: hint.object().0, page: index.0 });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PAGE_SIZE;
    use crate::{BootOptions, BusyPages, Daemon, Pager};
    use rumpcap_host::Result;
    use rumpcap_host::sync::Arc;

    /// Fills pages with one byte.
    struct Fill(u8);

    impl Pager for Fill {
        fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
            pages.page_mut(0).fill(self.0);
            Ok(())
        }
    }

    fn boot() -> Arc<Vm> {
        let limit_bytes = Some(256 << 10);
        Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap()
    }

    fn page_in(vm: &Vm, object: ObjectId, byte: u8) {
        let r = vm.reserve(1);
        let page = vm.page(&r, object, PageIndex(0), 0, &Fill(byte)).unwrap();
        assert_eq!(page[0], byte);
    }

    #[test]
    fn what_is_there_is_copied_and_counted_and_what_is_not_is_not() {
        let vm = boot();
        let object = vm.create_object().unwrap();
        let (hint, mut out) = (vm.hint(object), [0; 100]);
        assert!(!vm.copy_resident(hint, PageIndex(0), 0, &mut out));
        assert!(!vm.copy_resident(ObjectHint::NONE, PageIndex(0), 0, &mut out));
        page_in(&vm, object, 7);
        assert!(vm.copy_resident(
            ObjectHint::from_bits(hint.to_bits()),
            PageIndex(0),
            PAGE_SIZE - 100,
            &mut out
        ));
        assert_eq!(out, [7; 100]);
        let report = vm.report();
        assert_eq!((report.hits, report.lookups), (1, 2));
    }

    #[test]
    fn a_copy_in_progress_keeps_its_page_and_a_second_on_the_same_processor_pins_it() {
        let vm = boot();
        let object = vm.create_object().unwrap();
        page_in(&vm, object, 7);
        let pages = || vm.report().pages_clean + vm.report().pages_pinned;
        let first = vm.page_to_copy(object, PageIndex(0)).unwrap();
        vm.daemon_round();
        assert_eq!((pages(), vm.report().pages_pinned), (1, 0), "kept, and not by a pin");
        // On the same processor unless this thread has just been moved; the page is kept either way.
        let second = vm.page_to_copy(object, PageIndex(0)).unwrap();
        vm.destroy_object(object);
        assert_eq!((first[0], second[0]), (7, 7));
        drop(first);
        vm.daemon_round();
        assert_eq!(pages(), 1);
        drop(second);
        vm.daemon_round();
        assert_eq!(pages(), 0);
    }

    #[test]
    fn nothing_is_copied_while_somebody_waits_for_a_frame() {
        let vm = boot();
        let object = vm.create_object().unwrap();
        page_in(&vm, object, 7);
        vm.frame_waiters.fetch_add(1, SeqCst);
        assert!(!vm.copy_resident(vm.hint(object), PageIndex(0), 0, &mut [0; 8]));
        vm.frame_waiters.fetch_sub(1, SeqCst);
        assert!(vm.copy_resident(vm.hint(object), PageIndex(0), 0, &mut [0; 8]));
    }

    #[test]
    fn a_hint_is_not_taken_for_a_later_object_of_the_same_identity() {
        let vm = boot();
        let object = vm.create_object().unwrap();
        let hint = vm.hint(object);
        vm.destroy_object(object);
        let later = (0..=GENERATIONS)
            .map(|_| {
                let other = vm.create_object().unwrap();
                if other != object {
                    vm.destroy_object(other);
                }
                other
            })
            .find(|other| *other == object)
            .expect("OB-2: identities come again");
        page_in(&vm, later, 9);
        assert!(!vm.copy_resident(hint, PageIndex(0), 0, &mut [0; 8]));
        assert!(vm.copy_resident(vm.hint(later), PageIndex(0), 0, &mut [0; 8]));
    }
}
