//! The program MOUNT, version 3 (RFC 1813, appendix I): the first handle of a client.
//!
//! Who calls it: `dispatch`. The exported directory goes by its path in the file system; directories below it can be mounted as well, as far
//! as the client's user may search the way to them. Links are not followed. Nobody is remembered: DUMP has an empty list.
#![deny(clippy::indexing_slicing)]

use crate::access::EXECUTE;
use crate::attributes::status;
use crate::procedures::Caller;
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::mount::{
    self, MNTPATHLEN, MOUNT_PROGRAM, dirpath, export_node, fhandle3, mountres3, mountres3_ok, mountstat3,
};
use nfs3_types::nfs3::nfsstat3;
use nfs3_types::xdr_codec::{List, Opaque};
use rumpcap::Metadata;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The number of AUTH_SYS.
const AUTH_SYS: u32 = 1;

/// Works on a call.
pub fn serve(
    caller: &Caller<'_>,
    procedure: u32,
    mut args: Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Garbage> {
    match MOUNT_PROGRAM::try_from(procedure).map_err(|_| Garbage)? {
        MOUNT_PROGRAM::MOUNTPROC3_MNT => {
            let path = args.opaque(MNTPATHLEN)?;
            args.end()?;
            let answer = match directory(caller, path) {
                Ok(directory) => mountres3::Ok(mountres3_ok {
                    fhandle: fhandle3(caller.export.handles.answer(directory.id()).data),
                    auth_flavors: vec![AUTH_SYS],
                }),
                Err(status) => mountres3::Err(mount_status(status)),
            };
            pack(out, &answer);
        }
        MOUNT_PROGRAM::MOUNTPROC3_EXPORT => {
            let groups = caller.export.options.allow.iter();
            let groups = groups.map(|network| mount::name(Opaque::owned(network.to_string().into_bytes())));
            let ex_dir = dirpath(Opaque::borrowed(&caller.export.options.export));
            pack(out, &List(vec![export_node { ex_dir, ex_groups: List(groups.collect()) }]));
        }
        MOUNT_PROGRAM::MOUNTPROC3_DUMP => pack(out, &List::<mount::name<'_>>(Vec::new())),
        MOUNT_PROGRAM::MOUNTPROC3_UMNT => drop(args.opaque(MNTPATHLEN)?),
        MOUNT_PROGRAM::MOUNTPROC3_NULL | MOUNT_PROGRAM::MOUNTPROC3_UMNTALL => {}
    }
    Ok(())
}

/// The directory that a client wants to mount.
fn directory(caller: &Caller<'_>, path: &[u8]) -> Result<Metadata, nfsstat3> {
    let mount = &caller.export.mount;
    let mut way = names(path);
    for name in names(&caller.export.options.export) {
        if way.next() != Some(name) {
            return Err(nfsstat3::NFS3ERR_ACCES);
        }
    }
    let mut here = mount.metadata_id(caller.export.root).map_err(status)?;
    for name in way {
        if name == b".." {
            return Err(nfsstat3::NFS3ERR_ACCES);
        }
        caller.check(&here, EXECUTE)?;
        let directory = mount.open_id(here.id()).map_err(status)?;
        here = mount.metadata_at(directory.ino(), OsStr::from_bytes(name)).map_err(status)?;
        if !here.is_dir() {
            return Err(nfsstat3::NFS3ERR_NOTDIR);
        }
    }
    Ok(here)
}

/// The names of a path.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

fn mount_status(status: nfsstat3) -> mountstat3 {
    match status {
        nfsstat3::NFS3ERR_NOENT => mountstat3::MNT3ERR_NOENT,
        nfsstat3::NFS3ERR_ACCES => mountstat3::MNT3ERR_ACCES,
        nfsstat3::NFS3ERR_NOTDIR => mountstat3::MNT3ERR_NOTDIR,
        nfsstat3::NFS3ERR_NAMETOOLONG => mountstat3::MNT3ERR_NAMETOOLONG,
        nfsstat3::NFS3ERR_INVAL => mountstat3::MNT3ERR_INVAL,
        _ => mountstat3::MNT3ERR_IO,
    }
}
