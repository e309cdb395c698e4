//! A mount of rumpcap's as a file system of the host, by FUSE: `rumpcap mount`.
//!
//! Who calls it: the command. Whom it calls: the library `rumpcap`, and the host's `/dev/fuse`.
//!
//! The protocol is spoken by this crate itself (docs/decisions says why): `wire` has its bytes, `session` the life of a mount,
//! `worker` receives and replies, `dispatch` finds the operation, `ops` has them.
//!
//! # Memory
//! FU-1. Nothing is kept for an inode that a client has looked up: a node id says its number and generation, and `FORGET` is no work.
//! FU-2. Nothing is kept here for a file that a client has open: it is counted in the kernel's memory, under its limit.
//! FU-3. A request and its reply are in the worker's one buffer; answering takes no heap.
//!
//! So the process's memory is the limit, the buffers ([`Options::buffers_bytes`]), and what a program of threads takes.
#![forbid(unsafe_code)]

mod attr;
mod buffer;
mod device;
mod dispatch;
mod errno;
mod handshake;
mod ops;
mod reply;
mod request;
mod server;
mod session;
mod wire;
mod worker;

pub use attr::Validity;
pub use device::{source_of, unmount};
pub use rustix::mount::MountFlags;
pub use session::{End, Failure, Options, REQUEST_BYTES_MAX, REQUEST_BYTES_MIN, Session, Woken};

/// The host's words for an errno.
pub(crate) fn words(errno: rustix::io::Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
