//! Frames: the bytes of pages, lent by pin.
//!
//! Who calls it: `fault` and `wired` for exclusive access, everybody through [`PageRef`]. With `region` the only place
//! of `unsafe` in the kernel.
//!
//! FR-1. Shared access needs a pin or an announced copy (content immutable, PG-2, PG-3). FR-2. Exclusive access needs the busy page or the
//! wired frame, of which there is one owner.

use crate::boot::Vm;
use crate::copying::Announced;
use crate::gate::Reservation;
use crate::page::{FrameNo, PAGE_SIZE};
use crate::region::Region;
use core::ops::Deref;
use core::ptr::NonNull;
use rumpcap_host::Result;
use rumpcap_host::sync::Arc;

/// All frames of a kernel.
pub(crate) struct Frames {
    first: NonNull<[u8; PAGE_SIZE]>,
    count: u32,
    region: Arc<Region>,
}

/// Frames that are committed together in a large kernel: 1 MiB, so that a small use of a large limit stays small.
const COMMIT_FRAMES: u32 = 256;

/// Frames from which on a kernel is large: sixteen times what is committed at once.
const LARGE_FRAMES: u32 = 16 * COMMIT_FRAMES;

// SAFETY: the frames are owned exclusively by this value (RG-1); access to the bytes of one is ordered by its state
// word (Acquire on pin, Release on finish) or by ownership, see FR-1 and FR-2.
unsafe impl Send for Frames {}
// SAFETY: as above.
unsafe impl Sync for Frames {}

impl Frames {
    pub(crate) fn new((region, first): (Arc<Region>, NonNull<u8>), count: u32) -> Frames {
        Frames { first: first.cast(), count, region }
    }

    /// Called before a frame is first filled: has the host commit it together with those that will be used next. Frames
    /// are first used in the order of their numbers.
    pub(crate) fn about_to_fill(&self, frame: FrameNo) {
        if self.count >= LARGE_FRAMES && frame.0.is_multiple_of(COMMIT_FRAMES) {
            self.region.populate(self.address(frame).cast(), COMMIT_FRAMES as usize * PAGE_SIZE);
        }
    }

    fn address(&self, frame: FrameNo) -> NonNull<[u8; PAGE_SIZE]> {
        assert!(frame.0 < self.count, "a frame number beyond the frames");
        // SAFETY: frame < count, and Cutter::rest made sure that `count` frames lie within the mapping.
        unsafe { self.first.add(frame.slot()) }
    }

    /// The bytes of a frame that the caller has pinned, or announced a copy from.
    ///
    /// # Safety
    /// The caller holds a pin or an announcement of the page in `frame` for as long as the result is used.
    pub(crate) unsafe fn pinned(&self, frame: FrameNo) -> &[u8; PAGE_SIZE] {
        // SAFETY: in bounds (address); the content of such a page is immutable for as long (FR-1).
        unsafe { self.address(frame).as_ref() }
    }

    /// The bytes of a frame that is being written to a device.
    ///
    /// # Safety
    /// The page in `frame` is in WRITEBACK for as long as the result is used.
    pub(crate) unsafe fn written(&self, frame: FrameNo) -> &[u8; PAGE_SIZE] {
        // SAFETY: in bounds (address); nobody changes a page in WRITEBACK (PG-5).
        unsafe { self.address(frame).as_ref() }
    }

    /// The bytes of `run` frames from `frame` on, which the caller owns.
    ///
    /// # Safety
    /// The caller is the only owner of these frames for as long as the result is used, and gives each out once at a time.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn owned(&self, frame: FrameNo, run: u32) -> &mut [u8] {
        let end = frame.0.checked_add(run).expect("frame numbers are below 2^31");
        assert!(end <= self.count, "a run of frames beyond the frames");
        let len = run as usize * PAGE_SIZE;
        // SAFETY: [frame, frame + run) is in bounds by the assertion; exclusive by the caller's word (FR-2).
        unsafe { core::slice::from_raw_parts_mut(self.address(frame).cast::<u8>().as_ptr(), len) }
    }
}

impl Vm {
    /// Takes a pin away, and wakes who waits to have the page alone.
    pub(crate) fn unpin(&self, frame: FrameNo) {
        if self.table.page(frame).unpin() {
            self.busy.wake(frame);
        }
    }
}

/// A page, pinned: its content stays where it is and as it is until this is dropped.
pub struct PageRef<'r> {
    reservation: &'r Reservation<'r>,
    frame: FrameNo,
}

impl<'r> PageRef<'r> {
    /// Wraps a pin that the caller has just taken.
    pub(crate) fn of_pinned(reservation: &'r Reservation<'_>, frame: FrameNo) -> PageRef<'r> {
        reservation.pin();
        PageRef { reservation, frame }
    }

    pub(crate) fn reservation(&self) -> &'r Reservation<'r> {
        self.reservation
    }

    pub(crate) fn frame(&self) -> FrameNo {
        self.frame
    }

    /// Whether the caller's check (a checksum) of 1 KiB unit `unit` (0 to 3) has been noted since the page was read.
    pub fn is_checked(&self, unit: u32) -> bool {
        self.reservation.vm().table.page(self.frame).is_checked(unit)
    }

    /// Notes that unit `unit` has been checked; forgotten when the page is evicted.
    pub fn set_checked(&self, unit: u32) {
        self.reservation.vm().table.page(self.frame).set_checked(unit);
    }
}

/// A page that is there for one copy, without a reservation (HI-1).
pub(crate) struct PageToCopy<'vm> {
    vm: &'vm Vm,
    frame: FrameNo,
    /// Pinned without one.
    announced: Option<Announced<'vm>>,
}

impl<'vm> PageToCopy<'vm> {
    /// The page in `frame`, which was VALID behind the announcement (CO-1).
    pub(crate) fn announced(vm: &'vm Vm, frame: FrameNo, announced: Announced<'vm>) -> PageToCopy<'vm> {
        PageToCopy { vm, frame, announced: Some(announced) }
    }

    /// The page in `frame`, which the caller has just pinned.
    pub(crate) fn pinned(vm: &'vm Vm, frame: FrameNo) -> PageToCopy<'vm> {
        PageToCopy { vm, frame, announced: None }
    }

    pub(crate) fn frame(&self) -> FrameNo {
        self.frame
    }

    pub(crate) fn count_hit(&self) {
        match &self.announced {
            Some(announced) => announced.count(),
            None => self.vm.table.copies.count_hits(1),
        }
    }
}

impl Deref for PageToCopy<'_> {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        // SAFETY: this value is the announcement or the pin, and the bytes are lent no longer than it lives (FR-1).
        unsafe { self.vm.frames.pinned(self.frame) }
    }
}

impl Drop for PageToCopy<'_> {
    fn drop(&mut self) {
        if self.announced.is_none() {
            self.vm.unpin(self.frame);
            self.vm.frame_may_be_free();
        }
    }
}

/// A page that is lent out beyond the operation that found it. It counts as wired memory for as long as it is held.
pub struct PageLease {
    vm: Arc<Vm>,
    frame: FrameNo,
}

impl PageLease {
    /// Lends a pinned page out. Never waits.
    ///
    /// # Errors
    /// `NoMemory` when so much is lent out or wired that operations would starve.
    pub fn new(vm: &Arc<Vm>, page: &PageRef<'_>) -> Result<PageLease> {
        assert!(core::ptr::eq(&**vm, page.reservation.vm()), "a page of another kernel");
        vm.gate.try_wire(1, "a lent page")?;
        vm.table.page(page.frame).pin_again();
        Ok(PageLease { vm: vm.clone(), frame: page.frame })
    }
}

impl Deref for PageLease {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        // SAFETY: this value holds a pin of its own, and the bytes are lent no longer than it lives.
        unsafe { self.vm.frames.pinned(self.frame) }
    }
}

impl Drop for PageLease {
    fn drop(&mut self) {
        self.vm.unpin(self.frame);
        self.vm.gate.unwire(1);
        self.vm.frame_may_be_free();
    }
}

impl Deref for PageRef<'_> {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        // SAFETY: this value is the pin, and the bytes are lent no longer than it lives.
        unsafe { self.reservation.vm().frames.pinned(self.frame) }
    }
}

impl Drop for PageRef<'_> {
    fn drop(&mut self) {
        let vm = self.reservation.vm();
        vm.unpin(self.frame);
        self.reservation.unpin();
        vm.frame_may_be_free();
    }
}
