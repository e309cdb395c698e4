//! Attributes as clients see them and set them, and the names of errors.
//!
//! Who calls it: `procedures`. Times of NFSv3 are 32 bits without a sign: what lies before 1970 or after 2106 is shown as the nearest time
//! that can be.

use nfs3_types::nfs3::{
    Nfs3Option, fattr3, ftype3, nfsstat3, nfstime3, post_op_attr, sattr3, set_atime, set_mtime, specdata3,
    wcc_attr,
};
use rumpcap::{Error, FileKind, Metadata, SetAttributes, Timestamp};

/// Permission bits, with those for set-id and sticky.
pub const PERMISSIONS: u32 = 0o7777;

/// Bytes of the unit that `Metadata::blocks` counts.
const UNIT_BYTES: u64 = 512;

/// Attributes of a file on the file system `fsid`.
pub fn attributes(metadata: &Metadata, fsid: u64) -> fattr3 {
    let (specdata1, specdata2) = metadata.rdev();
    fattr3 {
        type_: kind(metadata.file_type().kind()),
        mode: metadata.mode() & PERMISSIONS,
        nlink: metadata.nlink(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.len(),
        used: metadata.blocks().saturating_mul(UNIT_BYTES),
        rdev: specdata3 { specdata1, specdata2 },
        fsid,
        fileid: metadata.ino(),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: time(metadata.changed()),
    }
}

/// What shows whether a file was changed.
pub fn before(metadata: &Metadata) -> wcc_attr {
    wcc_attr { size: metadata.len(), mtime: time(metadata.modified()), ctime: time(metadata.changed()) }
}

/// As answers hold it.
pub fn option(attributes: Option<fattr3>) -> post_op_attr {
    attributes.map_or(Nfs3Option::None, Nfs3Option::Some)
}

fn kind(kind: FileKind) -> ftype3 {
    match kind {
        FileKind::Directory => ftype3::NF3DIR,
        FileKind::Symlink => ftype3::NF3LNK,
        FileKind::BlockDevice => ftype3::NF3BLK,
        FileKind::CharDevice => ftype3::NF3CHR,
        FileKind::Socket => ftype3::NF3SOCK,
        FileKind::Fifo => ftype3::NF3FIFO,
        _ => ftype3::NF3REG,
    }
}

/// A time, as near as it can be said.
pub fn time(time: Timestamp) -> nfstime3 {
    match u32::try_from(time.seconds) {
        Ok(seconds) => nfstime3 { seconds, nseconds: time.nanoseconds },
        Err(_) if time.seconds < 0 => nfstime3::default(),
        Err(_) => nfstime3 { seconds: u32::MAX, nseconds: 0 },
    }
}

fn timestamp(time: nfstime3) -> Result<Timestamp, nfsstat3> {
    if time.nseconds >= 1_000_000_000 {
        return Err(nfsstat3::NFS3ERR_INVAL);
    }
    Ok(Timestamp { seconds: i64::from(time.seconds), nanoseconds: time.nseconds })
}

/// A value that may be left as it is.
pub fn set<T: nfs3_types::xdr_codec::Pack + nfs3_types::xdr_codec::Unpack + Copy>(
    value: &Nfs3Option<T>,
) -> Option<T> {
    match value {
        Nfs3Option::Some(value) => Some(*value),
        Nfs3Option::None => None,
    }
}

/// What a client sets, but the size.
///
/// # Errors
/// `INVAL` for a time that is none.
pub fn changes(new: &sattr3, now: Timestamp) -> Result<SetAttributes, nfsstat3> {
    Ok(SetAttributes {
        mode: set(&new.mode).map(|mode| mode & PERMISSIONS),
        uid: set(&new.uid),
        gid: set(&new.gid),
        atime: match new.atime {
            set_atime::DONT_CHANGE => None,
            set_atime::SET_TO_SERVER_TIME => Some(now),
            set_atime::SET_TO_CLIENT_TIME(time) => Some(timestamp(time)?),
        },
        mtime: match new.mtime {
            set_mtime::DONT_CHANGE => None,
            set_mtime::SET_TO_SERVER_TIME => Some(now),
            set_mtime::SET_TO_CLIENT_TIME(time) => Some(timestamp(time)?),
        },
        ..SetAttributes::default()
    })
}

/// The protocol's name of an error.
pub fn status(error: Error) -> nfsstat3 {
    match error {
        Error::NotFound => nfsstat3::NFS3ERR_NOENT,
        Error::NotADirectory => nfsstat3::NFS3ERR_NOTDIR,
        Error::IsADirectory => nfsstat3::NFS3ERR_ISDIR,
        Error::WrongType | Error::InvalidInput { .. } | Error::TooManyLinks => nfsstat3::NFS3ERR_INVAL,
        Error::NameTooLong => nfsstat3::NFS3ERR_NAMETOOLONG,
        Error::ReadOnly => nfsstat3::NFS3ERR_ROFS,
        Error::Exists => nfsstat3::NFS3ERR_EXIST,
        Error::NotEmpty => nfsstat3::NFS3ERR_NOTEMPTY,
        Error::NotPermitted => nfsstat3::NFS3ERR_PERM,
        Error::Encrypted => nfsstat3::NFS3ERR_ACCES,
        Error::TooManyHardLinks => nfsstat3::NFS3ERR_MLINK,
        Error::FileTooLarge => nfsstat3::NFS3ERR_FBIG,
        Error::NoSpace { .. } => nfsstat3::NFS3ERR_NOSPC,
        Error::Unsupported { .. } => nfsstat3::NFS3ERR_NOTSUPP,
        Error::Stale => nfsstat3::NFS3ERR_STALE,
        // For now: the client asks again.
        Error::NoMemory { .. } | Error::Busy { .. } => nfsstat3::NFS3ERR_JUKEBOX,
        _ => nfsstat3::NFS3ERR_IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_the_nearest_that_can_be_said() {
        let at = |seconds| time(Timestamp { seconds, nanoseconds: 5 });
        assert_eq!(at(-1), nfstime3 { seconds: 0, nseconds: 0 });
        assert_eq!(at(7), nfstime3 { seconds: 7, nseconds: 5 });
        assert_eq!(at(1 << 33), nfstime3 { seconds: u32::MAX, nseconds: 0 });
        assert!(timestamp(nfstime3 { seconds: 1, nseconds: 1_000_000_000 }).is_err());
    }
}
