//! Held pages: what a transaction has changed and not yet committed.
//!
//! Who calls it: a file system's transactions. Whom it calls: `gate`, `resident`.
//!
//! A transaction is a reservation (F5): the most pages that it may hold are wired from the gate's count when the transaction's owner
//! is made, once for the life of a mount. So a commit never waits for memory, and may run inside the gate: it waits for the device
//! alone. Which operations fit is the owner's to say ([`HeldPages::room`]); one that does not is taken back
//! ([`HeldPages::abandon_behind`]) and done again when the pages have been let go.
//!
//! HE-1. A held page is not evicted and not written to its place by anybody but its owner.
//! HE-2. Pages are held in the order in which they were first changed.
//! HE-3. A held page tells which of its units were changed, and by which operation it was first held. So the owner logs no
//! byte that it did not change, and can take an operation back: what it was first to change is forgotten, the rest restored.
//!
//! Locks: the resident lock for the list. Memory: the wired count; the pages' own links. Failure: none after `new`.

use crate::boot::Vm;
use crate::dirty::Home;
use crate::frames::PageRef;
use crate::list::{Linked, List};
use crate::modify::PageMut;
use crate::object::ObjectId;
use crate::page::{FrameNo, PAGE_SIZE, PageIndex, Pin};
use crate::page_queue::{ByQueue, Place};
use core::ops::{Deref, Range};
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::Result;
use rumpcap_host::sync::Arc;
use rumpcap_host::thread;

/// The pages that a transaction holds, and the right to hold so many.
pub struct HeldPages {
    vm: Arc<Vm>,
    most: u32,
    list: List,
}

/// What a transaction did to units of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldAs {
    /// Changed some of their bytes.
    Changed,
    /// Gave them their first content: nothing that is on the device refers to them.
    Created,
}

/// A held page.
#[derive(Clone, Copy)]
pub struct HeldPage {
    frame: FrameNo,
}

impl HeldPages {
    /// The right to hold `most` pages. Never waits.
    ///
    /// # Errors
    /// `NoMemory` when operations would starve.
    pub fn new(vm: &Arc<Vm>, most: u32) -> Result<HeldPages> {
        vm.gate.try_wire(most, "a transaction")?;
        Ok(HeldPages { vm: vm.clone(), most, list: List::default() })
    }

    /// Pages that it can hold besides those that it does.
    pub fn room(&self) -> u32 {
        self.most - self.list.len()
    }

    /// Pages that it holds.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u32 {
        self.list.len()
    }

    /// Ends the change of a page, which is this transaction's from now on. Its units `units` (of 1 KiB, from 0 to 4) were
    /// changed, by operation `operation` (HE-3).
    pub fn hold<'r>(
        &mut self,
        page: PageMut<'r>,
        units: Range<usize>,
        how: HeldAs,
        operation: u64,
    ) -> PageRef<'r> {
        let (vm, frame) = (&self.vm, page.frame());
        let mask = units.fold(0, |mask, unit| mask | 1 << unit);
        if !vm.table.page(frame).is_held() {
            assert!(self.room() > 0, "F5: a transaction changes more pages than it reserved");
            let mut resident = vm.resident.lock();
            resident.leave_policy(&vm.table, frame);
            resident.links[frame.slot()].set_place(Place::Held);
            resident.links[frame.slot()].home = Home::of_held(operation);
            self.list.push_back(&mut ByQueue(&mut resident.links), frame.0);
            resident.held_pages += 1;
            vm.table.page(frame).set_held();
        }
        vm.resident.lock().links[frame.slot()]
            .home
            .add_held_units(mask, if how == HeldAs::Created { mask } else { 0 });
        page.finish()
    }

    /// The held page behind `behind`, or the first.
    pub fn next(&self, behind: Option<HeldPage>) -> Option<HeldPage> {
        let frame = match behind {
            Some(page) => ByQueue(&mut self.vm.resident.lock().links).next(page.frame.0),
            None => self.list.front(),
        };
        frame.map(|frame| HeldPage { frame: FrameNo(frame) })
    }

    /// Object and index of a held page.
    pub fn identity(&self, page: HeldPage) -> (ObjectId, PageIndex) {
        let (object, index) = self.vm.table.page(page.frame).identity();
        (ObjectId(object), index)
    }

    /// The units of a held page that were changed, and of these the ones that are new, a bit for each, the lowest for the first.
    pub fn units(&self, page: HeldPage) -> (u8, u8) {
        self.vm.resident.lock().links[page.frame.slot()].home.held_units()
    }

    /// A held page, to be written: nobody changes it meanwhile.
    pub fn pin(&self, page: HeldPage) -> HeldRef<'_> {
        let state = self.vm.table.page(page.frame);
        let (object, index) = state.identity();
        while state.pin(object, index) != Pin::Done {
            self.vm.busy.sleep(page.frame, state);
        }
        HeldRef { vm: &self.vm, frame: page.frame }
    }

    /// Lets all pages go: they are committed, and clean.
    pub fn release(&mut self) {
        let mut resident = self.vm.resident.lock();
        resident.held_pages -= self.list.len();
        while let Some(frame) = self.list.pop_front(&mut ByQueue(&mut resident.links)) {
            let page = self.vm.table.page(FrameNo(frame));
            page.release();
            // What one transaction changed, the next is likely to change.
            page.references.store(1, Relaxed);
            resident.join_policy(&self.vm.table, FrameNo(frame));
        }
        drop(resident);
        self.vm.frame_may_be_free();
    }

    /// Forgets the changes of all pages: whoever reads them next reads the device. Nobody else holds one.
    pub fn abandon(&mut self) {
        self.abandon_behind(0);
    }

    /// Forgets the changes of all pages but the first `keep`: see [`HeldPages::abandon`].
    pub fn abandon_behind(&mut self, keep: u32) {
        while self.list.len() > keep {
            let mut resident = self.vm.resident.lock();
            let last = self.list.back().expect("HE-2: a list with a length has a last page");
            self.list.remove(&mut ByQueue(&mut resident.links), last);
            resident.held_pages -= 1;
            let frame = FrameNo(last);
            self.vm.table.page(frame).release();
            resident.join_policy(&self.vm.table, frame);
            // Who looked for another page in this frame may just be finding out that it is not there any more (CO-1).
            while !resident.evict(&self.vm.table, frame) {
                drop(resident);
                thread::yield_now();
                resident = self.vm.resident.lock();
            }
        }
        self.vm.frame_may_be_free();
    }
}

/// A held page, pinned. Its pin is counted with what the transaction may hold.
pub struct HeldRef<'a> {
    vm: &'a Vm,
    frame: FrameNo,
}

impl Deref for HeldRef<'_> {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        // SAFETY: this value is a pin, and the bytes are lent no longer than it lives (FR-1).
        unsafe { self.vm.frames.pinned(self.frame) }
    }
}

impl Drop for HeldRef<'_> {
    fn drop(&mut self) {
        self.vm.unpin(self.frame);
    }
}

impl PageRef<'_> {
    /// The operation that was the first of the running transaction to change this page; `None` if it is not held.
    pub fn held_by(&self) -> Option<u64> {
        let vm = self.reservation().vm();
        let is_held = vm.table.page(self.frame()).is_held();
        is_held.then(|| vm.resident.lock().links[self.frame().slot()].home.held_by())
    }

    /// Of a held page, what [`HeldPages::units`] gives.
    pub fn held_units(&self) -> (u8, u8) {
        self.reservation().vm().resident.lock().links[self.frame().slot()].home.held_units()
    }

    /// A change of a held page is taken back: it tells of the units that [`PageRef::held_units`] gave before it, and of no
    /// others. (Else a block that the operation gave up would be written with what it had, over what it has been used for since.)
    pub fn restore_held_units(&self, (changed, created): (u8, u8)) {
        let vm = self.reservation().vm();
        assert!(vm.table.page(self.frame()).is_held(), "HE-3: the units of a page that is not held");
        vm.resident.lock().links[self.frame().slot()].home.set_held_units(changed, created);
    }
}

impl Drop for HeldPages {
    fn drop(&mut self) {
        self.abandon();
        self.vm.gate.unwire(self.most);
        self.vm.frame_may_be_free();
    }
}
