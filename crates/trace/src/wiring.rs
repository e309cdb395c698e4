//! How many frames are no pages' at each step of a trace, at another limit than the recording's.
//!
//! Who calls it: `product`, which wires them, and `belady` and `simulators`, which have as many frames less.
//!
//! Most of what is wired are the caches of vnodes and names and the buffer of a walk, and all of these have shares of the limit:
//! so what was wired at the recording is taken in proportion to the frames. A recording without a limit says nothing of that:
//! then nothing is wired.

use crate::load::{Step, Trace};
use rumpcap_vm::plan::Plan;

/// The frames at a limit, as a trace goes on.
pub(crate) struct Wiring {
    frames: u32,
    frames_recorded: Option<u32>,
    wired_recorded: u64,
}

impl Wiring {
    pub(crate) fn new(trace: &Trace, frames: u32) -> Wiring {
        let recorded = trace.header.limit_bytes.and_then(|bytes| Plan::new(bytes).ok());
        Wiring { frames, frames_recorded: recorded.map(|plan| plan.frames), wired_recorded: 0 }
    }

    /// Whether the frames are those of the recording.
    pub(crate) fn is_as_recorded(&self) -> bool {
        self.frames_recorded == Some(self.frames)
    }

    /// Takes note of a step; true if what is wired has changed.
    pub(crate) fn step(&mut self, step: Step) -> bool {
        let before = self.wired();
        match step {
            Step::Wired { frames, .. } => {
                self.wired_recorded = self.wired_recorded.saturating_add(frames.into())
            }
            Step::Unwired { frames, .. } => {
                self.wired_recorded = self.wired_recorded.saturating_sub(frames.into())
            }
            Step::Access { .. } | Step::Gone { .. } => {}
        }
        self.wired() != before
    }

    /// Frames that are wired now.
    pub(crate) fn wired(&self) -> u32 {
        let Some(recorded) = self.frames_recorded else { return 0 };
        let scaled = u128::from(self.wired_recorded) * u128::from(self.frames) + u128::from(recorded / 2);
        u32::try_from(scaled / u128::from(recorded)).unwrap_or(u32::MAX).min(self.frames - 1)
    }

    /// Frames for pages now; at least one.
    pub(crate) fn for_pages(&self) -> usize {
        (self.frames - self.wired()) as usize
    }
}
