//! [`Clock`]: what time it is for the changes of a mount: the host's time, or one that the caller has fixed. Ages are not its
//! business: they are the host's clock's.

use rumpcap_vfs::Timestamp;

/// The clock of a mount.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    fixed: Option<Timestamp>,
}

impl Clock {
    pub(crate) fn new(fixed: Option<Timestamp>) -> Clock {
        Clock { fixed }
    }

    pub(crate) fn now(self) -> Timestamp {
        let host = || {
            let (seconds, nanoseconds) = rumpcap_host::clock::wall_time();
            Timestamp { seconds, nanoseconds }
        };
        self.fixed.unwrap_or_else(host)
    }
}
