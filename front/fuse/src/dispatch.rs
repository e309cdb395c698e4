//! From the number of a request to the operation that answers it.
//!
//! Who calls it: `worker`. Whom it calls: `ops`. What is not there is `ENOSYS`, which Linux remembers and does by itself, or without:
//! `ACCESS`, `FLUSH`, `POLL`, `BMAP`, `INTERRUPT`, locks; on a mount that is only read opening and closing too.

use crate::errno::Answer;
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::opcode;
use rustix::io::Errno;

/// Whether the reply may be large; the request is short then (BU-2).
pub(crate) fn has_large_reply(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::READ
            | opcode::READDIR
            | opcode::READDIRPLUS
            | opcode::READLINK
            | opcode::GETXATTR
            | opcode::LISTXATTR
            | opcode::COPY_FILE_RANGE
    )
}

/// Whether nobody waits for a reply.
pub(crate) fn has_no_reply(opcode: u32) -> bool {
    matches!(opcode, opcode::FORGET | opcode::BATCH_FORGET)
}

/// Does what a request asks for.
///
/// # Errors
/// What its client gets.
pub(crate) fn dispatch(server: &Server, request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
    match request.header.opcode {
        opcode::LOOKUP => server.lookup(request, reply),
        opcode::GETATTR => server.getattr(request, reply),
        opcode::STATX => server.statx(request, reply),
        opcode::SETATTR => server.setattr(request, reply),
        opcode::READLINK => server.readlink(request, reply),
        opcode::READDIR => server.readdir(request, reply),
        opcode::READDIRPLUS => server.readdirplus(request, reply),
        opcode::OPEN if server.mount.is_writable() => server.open(request, reply),
        opcode::OPENDIR if server.mount.is_writable() => server.opendir(request, reply),
        opcode::RELEASE | opcode::RELEASEDIR if server.mount.is_writable() => server.release(request),
        opcode::READ => server.read(request, reply),
        opcode::WRITE => server.write(request, reply),
        opcode::LSEEK => server.lseek(request, reply),
        opcode::FALLOCATE => server.fallocate(request),
        opcode::COPY_FILE_RANGE => server.copy_file_range(request, reply),
        opcode::FSYNC | opcode::FSYNCDIR => server.fsync(request),
        opcode::SYNCFS => server.sync(),
        opcode::STATFS => server.statfs(reply),
        opcode::CREATE => server.create(request, reply),
        opcode::TMPFILE => server.tmpfile(request, reply),
        opcode::MKNOD => server.mknod(request, reply),
        opcode::MKDIR => server.mkdir(request, reply),
        opcode::SYMLINK => server.symlink(request, reply),
        opcode::LINK => server.link(request, reply),
        opcode::UNLINK => server.unlink(request),
        opcode::RMDIR => server.rmdir(request),
        opcode::RENAME => server.rename(request),
        opcode::RENAME2 => server.rename2(request),
        opcode::GETXATTR => server.getxattr(request, reply),
        opcode::LISTXATTR => server.listxattr(request, reply),
        opcode::SETXATTR => server.setxattr(request),
        opcode::REMOVEXATTR => server.removexattr(request),
        opcode::IOCTL => server.ioctl(request, reply),
        opcode::DESTROY => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}
