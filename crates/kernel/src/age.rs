//! [`Age`]: nothing that was changed stays unwritten for long. A thread for each mount that is written, which wakes once a second.
//!
//! Who calls it: `mount`, which starts it and stops it before it unmounts. Whom it calls: the mount, as any other operation.
//!
//! AG-1. A page is dirty for at most some ten seconds. What is to be committed is committed when the file system finds that it is due.
//!
//! Memory: the thread's stack. Failure: errors are kept below for the next who syncs. Under the model checker's scheduler there is no
//! thread: time is simulated there, and changes are committed by those who make them.

use crate::clock::Clock;
use rumpcap_host::Result;
use rumpcap_host::sync::{Arc, Condvar, Mutex};
use rumpcap_host::thread;
use rumpcap_vfs::Mount;

/// Between two looks.
const TICK_NS: u64 = 1_000_000_000;

/// Ticks for which there have been dirty pages, after which all are written: five seconds, as Linux commits by default.
const MOST_TICKS: u32 = 5;

/// The thread, until this is dropped.
pub(crate) struct Age {
    stop: Arc<Stop>,
    thread: Option<thread::Thread>,
}

#[derive(Default)]
struct Stop {
    is_wanted: Mutex<bool>,
    wake: Condvar,
}

impl Age {
    /// Starts the thread. Allocates: at mount only.
    pub(crate) fn start(mount: Arc<Mount>, clock: Clock) -> Result<Age> {
        let stop = Arc::new(Stop::default());
        if cfg!(feature = "shuttle") {
            return Ok(Age { stop, thread: None });
        }
        let asked = stop.clone();
        let thread = thread::spawn("age", move || Age::run(&asked, &mount, clock))?;
        Ok(Age { stop, thread: Some(thread) })
    }

    fn run(stop: &Stop, mount: &Mount, clock: Clock) {
        let mut ticks = 0;
        loop {
            let is_wanted = stop.is_wanted.lock();
            if *is_wanted || *stop.wake.wait_at_most(is_wanted, TICK_NS) {
                return;
            }
            // An error stops writing; whoever writes or syncs next is told.
            let _ = mount.commit_if_due(clock.now());
            ticks = if mount.has_dirty_pages() { ticks + 1 } else { 0 };
            if ticks > MOST_TICKS {
                mount.write_dirty_pages();
                ticks = 0;
            }
        }
    }
}

impl Drop for Age {
    fn drop(&mut self) {
        *self.stop.is_wanted.lock() = true;
        self.stop.wake.notify_one();
        if let Some(thread) = self.thread.take().filter(|thread| !thread.is_current()) {
            thread.join();
        }
    }
}
