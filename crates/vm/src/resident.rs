//! Resident pages: the state under the one lock of a kernel's memory, and with `dirty` and `held`, which keep their lists in it,
//! the only code that changes it.
//!
//! Who calls it: `fault` (a miss), `wired`, `pagedaemon`, `boot`, `dirty`, `held`. A hit does not come here (but LRU's).
//!
//! The lock is held for moments: never across I/O, never while waiting. It is the innermost lock of the kernel but for
//! the wait channels'.
//!
//! RE-1. A frame is in one place: fresh, free, a policy's queue, the list of dirty pages or of a transaction, under way to the
//! device, or wired. RE-2. A page is in the hash, in its object's list and in one of these places but the first two, or in
//! none of them.

use crate::list::{Linked, List};
use crate::object::{ObjectId, Objects};
use crate::page::{FrameNo, PageIndex};
use crate::page_queue::{ByObject, ByQueue, PageLinks, Place};
use crate::page_table::PageTable;
use crate::policy::{GhostName, Policy, Queues, Touch, View};
use crate::region::Table;
use crate::wired::WiredFor;
use core::ops::Range;

/// Looks at this many pages of each queue, besides those that are not its own, for one of an object's to recycle (F4, F6):
/// as many as two operations pin.
const OWN_LOOKS: u32 = 2 * crate::gate::LARGEST;

/// Passes over at most this many pages that are not the object's own: in a kernel of 4 MiB all that there can be, as it
/// owns three quarters. In a larger one, pages that nobody has asked for while so many others came go in their turn.
const OTHERS_LOOKS: u32 = 256;

/// Frames that are taken without asking whether they help: 4 MiB. A frame that was never touched costs the host a page
/// fault and a cleared page, which was more than reading a page from its cache; a recycled one is in the processor's caches.
const EASY_FRAMES: u32 = 1024;

pub(crate) struct Resident {
    pub(crate) links: Table<PageLinks>,
    pub(crate) objects: Objects,
    policy: Policy,
    free: List,
    /// Frames from here on were never used, but for those that are wired.
    fresh: u32,
    /// Frames from here on were wired in rows, or lie between such; they may hold pages though nothing before is used yet.
    rows_from: u32,
    object_share: u32,
    /// The object that owns more than its share, which is more than half: at most one does (F4).
    over_share: Option<ObjectId>,
    /// Frames that hold pages.
    /// Dirty pages, in the order in which they became so.
    pub(crate) dirty: List,
    /// Pages that are dirty or being written.
    pub(crate) dirty_pages: u32,
    /// Of these, pages that are due before a commit.
    pub(crate) due_pages: u32,
    /// Pages that transactions hold.
    pub(crate) held_pages: u32,
    pub(crate) pages: u32,
    /// Of these, pages of devices.
    pub(crate) metadata_pages: u32,
    /// Frames that are wired, by what for.
    pub(crate) wired: WiredFor,
    /// Frames that hold pages, or are wired.
    pub(crate) used: u32,
    pub(crate) most_used: u32,
    pub(crate) evictions: u64,
    pub(crate) evictions_self: u64,
    pub(crate) evictions_daemon: u64,
    pub(crate) read_ahead: u64,
    /// Times that those who wait for a frame were woken, asleep or not yet.
    pub(crate) wakes: u32,
}

impl Resident {
    pub(crate) fn new(
        links: Table<PageLinks>,
        objects: Objects,
        policy: Policy,
        object_share: u32,
    ) -> Resident {
        Resident {
            rows_from: links.len() as u32,
            links,
            objects,
            policy,
            free: List::default(),
            fresh: 0,
            object_share,
            over_share: None,
            pages: 0,
            dirty: List::default(),
            dirty_pages: 0,
            due_pages: 0,
            held_pages: 0,
            metadata_pages: 0,
            wired: WiredFor::default(),
            used: 0,
            most_used: 0,
            evictions: 0,
            evictions_self: 0,
            evictions_daemon: 0,
            read_ahead: 0,
            wakes: 0,
        }
    }

    /// A frame for page `index` of `object`: free, fresh, recycled from the object that is over its share (F4), or the
    /// policy's victim. `None` when all are pinned, busy or wired.
    ///
    /// RE-3. A kernel with much memory takes what was never touched beyond [`EASY_FRAMES`] only for a page that the policy
    /// remembers: then more memory would have helped. So a scan costs no more memory than it is worth.
    pub(crate) fn take_frame(
        &mut self,
        table: &PageTable,
        object: ObjectId,
        index: PageIndex,
    ) -> Option<FrameNo> {
        let name = self.name(table, object, index);
        let grow = self.fresh < EASY_FRAMES || self.policy.remembers(name);
        let frame = self
            .take_free()
            .or_else(|| if grow { self.take_fresh() } else { None })
            .or_else(|| self.recycle_over_share(table))
            .or_else(|| self.evict_victim(table))
            .or_else(|| self.take_fresh())?;
        self.used += 1;
        self.most_used = self.most_used.max(self.used);
        Some(frame)
    }

    fn take_free(&mut self) -> Option<FrameNo> {
        self.free.pop_front(&mut ByQueue(&mut self.links)).map(FrameNo)
    }

    fn take_fresh(&mut self) -> Option<FrameNo> {
        while (self.fresh as usize) < self.links.len() {
            self.fresh += 1;
            if self.links[self.fresh as usize - 1].place() == Place::Fresh {
                return Some(FrameNo(self.fresh - 1));
            }
        }
        None
    }

    /// A page of the object that is over its share, whoever asks: itself, which would take others', or another, which
    /// would otherwise trade its own few pages for each other and never come to its share (F4). Which page, the policy says:
    /// an object alone is left to the policy altogether.
    fn recycle_over_share(&mut self, table: &PageTable) -> Option<FrameNo> {
        let object = self.over_share?;
        let others = self.pages - self.objects.get(object).pages.len();
        if others == 0 {
            return None;
        }
        let looks = others.min(OTHERS_LOOKS) + OWN_LOOKS;
        let frame = self.policy.victim_of(&mut view(&mut self.links, table), object, looks)?;
        self.evictions_self += 1;
        Some(self.forget(table, frame))
    }

    fn evict_victim(&mut self, table: &PageTable) -> Option<FrameNo> {
        let frame = self.policy.victim(&mut view(&mut self.links, table))?;
        Some(self.forget(table, frame))
    }

    /// Takes a page that is FREE by now and out of the policy's queue out of hash and object (RE-2).
    pub(crate) fn forget(&mut self, table: &PageTable, frame: u32) -> FrameNo {
        let (object, _) = table.page(FrameNo(frame)).identity();
        table.remove(FrameNo(frame));
        let object = ObjectId(object);
        let owner = self.objects.get(object);
        owner.pages.remove(&mut ByObject(&mut self.links), frame);
        self.metadata_pages -= owner.metadata_pages();
        if owner.pages.len() <= self.object_share && self.over_share == Some(object) {
            self.over_share = None;
        }
        self.objects.page_gone(object);
        self.pages -= 1;
        self.used -= 1;
        self.evictions += 1;
        FrameNo(frame)
    }

    /// Gives a frame from [`Resident::take_frame`] its identity, busy (RE-2).
    pub(crate) fn insert_busy(
        &mut self,
        table: &PageTable,
        touch: &Touch,
        frame: FrameNo,
        object: ObjectId,
        index: PageIndex,
    ) {
        let page = table.page(frame);
        page.begin(object.0, index);
        self.pages += 1;
        touch.arrive(page, self.pages);
        table.insert(frame);
        let owner = self.objects.get(object);
        owner.pages.push_back(&mut ByObject(&mut self.links), frame.0);
        self.metadata_pages += owner.metadata_pages();
        if owner.pages.len() > self.object_share {
            self.over_share = Some(object);
        }
        let name = self.name(table, object, index);
        self.links[frame.slot()].set_metadata(name.is_metadata);
        self.policy.insert(&mut view(&mut self.links, table), frame.0, name);
    }

    /// What the policy remembers a page by.
    fn name(&mut self, table: &PageTable, object: ObjectId, index: PageIndex) -> GhostName {
        GhostName { key: table.ghost_key(object.0, index), is_metadata: self.objects.is_metadata(object) }
    }

    /// BUSY to FREE, for a page whose read has failed. True if somebody sleeps for it.
    pub(crate) fn abandon(&mut self, table: &PageTable, frame: FrameNo) -> bool {
        self.policy.remove(&mut view(&mut self.links, table), frame.0);
        let frame = self.forget(table, frame.0);
        self.evictions -= 1;
        let wanted = table.page(frame).abandon();
        self.put_free(frame);
        wanted
    }

    pub(crate) fn put_free(&mut self, frame: FrameNo) {
        self.free.push_back(&mut ByQueue(&mut self.links), frame.0);
        self.links[frame.slot()].set_place(Place::Free);
    }

    /// Whether the policy remembers the page of data; it is told that it was asked for now.
    pub(crate) fn asked_lately(&mut self, key: u64) -> bool {
        self.policy.asked_lately(GhostName { key, is_metadata: false })
    }

    /// Tells the policy of a hit (LRU).
    pub(crate) fn hit(&mut self, table: &PageTable, frame: FrameNo) {
        self.policy.hit(&mut view(&mut self.links, table), frame.0);
    }

    /// Whether a frame is in the free list.
    pub(crate) fn has_free(&self) -> bool {
        self.free.len() > 0
    }

    /// Evicts up to `most` pages into the free list, for the daemon's step 2; gives how many.
    pub(crate) fn evict_to_free(&mut self, table: &PageTable, most: u32) -> u32 {
        for done in 0..most {
            let Some(frame) = self.evict_victim(table) else { return done };
            self.evictions_daemon += 1;
            self.put_free(frame);
        }
        most
    }

    /// Evicts the pages of `object` that nobody holds and gives the object up; it goes with the last page.
    pub(crate) fn destroy(&mut self, table: &PageTable, object: ObjectId) {
        let mut at = self.objects.get(object).pages.front();
        while let Some(frame) = at {
            at = ByObject(&mut self.links).next(frame);
            if table.try_evict(FrameNo(frame)) {
                self.policy.remove(&mut view(&mut self.links, table), frame);
                let frame = self.forget(table, frame);
                self.put_free(frame);
            }
        }
        self.objects.destroy(object);
    }

    /// Wires `run` frames in a row; `None` if there is no row that is free or can be freed at once.
    ///
    /// Rows are looked for from the end of the region, so that they do not meet the pages' fresh frames.
    pub(crate) fn wire(&mut self, table: &PageTable, run: u32) -> Option<FrameNo> {
        if run == 1 {
            let frame =
                self.take_free().or_else(|| self.take_fresh()).or_else(|| self.evict_victim(table))?;
            self.put_free(frame);
            return Some(self.wire_cleared(frame.0, 1));
        }
        let mut length = 0;
        for frame in (0..self.links.len() as u32).rev() {
            length = if self.clear_for_wiring(table, frame) { length + 1 } else { 0 };
            if length == run {
                self.rows_from = self.rows_from.min(frame);
                return Some(self.wire_cleared(frame, run));
            }
        }
        None
    }

    /// Makes one frame free or leaves it fresh; false if it is in use.
    fn clear_for_wiring(&mut self, table: &PageTable, frame: u32) -> bool {
        match self.links[frame as usize].place() {
            Place::Fresh => frame >= self.fresh,
            Place::Free => true,
            Place::Wired | Place::Dirty | Place::Writeback | Place::Held => false,
            Place::Main | Place::Small => {
                if !table.try_evict(FrameNo(frame)) {
                    return false;
                }
                self.policy.remove(&mut view(&mut self.links, table), frame);
                let frame = self.forget(table, frame);
                self.put_free(frame);
                true
            }
        }
    }

    fn wire_cleared(&mut self, first: u32, run: u32) -> FrameNo {
        for frame in first..first + run {
            if self.links[frame as usize].place() == Place::Free {
                self.free.remove(&mut ByQueue(&mut self.links), frame);
            }
            self.links[frame as usize].set_place(Place::Wired);
        }
        self.used += run;
        self.most_used = self.most_used.max(self.used);
        FrameNo(first)
    }

    /// Gives wired frames back.
    pub(crate) fn unwire(&mut self, first: FrameNo, run: u32) {
        for frame in first.0..first.0 + run {
            assert!(
                self.links[frame as usize].place() == Place::Wired,
                "RE-1: unwired a frame that was not wired"
            );
            self.put_free(FrameNo(frame));
        }
        self.used -= run;
    }

    /// Every page is in a frame of one of these ranges.
    pub(crate) fn touched(&self) -> [Range<u32>; 2] {
        [0..self.fresh, self.rows_from.max(self.fresh)..self.links.len() as u32]
    }

    /// How long the policy's queues are, for the report.
    pub(crate) fn queues(&self) -> Queues {
        self.policy.queues()
    }

    /// Takes a page out of the policy's queue: it has a flag now, and is in a list of its own.
    pub(crate) fn leave_policy(&mut self, table: &PageTable, frame: FrameNo) {
        self.policy.remove(&mut view(&mut self.links, table), frame.0);
    }

    /// Gives a page that has no flag any more to the policy.
    pub(crate) fn join_policy(&mut self, table: &PageTable, frame: FrameNo) {
        let (object, index) = table.page(frame).identity();
        let name = self.name(table, ObjectId(object), index);
        self.policy.insert(&mut view(&mut self.links, table), frame.0, name);
    }

    /// Frees a page if nobody holds it; whether it did.
    pub(crate) fn evict(&mut self, table: &PageTable, frame: FrameNo) -> bool {
        let is_free = table.try_evict(frame);
        if is_free {
            self.leave_policy(table, frame);
            let frame = self.forget(table, frame.0);
            self.put_free(frame);
        }
        is_free
    }
}

fn view<'a>(links: &'a mut Table<PageLinks>, table: &'a PageTable) -> View<'a> {
    View { links, table }
}
