//! Dirty pages: newer than the device, and knowing where their bytes belong.
//!
//! Who calls it: `vfs` makes pages dirty and asks for them to be written (fsync, sync, unmount); `fault` and `pagedaemon` when
//! no clean page is left. Whom it calls: the device, through [`Writeback`].
//!
//! A dirty page leaves the policy's queues for one list, in the order in which pages became dirty. It is written from its
//! frame, together with those behind it in the list that belong behind it on the device, in one request.
//!
//! DI-1. Cleaning takes no memory, no lock that an operation holds while it waits, and asks nobody for a place (F3): a page's
//! [`Home`] is decided before it becomes dirty.
//! DI-2. Two writes of one page are never under way at once: who wants to change a page that is being written waits (PG-5).
//! DI-3. A page whose write failed is clean and the error is kept until somebody asks, never dropped (`losses`). (Were it dirty
//! for ever, a failing device would keep the memory of everybody.)
//! DI-4. At most [`Plan::dirty_pages`](crate::plan::Plan) are dirty before a writer enters the gate; it writes some of them there,
//! holding nothing.
//! DI-5. A page that is due before the next commit says so until it is written: who commits finds all of these and no others.
//!
//! Locks: the resident lock for the list; none across a write. Memory: 8 bytes a frame for the home. Failure: see DI-3.
//! Source: the idea of `uvm_pageout` with `PGO_CLEANIT`.

use crate::boot::Vm;
use crate::frames::PageRef;
use crate::list::Linked;
use crate::losses::Losses;
use crate::modify::PageMut;
use crate::object::ObjectId;
use crate::page::{FrameNo, PAGE_SIZE, PageIndex};
use crate::page_queue::{ByObject, ByQueue, Place};
use crate::page_table::PageTable;
use crate::plan::MAX_RUN;
use crate::resident::Resident;
use arrayvec::ArrayVec;
use core::ops::Range;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use rumpcap_host::{Error, Result};
use std::io::IoSlice;
use std::sync::{Arc, Weak};

/// Where dirty pages go: a writable device of a kernel.
pub trait Writeback: Send + Sync {
    /// Writes `bufs` at byte `offset`. May block for I/O, and takes no memory of the kernel.
    ///
    /// # Errors
    /// What the device says; the bytes are then lost, and the error is told to the next who asks (DI-3).
    fn write(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()>;
}

/// Writable devices of a kernel at once: a quarter of the mounts that it may have, to keep `Vm` within its charge.
const MAX_DEVICES: usize = crate::plan::MAX_MOUNTS / 4;

/// Bytes of a unit that is dirty by itself: the smallest block of a file system that pages are kept for.
pub const UNIT_BYTES: usize = 1024;

/// A device that pages can be dirty for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyDevice(u8);

/// When a dirty page is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Before the next commit of the file system: what makes it a part of its file is not on the device yet, and must not be there
    /// without it.
    BeforeCommit,
    /// In its own time.
    Anytime,
}

/// Writable devices.
#[derive(Default)]
pub(crate) struct Devices {
    all: ArrayVec<Device, MAX_DEVICES>,
}

struct Device {
    writeback: Weak<dyn Writeback>,
    losses: Box<Losses>,
}

/// Where the bytes of a page belong: a device, the place of the page's first byte there in units, and which units count.
/// Zeroed: nowhere.
#[derive(Clone, Copy, PartialEq, Eq, zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct Home {
    /// From the lowest bit: the place in units, 48 bits, so devices of 2^58 bytes; the first unit that counts, 4; how many do, 4; the
    /// device, 7; whether it is due before a commit, 1.
    word: u64,
}

const PLACE_BITS: u32 = 48;
const DEVICE_BITS: u32 = 7;
const BEFORE_COMMIT: u64 = 1 << 63;

/// Bits that say which units of a held page were changed; as many above them say which are new, and the rest is the number of an
/// operation.
const HELD_UNIT_BITS: u32 = (PAGE_SIZE / UNIT_BYTES) as u32;

impl Home {
    fn new(device: DirtyDevice, place_bytes: u64, units: &Range<usize>) -> Home {
        let place = place_bytes / UNIT_BYTES as u64;
        assert!(place < 1 << PLACE_BITS && place_bytes.is_multiple_of(UNIT_BYTES as u64), "DI-1: no place");
        let (first, count) = (units.start as u64, units.len() as u64);
        Home { word: place | first << PLACE_BITS | count << (PLACE_BITS + 4) | u64::from(device.0) << 56 }
    }

    fn due(self, due: Due) -> Home {
        Home { word: self.word | if due == Due::BeforeCommit { BEFORE_COMMIT } else { 0 } }
    }

    fn is_due_before_commit(self) -> bool {
        self.word & BEFORE_COMMIT != 0
    }

    fn is_at_place_of(self, other: Home) -> bool {
        (self.word ^ other.word) & !BEFORE_COMMIT == 0
    }

    /// For a held page, which is not dirty: none of its units yet, and the operation that was the first to change it.
    pub(crate) fn of_held(operation: u64) -> Home {
        Home { word: operation << (2 * HELD_UNIT_BITS) }
    }

    /// Of a held page, more units were changed, and of these `created` are new altogether.
    pub(crate) fn add_held_units(&mut self, changed: u8, created: u8) {
        self.word |= u64::from(changed) | u64::from(created) << HELD_UNIT_BITS;
    }

    /// Of a held page, these units and no others were changed, and of these `created` are new altogether.
    pub(crate) fn set_held_units(&mut self, changed: u8, created: u8) {
        *self = Home::of_held(self.held_by());
        self.add_held_units(changed, created);
    }

    /// Units of a held page that were changed, and those that are new altogether.
    pub(crate) fn held_units(self) -> (u8, u8) {
        let mask = (1 << HELD_UNIT_BITS) - 1;
        (self.word as u8 & mask, (self.word >> HELD_UNIT_BITS) as u8 & mask)
    }

    pub(crate) fn held_by(self) -> u64 {
        self.word >> (2 * HELD_UNIT_BITS)
    }

    fn device(self) -> DirtyDevice {
        DirtyDevice((self.word >> 56) as u8 & ((1 << DEVICE_BITS) - 1))
    }

    fn units(self) -> Range<usize> {
        let first = (self.word >> PLACE_BITS) as usize & 15;
        first..first + ((self.word >> (PLACE_BITS + 4)) as usize & 15)
    }

    /// Byte offset on the device of the first unit that counts.
    fn begin(self) -> u64 {
        let place = self.word & ((1 << PLACE_BITS) - 1);
        (place + self.units().start as u64) * UNIT_BYTES as u64
    }

    fn end(self) -> u64 {
        self.begin() + (self.units().len() * UNIT_BYTES) as u64
    }

    /// The same place with the units of both, and what is between them; due when the first of them is.
    fn joined(self, other: Home) -> Home {
        let (a, b) = (self.units(), other.units());
        let units = a.start.min(b.start)..a.end.max(b.end);
        let place = (self.word & ((1 << PLACE_BITS) - 1)) * UNIT_BYTES as u64;
        let due = (self.word | other.word) & BEFORE_COMMIT;
        Home { word: Home::new(self.device(), place, &units).word | due }
    }
}

/// Which dirty pages are meant.
#[derive(Clone, Copy)]
pub enum Dirty {
    /// Any: the oldest first.
    Oldest,
    /// Those of one object: a file's.
    Of(ObjectId),
    /// Those of one object, from one page to before another.
    In(ObjectId, PageIndex, PageIndex),
    /// Those for one device that are due before a commit.
    Due(DirtyDevice),
    /// Those for one device.
    For(DirtyDevice),
}

impl<'r> PageMut<'r> {
    /// Ends the change; the page's units `units` (of 1 KiB, from 0 to 4) are newer than the device. The page's first byte belongs to
    /// byte `place` of `device`, and all units from the first to the last that are dirty belong where they follow from that.
    pub fn dirty(self, device: DirtyDevice, place: u64, units: Range<usize>, due: Due) -> PageRef<'r> {
        assert!(units.end <= PAGE_SIZE / UNIT_BYTES && !units.is_empty(), "DI-1: units of a page");
        let (vm, frame) = (self.reservation().vm(), self.frame());
        let home = Home::new(device, place, &units).due(due);
        vm.resident.lock().make_dirty(&vm.table, frame, home);
        self.finish()
    }
}

impl PageRef<'_> {
    /// Whether this page, if its units `units` were dirty at `place` of `device` too, would be dirty in one row there: it is clean, or dirty
    /// at the same place in units that these touch. Where a page's blocks lie apart, it must not be made dirty otherwise.
    pub fn is_dirty_in_a_row_with(&self, device: DirtyDevice, place: u64, units: &Range<usize>) -> bool {
        let vm = self.reservation().vm();
        let resident = vm.resident.lock();
        if !vm.table.page(self.frame()).is_dirty() {
            return true;
        }
        let home = resident.links[self.frame().slot()].home;
        let dirty = home.units();
        let touches = units.start <= dirty.end && dirty.start <= units.end;
        touches && home.is_at_place_of(Home::new(device, place, &dirty))
    }
}

/// Pages being written, in one request.
struct Writing<'vm> {
    vm: &'vm Vm,
    pages: ArrayVec<(FrameNo, Home), MAX_RUN>,
}

impl Vm {
    /// Makes `writeback` a device that pages can be dirty for. Allocates: at mount only.
    ///
    /// # Errors
    /// `NoMemory` when there are 4 already.
    pub fn add_dirty_device(&self, writeback: &Arc<dyn Writeback>) -> Result<DirtyDevice> {
        let mut devices = self.devices.lock();
        let device = Device { writeback: Arc::downgrade(writeback), losses: Box::default() };
        let gone = devices.all.iter().position(|device| device.writeback.strong_count() == 0);
        let at = match gone {
            Some(at) => {
                devices.all[at] = device;
                at
            }
            None => {
                let full = Error::NoMemory { what: "writable devices", need: 1, have: 0 };
                devices.all.try_push(device).map_err(|_| full)?;
                devices.all.len() - 1
            }
        };
        Ok(DirtyDevice(at as u8))
    }

    /// Pages that are dirty or being written.
    pub fn dirty_pages(&self) -> u32 {
        self.resident.lock().dirty_pages
    }

    /// Whether a page of `object` is dirty or being written.
    pub fn is_dirty(&self, object: ObjectId) -> bool {
        self.resident.lock().objects.get(object).dirty > 0
    }

    /// Whether a page is dirty for `device`. Those that are being written are not counted.
    pub fn has_dirty_pages(&self, device: DirtyDevice) -> bool {
        let mut resident = self.resident.lock();
        let mut at = resident.next_dirty(None);
        while let Some(frame) = at {
            if resident.home(frame).device() == device {
                return true;
            }
            at = resident.next_dirty(Some(frame));
        }
        false
    }

    /// Called by a writer before it enters the gate: writes dirty pages while there are too many (DI-4). May block for I/O.
    pub fn throttle(&self) {
        while self.dirty_pages() > self.plan.dirty_pages && self.clean_one_run(Dirty::Oldest) > 0 {}
    }

    /// Writes all the pages that are meant, and waits for those that others write. The caller holds no lock that a writer
    /// of these pages waits for. Does not flush the device. An error is kept for whoever asks whether what was written is there:
    /// [`Vm::loss_on`], [`Vm::loss_of`].
    pub fn write_back(&self, meant: Dirty) {
        // Who makes pages dirty meanwhile puts them behind those that are meant; so many and no more are waited for (F6).
        let mut left = i64::from(self.dirty_pages());
        while left > 0 {
            let pages = self.clean_one_run(meant);
            left -= i64::from(pages);
            if pages == 0 {
                let Some(frame) = self.resident.lock().unfinished(&self.table, meant) else { break };
                self.busy.sleep_while_written(frame, self.table.page(frame));
            }
        }
    }

    /// Writes one run of the pages that are meant; gives how many. 0: there is none that can be written now.
    pub(crate) fn clean_one_run(&self, meant: Dirty) -> u32 {
        Writing::begin(self, meant).map_or(0, Writing::write)
    }

    fn device(&self, device: DirtyDevice) -> Option<Arc<dyn Writeback>> {
        self.devices.lock().all[usize::from(device.0)].writeback.upgrade()
    }

    /// The first error of writing dirty pages to `device` that nobody was told of here: for who syncs all of it.
    ///
    /// # Errors
    /// That one.
    pub fn loss_on(&self, device: DirtyDevice) -> Result<()> {
        self.devices.lock().all[usize::from(device.0)].losses.tell_any()
    }

    /// The first error of writing dirty pages of one file, whose pages are in `object` and who is called `owner`, that nobody was told of
    /// here: for who syncs that file.
    ///
    /// # Errors
    /// That one, or of another file of that device (LO-2).
    pub fn loss_of(&self, device: DirtyDevice, object: Option<ObjectId>, owner: u64) -> Result<()> {
        self.devices.lock().all[usize::from(device.0)].losses.tell_of(object, owner)
    }

    /// `object` is about to be destroyed: what was lost of it was lost of `owner`.
    pub fn name_losses(&self, object: ObjectId, owner: u64) {
        self.devices.lock().all.iter_mut().for_each(|device| device.losses.name(object, owner));
    }

    fn keep_error(&self, device: DirtyDevice, object: ObjectId, error: Error) {
        self.devices.lock().all[usize::from(device.0)].losses.keep(object, error);
    }

    /// Forgets the pages of `object` from page `from` on, dirty ones too: see [`Vm::discard_range`].
    pub fn discard(&self, object: ObjectId, from: PageIndex) {
        self.discard_range(object, from..PageIndex(u64::MAX));
    }

    /// Forgets the pages of `object` in `range`, dirty ones too: their content is wanted no more. Waits for those that are being
    /// written, read or copied.
    pub fn discard_range(&self, object: ObjectId, range: Range<PageIndex>) {
        while let Some(frame) = self.resident.lock().discard(&self.table, object, &range) {
            self.busy.sleep_while_written(frame, self.table.page(frame));
            rumpcap_host::thread::yield_now();
        }
        self.frame_may_be_free();
    }
}

impl<'vm> Writing<'vm> {
    /// Takes the first page that is meant, and those behind it in the list that belong behind it on the device.
    fn begin(vm: &'vm Vm, meant: Dirty) -> Option<Writing<'vm>> {
        let mut resident = vm.resident.lock();
        if resident.has_none(meant) {
            return None;
        }
        let mut at = resident.next_dirty(None);
        let first = loop {
            let frame = at?;
            if resident.is_meant(&vm.table, frame, meant) && vm.table.page(frame).try_begin_writeback() {
                break frame;
            }
            at = resident.next_dirty(Some(frame));
        };
        let mut writing = Writing { vm, pages: ArrayVec::new() };
        let mut next = Some(first);
        while let Some(frame) = next {
            let last = resident.home(frame);
            next = resident.next_dirty(Some(frame));
            resident.begin_writeback(frame);
            vm.in_flight.fetch_add(1, SeqCst);
            writing.pages.push((frame, last));
            next = next.filter(|next| {
                let home = resident.home(*next);
                let follows = home.device() == last.device() && home.begin() == last.end();
                follows && !writing.pages.is_full() && vm.table.page(*next).try_begin_writeback()
            });
        }
        Some(writing)
    }

    fn slices(&self) -> ArrayVec<IoSlice<'_>, MAX_RUN> {
        let slice = |(frame, home): &(FrameNo, Home)| {
            // SAFETY: the page is in WRITEBACK until this value is dropped (PG-5).
            let bytes = unsafe { self.vm.frames.written(*frame) };
            IoSlice::new(&bytes[home.units().start * UNIT_BYTES..home.units().end * UNIT_BYTES])
        };
        self.pages.iter().map(slice).collect()
    }

    /// Writes the pages; gives how many.
    fn write(self) -> u32 {
        let (_, first) = self.pages[0];
        let mut slices = self.slices();
        self.vm.counters.count_write(slices.iter().map(|slice| slice.len() as u64).sum());
        let written = match self.vm.device(first.device()) {
            Some(to) => to.write(first.begin(), &mut slices),
            None => Err(Error::Io { errno: 0, at: first.begin() }),
        };
        if let Err(error) = written {
            self.vm.counters.write_errors.fetch_add(1, Relaxed);
            for (frame, _) in &self.pages {
                let (object, _) = self.vm.table.page(*frame).identity();
                self.vm.keep_error(first.device(), ObjectId(object), error);
            }
        }
        self.pages.len() as u32
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for (frame, _) in &self.pages {
            let mut resident = self.vm.resident.lock();
            resident.end_writeback(&self.vm.table, *frame);
            let wanted = self.vm.table.page(*frame).end_writeback();
            drop(resident);
            if wanted {
                self.vm.busy.wake(*frame);
            }
            self.vm.in_flight.fetch_sub(1, SeqCst);
        }
        self.vm.frame_may_be_free();
    }
}

impl Resident {
    /// The page in `frame`, which is BUSY, becomes dirty, or more of it does.
    fn make_dirty(&mut self, table: &PageTable, frame: FrameNo, home: Home) {
        let page = table.page(frame);
        if page.is_dirty() {
            let links = &mut self.links[frame.slot()];
            let old = links.home;
            links.home = old.joined(home);
            self.due_pages += u32::from(home.is_due_before_commit() && !old.is_due_before_commit());
            return;
        }
        page.set_dirty();
        self.leave_policy(table, frame);
        self.links[frame.slot()].home = home;
        self.links[frame.slot()].set_place(Place::Dirty);
        self.due_pages += u32::from(home.is_due_before_commit());
        self.dirty.push_back(&mut ByQueue(&mut self.links), frame.0);
        self.count_dirty(table, frame, 1);
    }

    fn count_dirty(&mut self, table: &PageTable, frame: FrameNo, by: i32) {
        let object = ObjectId(table.page(frame).identity().0);
        let dirty = &mut self.objects.get(object).dirty;
        *dirty = dirty.checked_add_signed(by).expect("DI: dirty pages of an object are counted");
        self.dirty_pages = self.dirty_pages.checked_add_signed(by).expect("DI: dirty pages are counted");
    }

    /// A page is neither dirty nor being written any more.
    fn no_more_dirty(&mut self, table: &PageTable, frame: FrameNo) {
        self.count_dirty(table, frame, -1);
        let was_due = u32::from(self.home(frame).is_due_before_commit());
        self.due_pages = self.due_pages.checked_sub(was_due).expect("DI-5: pages that are due are counted");
    }

    /// Whether it is known without a look at the pages that none that is meant is dirty or being written.
    fn has_none(&mut self, meant: Dirty) -> bool {
        match meant {
            Dirty::Of(object) | Dirty::In(object, ..) => self.objects.get(object).dirty == 0,
            Dirty::Due(_) => self.due_pages == 0,
            Dirty::Oldest | Dirty::For(_) => self.dirty_pages == 0,
        }
    }

    /// The dirty page behind `frame` in the list, or the first.
    fn next_dirty(&mut self, behind: Option<FrameNo>) -> Option<FrameNo> {
        match behind {
            Some(frame) => ByQueue(&mut self.links).next(frame.0).map(FrameNo),
            None => self.dirty.front().map(FrameNo),
        }
    }

    /// Whether a dirty page can be written now. If not, each is being changed, and who changes it lets a pin go afterwards.
    pub(crate) fn is_any_writable(&mut self, table: &PageTable) -> bool {
        let mut at = self.next_dirty(None);
        while let Some(frame) = at {
            if !table.page(frame).is_busy() {
                return true;
            }
            at = self.next_dirty(Some(frame));
        }
        false
    }

    fn home(&self, frame: FrameNo) -> Home {
        self.links[frame.slot()].home
    }

    fn is_meant(&self, table: &PageTable, frame: FrameNo, meant: Dirty) -> bool {
        match meant {
            Dirty::Oldest => true,
            Dirty::Of(object) => table.page(frame).identity().0 == object.0,
            Dirty::In(object, from, end) => {
                let (of, index) = table.page(frame).identity();
                of == object.0 && (from..end).contains(&index)
            }
            Dirty::Due(device) => {
                self.home(frame).is_due_before_commit() && self.home(frame).device() == device
            }
            Dirty::For(device) => self.home(frame).device() == device,
        }
    }

    /// A page that is meant and that is dirty or being written, by somebody else.
    fn unfinished(&mut self, table: &PageTable, meant: Dirty) -> Option<FrameNo> {
        if self.has_none(meant) {
            return None;
        }
        let frames = self.touched().into_iter().flatten().map(FrameNo);
        let mut unfinished = frames.filter(|frame| {
            matches!(self.links[frame.slot()].place(), Place::Dirty | Place::Writeback)
                && self.is_meant(table, *frame, meant)
        });
        unfinished.next()
    }

    fn begin_writeback(&mut self, frame: FrameNo) {
        self.dirty.remove(&mut ByQueue(&mut self.links), frame.0);
        self.links[frame.slot()].set_place(Place::Writeback);
    }

    fn end_writeback(&mut self, table: &PageTable, frame: FrameNo) {
        self.no_more_dirty(table, frame);
        self.join_policy(table, frame);
    }

    /// Frees the pages of `object` in `range`; gives the first that cannot be freed now.
    fn discard(&mut self, table: &PageTable, object: ObjectId, range: &Range<PageIndex>) -> Option<FrameNo> {
        let pages = u64::from(self.objects.get(object).pages.len());
        if range.end.0.saturating_sub(range.start.0) <= pages {
            let mut indices = (range.start.0..range.end.0).map(PageIndex);
            return indices.find_map(|index| {
                let frame = table.peek_locked(object.0, index)?;
                (!self.discard_page(table, frame)).then_some(frame)
            });
        }
        let mut at = self.objects.get(object).pages.front();
        while let Some(frame) = at {
            at = ByObject(&mut self.links).next(frame);
            let frame = FrameNo(frame);
            if range.contains(&table.page(frame).identity().1) && !self.discard_page(table, frame) {
                return Some(frame);
            }
        }
        None
    }

    /// Frees a page if nobody holds it, dirty or not; whether it did.
    fn discard_page(&mut self, table: &PageTable, frame: FrameNo) -> bool {
        if table.try_discard(frame) {
            self.dirty.remove(&mut ByQueue(&mut self.links), frame.0);
            self.no_more_dirty(table, frame);
        } else if table.try_evict(frame) {
            self.leave_policy(table, frame);
        } else {
            return false;
        }
        let frame = self.forget(table, frame.0);
        self.evictions -= 1;
        self.put_free(frame);
        true
    }
}
