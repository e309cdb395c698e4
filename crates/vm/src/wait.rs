//! Where threads sleep for busy pages.
//!
//! WA-1. A sleeper sets WANTED and sleeps under the channel's lock; who ends a page's I/O or pin and finds WANTED takes that
//! lock before it notifies: no wake-up is lost. WA-2. One kind of waiter per condition variable: waiters for frames and
//! for the gate have their own.

use crate::page::{FrameNo, Page};
use rumpcap_host::sync::{Condvar, Mutex};

/// Channels that frames spread over: about one page's sleepers each at the depths of queue that devices have.
const CHANNELS: usize = 32;

#[derive(Default)]
struct Channel {
    lock: Mutex<()>,
    wake: Condvar,
}

#[derive(Default)]
pub(crate) struct BusyWait([Channel; CHANNELS]);

impl BusyWait {
    fn channel(&self, frame: FrameNo) -> &Channel {
        &self.0[frame.slot() % CHANNELS]
    }

    /// Sleeps until `page` is no longer under the I/O that it is under now.
    pub(crate) fn sleep(&self, frame: FrameNo, page: &Page) {
        let channel = self.channel(frame);
        let mut guard = channel.lock.lock();
        while page.want() {
            guard = channel.wake.wait(guard);
        }
    }

    /// Sleeps until `page`, which the caller has pinned, may be nobody else's: no other pin, not under I/O, not written.
    pub(crate) fn sleep_until_unshared(&self, frame: FrameNo, page: &Page) {
        let channel = self.channel(frame);
        let mut guard = channel.lock.lock();
        while page.want_unshared() {
            guard = channel.wake.wait(guard);
        }
    }

    /// Sleeps until `page` is neither being changed nor being written.
    pub(crate) fn sleep_while_written(&self, frame: FrameNo, page: &Page) {
        let channel = self.channel(frame);
        let mut guard = channel.lock.lock();
        while page.want_written() {
            guard = channel.wake.wait(guard);
        }
    }

    /// Wakes all that sleep for the page.
    pub(crate) fn wake(&self, frame: FrameNo) {
        let channel = self.channel(frame);
        let _guard = channel.lock.lock();
        channel.wake.notify_all();
    }
}
