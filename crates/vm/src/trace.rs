//! What a trace is told: every access to a page with its outcome, and what else decides which pages can stay.
//!
//! Who calls it: `fault`, `wired`, `device_object`, `boot`, where these things happen. Who listens: whoever boots a kernel
//! with [`crate::BootOptions::trace`]; the events are enough to run the same accesses again under another limit or policy.
//!
//! TR-1. An access is told once, when its outcome is known: a look-up that fails and leads to a read is one event, a
//! [`TraceEvent::Read`]. Without a listener an event is one comparison.
//!
//! Locks: told with none of this crate's locks held, by any thread; layers above may hold theirs, so a listener must not
//! call the kernel. Memory: none.

use crate::boot::Vm;
use rumpcap_host::sync::Arc;

/// The listener of a kernel. It may be called by several threads at once.
pub type Trace = Arc<dyn Fn(TraceEvent) + Send + Sync>;

/// Something that the page queue saw. Objects and frames are given by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// A page was asked for and was there.
    Hit {
        /// Its object.
        object: u32,
        /// Its index.
        page: u64,
    },
    /// A page was asked for, was not there, and is read into a frame.
    Read {
        /// Its object.
        object: u32,
        /// Its index.
        page: u64,
        /// How many pages behind it were asked for along with it; memory decides how many of them come.
        ahead: u32,
    },
    /// A page was asked for, was not there, and is read past the frames: the policy does not remember it
    /// ([`Vm::asked_lately`]).
    Passed {
        /// Its object.
        object: u32,
        /// Its index.
        page: u64,
    },
    /// An object is a device's: its pages are metadata.
    Device {
        /// The object.
        object: u32,
    },
    /// An object is given up, with its pages.
    Gone {
        /// The object.
        object: u32,
    },
    /// Frames in a row hold something else than pages from now on.
    Wired {
        /// The first of them.
        first: u32,
        /// How many.
        frames: u32,
    },
    /// The frames that were wired from `first` on may hold pages again.
    Unwired {
        /// The first of them.
        first: u32,
        /// How many.
        frames: u32,
    },
}

impl Vm {
    /// Tells the listener, if there is one.
    pub(crate) fn trace(&self, event: TraceEvent) {
        if let Some(trace) = &self.trace {
            trace(event);
        }
    }
}
