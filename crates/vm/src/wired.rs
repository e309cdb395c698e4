//! Wired memory: frames in a row that are not pages, for as long as their owner keeps them.
//!
//! Who calls it: `pool` (slabs), `vfs` (the buffer of a walk), file systems (scratch of a journal's recovery).
//!
//! Wired frames are taken from the gate's count, so that reservations never promise them (GA-1). Taking them never
//! waits for another operation: it is refused with the numbers, and the owner does with less.

use crate::boot::Vm;
use crate::page::{FrameNo, PAGE_SIZE};
use crate::trace::TraceEvent;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::sync::Arc;
use rumpcap_host::{Error, Result};

/// What wired memory is for, in the report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Pool,
    Buffer,
}

/// Frames in a row, wired until dropped.
pub struct WiredRun {
    vm: Arc<Vm>,
    first: FrameNo,
    frames: u32,
    used_for: Use,
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
        let Some(first) = vm.resident.lock().wire(&vm.table, frames) else {
            vm.gate.unwire(frames);
            return Err(Error::NoMemory { what, need: frames.into(), have: vm.gate.available().into() });
        };
        let run = WiredRun { vm: vm.clone(), first, frames, used_for };
        run.counter().fetch_add(frames.into(), Relaxed);
        vm.trace(TraceEvent::Wired { first: first.0, frames });
        Ok(run)
    }

    fn counter(&self) -> &rumpcap_host::sync::atomic::AtomicU64 {
        match self.used_for {
            Use::Pool => &self.vm.counters.pool_frames,
            Use::Buffer => &self.vm.counters.buffer_frames,
        }
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
        self.counter().fetch_sub(self.frames.into(), Relaxed);
        self.vm.trace(TraceEvent::Unwired { first: self.first.0, frames: self.frames });
        self.vm.resident.lock().unwire(self.first, self.frames);
        self.vm.gate.unwire(self.frames);
        self.vm.frame_may_be_free();
    }
}

/// Frames that hold `bytes` bytes.
pub(crate) fn frames_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PAGE_SIZE)).unwrap_or(u32::MAX)
}
