//! Threads of the host. The pagedaemon has one of its own, and each mount that is written.

use crate::{Error, Result};
#[cfg(feature = "loom")]
use loom::thread as imp;
#[cfg(feature = "shuttle")]
use shuttle::thread as imp;
#[cfg(not(any(feature = "shuttle", feature = "loom")))]
use std::thread as imp;

/// A thread of the host, to be joined.
pub struct Thread(imp::JoinHandle<()>);

/// Stack of a kernel thread, in bytes. The pagedaemon keeps lists of at most 32 slices on it and does not recurse; a commit has a block or
/// two. The host commits what is touched.
const STACK_BYTES: usize = 256 * 1024;

/// Starts a thread that runs `body`. Allocates: for boot and mount only.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Thread> {
    imp::Builder::new()
        .name(name.into())
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map(Thread)
        .map_err(|e| Error::Host { what: "a thread", errno: e.raw_os_error().unwrap_or(0) })
}

impl Thread {
    /// Waits for the thread to end. A panic in it has already been printed by the host.
    pub fn join(self) {
        let _ = self.0.join();
    }

    /// Whether the caller is this thread.
    pub fn is_current(&self) -> bool {
        self.0.thread().id() == imp::current().id()
    }
}

/// Number of the processor that the caller runs on, or ran on a moment ago: for counters that threads should not share.
/// Each of a model checker's threads is on a processor of its own.
pub fn processor() -> usize {
    #[cfg(feature = "shuttle")]
    return imp::current().id().into();
    #[cfg(all(target_os = "linux", not(any(feature = "shuttle", feature = "loom"))))]
    return rustix::thread::sched_getcpu();
    #[cfg(not(any(all(target_os = "linux", not(feature = "loom")), feature = "shuttle")))]
    0
}

/// Gives the processor to another thread.
pub fn yield_now() {
    crate::sync::yield_now();
}

/// Sleeps. For injected delays and simulated devices only: nothing in the kernel waits by the clock.
pub fn sleep_ns(nanoseconds: u64) {
    #[cfg(not(feature = "shuttle"))]
    std::thread::sleep(std::time::Duration::from_nanos(nanoseconds));
    // The clock goes on by the steps that the others take meanwhile, or by this one's own.
    #[cfg(feature = "shuttle")]
    {
        let start = crate::clock::now();
        while start.elapsed_ns() < nanoseconds {
            yield_now();
        }
    }
}
