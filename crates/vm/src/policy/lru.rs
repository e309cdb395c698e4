//! Exact least recently used, as the original's `vmpage_lruqueue`: one list, a hit moves its page to the back.

use super::{Queues, View};
use crate::list::List;
use crate::object::ObjectId;
use crate::page::FrameNo;
use crate::page_queue::{ByQueue, Place};

#[derive(Default)]
pub(crate) struct Lru {
    queue: List,
}

impl Lru {
    pub(super) fn queues(&self) -> Queues {
        Queues { main: self.queue.len(), ..Queues::default() }
    }

    pub(super) fn insert(&mut self, view: &mut View<'_>, frame: u32) {
        self.queue.push_back(&mut ByQueue(view.links), frame);
        view.links[frame as usize].set_place(Place::Main);
    }

    pub(super) fn remove(&mut self, view: &mut View<'_>, frame: u32) {
        self.queue.remove(&mut ByQueue(view.links), frame);
    }

    pub(super) fn hit(&mut self, view: &mut View<'_>, frame: u32) {
        // The page may have gone between the hit and the lock.
        if view.links[frame as usize].place() == Place::Main {
            self.queue.remove(&mut ByQueue(view.links), frame);
            self.queue.push_back(&mut ByQueue(view.links), frame);
        }
    }

    /// The first page that can go; each is looked at once.
    pub(super) fn victim(&mut self, view: &mut View<'_>) -> Option<u32> {
        let frame =
            view.find(&self.queue, self.queue.len(), |view, frame| view.table.try_evict(FrameNo(frame)))?;
        self.remove(view, frame);
        Some(frame)
    }

    /// The first page of `object` that can go, if it is among the first `looks`.
    pub(super) fn victim_of(&mut self, view: &mut View<'_>, object: ObjectId, looks: u32) -> Option<u32> {
        let own = |view: &mut View<'_>, frame: u32| {
            view.is_of(frame, object) && view.table.try_evict(FrameNo(frame))
        };
        let frame = view.find(&self.queue, looks, own)?;
        self.remove(view, frame);
        Some(frame)
    }
}
