//! Wired memory: frames in a row that are not pages, for as long as their owner keeps them.
//!
//! Who calls it: `pool` (slabs), `vfs` (the buffer of a walk), file systems (scratch of a journal's recovery).
//!
//! Wired frames are taken from the gate's count, so that reservations never promise them (GA-1). Taking them never
//! waits for another operation: it is refused with the numbers, and the owner does with less.

use crate::boot::Vm;
use crate::page::{FrameNo, PAGE_SIZE};
use crate::report::POOLS_MAX;
use arrayvec::ArrayVec;
use core::ops::{Deref, DerefMut};
use rumpcap_host::sync::Arc;
use rumpcap_host::{Error, Result};

/// What wired memory is for, in the report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Pool,
    Buffer,
}

/// Frames that are wired, by what for. Guarded by the resident lock.
#[derive(Default)]
pub(crate) struct WiredFor {
    pub(crate) buffers: u32,
    /// By the pools' names, in the order in which they came.
    pub(crate) pools: ArrayVec<(&'static str, u32), POOLS_MAX>,
}

impl WiredFor {
    /// The count that `what` belongs to. Pools that come when all names are taken count as the last.
    fn count(&mut self, used_for: Use, what: &'static str) -> &mut u32 {
        if used_for == Use::Buffer {
            return &mut self.buffers;
        }
        let known = self.pools.iter().position(|(name, _)| *name == what);
        let at = known.unwrap_or_else(|| {
            let _ = self.pools.try_push((what, 0));
            self.pools.len() - 1
        });
        &mut self.pools[at].1
    }
}

/// Frames in a row, wired until dropped.
pub struct WiredRun {
    vm: Arc<Vm>,
    first: FrameNo,
    frames: u32,
    used_for: Use,
    what: &'static str,
}

impl WiredRun {
    /// Wires `frames` frames in a row as a buffer for `what`. Their content is undefined. Never waits.
    ///
    /// # Errors
    /// `NoMemory` with what was asked for and what there is.
    pub fn buffer(vm: &Arc<Vm>, frames: u32, what: &'static str) -> Result<WiredRun> {
        WiredRun::new(vm, frames, what, Use::Buffer)
    }

    /// Wires `frames` frames in a row as a slab of a pool.
    ///
    /// # Errors
    /// As [`WiredRun::buffer`].
    pub fn slab(vm: &Arc<Vm>, frames: u32, what: &'static str) -> Result<WiredRun> {
        WiredRun::new(vm, frames, what, Use::Pool)
    }

    fn new(vm: &Arc<Vm>, frames: u32, what: &'static str, used_for: Use) -> Result<WiredRun> {
        vm.gate.try_wire(frames, what)?;
        let mut resident = vm.resident.lock();
        let Some(first) = resident.wire(&vm.table, frames) else {
            drop(resident);
            vm.gate.unwire(frames);
            return Err(Error::NoMemory { what, need: frames.into(), have: vm.gate.available().into() });
        };
        *resident.wired.count(used_for, what) += frames;
        drop(resident);
        Ok(WiredRun { vm: vm.clone(), first, frames, used_for, what })
    }

    /// How many frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }
}

impl Deref for WiredRun {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: this value is the only owner of the wired frames (FR-2), and `&self` shares them.
        unsafe { self.vm.frames.owned(self.first, self.frames) }
    }
}

impl DerefMut for WiredRun {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { self.vm.frames.owned(self.first, self.frames) }
    }
}

impl Drop for WiredRun {
    fn drop(&mut self) {
        let mut resident = self.vm.resident.lock();
        *resident.wired.count(self.used_for, self.what) -= self.frames;
        resident.unwire(self.first, self.frames);
        drop(resident);
        self.vm.gate.unwire(self.frames);
        self.vm.frame_may_be_free();
    }
}

/// Frames that hold `bytes` bytes.
pub(crate) fn frames_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PAGE_SIZE)).unwrap_or(u32::MAX)
}
