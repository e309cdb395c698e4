//! A worker: a thread that receives requests, answers each, and goes on until the connection ends.
//!
//! Who starts it: `session`. Whom it calls: `dispatch`. A worker holds the server only while it answers: one that waits for a request
//! keeps nobody from unmounting (SE-3).
//!
//! Failure: who still asks when the server has been given up is told so (`NOTCONN`); a reply that nobody waits for any more is dropped; anything that the device says but the end of the connection ends all workers.

use crate::buffer::Buffer;
use crate::dispatch::{dispatch, has_large_reply, has_no_reply};
use crate::errno::Answer;
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::received::InHeader;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Arc, Weak};
use zerocopy::FromBytes;

/// Why a worker ended.
pub(crate) type End = core::result::Result<(), Errno>;

/// Answers requests until the connection ends.
///
/// # Errors
/// What the device said that is no end.
pub(crate) fn work(device: &Arc<OwnedFd>, server: &Weak<Server>, buffer: &mut Buffer) -> End {
    loop {
        let len = match receive(device, buffer) {
            Ok(len) => len,
            // Unmounted, or broken off.
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error),
        };
        match answer(device, server.upgrade().as_deref(), buffer, len) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for a request; gives its length.
///
/// # Errors
/// The device's.
pub(crate) fn receive(device: &Arc<OwnedFd>, buffer: &mut Buffer) -> Answer<usize> {
    loop {
        match rustix::io::read(device, buffer.room()) {
            // The request was taken back, or a signal came.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// Answers one request; when there is no server any more, that there is none.
fn answer(device: &OwnedFd, server: Option<&Server>, buffer: &mut Buffer, len: usize) -> Answer<()> {
    let opcode = InHeader::ref_from_prefix(&buffer.room()[..len]).map_err(|_| Errno::PROTO)?.0.opcode;
    let filled = buffer.received(len, has_large_reply(opcode));
    let request = Request::parse(filled.request).ok_or(Errno::PROTO)?;
    if has_no_reply(opcode) {
        return Ok(());
    }
    let unique = request.header.unique;
    let mut reply = Reply::new(filled.reply);
    #[cfg(feature = "tracing")]
    let node = request.header.nodeid;
    let end = server.map_or(Err(Errno::NOTCONN), |server| dispatch(server, request, &mut reply));
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "rumpcap_fuse",
        request = crate::wire::opcode::name(opcode),
        node,
        errno = end.err().map_or(0, Errno::raw_os_error)
    );
    let device: BorrowedFd<'_> = rustix::fd::AsFd::as_fd(device);
    reply.send(device, unique, end)
}
