//! [`Trace`]: a trace in memory, its pages numbered from 0, so that simulators can use tables.
//!
//! Who calls it: `curves`, the front ends. Whom it calls: `reader`.
//! Memory: 12 bytes a step and some 50 a page; the optimum needs to know the future. At most [`MOST_STEPS`] steps.

use crate::format::Header;
use crate::reader::{Fault, Reader};
use rumpcap_vm::TraceEvent;
use std::collections::{HashMap, HashSet};
use std::io::BufRead;

/// Steps that are loaded at most: 1.5 GiB of them.
pub const MOST_STEPS: usize = 1 << 27;

/// How an access ended when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page was there.
    Hit,
    /// It was read, and so many pages behind it were asked for along with it.
    Read(u8),
    /// It was read past the frames.
    Passed,
}

/// A step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A page was asked for.
    Access {
        /// Its number.
        page: u32,
        /// What came of it.
        outcome: Outcome,
    },
    /// An object was given up.
    Gone {
        /// The object.
        object: u32,
    },
    /// Frames were wired.
    Wired {
        /// The first.
        first: u32,
        /// How many.
        frames: u32,
    },
    /// Frames were given back.
    Unwired {
        /// The first.
        first: u32,
        /// How many.
        frames: u32,
    },
}

/// A page by the kernel's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageName {
    /// The number of its object.
    pub object: u32,
    /// Its index in it.
    pub index: u64,
    /// Whether the object is a device: then this is metadata.
    pub is_metadata: bool,
}

/// What happened when a trace was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Accesses.
    pub accesses: u64,
    /// Accesses that did not find their page: it was read, or read past the frames.
    pub misses: u64,
    /// Of these, past the frames.
    pub passed: u64,
    /// Accesses of devices.
    pub metadata_accesses: u64,
}

/// A trace in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What was run.
    pub header: Header,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The pages, by their numbers.
    pub pages: Vec<PageName>,
    /// Whether a page was ever read past the frames, by its number.
    pub may_pass: Vec<bool>,
    /// What came of it.
    pub recorded: Recorded,
}

/// A trace while it is read.
struct Loading {
    trace: Trace,
    numbers: HashMap<(u32, u64), u32>,
    devices: HashSet<u32>,
}

impl Trace {
    /// Reads a whole trace.
    ///
    /// # Errors
    /// Any [`Fault`].
    pub fn read(input: impl BufRead) -> Result<Trace, Fault> {
        let reader = Reader::new(input)?;
        let mut loading = Loading::new(reader.header().clone());
        for event in reader {
            loading.add(event?)?;
        }
        Ok(loading.trace)
    }

    /// A trace of events that did not come from a file.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn from_events(header: Header, events: impl IntoIterator<Item = TraceEvent>) -> Result<Trace, Fault> {
        let mut loading = Loading::new(header);
        events.into_iter().try_for_each(|event| loading.add(event))?;
        Ok(loading.trace)
    }

    /// Different pages.
    pub fn distinct(&self) -> u64 {
        self.pages.len() as u64
    }

    /// The accesses in order, by the numbers of their pages.
    pub fn accesses(&self) -> impl Iterator<Item = u32> {
        self.steps.iter().filter_map(|step| match step {
            Step::Access { page, .. } => Some(*page),
            _ => None,
        })
    }
}

impl Loading {
    fn new(header: Header) -> Loading {
        let (steps, pages, may_pass) = (Vec::new(), Vec::new(), Vec::new());
        let trace = Trace { header, steps, pages, may_pass, recorded: Recorded::default() };
        Loading { trace, numbers: HashMap::new(), devices: HashSet::new() }
    }

    fn add(&mut self, event: TraceEvent) -> Result<(), Fault> {
        if self.trace.steps.len() == MOST_STEPS {
            return Err(Fault::TooLong { most: MOST_STEPS });
        }
        let step = match event {
            TraceEvent::Hit { object, page } => self.access(object, page, Outcome::Hit),
            TraceEvent::Read { object, page, ahead } => {
                self.access(object, page, Outcome::Read(u8::try_from(ahead).unwrap_or(u8::MAX)))
            }
            TraceEvent::Passed { object, page } => self.access(object, page, Outcome::Passed),
            TraceEvent::Device { object } => {
                self.devices.insert(object);
                return Ok(());
            }
            TraceEvent::Gone { object } => Step::Gone { object },
            TraceEvent::Wired { first, frames } => Step::Wired { first, frames },
            TraceEvent::Unwired { first, frames } => Step::Unwired { first, frames },
        };
        self.trace.steps.push(step);
        Ok(())
    }

    fn access(&mut self, object: u32, index: u64, outcome: Outcome) -> Step {
        let Trace { pages, may_pass, recorded, .. } = &mut self.trace;
        let next = pages.len() as u32;
        let page = *self.numbers.entry((object, index)).or_insert(next);
        if page == next {
            let is_metadata = self.devices.contains(&object);
            pages.push(PageName { object, index, is_metadata });
            may_pass.push(false);
        }
        recorded.accesses += 1;
        recorded.misses += u64::from(outcome != Outcome::Hit);
        recorded.passed += u64::from(outcome == Outcome::Passed);
        recorded.metadata_accesses += u64::from(pages[page as usize].is_metadata);
        may_pass[page as usize] |= outcome == Outcome::Passed;
        Step::Access { page, outcome }
    }
}
