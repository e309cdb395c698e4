//! A bounded cache of entries of one size: hash, least recently used order, slabs from a pool.
//!
//! Who uses it: `vnode` and `namecache`, each under its own lock. It grows by a slab while memory is not short, else it
//! recycles its own oldest idle entry; the pagedaemon shrinks it.
//!
//! CA-1. An entry is in one chain and in the order of use. CA-2. An entry that is not idle is not recycled.
//! Memory: slabs of the pool and one wired run for the buckets, both within the share that `most` was derived from;
//! the first insertion takes them. Failure: no memory means no entry, never an error: a cache is an offer.

use rumpcap_host::sync::Arc;
use rumpcap_vm::{ItemNo, PAGE_SIZE, Pool, Vm, WiredRun};

/// What can be cached.
pub(crate) trait Entry: Copy {
    /// The slabs' name in error messages.
    const WHAT: &'static str;
    /// Whether an entry may go to make room, and memory that others want is left to them. What is no cache of something else says no.
    const IS_OFFER: bool = true;
    /// Nobody uses it now (CA-2).
    fn is_idle(&self, vm: &Vm) -> bool;
}

/// End of a chain or of the order.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Linked<T> {
    value: T,
    hash: u32,
    chain: u32,
    older: u32,
    newer: u32,
}

/// A cache of entries `T`.
pub(crate) struct Cache<T> {
    pool: Pool<Linked<T>>,
    /// First entries of the chains, as little-endian words; a power of two of them. Wired at the first insertion.
    buckets: Option<WiredRun>,
    bucket_frames: u32,
    oldest: u32,
    newest: u32,
}

impl<T: Entry> Cache<T> {
    /// A cache of at most about `most` entries.
    pub(crate) fn new(most: u32) -> Cache<T> {
        let bucket_frames = (most.next_power_of_two() as usize * 4).div_ceil(PAGE_SIZE) as u32;
        Cache { pool: Pool::new(most), buckets: None, bucket_frames, oldest: NONE, newest: NONE }
    }

    /// Takes the memory of the first entries now, if it can be had, so that they need none later.
    pub(crate) fn take_first(&mut self, vm: &Arc<Vm>) {
        self.take_buckets(vm);
        if self.pool.slabs() == 0
            && let Ok(run) = WiredRun::slab(vm, self.pool.slab_frames(), T::WHAT)
        {
            self.pool.add(run);
        }
    }

    fn take_buckets(&mut self, vm: &Arc<Vm>) -> Option<()> {
        if self.buckets.is_none() {
            let mut run = WiredRun::slab(vm, self.bucket_frames, T::WHAT).ok()?;
            run.fill(0xff);
            self.buckets = Some(run);
        }
        Some(())
    }

    /// Entries that fit `share_bytes` of memory, slabs and buckets together.
    pub(crate) fn entries_in(share_bytes: usize) -> u32 {
        let each = size_of::<Linked<T>>() + 2 * size_of::<u32>() + 8;
        u32::try_from(share_bytes / each).unwrap_or(u32::MAX).clamp(8, 1 << 18)
    }

    /// The entry of `hash` that `matches`, made the newest.
    pub(crate) fn find(&mut self, hash: u32, matches: impl Fn(&T) -> bool) -> Option<ItemNo> {
        let mut at = self.bucket(hash);
        while at != NONE {
            let linked = self.pool.get(ItemNo(at));
            if linked.hash == hash && matches(&linked.value) {
                self.make_newest(at);
                return Some(ItemNo(at));
            }
            at = linked.chain;
        }
        None
    }

    pub(crate) fn get(&self, item: ItemNo) -> &T {
        &self.pool.get(item).value
    }

    pub(crate) fn get_mut(&mut self, item: ItemNo) -> &mut T {
        &mut self.pool.get_mut(item).value
    }

    /// Puts in an entry that is not there. What had to go for it is handed to `recycled`. `None`: there is no room.
    pub(crate) fn insert(
        &mut self,
        vm: &Arc<Vm>,
        hash: u32,
        value: T,
        recycled: impl FnOnce(T),
    ) -> Option<ItemNo> {
        self.take_buckets(vm)?;
        let linked = Linked { value, hash, chain: self.bucket(hash), older: NONE, newer: NONE };
        let item = self.allocate(vm, linked, recycled)?;
        // Recycling may have changed the chain: link to what is its head now.
        self.pool.get_mut(item).chain = self.bucket(hash);
        self.set_bucket(hash, item.0);
        self.append(item.0);
        Some(item)
    }

    fn allocate(&mut self, vm: &Arc<Vm>, linked: Linked<T>, recycled: impl FnOnce(T)) -> Option<ItemNo> {
        if let Some(item) = self.pool.allocate(linked) {
            return Some(item);
        }
        let may_grow = self.pool.can_grow() && !(T::IS_OFFER && vm.is_hungry());
        let slab = may_grow.then(|| WiredRun::slab(vm, self.pool.slab_frames(), T::WHAT).ok()).flatten();
        if let Some(run) = slab {
            self.pool.add(run);
            return self.pool.allocate(linked);
        }
        recycled(self.take_oldest_idle(vm)?);
        self.pool.allocate(linked)
    }

    /// Takes out the oldest idle entry. Looks at each entry at most once.
    pub(crate) fn take_oldest_idle(&mut self, vm: &Vm) -> Option<T> {
        let mut at = self.oldest;
        while at != NONE {
            let linked = self.pool.get(ItemNo(at));
            if linked.value.is_idle(vm) {
                return Some(self.remove(ItemNo(at)));
            }
            at = linked.newer;
        }
        None
    }

    /// Takes out all entries that `matches`, each handed to `taken`.
    pub(crate) fn take_all(&mut self, matches: impl Fn(&T) -> bool, mut taken: impl FnMut(T)) {
        let mut at = self.oldest;
        while at != NONE {
            let linked = self.pool.get(ItemNo(at));
            let (newer, is_meant) = (linked.newer, matches(&linked.value));
            if is_meant {
                taken(self.remove(ItemNo(at)));
            }
            at = newer;
        }
    }

    /// Takes out an entry.
    pub(crate) fn remove(&mut self, item: ItemNo) -> T {
        let linked = *self.pool.get(item);
        self.unchain(item.0, linked.hash, linked.chain);
        self.unlink(linked.older, linked.newer);
        self.pool.free(item);
        linked.value
    }

    /// Entries in the cache.
    pub(crate) fn len(&self) -> u32 {
        self.pool.used()
    }

    /// Gives back empty slabs, and the buckets with the last entry; returns frames.
    pub(crate) fn give_back_empty(&mut self) -> u64 {
        let mut frames = 0;
        while let Some(run) = self.pool.drain() {
            frames += u64::from(run.frames());
        }
        if self.len() == 0 {
            frames += self.buckets.take().map_or(0, |run| u64::from(run.frames()));
        }
        frames
    }

    /// Gives back empty slabs but for one, and not the buckets; returns frames.
    pub(crate) fn give_back_spare(&mut self) -> u64 {
        let mut frames = 0;
        while self.pool.slabs() > 1
            && let Some(run) = self.pool.drain()
        {
            frames += u64::from(run.frames());
        }
        frames
    }

    fn slot(&self, hash: u32) -> core::ops::Range<usize> {
        let buckets = self.bucket_frames as usize * PAGE_SIZE / 4;
        let at = hash as usize % buckets * 4;
        at..at + 4
    }

    fn bucket(&self, hash: u32) -> u32 {
        let Some(run) = &self.buckets else { return NONE };
        let mut word = [0; 4];
        word.copy_from_slice(&run[self.slot(hash)]);
        u32::from_le_bytes(word)
    }

    fn set_bucket(&mut self, hash: u32, item: u32) {
        let slot = self.slot(hash);
        if let Some(run) = &mut self.buckets {
            run[slot].copy_from_slice(&item.to_le_bytes());
        }
    }

    fn unchain(&mut self, item: u32, hash: u32, next: u32) {
        let mut at = self.bucket(hash);
        if at == item {
            self.set_bucket(hash, next);
            return;
        }
        while at != NONE {
            let linked = self.pool.get_mut(ItemNo(at));
            if linked.chain == item {
                linked.chain = next;
                return;
            }
            at = linked.chain;
        }
    }

    fn append(&mut self, item: u32) {
        let older = core::mem::replace(&mut self.newest, item);
        let linked = self.pool.get_mut(ItemNo(item));
        (linked.older, linked.newer) = (older, NONE);
        match older {
            NONE => self.oldest = item,
            older => self.pool.get_mut(ItemNo(older)).newer = item,
        }
    }

    fn unlink(&mut self, older: u32, newer: u32) {
        match older {
            NONE => self.oldest = newer,
            older => self.pool.get_mut(ItemNo(older)).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.pool.get_mut(ItemNo(newer)).older = older,
        }
    }

    fn make_newest(&mut self, item: u32) {
        if self.newest == item {
            return;
        }
        let Linked { older, newer, .. } = *self.pool.get(ItemNo(item));
        self.unlink(older, newer);
        self.append(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rumpcap_vm::{BootOptions, Daemon};

    #[derive(Clone, Copy)]
    struct Number(u32);
    impl Entry for Number {
        const WHAT: &'static str = "numbers";
        fn is_idle(&self, _: &Vm) -> bool {
            !self.0.is_multiple_of(7)
        }
    }

    proptest! {
        /// Against a vector in the order of use: same entries found, oldest idle one recycled.
        #[test]
        fn behaves_like_a_vector_in_order_of_use(steps in proptest::collection::vec((0u8..4, 0u32..400), 0..600)) {
            let options = BootOptions { limit_bytes: Some(1 << 20), daemon: Daemon::Inline, ..Default::default() };
            let vm = Vm::boot(options).unwrap();
            let mut cache = Cache::<Number>::new(100);
            let mut model: Vec<u32> = Vec::new();
            for (step, n) in steps {
                // Few hashes, so that chains are long.
                let hash = n % 5;
                let found = cache.find(hash, |entry| entry.0 == n).map(|item| cache.get(item).0);
                let at = model.iter().position(|m| *m == n);
                prop_assert_eq!(found.is_some(), at.is_some());
                if let Some(at) = at {
                    model.remove(at);
                    model.push(n);
                } else if step < 3 {
                    let mut gone = None;
                    let inserted = cache.insert(&vm, hash, Number(n), |old| gone = Some(old.0));
                    if let Some(gone) = gone {
                        let oldest = model.iter().position(|m| !m.is_multiple_of(7)).unwrap();
                        prop_assert_eq!(model.remove(oldest), gone);
                    }
                    if inserted.is_some() {
                        model.push(n);
                    }
                } else {
                    cache.give_back_empty();
                }
                prop_assert_eq!(cache.len() as usize, model.len());
            }
            while cache.take_oldest_idle(&vm).is_some() {}
            prop_assert!(cache.len() as usize == model.iter().filter(|m| m.is_multiple_of(7)).count());
        }
    }
}
