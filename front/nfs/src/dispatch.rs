//! From a record to its answer: who asks, for which procedure of which program.
//!
//! Who calls it: `connection`. Whom it calls: `procedures` and `mount_program`; both programs are served at one port.
#![deny(clippy::indexing_slicing)]

use crate::connection::Buffers;
use crate::credentials::Credentials;
use crate::duplicates::Seen;
use crate::export::Export;
use crate::mount_program;
use crate::procedures::Caller;
use crate::rpc::{self, Call, Malformed};
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::NFS_PROGRAM;
use nfs3_types::rpc::accept_stat_data;
use nfs3_types::{mount, nfs3};
use std::net::IpAddr;

/// What becomes of a connection after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer is to be sent.
    Send,
    /// There is no answer.
    Silence,
    /// It is closed: what came is no RPC.
    Close,
}

/// Works on a record; writes the answer, its mark included.
pub fn answer(export: &Export, client: IpAddr, buffers: &mut Buffers) -> Next {
    let next = serve(export, client, buffers);
    if next == Next::Send {
        rpc::mark(&mut buffers.answer);
    }
    next
}

fn serve(export: &Export, client: IpAddr, buffers: &mut Buffers) -> Next {
    let Buffers { record, answer, scratch } = buffers;
    let mut reader = Reader::new(record);
    let call = match Call::read(&mut reader) {
        Ok(call) => call,
        Err(Malformed::NoCall) => return Next::Close,
        Err(Malformed::Version { xid }) => {
            rpc::refuse_version(answer, xid);
            return Next::Send;
        }
    };
    if let Some(data) = unavailable(&call) {
        rpc::accept(answer, call.xid, data);
        return Next::Send;
    }
    // Procedure 0 does nothing, for anybody.
    if call.procedure == 0 {
        rpc::accept(answer, call.xid, accept_stat_data::SUCCESS);
        return Next::Send;
    }
    let who = match Credentials::of(&call, export.options.squash, export.options.anonymous) {
        Ok(who) => who,
        Err(why) => {
            rpc::refuse_credentials(answer, call.xid, why);
            return Next::Send;
        }
    };
    let caller = Caller { export, who };
    let running = match is_done_once(&call).then(|| export.duplicates.look(client, call.xid, record, answer))
    {
        Some(Seen::Answered) => return Next::Send,
        Some(Seen::Running) => return Next::Silence,
        Some(Seen::New(running)) => Some(running),
        None => None,
    };
    rpc::accept(answer, call.xid, accept_stat_data::SUCCESS);
    let result = match call.program {
        mount::PROGRAM => mount_program::serve(&caller, call.procedure, reader, answer),
        _ => procedure(&caller, &call, reader, answer, scratch),
    };
    match result {
        Ok(()) => {
            if let Some(running) = running {
                rpc::mark(answer);
                running.answered(answer);
            }
        }
        Err(Garbage) => rpc::accept(answer, call.xid, accept_stat_data::GARBAGE_ARGS),
    }
    Next::Send
}

/// What is answered where there is no such program, version or procedure.
fn unavailable(call: &Call<'_>) -> Option<accept_stat_data> {
    let (version, procedures) = match call.program {
        nfs3::PROGRAM => (nfs3::VERSION, NFS_PROGRAM::NFSPROC3_COMMIT as u32),
        mount::PROGRAM => (mount::VERSION, mount::MOUNT_PROGRAM::MOUNTPROC3_EXPORT as u32),
        _ => return Some(accept_stat_data::PROG_UNAVAIL),
    };
    if call.version != version {
        return Some(accept_stat_data::PROG_MISMATCH { low: version, high: version });
    }
    (call.procedure > procedures).then_some(accept_stat_data::PROC_UNAVAIL)
}

/// Whether a call that is done twice has another answer the second time.
fn is_done_once(call: &Call<'_>) -> bool {
    use NFS_PROGRAM::*;
    let Ok(procedure) = NFS_PROGRAM::try_from(call.procedure) else { return false };
    call.program == nfs3::PROGRAM
        && matches!(
            procedure,
            NFSPROC3_SETATTR
                | NFSPROC3_CREATE
                | NFSPROC3_MKDIR
                | NFSPROC3_SYMLINK
                | NFSPROC3_MKNOD
                | NFSPROC3_REMOVE
                | NFSPROC3_RMDIR
                | NFSPROC3_RENAME
                | NFSPROC3_LINK
        )
}

fn procedure(
    caller: &Caller<'_>,
    call: &Call<'_>,
    args: Reader<'_>,
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) -> Result<(), Garbage> {
    use NFS_PROGRAM::*;
    match NFS_PROGRAM::try_from(call.procedure).map_err(|_| Garbage)? {
        NFSPROC3_NULL => Ok(()),
        NFSPROC3_GETATTR => caller.getattr(args, out),
        NFSPROC3_SETATTR => caller.setattr(args, out),
        NFSPROC3_LOOKUP => caller.lookup(args, out),
        NFSPROC3_ACCESS => caller.access(args, out),
        NFSPROC3_READLINK => caller.readlink(args, out),
        NFSPROC3_READ => caller.read(args, out),
        NFSPROC3_WRITE => caller.write(args, out),
        NFSPROC3_CREATE => caller.create(args, out),
        NFSPROC3_MKDIR => caller.mkdir(args, out),
        NFSPROC3_SYMLINK => caller.symlink(args, out),
        NFSPROC3_MKNOD => caller.mknod(args, out),
        NFSPROC3_REMOVE => caller.remove(args, out),
        NFSPROC3_RMDIR => caller.rmdir(args, out),
        NFSPROC3_RENAME => caller.rename(args, out),
        NFSPROC3_LINK => caller.link(args, out),
        NFSPROC3_READDIR => caller.readdir(args, out),
        NFSPROC3_READDIRPLUS => caller.readdirplus(args, out, scratch),
        NFSPROC3_FSSTAT => caller.fsstat(args, out),
        NFSPROC3_FSINFO => caller.fsinfo(args, out),
        NFSPROC3_PATHCONF => caller.pathconf(args, out),
        NFSPROC3_COMMIT => caller.commit(args, out),
    }
}
