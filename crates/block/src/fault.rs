//! A device that fails, delays or tears the Nth request, for tests of everything above it.
//!
//! Locks: `state` guards the plan and the counts and is not held while a request is at the base; a held request sleeps
//! on `released`. Memory: fixed, [`FaultInjector::MAX_FAULTS`] faults at once.

use crate::BlockDevice;
use crate::device::check_range;
use crate::vectors::{ReadCursor, WriteCursor};
use arrayvec::ArrayVec;
use rumpcap_host::sync::{Condvar, Mutex};
use rumpcap_host::{Error, Result, thread};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// The errno of a torn request: `EIO`.
const EIO: i32 = 5;

/// What the bytes are that a silently torn read does not deliver.
pub const TORN_READ_FILL: u8 = 0xDB;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `read_at`
    Read,
    /// `write_at`
    Write,
    /// `flush`
    Flush,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is transferred; the request fails.
    Fail {
        /// The host's errno, 5 for `EIO`.
        errno: i32,
    },
    /// This one and all later requests of its kind fail: a device that is gone.
    FailFromNowOn {
        /// The host's errno.
        errno: i32,
    },
    /// The first bytes are transferred, then the request fails with `EIO`. A flush fails.
    Tear {
        /// How many bytes.
        bytes: u64,
    },
    /// The first bytes are transferred, and the request says that all were: a device that lies, or lost its power. The
    /// rest of a read is [`TORN_READ_FILL`]. A flush does nothing.
    TearSilently {
        /// How many bytes.
        bytes: u64,
    },
    /// The request is served after so long.
    Delay {
        /// How long.
        milliseconds: u64,
    },
    /// The request is served after [`FaultInjector::release`]: a delay whose length the test decides.
    Hold,
}

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of request that it hits.
    pub operation: Operation,
    /// Which of that kind, the first since the injector was made or reset being 1.
    pub nth: u64,
    /// What it does.
    pub effect: Effect,
}

/// A fault that comes again and again: a device that is slow, or unreliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurring {
    /// The kind of request that it hits.
    pub operation: Operation,
    /// Every so many of that kind are hit; at least 1.
    pub every: u64,
    /// What it does.
    pub effect: Effect,
}

/// A device that does to the requests of another what its faults say.
///
/// ```
/// use rumpcap_block::{BlockDevice, Effect, Fault, FaultInjector, MemoryDevice, Operation};
/// use std::{io::IoSliceMut, sync::Arc};
///
/// let device = FaultInjector::new(Arc::new(MemoryDevice::new(4096)));
/// device.inject(Fault { operation: Operation::Read, nth: 2, effect: Effect::Fail { errno: 5 } })?;
/// let read = || device.read_at(0, &mut [IoSliceMut::new(&mut [0; 16])]);
/// assert!(read().is_ok());
/// assert!(read().is_err());
/// assert!(read().is_ok());
/// assert_eq!(device.requests(Operation::Read), 3);
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub struct FaultInjector {
    base: Arc<dyn BlockDevice>,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    faults: ArrayVec<Fault, { FaultInjector::MAX_FAULTS }>,
    recurring: ArrayVec<Recurring, { FaultInjector::MAX_FAULTS }>,
    requests: [u64; 3],
    fired: u64,
    held: u64,
    releases: u64,
}

impl State {
    /// Counts a request and gives what is to happen to it. Of several faults for one request the first injected wins, those
    /// that come once before those that recur.
    fn next(&mut self, operation: Operation) -> Option<Effect> {
        self.requests[operation as usize] += 1;
        let nth = self.requests[operation as usize];
        let hits = |fault: &&Fault| {
            fault.operation == operation
                && (fault.nth == nth
                    || fault.nth < nth && matches!(fault.effect, Effect::FailFromNowOn { .. }))
        };
        let recurs =
            |fault: &&Recurring| fault.operation == operation && nth.is_multiple_of(fault.every.max(1));
        let once = self.faults.iter().find(hits).map(|fault| fault.effect);
        let effect = once.or_else(|| self.recurring.iter().find(recurs).map(|fault| fault.effect));
        self.fired += u64::from(effect.is_some());
        effect
    }
}

/// How much of a request to serve, once its delays are over.
enum Serve {
    All,
    /// The first bytes; then the error, if any.
    Part(u64, Option<Error>),
}

impl FaultInjector {
    /// Faults that can be injected at once.
    pub const MAX_FAULTS: usize = 16;

    /// An injector without faults.
    pub fn new(base: Arc<dyn BlockDevice>) -> FaultInjector {
        FaultInjector { base, state: Mutex::default(), released: Condvar::new() }
    }

    /// Adds a fault.
    ///
    /// # Errors
    /// `InvalidInput` when there are [`FaultInjector::MAX_FAULTS`] already.
    pub fn inject(&self, fault: Fault) -> Result<()> {
        let full = Error::InvalidInput { what: "number of faults" };
        self.state.lock().faults.try_push(fault).map_err(|_| full)
    }

    /// Adds a fault that recurs.
    ///
    /// # Errors
    /// As [`FaultInjector::inject`], for those that recur.
    pub fn inject_recurring(&self, fault: Recurring) -> Result<()> {
        let full = Error::InvalidInput { what: "number of faults" };
        self.state.lock().recurring.try_push(fault).map_err(|_| full)
    }

    /// Forgets all faults and begins to count anew. Held requests stay held.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.recurring.clear();
        state.requests = [0; 3];
        state.fired = 0;
    }

    /// Requests of a kind since the injector was made or reset.
    pub fn requests(&self, operation: Operation) -> u64 {
        self.state.lock().requests[operation as usize]
    }

    /// Requests that a fault has hit since the injector was made or reset.
    pub fn fired(&self) -> u64 {
        self.state.lock().fired
    }

    /// Requests that are held now.
    pub fn held(&self) -> u64 {
        self.state.lock().held
    }

    /// Lets all requests go on that are held now.
    pub fn release(&self) {
        self.state.lock().releases += 1;
        self.released.notify_all();
    }

    fn hold(&self) {
        let mut state = self.state.lock();
        let releases = state.releases;
        state.held += 1;
        while state.releases == releases {
            state = self.released.wait(state);
        }
        state.held -= 1;
    }

    /// Counts the request, sits out its delays and tells how much of it to serve.
    fn meet(&self, operation: Operation, offset: u64) -> Result<Serve> {
        let effect = self.state.lock().next(operation);
        match effect {
            None => return Ok(Serve::All),
            Some(Effect::Fail { errno } | Effect::FailFromNowOn { errno }) => {
                return Err(Error::Io { errno, at: offset });
            }
            Some(Effect::Tear { bytes }) => {
                let error = Error::Io { errno: EIO, at: offset.saturating_add(bytes) };
                return Ok(Serve::Part(bytes, Some(error)));
            }
            Some(Effect::TearSilently { bytes }) => return Ok(Serve::Part(bytes, None)),
            Some(Effect::Delay { milliseconds }) => {
                thread::sleep_ns(milliseconds.saturating_mul(1_000_000));
            }
            Some(Effect::Hold) => self.hold(),
        }
        Ok(Serve::All)
    }

    fn read_part(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>], bytes: u64) -> Result<()> {
        check_range(offset, bufs, self.len_bytes())?;
        let mut cursor = ReadCursor::new(bufs);
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        loop {
            let (mut pieces, n) = cursor.take(left);
            if n == 0 {
                break;
            }
            self.base.read_at(offset, &mut pieces)?;
            offset += n as u64;
            left -= n;
        }
        loop {
            let (pieces, n) = cursor.take(usize::MAX);
            if n == 0 {
                return Ok(());
            }
            pieces.into_iter().for_each(|mut piece| piece.fill(TORN_READ_FILL));
        }
    }

    fn write_part(&self, mut offset: u64, bufs: &[IoSlice<'_>], bytes: u64) -> Result<()> {
        check_range(offset, bufs, self.len_bytes())?;
        let mut cursor = WriteCursor::new(bufs);
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        loop {
            let (mut pieces, n) = cursor.take(left);
            if n == 0 {
                return Ok(());
            }
            self.base.write_at(offset, &mut pieces)?;
            offset += n as u64;
            left -= n;
        }
    }
}

impl BlockDevice for FaultInjector {
    fn len_bytes(&self) -> u64 {
        self.base.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        match self.meet(Operation::Read, offset)? {
            Serve::All => self.base.read_at(offset, bufs),
            Serve::Part(bytes, error) => {
                self.read_part(offset, bufs, bytes)?;
                error.map_or(Ok(()), Err)
            }
        }
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        match self.meet(Operation::Write, offset)? {
            Serve::All => self.base.write_at(offset, bufs),
            Serve::Part(bytes, error) => {
                self.write_part(offset, bufs, bytes)?;
                error.map_or(Ok(()), Err)
            }
        }
    }

    fn flush(&self) -> Result<()> {
        match self.meet(Operation::Flush, 0)? {
            Serve::All => self.base.flush(),
            Serve::Part(_, error) => error.map_or(Ok(()), Err),
        }
    }

    fn is_cached_by_host(&self) -> bool {
        self.base.is_cached_by_host()
    }

    fn alignment_bytes(&self) -> usize {
        self.base.alignment_bytes()
    }
}

#[cfg(test)]
mod tests;
