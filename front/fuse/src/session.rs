//! [`Session`]: a mounted file system and the threads that serve it, from mounting to unmounting.
//!
//! Who calls it: the command. Whom it calls: `device`, `handshake`, `worker`.
//!
//! ```text
//! Session::start: mounted, agreed, workers run ── wait ──> a signal, or unmounted by somebody
//!     ── end ──> unmounted ──> workers gone, the mount is the caller's alone
//!                    └─ too slow ──> broken off: clients get errors
//! ```
//! SE-1. When `start` has returned, the directory shows the file system. When it failed, nothing is mounted.
//! SE-2. `end` ends, whatever clients and the device do: in the time that it is given and a moment more.
//! SE-3. What waits for a request holds no `Mount`: so only a request that the device does not end keeps the image from being unmounted.
//!
//! Memory: [`Options::buffers_bytes`] for the workers' buffers; their stacks; nothing that grows with what clients do.

use crate::attr::Validity;
use crate::buffer::Buffer;
use crate::device::{self, By, Unmount};
use crate::handshake;
use crate::server::Server;
use crate::worker;
use rumpcap::Mount;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The least and the most bytes of one read or write: a value of an extended attribute has 64 KiB; Linux has 256 pages.
pub const REQUEST_BYTES_MIN: usize = 128 << 10;
/// See [`REQUEST_BYTES_MIN`].
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Bytes of a worker's stack: a path, a target and a listing of a few KiB each are on it, and what a build without optimisation adds.
const STACK_BYTES: usize = 256 << 10;

/// How long broken-off requests may take to be seen as such.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// How a file system is mounted and served.
#[derive(Clone, Debug)]
pub struct Options {
    /// What `mount` and `df` show as the device.
    pub source: OsString,
    /// They show `fuse.` and this as the type.
    pub subtype: String,
    /// Flags of the mount.
    pub flags: MountFlags,
    /// Linux checks permissions.
    pub default_permissions: bool,
    /// Others than who mounts may look.
    pub allow_other: bool,
    /// Threads that serve.
    pub threads: usize,
    /// The most bytes of one read or write.
    pub request_bytes: usize,
    /// How long Linux may rely on what it was told.
    pub valid: Validity,
    /// Linux keeps what is written, and hands it over later.
    pub writeback_cache: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            source: "rumpcap".into(),
            subtype: "rumpcap".into(),
            flags: MountFlags::NOSUID | MountFlags::NODEV,
            default_permissions: true,
            allow_other: false,
            threads: 2,
            request_bytes: 256 << 10,
            valid: Validity::default(),
            writeback_cache: false,
        }
    }
}

impl Options {
    /// Bytes of the workers' buffers.
    pub fn buffers_bytes(&self) -> usize {
        self.threads * Buffer::bytes(self.request_bytes)
    }
}

/// Why a file system could not be mounted.
#[derive(Debug)]
pub enum Failure {
    /// The device of FUSE cannot be used.
    Device {
        /// The host's errno.
        errno: Errno,
    },
    /// The host refused to mount.
    Mount {
        /// The host's errno.
        errno: Errno,
    },
    /// There is no `fusermount3`, which mounts for those who may not.
    NoHelper {
        /// The host's errno.
        errno: Errno,
    },
    /// `fusermount3` refused, and has said why.
    Helper,
    /// The host's FUSE is too old, or not as expected.
    Protocol {
        /// The host's errno.
        errno: Errno,
    },
    /// The file system to be mounted cannot be read.
    FileSystem(rumpcap::Error),
    /// No thread, or no memory for one.
    Threads(std::io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |errno: &Errno| crate::words(*errno);
        match self {
            Failure::Device { errno } => write!(f, "/dev/fuse: {}", words(errno)),
            Failure::Mount { errno } => write!(f, "cannot be mounted on: {}", words(errno)),
            Failure::NoHelper { errno } => {
                write!(f, "who is not the superuser needs fusermount3 to mount: {}", words(errno))
            }
            Failure::Helper => f.write_str("cannot be mounted on: fusermount3 refused"),
            Failure::Protocol { errno } => {
                write!(f, "FUSE of this host is too old, Linux 5.17 is needed: {}", words(errno))
            }
            Failure::FileSystem(error) => error.fmt(f),
            Failure::Threads(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// What ended the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The caller's descriptor has something to read.
    Asked,
    /// It was unmounted, or serving failed.
    Ended,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Unmounted, everything answered.
    Unmounted,
    /// Broken off while clients had it open, which get errors now. Nothing of the server waits any more.
    BrokenOff,
    /// A request is still waiting for the image's device: the image cannot be unmounted.
    Stuck,
}

/// A mounted file system that is being served.
pub struct Session {
    directory: PathBuf,
    by: By,
    connection: Option<u32>,
    server: Option<Arc<Server>>,
    /// Ends when all workers have ended; something to read when one has.
    ended: UnixStream,
}

impl Session {
    /// Mounts `mount` on `directory`, an absolute path without links, and serves it from now on.
    ///
    /// # Errors
    /// See [`Failure`]; nothing is mounted then.
    pub fn start(mount: Mount, directory: &Path, options: &Options) -> Result<Session, Failure> {
        let server =
            Server::new(mount, options.valid, options.writeback_cache).map_err(Failure::FileSystem)?;
        let server = Arc::new(server);
        let mut buffers = Vec::new();
        for _ in 0..options.threads.max(1) {
            let none = || Failure::Threads(std::io::ErrorKind::OutOfMemory.into());
            buffers.push(Buffer::new(options.request_bytes).ok_or_else(none)?);
        }
        let (ended, ending) = UnixStream::pair().map_err(Failure::Threads)?;
        let (device, by) = device::mount(directory, options)?;
        let device = Arc::new(device);
        let served = handshake::agree(&device, &mut buffers[0], options)
            .map_err(|errno| Failure::Protocol { errno })
            .and_then(|()| start_workers(&device, &Arc::downgrade(&server), buffers, &ending));
        // The workers' ends are the last ones, and that of the device.
        drop((device, ending));
        if let Err(failure) = served {
            let _ = device::unmount_by(directory, by, Unmount::Lazy);
            return Err(failure);
        }
        let connection = device::mounted(directory).map(|mounted| mounted.connection);
        Ok(Session { directory: directory.to_owned(), by, connection, server: Some(server), ended })
    }

    /// Waits until there is something to read from `asked`, or all is over.
    ///
    /// # Errors
    /// The host's.
    pub fn wait(&self, asked: BorrowedFd<'_>) -> Result<Woken, Errno> {
        let mut fds =
            [PollFd::from_borrowed_fd(asked, PollFlags::IN), PollFd::new(&self.ended, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        Ok(if fds[1].revents().is_empty() { Woken::Asked } else { Woken::Ended })
    }

    /// Unmounts, and waits at most `grace` for those who use it; then breaks off.
    pub fn end(mut self, grace: Duration) -> End {
        let deadline = Instant::now() + grace;
        let (directory, by) = (self.directory.clone(), self.by);
        if !self.all_ended(Duration::ZERO) {
            // In a thread of its own: writing back what clients have changed takes as long as the device.
            std::thread::spawn(move || {
                let idle = device::unmount_by(&directory, by, Unmount::Idle);
                idle.or_else(|_| device::unmount_by(&directory, by, Unmount::Lazy))
            });
        }
        let is_over = self.all_ended(deadline.saturating_duration_since(Instant::now()));
        if !is_over && let Some(connection) = self.connection {
            // Where that is not to be had, the end of the process does the same.
            let _ = device::abort(connection);
            self.all_ended(ABORT_TIME);
        }
        match (self.leave(), is_over) {
            (true, true) => End::Unmounted,
            (true, false) => End::BrokenOff,
            (false, _) => End::Stuck,
        }
    }

    /// Waits for the end of all workers.
    fn all_ended(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut byte = [0; 16];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or_default();
            let mut fds = [PollFd::new(&self.ended, PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return false,
            }
            match rustix::io::read(self.ended.as_fd(), &mut byte) {
                // Each that ends says so; the last one's end closes it.
                Ok(0) => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Gives the mount up; whether nobody has it any more (SE-3).
    fn leave(&mut self) -> bool {
        let Some(mut server) = self.server.take() else { return true };
        let deadline = Instant::now() + ABORT_TIME;
        loop {
            match Arc::try_unwrap(server) {
                Ok(_) => return true,
                Err(shared) if Instant::now() < deadline => server = shared,
                Err(_) => return false,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn start_workers(
    device: &Arc<OwnedFd>,
    server: &Weak<Server>,
    buffers: Vec<Buffer>,
    ending: &UnixStream,
) -> Result<(), Failure> {
    for (number, mut buffer) in buffers.into_iter().enumerate() {
        let (device, server) = (device.clone(), server.clone());
        let ending = Ending(ending.try_clone().map_err(Failure::Threads)?);
        let work = move || {
            let _ending = ending;
            // What the device says is told by the session's end.
            let _ = worker::work(&device, &server, &mut buffer);
        };
        let thread = std::thread::Builder::new().name(format!("fuse-{number}")).stack_size(STACK_BYTES);
        thread.spawn(work).map_err(Failure::Threads)?;
    }
    Ok(())
}

/// Tells the session that a worker has ended, also of one that panicked.
struct Ending(UnixStream);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = rustix::io::write(self.0.as_fd(), &[0]);
    }
}
