//! Pools: items of one size, cut from slabs of wired frames.
//!
//! Who uses it: `vfs`, for vnodes and names. A pool belongs to one owner, who locks it; items are named by number and
//! reached through the pool, so that no pointer outlives a slab.
//!
//! A pool does not take memory by itself: [`Pool::allocate`] says that a slab is missing, and the owner wires one
//! without holding the lock of the pool, hands it over with [`Pool::add`], or recycles an item of its own. An empty
//! slab stays with the pool as a cache until the pagedaemon asks for it ([`Pool::drain`]).
//!
//! PL-1. An item number is given out once until it is freed. PL-2. A slab goes only when none of its items is out.
//! PL-3. A slot's value is read only while the slot says that it is live.
//! Memory: slabs, at most [`MAX_SLABS`]; the table of slabs is part of the owner.

use crate::page::PAGE_SIZE;
use crate::wired::{WiredRun, frames_for};
use arrayvec::ArrayVec;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// Slabs of a pool: the head of a pool stays below 2 KiB.
pub const MAX_SLABS: usize = 32;

/// Number of an item in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemNo(pub u32);

/// What a slab is an array of. Zeroed: not live.
#[repr(C)]
struct Slot<T> {
    live: u32,
    /// Next free slot of the slab, while this one is free.
    next: u32,
    value: MaybeUninit<T>,
}

struct Slab {
    run: WiredRun,
    used: u32,
    /// Items from here on were never given out.
    fresh: u32,
    /// First of the items that were given back.
    free: u32,
}

/// End of a slab's list of free items.
const NONE: u32 = u32::MAX;

/// Items of type `T`.
pub struct Pool<T> {
    slabs: ArrayVec<Option<Slab>, MAX_SLABS>,
    items_per_slab: u32,
    slab_frames: u32,
    used: u32,
    _item: PhantomData<T>,
}

impl<T: Copy> Pool<T> {
    /// A pool that can grow to `most` items, rounded up to whole slabs of whole frames.
    pub fn new(most: u32) -> Pool<T> {
        const { assert!(size_of::<Slot<T>>() <= PAGE_SIZE && align_of::<Slot<T>>() <= PAGE_SIZE) };
        let slab_frames = frames_for(most as usize * size_of::<Slot<T>>()).div_ceil(MAX_SLABS as u32).max(1);
        let items_per_slab = (slab_frames as usize * PAGE_SIZE / size_of::<Slot<T>>()) as u32;
        let slabs_needed = most.div_ceil(items_per_slab).clamp(1, MAX_SLABS as u32);
        let slabs = (0..slabs_needed).map(|_| None).collect();
        Pool { slabs, items_per_slab, slab_frames, used: 0, _item: PhantomData }
    }

    /// Frames of a slab.
    pub fn slab_frames(&self) -> u32 {
        self.slab_frames
    }

    /// Items that are out.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Slabs that it has.
    pub fn slabs(&self) -> usize {
        self.slabs.iter().flatten().count()
    }

    /// Whether [`Pool::add`] would take one more slab.
    pub fn can_grow(&self) -> bool {
        self.slabs.iter().any(Option::is_none)
    }

    /// One more slab, of [`Pool::slab_frames`] frames. A slab too many is dropped.
    pub fn add(&mut self, mut run: WiredRun) {
        assert!(run.frames() == self.slab_frames, "PL-2: a slab of another size");
        run.fill(0);
        if let Some(empty) = self.slabs.iter_mut().find(|slab| slab.is_none()) {
            *empty = Some(Slab { run, used: 0, fresh: 0, free: NONE });
        }
    }

    /// Puts `value` into a free item; `None` when there is none and a slab is missing.
    pub fn allocate(&mut self, value: T) -> Option<ItemNo> {
        let per_slab = self.items_per_slab;
        let room = |slab: &Option<Slab>| slab.as_ref().is_some_and(|slab| slab.used < per_slab);
        let at = self.slabs.iter().position(room)?;
        let slab = self.slabs[at].as_mut()?;
        let item = slab.free;
        if item == NONE {
            slab.fresh += 1;
        }
        slab.used += 1;
        self.used += 1;
        let item = if item == NONE { slab.fresh - 1 } else { item };
        let number = ItemNo(at as u32 * per_slab + item);
        let slot = self.slot_mut(number);
        let next = slot.next;
        *slot = Slot { live: 1, next: NONE, value: MaybeUninit::new(value) };
        let slab = self.slab_mut(number);
        if slab.free == item {
            slab.free = next;
        }
        Some(number)
    }

    /// Takes an item back. It must have come from [`Pool::allocate`] and be freed no more than once (PL-1).
    pub fn free(&mut self, number: ItemNo) {
        let head = self.slab_mut(number).free;
        let slot = self.slot_mut(number);
        assert!(slot.live == 1, "PL-1: freed an item that was not out");
        (slot.live, slot.next) = (0, head);
        let item = number.0 % self.items_per_slab;
        let slab = self.slab_mut(number);
        slab.free = item;
        slab.used -= 1;
        self.used -= 1;
    }

    /// The item, read.
    pub fn get(&self, number: ItemNo) -> &T {
        let slab = self.slabs[(number.0 / self.items_per_slab) as usize].as_ref();
        let bytes = &slab.expect("PL-2: an item that is out has its slab").run[self.range(number)];
        let slot = bytes.as_ptr().cast::<Slot<T>>();
        assert!(slot.is_aligned());
        // SAFETY: `bytes` is as long as a slot (range), aligned by the assertion, and any bytes are a valid `Slot`: two
        // numbers and a `MaybeUninit`. The result borrows the pool, so the slab stays and nobody writes.
        let slot = unsafe { &*slot };
        assert!(slot.live == 1, "PL-3: read an item that is not out");
        // SAFETY: live is set only together with a value (allocate).
        unsafe { slot.value.assume_init_ref() }
    }

    /// The item, to be changed.
    pub fn get_mut(&mut self, number: ItemNo) -> &mut T {
        let slot = self.slot_mut(number);
        assert!(slot.live == 1, "PL-3: read an item that is not out");
        // SAFETY: live is set only together with a value (allocate).
        unsafe { slot.value.assume_init_mut() }
    }

    fn slot_mut(&mut self, number: ItemNo) -> &mut Slot<T> {
        let range = self.range(number);
        let slot = self.slab_mut(number).run[range].as_mut_ptr().cast::<Slot<T>>();
        assert!(slot.is_aligned());
        // SAFETY: as in `get`; the borrow of the pool is exclusive.
        unsafe { &mut *slot }
    }

    fn slab_mut(&mut self, number: ItemNo) -> &mut Slab {
        let slab = self.slabs[(number.0 / self.items_per_slab) as usize].as_mut();
        slab.expect("PL-2: an item that is out has its slab")
    }

    fn range(&self, number: ItemNo) -> core::ops::Range<usize> {
        let start = (number.0 % self.items_per_slab) as usize * size_of::<Slot<T>>();
        start..start + size_of::<Slot<T>>()
    }

    /// Gives back one empty slab; dropping it returns its memory. `None` when there is none (PL-2).
    pub fn drain(&mut self) -> Option<WiredRun> {
        let empty = |slab: &&mut Option<Slab>| slab.as_ref().is_some_and(|slab| slab.used == 0);
        self.slabs.iter_mut().rev().find(empty)?.take().map(|slab| slab.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BootOptions, Daemon, Vm};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn vm() -> rumpcap_host::sync::Arc<Vm> {
        let limit_bytes = Some(512 << 10);
        Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..BootOptions::default() }).unwrap()
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((0u8..4, any::<u64>()), 0..400)) {
            let vm = vm();
            let mut pool = Pool::<[u64; 8]>::new(200);
            let mut model: HashMap<u32, u64> = HashMap::new();
            for (step, value) in steps {
                let nth = model.keys().nth(value as usize % model.len().max(1)).copied();
                match (step, nth) {
                    (0 | 1, _) => match pool.allocate([value; 8]) {
                        Some(item) => prop_assert!(model.insert(item.0, value).is_none(), "PL-1"),
                        None if pool.can_grow() => {
                            pool.add(WiredRun::slab(&vm, pool.slab_frames(), "a test").unwrap());
                        }
                        None => prop_assert!(model.len() >= 200),
                    },
                    (2, Some(item)) => {
                        model.remove(&item);
                        pool.free(ItemNo(item));
                    }
                    (3, _) => drop(pool.drain()),
                    _ => {}
                }
                prop_assert_eq!(pool.used() as usize, model.len());
                for (item, value) in &model {
                    prop_assert_eq!(pool.get(ItemNo(*item)), &[*value; 8]);
                }
            }
        }
    }

    #[test]
    fn drained_slabs_return_their_memory() {
        let vm = vm();
        let before = vm.report().in_use_bytes;
        let mut pool = Pool::<[u32; 4]>::new(1000);
        pool.add(WiredRun::slab(&vm, pool.slab_frames(), "a test").unwrap());
        let item = pool.allocate([1; 4]).unwrap();
        assert!(pool.drain().is_none(), "PL-2");
        pool.free(item);
        drop(pool.drain().unwrap());
        assert_eq!(vm.report().in_use_bytes, before);
    }
}
