//! The first request of a connection, `INIT`: what both sides can do, and what of it is used.
//!
//! Who calls it: `session`, before there are workers.

use crate::buffer::Buffer;
use crate::reply::Reply;
use crate::request::Request;
use crate::session::Options;
use crate::wire::flags::init;
use crate::wire::received::InitIn;
use crate::wire::sent::InitOut;
use crate::wire::{MAJOR, MINOR, MINOR_MIN, opcode};
use crate::worker::receive;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::sync::Arc;

/// What is used wherever Linux has it. Not `READDIRPLUS_AUTO`: of a large directory Linux then asks with attributes for the first piece
/// only, and for each file of the others once, since programs list all of it before they look at any. Not `ATOMIC_O_TRUNC`: Linux would
/// have the server cut a file first, and look behind it whether it may be written, so that a program that runs lost its text.
const WANTED: u64 = init::ASYNC_READ
    | init::EXPORT_SUPPORT
    | init::BIG_WRITES
    | init::DONT_MASK
    | init::HAS_IOCTL_DIR
    | init::DO_READDIRPLUS
    | init::ASYNC_DIO
    | init::PARALLEL_DIROPS
    | init::POSIX_ACL
    | init::MAX_PAGES
    | init::CACHE_SYMLINKS
    | init::HANDLE_KILLPRIV_V2
    | init::SETXATTR_EXT
    | init::INIT_EXT
    | init::DIRECT_IO_ALLOW_MMAP;

/// What is not done without: modes would be wrong.
const NEEDED: u64 = init::DONT_MASK | init::INIT_EXT | init::HANDLE_KILLPRIV_V2;

/// Requests that Linux has under way by itself: read-ahead and the like.
const BACKGROUND_MAX: u16 = 32;

const PAGE_BYTES: usize = 4096;

/// Answers `INIT`.
///
/// # Errors
/// `PROTO` for a Linux that is too old; the device's.
pub(crate) fn agree(device: &Arc<OwnedFd>, buffer: &mut Buffer, options: &Options) -> Result<(), Errno> {
    loop {
        let len = receive(device, buffer)?;
        let filled = buffer.received(len, false);
        let mut request = Request::parse(filled.request).ok_or(Errno::PROTO)?;
        let unique = request.header.unique;
        let mut reply = Reply::new(filled.reply);
        if request.header.opcode != opcode::INIT {
            reply.send(device, unique, Err(Errno::IO))?;
            return Err(Errno::PROTO);
        }
        let asked: InitIn = request.take()?;
        if asked.major > MAJOR {
            // It will ask again, in our version.
            reply.put(&InitOut { major: MAJOR, minor: MINOR, ..InitOut::default() })?;
            reply.send(device, unique, Ok(()))?;
            continue;
        }
        let can = u64::from(asked.flags2) << 32 | u64::from(asked.flags);
        if asked.major < MAJOR || asked.minor < MINOR_MIN || can & NEEDED != NEEDED {
            reply.send(device, unique, Err(Errno::PROTO))?;
            return Err(Errno::PROTO);
        }
        reply.put(&answer(&asked, can, options))?;
        return reply.send(device, unique, Ok(()));
    }
}

fn answer(asked: &InitIn, can: u64, options: &Options) -> InitOut {
    let wanted = WANTED | if options.writeback_cache { init::WRITEBACK_CACHE } else { 0 };
    let agreed = can & wanted;
    InitOut {
        major: MAJOR,
        minor: MINOR.min(asked.minor),
        max_readahead: asked.max_readahead,
        flags: agreed as u32,
        flags2: (agreed >> 32) as u32,
        max_background: BACKGROUND_MAX,
        congestion_threshold: BACKGROUND_MAX / 4 * 3,
        max_write: options.request_bytes as u32,
        time_gran: 1,
        max_pages: u16::try_from(options.request_bytes / PAGE_BYTES).unwrap_or(u16::MAX),
        ..InitOut::default()
    }
}
