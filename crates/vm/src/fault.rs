//! Bringing pages in: look up, else take frames, make them busy, have the pager fill them.
//!
//! Who calls it: `device_object`, `vfs` (data of files). Whom it calls: a [`Pager`], which reads from a device straight
//! into the frames.
//!
//! FA-1. A thread that holds busy pages waits for nothing but the device: the pager has been told where everything is
//! before a frame is taken. So a wait for a busy page is a wait for I/O alone (F2), or
//! for a change that waits for nothing (MO-1).
//! FA-2. Only the wanted page may be waited for; pages ahead of it take frames that are free or clean at that moment,
//! no more than a quarter of all at once, and are never pinned.
//! FA-3. A failed read leaves no page: sleepers wake, look again, and get their own error. A read that fails for the
//! pages ahead is tried again for the wanted one alone.

use crate::boot::Vm;
use crate::dirty::Dirty;
use crate::frames::PageRef;
use crate::gate::Reservation;
use crate::object::ObjectId;
use crate::page::{FrameNo, PAGE_SIZE, PageIndex};
use crate::page_table::Found;
use crate::plan::MAX_RUN;
use crate::resident::Resident;
use crate::trace::TraceEvent;
use arrayvec::ArrayVec;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use rumpcap_host::sync::MutexGuard;
use rumpcap_host::{Error, Result, clock, thread};
use std::io::IoSliceMut;

/// Fills pages of an object.
pub trait Pager {
    /// Fills every byte of `pages`, which follow each other in the object. May block for I/O, for nothing else (FA-1).
    ///
    /// # Errors
    /// What the device says; the pages' content is then undefined and nobody will see it.
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()>;
}

/// Pages under I/O, owned by the thread that fills them. Dropped unfinished, they are free again.
pub struct BusyPages<'vm> {
    vm: &'vm Vm,
    first: PageIndex,
    frames: ArrayVec<FrameNo, MAX_RUN>,
}

/// What is asked for: a page of an object, and how many behind it would be welcome.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) object: ObjectId,
    pub(crate) index: PageIndex,
    pub(crate) ahead: u32,
}

impl Vm {
    /// Page `index` of `object`, pinned; read by `pager` if it is not there, together with up to `ahead` pages behind it
    /// that are not there either. May block for I/O.
    ///
    /// # Errors
    /// Those of the pager; `Stale` when the object was destroyed, be it while the caller slept for the page.
    pub fn page<'r>(
        &self,
        r: &'r Reservation<'_>,
        object: ObjectId,
        index: PageIndex,
        ahead: u32,
        pager: &dyn Pager,
    ) -> Result<PageRef<'r>> {
        match self.resident_page(r, object, index) {
            Some(page) => Ok(page),
            None => self.page_in(r, Wanted { object, index, ahead }, pager),
        }
    }

    /// Page `index` of `object`, pinned, if it is there and not under I/O. Never blocks.
    pub fn resident_page<'r>(
        &self,
        r: &'r Reservation<'_>,
        object: ObjectId,
        index: PageIndex,
    ) -> Option<PageRef<'r>> {
        debug_assert!(core::ptr::eq(self, r.vm()), "F2: the reservation is another kernel's");
        let Found::Pinned(frame) = self.table.find(object.0, index) else {
            r.count_lookup(false);
            return None;
        };
        r.count_lookup(true);
        self.trace(TraceEvent::Hit { object: object.0, page: index.0 });
        self.touch(frame);
        Some(PageRef::of_pinned(r, frame))
    }

    /// Whether a page that is not here was asked for, or was here, lately, and so is worth a frame where reading it again
    /// is cheap. Notes that it was asked for now.
    pub fn asked_lately(&self, object: ObjectId, index: PageIndex) -> bool {
        let asked = self.resident.lock().asked_lately(self.table.ghost_key(object.0, index));
        if !asked {
            self.trace(TraceEvent::Passed { object: object.0, page: index.0 });
        }
        asked
    }

    pub(crate) fn touch(&self, frame: FrameNo) {
        if self.touch.hit(self.table.page(frame)) {
            self.resident.lock().hit(&self.table, frame);
        }
    }

    #[cold]
    pub(crate) fn page_in<'r>(
        &self,
        r: &'r Reservation<'_>,
        wanted: Wanted,
        pager: &dyn Pager,
    ) -> Result<PageRef<'r>> {
        assert!(r.may_wait(), "MO-1: a page is asked for while another is being changed");
        loop {
            let mut resident = self.resident.lock();
            match self.table.find_locked(wanted.object.0, wanted.index) {
                Found::Pinned(frame) => {
                    drop(resident);
                    self.trace(TraceEvent::Hit { object: wanted.object.0, page: wanted.index.0 });
                    self.touch(frame);
                    return Ok(PageRef::of_pinned(r, frame));
                }
                Found::Busy(frame) => {
                    drop(resident);
                    self.counters.busy_waits.fetch_add(1, Relaxed);
                    self.busy.sleep(frame, self.table.page(frame));
                }
                Found::Nothing if !resident.objects.is_live(wanted.object) => return Err(Error::Stale),
                Found::Nothing => match resident.take_frame(&self.table, wanted.object, wanted.index) {
                    Some(frame) => {
                        let busy = self.make_busy(resident, wanted, frame);
                        let Wanted { object, index, ahead } = wanted;
                        self.trace(TraceEvent::Read { object: object.0, page: index.0, ahead });
                        return busy.fill(r, pager);
                    }
                    None => self.wait_for_frame(resident),
                },
            }
        }
    }

    /// Makes `frame` the wanted page, and what frames there are the pages ahead (FA-2).
    fn make_busy(
        &self,
        mut resident: MutexGuard<'_, Resident>,
        wanted: Wanted,
        frame: FrameNo,
    ) -> BusyPages<'_> {
        let mut frames = ArrayVec::new();
        resident.insert_busy(&self.table, &self.touch, frame, wanted.object, wanted.index);
        frames.push(frame);
        let in_flight = self.in_flight.fetch_add(1, SeqCst);
        let room = (self.plan.frames / 4).saturating_sub(in_flight);
        for ahead in 1..=wanted.ahead.min(self.plan.run_pages - 1).min(room) {
            let index = PageIndex(wanted.index.0 + u64::from(ahead));
            if self.table.contains(wanted.object.0, index) {
                break;
            }
            let Some(frame) = resident.take_frame(&self.table, wanted.object, index) else { break };
            resident.insert_busy(&self.table, &self.touch, frame, wanted.object, index);
            resident.read_ahead += 1;
            self.in_flight.fetch_add(1, SeqCst);
            frames.push(frame);
        }
        BusyPages { vm: self, first: wanted.index, frames }
    }

    /// Sleeps until a frame may be free. By F2 that needs I/O alone: what holds the frames is busy, or pinned by
    /// operations that are served before this one.
    fn wait_for_frame<'a>(&'a self, mut resident: MutexGuard<'a, Resident>) {
        let arrived = clock::now();
        self.frame_waiters.fetch_add(1, SeqCst);
        // Who unpinned before the count was raised has woken nobody: look again before sleeping.
        if resident.evict_to_free(&self.table, 1) == 0 {
            let wakes = resident.wakes;
            if self.in_flight.load(SeqCst) == 0 {
                drop(resident);
                self.ask_daemon();
                resident = self.resident.lock();
            }
            resident = self.sleep_until_freed(resident, wakes);
        }
        drop(resident);
        self.frame_waiters.fetch_sub(1, SeqCst);
        self.counters.frame_waits.fetch_add(1, Relaxed);
        self.counters.frame_longest_wait.record(arrived.elapsed_ns());
    }

    /// Frees a frame, writing dirty pages if it must, or sleeps until one may be free. A copy in progress wakes nobody at
    /// its end, which is a few hundred instructions away; no new one begins (HI-2). `wakes`: the count of wake-ups when the
    /// caller last found no frame.
    fn sleep_until_freed<'a>(
        &'a self,
        mut resident: MutexGuard<'a, Resident>,
        wakes: u32,
    ) -> MutexGuard<'a, Resident> {
        loop {
            let gave_way = self.table.copies.gave_way();
            if resident.evict_to_free(&self.table, 1) > 0 {
                return resident;
            }
            let copying = self.table.copies.gave_way() != gave_way;
            // Who was woken before it slept looks for a frame instead: the wake-up will not come twice.
            if !copying && resident.wakes != wakes {
                return resident;
            }
            if !copying && !resident.is_any_writable(&self.table) {
                return self.frame_freed.wait(resident);
            }
            drop(resident);
            if copying {
                thread::yield_now();
            } else {
                self.clean_one_run(Dirty::Oldest);
            }
            resident = self.resident.lock();
        }
    }

    /// Called behind everything that may have made a frame free: wakes those who wait for one.
    pub(crate) fn frame_may_be_free(&self) {
        if self.frame_waiters.load(SeqCst) > 0 {
            self.wake_frame_waiters();
        }
    }

    #[cold]
    pub(crate) fn wake_frame_waiters(&self) {
        let mut resident = self.resident.lock();
        resident.wakes = resident.wakes.wrapping_add(1);
        self.frame_freed.notify_all();
    }
}

impl BusyPages<'_> {
    /// Index of the first page.
    pub fn first(&self) -> PageIndex {
        self.first
    }

    /// How many pages.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// The memory that these are pages of.
    pub fn vm(&self) -> &Vm {
        self.vm
    }

    /// The first `len_bytes` bytes of the pages in order, to be filled; frames that lie next to each other as one slice.
    /// What is behind `len_bytes` is zeroed.
    pub fn slices(&mut self, len_bytes: usize) -> ArrayVec<IoSliceMut<'_>, MAX_RUN> {
        let mut slices = ArrayVec::new();
        let (mut rest, mut left) = (&self.frames[..], len_bytes);
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first.0..).take_while(|(frame, next)| frame.0 == *next).count();
            // SAFETY: the frames are busy and owned by this value (PG-2), each is in `frames` once, and `&mut self`
            // keeps the slices from being made twice at a time.
            let bytes = unsafe { self.vm.frames.owned(first, run as u32) };
            let (filled, zeroed) = bytes.split_at_mut(left.min(bytes.len()));
            zeroed.fill(0);
            left -= filled.len();
            slices.push(IoSliceMut::new(filled));
            rest = &rest[run..];
        }
        slices
    }

    /// The bytes of page `at` of these.
    pub fn page_mut(&mut self, at: usize) -> &mut [u8] {
        // SAFETY: as in `slices`: busy, owned, and lent once by `&mut self`.
        unsafe { self.vm.frames.owned(self.frames[at], 1) }
    }

    /// Bytes of all pages.
    pub fn len_bytes(&self) -> usize {
        self.frames.len() * PAGE_SIZE
    }

    fn fill<'r>(mut self, r: &'r Reservation<'_>, pager: &dyn Pager) -> Result<PageRef<'r>> {
        self.frames.iter().for_each(|frame| self.vm.frames.about_to_fill(*frame));
        let filled = pager.get(&mut self);
        if filled.is_err() && self.frames.len() > 1 {
            self.abandon_from(1);
            pager.get(&mut self)?;
        } else {
            filled?;
        }
        Ok(self.finish(r))
    }

    /// The first page pinned, all of them valid.
    fn finish<'r>(mut self, r: &'r Reservation<'_>) -> PageRef<'r> {
        let first = self.frames[0];
        for frame in self.frames.drain(..).rev() {
            let wanted = self.vm.table.page(frame).finish(u32::from(frame == first));
            if wanted {
                self.vm.busy.wake(frame);
            }
            self.vm.in_flight.fetch_sub(1, SeqCst);
        }
        self.vm.frame_may_be_free();
        PageRef::of_pinned(r, first)
    }

    fn abandon_from(&mut self, keep: usize) {
        for frame in self.frames.drain(keep..) {
            let wanted = self.vm.resident.lock().abandon(&self.vm.table, frame);
            if wanted {
                self.vm.busy.wake(frame);
            }
            self.vm.in_flight.fetch_sub(1, SeqCst);
        }
        self.vm.frame_may_be_free();
    }
}

impl Drop for BusyPages<'_> {
    fn drop(&mut self) {
        if !self.frames.is_empty() {
            self.abandon_from(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BootOptions, Daemon};
    use rumpcap_host::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// Tells how many pages it was asked for, then waits until it may go on.
    struct Held(Sender<usize>, std::sync::Mutex<Receiver<()>>);

    impl Pager for Held {
        fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
            self.0.send(pages.len()).unwrap();
            let _ = self.1.lock().unwrap().recv();
            Ok(())
        }
    }

    /// A pager, what it was asked for, and leave to go on, which it has for good when this is dropped.
    fn held() -> (Held, Receiver<usize>, Sender<()>) {
        let ((asked, asks), (go, goes)) = (channel(), channel());
        (Held(asked, std::sync::Mutex::new(goes)), asks, go)
    }

    fn boot() -> (Arc<Vm>, ObjectId) {
        let limit_bytes = Some(512 << 10);
        let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
        let object = vm.create_object().unwrap();
        (vm, object)
    }

    #[test]
    fn reading_ahead_leaves_three_quarters_of_the_frames_alone() {
        let (vm, object) = boot();
        let (pager, asks, go) = held();
        drop(go);
        for (in_flight, pages) in [(0, vm.plan.run_pages), (vm.plan.frames / 4, 1)] {
            vm.in_flight.store(in_flight, SeqCst);
            let first = PageIndex(u64::from(in_flight) * 100);
            drop(vm.page(&vm.reserve(1), object, first, 100, &pager).unwrap());
            assert_eq!(asks.recv(), Ok(pages as usize));
        }
    }

    /// Every frame is pinned but one, which is being read: who unpins serves the waiter before the device does.
    #[test]
    fn who_unpins_wakes_who_waits_for_a_frame() {
        let (vm, object) = boot();
        let (free, _asks, go) = held();
        drop(go);
        for index in (0..vm.plan.frames.into()).map(PageIndex) {
            drop(vm.page(&vm.reserve(1), object, index, 0, &free).unwrap());
            let is_left = index.0 < 2;
            assert!(is_left || matches!(vm.table.find(object.0, index), Found::Pinned(_)));
        }
        let reservation = vm.reserve(1);
        let unpinned_last = vm.page(&reservation, object, PageIndex(0), 0, &free).unwrap();
        let (slow, asks, go_on) = held();
        let reads = |index, pager: Held| {
            let (vm, (done, is_done)) = (vm.clone(), channel());
            std::thread::spawn(move || {
                drop(vm.page(&vm.reserve(1), object, PageIndex(index), 0, &pager).unwrap());
                let _ = done.send(());
            });
            is_done
        };
        let _reader = reads(1000, slow);
        asks.recv().unwrap();
        let waiter = reads(2000, free);
        while vm.frame_waiters.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        // The waiter has the lock from there until it sleeps.
        drop(vm.resident.lock());
        drop(unpinned_last);
        assert_eq!(waiter.recv_timeout(Duration::from_secs(30)), Ok(()), "sleeps beside a free frame");
        drop(go_on);
    }
}
