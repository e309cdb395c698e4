//! The region: one range of host memory, and tables cut from it.
//!
//! Who calls it: `boot`, once. Everything that the kernel keeps is cut here; what is not in the region cannot be used,
//! and that is the whole of the limit.
//!
//! RG-1. Cuts never overlap: [`Cutter`] only moves forward, and is consumed by the frames.
//! RG-2. The region outlives every cut: a [`Table`] holds it by reference count.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use rumpcap_host::sync::Arc;
use rumpcap_host::{Error, Result, memory};
use zerocopy::FromZeros;

/// One range of host memory, zeroed when it was made.
pub(crate) struct Region {
    base: NonNull<u8>,
    /// Keeps the range mapped; never read or written through.
    memory: memory::Region,
}

impl Region {
    /// Has the host commit `len_bytes` from `start` on, cut at the end of the region.
    pub(crate) fn populate(&self, start: NonNull<u8>, len_bytes: usize) {
        let offset = start.addr().get().saturating_sub(self.base.addr().get());
        let left = self.memory.len_bytes().saturating_sub(offset);
        self.memory.populate(offset, len_bytes.min(left));
    }
}

// SAFETY: `base` points into memory that `memory` owns exclusively; the region itself reads and writes nothing
// through it. Who does (`Table`, `Frames`) states its own rules for sharing between threads.
unsafe impl Send for Region {}
// SAFETY: as above; `&Region` gives out only the address.
unsafe impl Sync for Region {}

/// Cuts a region into tables, front to back.
pub(crate) struct Cutter {
    region: Arc<Region>,
    next: usize,
    len_bytes: usize,
}

impl Cutter {
    pub(crate) fn new(len_bytes: usize) -> Result<Cutter> {
        let mut memory = memory::Region::new(len_bytes)?;
        let none = Error::Host { what: "the kernel's memory", errno: 0 };
        let base = NonNull::new(memory.as_mut_ptr()).ok_or(none)?;
        Ok(Cutter { region: Arc::new(Region { base, memory }), next: 0, len_bytes })
    }

    /// The next `len` items of the region, all zero.
    pub(crate) fn table<T: FromZeros>(&mut self, len: usize) -> Table<T> {
        let start = self.next.next_multiple_of(align_of::<T>());
        let end = start + len * size_of::<T>();
        assert!(end <= self.len_bytes, "RG-1: the plan is larger than the region");
        self.next = end;
        // SAFETY: start ≤ end ≤ len_bytes, so the sum stays within the one mapping that `base` points to.
        let first = unsafe { self.region.base.add(start) }.cast::<T>();
        Table { first, len, _region: self.region.clone(), _items: PhantomData }
    }

    /// The rest, from the next page boundary on: the address of `frames` frames and the region that holds them.
    pub(crate) fn rest(mut self, frames: usize) -> (Arc<Region>, NonNull<u8>) {
        let start = self.next.next_multiple_of(crate::PAGE_SIZE);
        assert!(
            start + frames * crate::PAGE_SIZE <= self.len_bytes,
            "RG-1: the plan is larger than the region"
        );
        self.next = self.len_bytes;
        // SAFETY: start ≤ len_bytes by the assertion, within the one mapping that `base` points to.
        (self.region.clone(), unsafe { self.region.base.add(start) })
    }
}

/// A slice of `T` in the region.
pub(crate) struct Table<T> {
    first: NonNull<T>,
    len: usize,
    _region: Arc<Region>,
    _items: PhantomData<T>,
}

// SAFETY: a table owns its items exclusively (RG-1), like a `Box<[T]>`.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: as above; `&Table<T>` gives only `&[T]`.
unsafe impl<T: Sync> Sync for Table<T> {}

impl<T> Deref for Table<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `first` is aligned and has `len` items within the region (Cutter::table), which `_region` keeps
        // mapped (RG-2); nobody else has them (RG-1); zero bytes are a valid `T` (FromZeros).
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_zeroed_and_apart() {
        let mut cutter = Cutter::new(64 << 10).unwrap();
        let mut bytes = cutter.table::<u8>(3);
        let mut words = cutter.table::<u64>(100);
        assert!(words.iter().all(|w| *w == 0));
        bytes.fill(0xff);
        words.fill(u64::MAX);
        assert!(bytes.iter().all(|b| *b == 0xff));
        assert_eq!(words.as_ptr() as usize % 8, 0);
        let (_region, rest) = cutter.rest(2);
        assert_eq!(rest.as_ptr() as usize % crate::PAGE_SIZE, 0);
    }

    #[test]
    #[should_panic(expected = "RG-1")]
    fn a_cut_past_the_end_is_refused() {
        let mut cutter = Cutter::new(4096).unwrap();
        let _ = cutter.table::<u64>(513);
    }
}
