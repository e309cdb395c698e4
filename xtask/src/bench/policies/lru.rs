//! Exact least recently used.

use super::Policy;
use std::collections::BTreeMap;

/// Exact least recently used.
pub(crate) struct Lru {
    frames: usize,
    now: u64,
    /// Last access of each page, 0 if it is not resident.
    last: Vec<u64>,
    by_age: BTreeMap<u64, u32>,
}

impl Lru {
    pub(crate) fn new(frames: usize, pages: u32) -> Lru {
        Lru { frames, now: 0, last: vec![0; pages as usize], by_age: BTreeMap::new() }
    }
}

impl Policy for Lru {
    fn access(&mut self, page: u32) -> bool {
        self.now += 1;
        let hit = self.by_age.remove(&self.last[page as usize]).is_some();
        let is_full = self.by_age.len() >= self.frames;
        if let Some((_, victim)) = if !hit && is_full { self.by_age.pop_first() } else { None } {
            self.last[victim as usize] = 0;
        }
        self.last[page as usize] = self.now;
        self.by_age.insert(self.now, page);
        hit
    }
}
