//! [`Disk`]: a device in memory that takes its time on the simulated clock, and fails when its seed says so.
//!
//! Who calls it: the kernel. A request is put off, then served one buffer at a time, with a switch of threads between them;
//! before that its buffers hold rubbish, so that who looks at a page under I/O sees it.
//!
//! When the kernel writes: `write_at` refuses now. This is where writes that were not flushed will be kept apart from
//! those that were, and where a power cut will drop, tear and reorder them, by the disk's own numbers.

use crate::plan::{Part, Plan};
use crate::trace::{Event, Trace};
use rumpcap::block::BlockDevice;
use rumpcap::{Error, Result};
use rumpcap_host::thread;
use rumpcap_testing::seed::Random;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, PoisonError};

/// The errno of a failed request: `EIO`.
const EIO: i32 = 5;

/// A step of the schedule on the simulated clock.
const STEP_NS: u64 = 1000;

/// What stands in a buffer before the disk has filled it.
const RUBBISH: u8 = 0xA5;

/// How a disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct Character {
    /// What fails.
    pub faults: Faults,
    /// A request takes up to so many steps of the schedule.
    pub latency_steps: u64,
    /// Whether it says that reading it again is cheap.
    pub is_cached_by_host: bool,
}

/// Which requests fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// None.
    None,
    /// One in so many, at random.
    OneIn(u64),
    /// All from this one on: the disk is gone.
    GoneFrom(u64),
    /// Those behind a byte (taken modulo the length), which the disk still counts to its length.
    CutAt(u64),
    /// The disk ends at a byte (taken modulo the length) and says so.
    Short(u64),
}

/// Counts the requests of each thread that failed: an error may be given to no other (SIM-2).
#[derive(Default)]
pub struct Failures(Mutex<Vec<u64>>);

impl Failures {
    fn count(&self) {
        let task = this_task();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() <= task {
            counts.resize(task + 1, 0);
        }
        counts[task] += 1;
    }

    /// Requests of the calling thread that failed so far.
    pub fn of_this_thread(&self) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(this_task()).copied().unwrap_or(0)
    }
}

fn this_task() -> usize {
    shuttle::current::get_current_task().map_or(0, usize::from)
}

/// A disk of the simulated world.
pub struct Disk {
    number: u64,
    bytes: Arc<[u8]>,
    character: Character,
    /// Numbers of its own, and how many requests there were.
    state: Mutex<(Random, u64)>,
    failures: Arc<Failures>,
    trace: Arc<Trace>,
}

impl Disk {
    /// Disk `number` of a run, which holds `bytes`.
    pub fn new(
        plan: &Plan,
        number: u64,
        bytes: Arc<[u8]>,
        failures: Arc<Failures>,
        trace: Arc<Trace>,
    ) -> Disk {
        let state = Mutex::new((plan.random(Part::Disk(number)), 0));
        Disk { number, bytes, character: plan.disk, state, failures, trace }
    }

    /// Whether a request fails, and how long it takes before and after it was served, in steps.
    fn decide(&self, offset: u64, len_bytes: u64) -> (Option<Error>, [u64; 2]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (random, requests) = &mut *state;
        *requests += 1;
        let end = offset.saturating_add(len_bytes);
        let short = |have| (end > have).then_some(Error::ShortDevice { need: end, have });
        let fails = match self.character.faults {
            Faults::OneIn(n) => random.one_in(n).then_some(Error::Io { errno: EIO, at: offset }),
            Faults::GoneFrom(nth) => (*requests > nth).then_some(Error::Io { errno: EIO, at: offset }),
            Faults::CutAt(at) => short(at % self.bytes.len() as u64),
            Faults::None | Faults::Short(_) => short(self.len_bytes()),
        };
        let mut latency = || random.below(self.character.latency_steps + 1);
        (fails, [latency(), latency()])
    }
}

impl BlockDevice for Disk {
    fn len_bytes(&self) -> u64 {
        match self.character.faults {
            Faults::Short(at) => at % self.bytes.len() as u64,
            _ => self.bytes.len() as u64,
        }
    }

    fn is_cached_by_host(&self) -> bool {
        self.character.is_cached_by_host
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let len_bytes = bufs.iter().map(|buf| buf.len() as u64).sum();
        let (fails, [before, after]) = self.decide(offset, len_bytes);
        self.trace.add(Event::Request { disk: self.number, offset, len_bytes, fails: fails.is_some() });
        bufs.iter_mut().for_each(|buf| buf.fill(RUBBISH));
        thread::sleep_ns(before * STEP_NS);
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        // A request that fails has transferred the first half of what it was to.
        let mut left = if fails.is_some() { len_bytes as usize / 2 } else { usize::MAX };
        for buf in bufs {
            let there = buf.len().min(self.bytes.len() - at).min(left);
            buf[..there].copy_from_slice(&self.bytes[at..at + there]);
            at += there;
            left -= there;
            thread::yield_now();
        }
        thread::sleep_ns(after * STEP_NS);
        match fails {
            Some(error) => {
                self.failures.count();
                Err(error)
            }
            None => Ok(()),
        }
    }

    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
