//! Symmetry: frames, threads and objects of data have no names in the model. States that differ by names alone are one.
//!
//! SY-1. A state and its canonical form have the same steps and properties, up to names. The form need not be unique: where
//! a tie is not broken, two states are kept where one would do.

use crate::config::MAX_THREADS;
use crate::state::{Frame, State, bit};

impl State {
    /// The representative of all states that differ from this one by the names of threads and frames.
    pub(crate) fn canonical(mut self) -> State {
        self.order_objects();
        let mut order: [usize; MAX_THREADS] = core::array::from_fn(|n| n);
        let keys: [_; MAX_THREADS] = core::array::from_fn(|n| (self.threads[n], self.signature(n)));
        order.sort_by_key(|n| keys[*n]);
        if order.iter().enumerate().any(|(new, old)| new != *old) {
            let threads = self.threads;
            self.threads = order.map(|old| threads[old]);
            let renamed = |set: u8| {
                order.iter().enumerate().map(|(new, old)| u8::from(set & bit(*old) != 0) << new).sum()
            };
            for frame in &mut self.frames {
                frame.pins = renamed(frame.pins);
                frame.wanted = renamed(frame.wanted);
                frame.filler = renamed(frame.filler);
            }
        }
        self.frames.sort_unstable();
        self
    }

    /// The objects of data have no names either.
    fn order_objects(&mut self) {
        let of = |frame: &Frame| {
            let held =
                frame.pins.count_ones() + 3 * frame.wanted.count_ones() + 7 * frame.filler.count_ones();
            1 << (2 * frame.kind as u32) | held << 24
        };
        let key =
            |object| self.frames.iter().filter(|f| f.object == object).map(of).fold(0, u32::wrapping_add);
        if key(1) < key(2) {
            let others = self.frames.iter_mut().filter(|frame| frame.object > 0);
            others.for_each(|frame| frame.object = 3 - frame.object);
        }
    }

    /// A number that tells threads in the same phase apart by the frames that they have to do with, whatever the order.
    fn signature(&self, thread: usize) -> u32 {
        let of = |frame: &Frame| {
            let has = [frame.pins, frame.wanted, frame.filler].map(|set| u32::from(set & bit(thread) != 0));
            let tie = has[0] | has[1] << 1 | has[2] << 2;
            let frame =
                u32::from(frame.kind as u8) * 4 + u32::from(frame.object) + 64 * u32::from(frame.logged);
            tie.wrapping_mul(frame + 1 + (1024 * (frame + 1)) * (frame + 1))
        };
        self.frames.iter().map(of).fold(0, u32::wrapping_add)
    }
}
