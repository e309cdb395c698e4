//! Exact least recently used, as the original's `vmpage_lruqueue`: one list, a hit moves its page to the back.

use super::View;
use crate::list::{Linked, List};
use crate::page_queue::{ByQueue, Place};

#[derive(Default)]
pub(crate) struct Lru {
    queue: List,
}

impl Lru {
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
        let mut at = self.queue.front();
        while let Some(frame) = at {
            if view.page(frame).try_evict() {
                self.remove(view, frame);
                return Some(frame);
            }
            at = ByQueue(view.links).next(frame);
        }
        None
    }
}
