//! Changing a page: its bytes, exclusively, for a moment.
//!
//! Who calls it: `vfs` (data), file systems (metadata). Whom it calls: `page`, `wait`, `copying`.
//!
//! A page to be changed is pinned first, so it is there. [`PageRef::modify`] then waits until nobody else looks at it: others'
//! pins, a copy in progress, a write to the device. While it is changed it is BUSY, and whoever wants it sleeps.
//! How the change ends says what becomes of it: [`PageMut::finish`] (the device has it already, or needs it not),
//! [`PageMut::dirty`](crate::dirty) (to be written in its own time), [`PageMut::hold`](crate::held) (a transaction's).
//!
//! MO-1. Who holds a [`PageMut`] waits for nothing, and holds one at a time; so whoever sleeps for it waits for a moment.
//! MO-2. One thread at a time wants to change a page that it has pinned: file systems have one writer at a time for each
//! mount. (Two that pin the same page and both want it alone would wait for each other.)
//!
//! Memory: none. Failure: none.

use crate::frames::PageRef;
use crate::gate::Reservation;
use crate::page::{FrameNo, PAGE_SIZE};
use core::ops::{Deref, DerefMut};
use rumpcap_host::thread;

/// A page that nobody else looks at, to be changed. Dropped, it is as [`PageMut::finish`] leaves it.
pub struct PageMut<'r> {
    r: &'r Reservation<'r>,
    frame: FrameNo,
    /// The pin, until the change ends.
    pin: Option<PageRef<'r>>,
}

impl<'r> PageRef<'r> {
    /// The page, to be changed. Waits for those who look at it, and for I/O.
    pub fn modify(self) -> PageMut<'r> {
        let (r, frame) = (self.reservation(), self.frame());
        r.begin_modify();
        let vm = r.vm();
        let page = vm.table.page(frame);
        while !page.try_modify() {
            vm.busy.sleep_until_unshared(frame, page);
        }
        // Copies that had begun end by themselves, a few hundred instructions away; none begins of a BUSY page (CO-1).
        while vm.table.copies.is_being_copied(frame) {
            thread::yield_now();
        }
        PageMut { r, frame, pin: Some(self) }
    }
}

impl<'r> PageMut<'r> {
    /// Ends the change of a page that needs not be written: the device has its bytes, or will be given them by the caller.
    pub fn finish(mut self) -> PageRef<'r> {
        self.end().expect("a change ends once")
    }

    pub(crate) fn reservation(&self) -> &'r Reservation<'r> {
        self.r
    }

    pub(crate) fn frame(&self) -> FrameNo {
        self.frame
    }

    /// BUSY to VALID, and wakes who sleeps for the page.
    fn end(&mut self) -> Option<PageRef<'r>> {
        let pin = self.pin.take()?;
        let vm = self.r.vm();
        self.r.end_modify();
        if vm.table.page(self.frame).end_modify() {
            vm.busy.wake(self.frame);
        }
        Some(pin)
    }
}

impl Drop for PageMut<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Deref for PageMut<'_> {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        // SAFETY: the page is BUSY, made so by this value, which is its one owner (PG-2); `&self` shares it.
        let bytes = unsafe { self.r.vm().frames.owned(self.frame, 1) };
        (&*bytes).try_into().expect("a frame is a page")
    }
}

impl DerefMut for PageMut<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        let bytes = unsafe { self.r.vm().frames.owned(self.frame, 1) };
        bytes.try_into().expect("a frame is a page")
    }
}
