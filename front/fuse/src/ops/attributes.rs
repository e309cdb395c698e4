//! Attributes: looking at them, and setting them.
//!
//! Set-id bits: by `HANDLE_KILLPRIV_V2` it is here that they go: with an owner or a group that is set on anything but a directory, and with
//! a length or content where the request says so. The set-group-ID bit goes where the group may execute, else it means something else.

use crate::attr;
use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::{Server, now};
use crate::wire::flags::setattr;
use crate::wire::received::{GetattrIn, SetattrIn, StatxIn};
use crate::wire::sent::{AttrOut, StatxOut};
use rumpcap::{Metadata, NodeId, SetAttributes, Timestamp};
use rustix::io::Errno;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;

/// `mode` without the set-id bits, if it has some that are to go.
pub(super) fn without_set_id(mode: u32) -> Option<u32> {
    let gone = SET_UID | if mode & GROUP_EXECUTE != 0 { SET_GID } else { 0 };
    (mode & gone != 0).then_some(mode & !gone & 0o7777)
}

impl Server {
    fn attr_out(&self, metadata: &Metadata) -> AttrOut {
        let valid = self.valid.attributes;
        AttrOut {
            attr_valid: valid.as_secs(),
            attr_valid_nsec: valid.subsec_nanos(),
            dummy: 0,
            attr: attr::attr(metadata, self.block_bytes),
        }
    }

    /// `GETATTR`.
    pub(crate) fn getattr(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let _: GetattrIn = request.take()?;
        let metadata = self.mount.metadata_id(self.inode(request.header.nodeid)).map_err(errno)?;
        reply.put(&self.attr_out(&metadata))
    }

    /// `STATX`: for those who want the time of creation.
    pub(crate) fn statx(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let _: StatxIn = request.take()?;
        let metadata = self.mount.metadata_id(self.inode(request.header.nodeid)).map_err(errno)?;
        let valid = self.valid.attributes;
        reply.put(&StatxOut {
            attr_valid: valid.as_secs(),
            attr_valid_nsec: valid.subsec_nanos(),
            stat: attr::statx(&metadata, self.block_bytes),
            ..StatxOut::default()
        })
    }

    /// `SETATTR`.
    pub(crate) fn setattr(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: SetattrIn = request.take()?;
        let id = self.inode(request.header.nodeid);
        let has = |bit: u32| args.valid & bit != 0;
        if has(setattr::SIZE) {
            self.set_len(id, &args)?;
        }
        let _times = self.times();
        let before = match self.mount.metadata_id(id).map_err(errno) {
            // The host writes back what it kept of a file that went with its last name. An error would be told to whoever syncs next.
            Err(Errno::STALE) if self.host_times.is_some() && is_of_cache(&args) => {
                return reply.put(&AttrOut::default());
            }
            before => before?,
        };
        let set = to_set(&args, &before);
        let is_length_alone = args.valid & !(setattr::SIZE | setattr::FH | setattr::KILL_SUIDGID) == 0;
        let metadata = if has(setattr::SIZE) && is_length_alone && set.mode.is_none() {
            before
        } else {
            self.mount.set_attributes_ino(id.ino, &set).map_err(errno)?
        };
        reply.put(&self.attr_out(&metadata))
    }

    fn set_len(&self, id: NodeId, args: &SetattrIn) -> Answer<()> {
        let is_open = args.valid & setattr::FH != 0;
        let file = if is_open { self.mount.kept(id) } else { self.mount.open_id(id) };
        file.and_then(|file| file.set_len(args.size)).map_err(errno)
    }

    /// Takes the set-id bits of a file whose content changes.
    pub(super) fn kill_set_id(&self, id: NodeId) -> Answer<()> {
        let metadata = self.mount.metadata_id(id).map_err(errno)?;
        let Some(mode) = without_set_id(metadata.mode()) else { return Ok(()) };
        let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
        self.mount.set_attributes_ino(id.ino, &set).map(drop).map_err(errno)
    }
}

/// Whether a request is one by which the host sends the times that it kept: no client's call has these two alone.
fn is_of_cache(args: &SetattrIn) -> bool {
    args.valid & !setattr::FH == setattr::MTIME | setattr::CTIME
}

/// What a request sets, of a file as it was before.
fn to_set(args: &SetattrIn, before: &Metadata) -> SetAttributes {
    let has = |bit: u32| args.valid & bit != 0;
    let time = |bit: u32, bit_now: u32, seconds: u64, nanoseconds: u32| {
        let given = Timestamp { seconds: seconds as i64, nanoseconds };
        if has(bit_now) { Some(now()) } else { has(bit).then_some(given) }
    };
    let loses = has(setattr::UID) || has(setattr::GID) || has(setattr::KILL_SUIDGID);
    let killed = (loses && !before.is_dir()).then(|| without_set_id(before.mode())).flatten();
    SetAttributes {
        mode: if has(setattr::MODE) { Some(args.mode & 0o7777) } else { killed },
        uid: has(setattr::UID).then_some(args.uid),
        gid: has(setattr::GID).then_some(args.gid),
        atime: time(setattr::ATIME, setattr::ATIME_NOW, args.atime, args.atimensec),
        mtime: time(setattr::MTIME, setattr::MTIME_NOW, args.mtime, args.mtimensec),
        ctime: time(setattr::CTIME, 0, args.ctime, args.ctimensec),
        flags: None,
        project: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_id_bits_go_as_linux_takes_them() {
        assert_eq!(without_set_id(0o100_755), None);
        assert_eq!(without_set_id(0o104_755), Some(0o755));
        assert_eq!(without_set_id(0o106_755), Some(0o755));
        // Without execution by the group the bit stood for mandatory locks, and stays.
        assert_eq!(without_set_id(0o102_644), None);
        assert_eq!(without_set_id(0o106_644), Some(0o2644));
    }
}
