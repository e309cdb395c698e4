//! Content: opening, reading, writing, holes.
//!
//! An open file or directory is a count in rumpcap's kernel, and nothing here: the handle that Linux is given is 0, the node id says the rest. On
//! a mount that is only read not even that: `OPEN` and `OPENDIR` are `ENOSYS`, and Linux asks no more.

use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::flags::{
    FOPEN_CACHE_DIR, FOPEN_KEEP_CACHE, FOPEN_NOFLUSH, FOPEN_PARALLEL_DIRECT_WRITES, WRITE_CACHE,
    WRITE_KILL_SUIDGID,
};
use crate::wire::received::{CopyFileRangeIn, FallocateIn, LseekIn, OpenIn, ReadIn, WriteIn};
use crate::wire::sent::{LseekOut, OpenOut, WriteOut};
use rumpcap::{Allocate, File, SetAttributes};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

/// What is said of every file that is opened: nobody else changes it, so that its cached pages stay.
pub(super) const OPENED: OpenOut = OpenOut {
    fh: 0,
    open_flags: FOPEN_KEEP_CACHE | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES,
    padding: 0,
};

impl Server {
    /// `OPEN`.
    pub(crate) fn open(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let _: OpenIn = request.take()?;
        let id = self.inode(request.header.nodeid);
        let file = self.mount.open_id(id).map_err(errno)?;
        file.keep();
        reply.put(&OPENED)
    }

    /// `OPENDIR`: in use, so that it is something to be looked at when it is removed. Its entries may be cached until it changes.
    pub(crate) fn opendir(&self, request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        self.mount.open_id(self.inode(request.header.nodeid)).map_err(errno)?.keep();
        reply.put(&OpenOut { fh: 0, open_flags: FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR, padding: 0 })
    }

    /// `RELEASE`, `RELEASEDIR`.
    pub(crate) fn release(&self, request: Request<'_>) -> Answer<()> {
        self.mount.release(self.inode(request.header.nodeid));
        Ok(())
    }

    /// The file of a request, which is open.
    fn file(&self, node: u64) -> Answer<File> {
        self.mount.kept(self.inode(node)).map_err(errno)
    }

    /// `READ`.
    pub(crate) fn read(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: ReadIn = request.take()?;
        let file = self.file(request.header.nodeid)?;
        let len = file.read_at(reply.space(args.size), args.offset).map_err(errno)?;
        reply.has(len)
    }

    /// `WRITE`.
    pub(crate) fn write(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: WriteIn = request.take()?;
        let data = request.data(args.size)?;
        let file = self.file(request.header.nodeid)?;
        let write = || file.write_at(data, args.offset).map_err(errno);
        let len =
            if args.write_flags & WRITE_CACHE != 0 { self.leaving_times(&file, write)? } else { write()? };
        if args.write_flags & WRITE_KILL_SUIDGID != 0 {
            self.kill_set_id(self.inode(request.header.nodeid))?;
        }
        reply.put(&WriteOut { size: len as u32, padding: 0 })
    }

    /// Changes a file's content, and not its times where the host keeps those (SV-3).
    fn leaving_times<T>(&self, file: &File, change: impl FnOnce() -> Answer<T>) -> Answer<T> {
        let Some(_times) = self.times() else { return change() };
        let before = file.metadata().map_err(errno)?;
        let done = change()?;
        let (mtime, ctime) = (Some(before.modified()), Some(before.changed()));
        let set = SetAttributes { mtime, ctime, ..SetAttributes::default() };
        self.mount.set_attributes_ino(file.ino(), &set).map_err(errno)?;
        Ok(done)
    }

    /// `LSEEK`: to the next data, or to the next hole.
    pub(crate) fn lseek(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: LseekIn = request.take()?;
        let wants_hole = match args.whence {
            SEEK_DATA => false,
            SEEK_HOLE => true,
            _ => return Err(Errno::INVAL),
        };
        let file = self.file(request.header.nodeid)?;
        let mut offset = args.offset;
        while let Some(segment) = file.segment_at(offset).map_err(errno)? {
            if segment.hole == wants_hole {
                return reply.put(&LseekOut { offset });
            }
            offset += segment.len_bytes;
        }
        let is_within = args.offset < file.metadata().map_err(errno)?.len();
        // Behind the end there is a hole.
        if wants_hole && is_within { reply.put(&LseekOut { offset }) } else { Err(Errno::NXIO) }
    }

    /// `FALLOCATE`.
    pub(crate) fn fallocate(&self, mut request: Request<'_>) -> Answer<()> {
        let args: FallocateIn = request.take()?;
        let file = self.file(request.header.nodeid)?;
        self.leaving_times(&file, || Server::allocate(&file, &args))
    }

    fn allocate(file: &File, args: &FallocateIn) -> Answer<()> {
        let mode = FallocateFlags::from_bits_retain(args.mode);
        let range = args.offset..args.offset.checked_add(args.length).ok_or(Errno::FBIG)?;
        let keeps = mode.contains(FallocateFlags::KEEP_SIZE);
        let how = if keeps { Allocate::KeepSize } else { Allocate::Extend };
        let what = mode - FallocateFlags::KEEP_SIZE;
        if what == FallocateFlags::PUNCH_HOLE && keeps {
            file.punch_hole(range).map_err(errno)
        } else if what == FallocateFlags::ZERO_RANGE {
            // First, so that nothing has happened where there is no such space.
            let len = file.metadata().map_err(errno)?.len();
            file.allocate(range.clone(), how).map_err(errno)?;
            if range.start >= len {
                return Ok(());
            }
            file.zero_range(range.start..range.end.min(len)).map_err(errno)
        } else if what.is_empty() {
            file.allocate(range, how).map_err(errno)
        } else {
            Err(Errno::OPNOTSUPP)
        }
    }

    /// `COPY_FILE_RANGE`: as much as the worker's buffer holds; the client asks again.
    pub(crate) fn copy_file_range(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: CopyFileRangeIn = request.take()?;
        let (from, to) = (self.file(request.header.nodeid)?, self.file(args.nodeid_out)?);
        let buffer = reply.space(u32::try_from(args.len).unwrap_or(u32::MAX));
        let read = from.read_at(buffer, args.off_in).map_err(errno)?;
        let written = match read {
            0 => 0,
            read => self.leaving_times(&to, || to.write_at(&buffer[..read], args.off_out).map_err(errno))?,
        };
        reply.put(&WriteOut { size: written as u32, padding: 0 })
    }
}
