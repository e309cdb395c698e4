//! [`Age`]: what nobody waits for: nothing that was changed stays unwritten for long, and the log does not become full. A thread for each mount
//! that is written, which wakes once a second, and when a change rings.
//!
//! Who calls it: `mount`, which starts it and stops it before it unmounts. Whom it calls: the mount, as any other operation.
//!
//! AG-1. A page is dirty for at most some ten seconds. What is to be committed is committed when the file system finds that it is due.
//! AG-2. It works in portions, and holds nothing between them.
//!
//! Memory: the thread's stack. Failure: errors are kept below for the next who syncs. Under the model checker's scheduler there is no
//! thread: time is simulated there, and changes are committed by those who make them.

use crate::clock::Clock;
use rumpcap_host::clock::{self, Moment};
use rumpcap_host::sync::Arc;
use rumpcap_host::{Error, Result, thread};
use rumpcap_vfs::{Alarm, Mount, Woken};

/// Between two looks.
const TICK_NS: u64 = 1_000_000_000;

/// Ticks for which there have been dirty pages, after which all are written: five seconds, as Linux commits by default.
const MOST_TICKS: u32 = 5;

/// The thread, until this is dropped.
pub(crate) struct Age {
    alarm: Arc<Alarm>,
    thread: Option<thread::Thread>,
}

/// What the thread remembers.
struct Looks {
    last: Moment,
    /// Looks that found dirty pages, one behind the other.
    dirty: u32,
}

impl Age {
    /// Starts the thread of a mount that is written. Allocates: at mount only.
    pub(crate) fn start(mount: Arc<Mount>, clock: Clock) -> Result<Age> {
        let alarm = mount.alarm().cloned().ok_or(Error::ReadOnly)?;
        if cfg!(feature = "shuttle") {
            return Ok(Age { alarm, thread: None });
        }
        let asked = alarm.clone();
        let thread = thread::spawn("age", move || Age::run(&asked, &mount, clock))?;
        Ok(Age { alarm, thread: Some(thread) })
    }

    fn run(alarm: &Alarm, mount: &Mount, clock: Clock) {
        let mut looks = Looks { last: clock::now(), dirty: 0 };
        while alarm.wait(TICK_NS) != Woken::ToStop {
            // An error stops writing; whoever writes or syncs next is told.
            while !alarm.is_stopped() && mount.work_in_background(clock.now()).unwrap_or(false) {
                thread::yield_now();
            }
            if looks.last.elapsed_ns() >= TICK_NS {
                looks.look(mount, clock);
            }
        }
    }
}

impl Looks {
    fn look(&mut self, mount: &Mount, clock: Clock) {
        self.last = clock::now();
        let _ = mount.commit_if_due(clock.now());
        self.dirty = if mount.has_dirty_pages() { self.dirty + 1 } else { 0 };
        if self.dirty > MOST_TICKS {
            mount.write_dirty_pages();
            self.dirty = 0;
        }
    }
}

impl Drop for Age {
    fn drop(&mut self) {
        self.alarm.stop();
        if let Some(thread) = self.thread.take().filter(|thread| !thread.is_current()) {
            thread.join();
        }
    }
}
