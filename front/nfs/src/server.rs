//! [`Server`]: listens, admits clients, starts their threads, ends in order.
//!
//! Who calls it: the command, or any program with a mount. Whom it calls: `connection`.
//!
//! SV-1. There are `connections_max` connections at most. One more takes the place of that which has been idle for longest; if none is idle, it
//! is closed at once.
//! SV-2. Whoever is not allowed is closed before anything is read.
//! SV-3. A server that was stopped has answered what it worked on, and gives the mount back with no handle of its own left.
//!
//! Memory: `connections_max × calls_max` threads with their buffers ([`Server::memory_bytes_max`]).

use crate::connection::{Buffers, Connection};
use crate::error::StartError;
use crate::export::Export;
use crate::key::Key;
use crate::options::{Options, Ports};
use rumpcap::Mount;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// After which the server looks whether it is to end.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Looks, 5 ms apart, for which a new connection waits for the end of the idle one that it takes the place of.
const EVICTION_LOOKS: u32 = 400;

/// Stack of a thread: an operation of the kernel has at most two paths of 4 KiB on it, and does not recurse. The host commits what
/// is touched.
const STACK_BYTES: usize = 256 << 10;

/// Ports that only a superuser can use are below.
const FIRST_COMMON_PORT: u16 = 1_024;

/// The most bytes of a transfer: what clients of this version ask for.
const TRANSFER_BYTES_MAX: usize = 1 << 20;

/// Why a client was sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No rule allows its address.
    Address(SocketAddr),
    /// It came from a port that any user can use.
    Port(SocketAddr),
    /// There is no free connection, and none is idle.
    Full(SocketAddr),
}

/// A mount that is served.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    export: Export,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    /// Listens at `address`; nobody is served before [`Server::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn bind(
        mount: Mount,
        address: SocketAddr,
        key: &Key,
        options: Options,
    ) -> Result<Server, StartError> {
        let transfer = options.transfer_bytes;
        if transfer == 0 || transfer > TRANSFER_BYTES_MAX || !transfer.is_multiple_of(4096) {
            return Err(StartError::Option("a transfer is of 4 KiB to 1 MiB, in steps of 4 KiB"));
        }
        if options.connections_max == 0 || options.calls_max < 2 {
            return Err(StartError::Option("a server has one connection and two calls at least"));
        }
        let export = Export::new(mount, key, options)?;
        let listen = |error| StartError::Listen { address, error };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Server { listener, address, inner: Arc::new(Inner { export, threads: Mutex::default() }) })
    }

    /// Where it listens: with the port that the host chose, if that was left to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is served, and how.
    pub fn options(&self) -> &Options {
        &self.inner.export.options
    }

    /// Whether clients can change anything.
    pub fn is_writable(&self) -> bool {
        self.inner.export.is_writable()
    }

    /// What a server with these options takes at most for buffers, beside its mount's kernel.
    pub fn memory_bytes_max(options: &Options) -> usize {
        options.connections_max * options.calls_max * Buffers::bytes_max(options)
    }

    /// Serves until `stop` says so, which is asked ten times a second; `refused` is told of clients that are sent away.
    ///
    /// # Errors
    /// The host's, of listening.
    pub fn run(
        &self,
        stop: &mut dyn FnMut() -> bool,
        refused: &mut dyn FnMut(Refused),
    ) -> std::io::Result<()> {
        let mut connections: Vec<Arc<Connection>> = Vec::new();
        let result = loop {
            if stop() {
                break Ok(());
            }
            connections.retain(|connection| !connection.is_over());
            self.inner.reap();
            match poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&TICK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => break Err(error.into()),
            }
            // A client that has gone already is no error of ours; one that cannot be taken for want of descriptors stays for a tick.
            let Ok((stream, client)) = self.listener.accept() else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            if let Err(why) = self.admit(&mut connections, stream, client) {
                refused(why);
            }
        };
        connections.iter().for_each(|connection| connection.stop_reading());
        // One that works may have started another meanwhile.
        loop {
            let Some(thread) = self.inner.threads().pop() else { break result };
            // One that panicked has said so.
            drop(thread.join());
        }
    }

    /// Gives the mount back.
    pub fn into_mount(self) -> Option<Mount> {
        Arc::into_inner(self.inner).map(|inner| inner.export.mount)
    }

    fn admit(
        &self,
        connections: &mut Vec<Arc<Connection>>,
        stream: TcpStream,
        client: SocketAddr,
    ) -> Result<(), Refused> {
        let options = &self.inner.export.options;
        let address: IpAddr = client.ip().to_canonical();
        if !options.allow.iter().any(|network| network.contains(address)) {
            return Err(Refused::Address(client));
        }
        if options.ports == Ports::Privileged && client.port() >= FIRST_COMMON_PORT {
            return Err(Refused::Port(client));
        }
        if connections.len() >= options.connections_max && !evict(connections) {
            return Err(Refused::Full(client));
        }
        // It may have gone again.
        let Ok(connection) = Connection::new(stream, address) else { return Ok(()) };
        let connection = Arc::new(connection);
        if connection.admit_thread(options.calls_max) && Inner::start(&self.inner, connection.clone()) {
            connections.push(connection);
            return Ok(());
        }
        Err(Refused::Full(client))
    }
}

/// Ends the connection that has been idle for longest; whether there is a place now.
fn evict(connections: &mut Vec<Arc<Connection>>) -> bool {
    let idle = connections.iter().filter_map(|connection| Some((connection.idle_since()?, connection)));
    let Some((_, oldest)) = idle.min_by_key(|(since, _)| *since) else { return false };
    let oldest = oldest.clone();
    oldest.close();
    for _ in 0..EVICTION_LOOKS {
        if oldest.is_over() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let before = connections.len();
    connections.retain(|connection| !connection.is_over());
    connections.len() < before
}

impl Inner {
    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets threads that have ended.
    fn reap(&self) {
        self.threads().retain(|thread| !thread.is_finished());
    }

    /// Starts a thread, which was admitted, for a connection; whether it could.
    fn start(inner: &Arc<Inner>, connection: Arc<Connection>) -> bool {
        let shared = inner.clone();
        let thread = thread::Builder::new().name("nfs".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let leaving = Leaving(&connection);
            connection.work(&shared.export, &|connection| Inner::start(&shared, connection));
            drop(leaving);
        });
        let Ok(thread) = thread else { return false };
        inner.threads().push(thread);
        true
    }
}

/// A thread that ends, by a panic too: its connection must not wait for it.
struct Leaving<'a>(&'a Connection);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
        self.0.dismiss_thread();
        // The client need not wait until the server forgets it.
        if self.0.is_over() {
            self.0.close();
        }
    }
}
