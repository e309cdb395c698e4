//! Which errno a client gets for an error of the kernel: the one place where that is decided.
//!
//! Who calls it: `ops`. All are the numbers that Linux's own ext4 gives ([`rumpcap::Error::errno`]), but for:
//! what the host's device said, which is `EIO` to a client whatever it was; and a full table of open files, which is `ENFILE`, as
//! Linux has it for its own.

use rumpcap::Error;
use rustix::io::Errno;

/// What an operation gives.
pub(crate) type Answer<T> = core::result::Result<T, Errno>;

/// The errno of an error.
pub(crate) fn errno(error: Error) -> Errno {
    match error {
        Error::Io { .. } | Error::ShortDevice { .. } => Errno::IO,
        Error::NoMemory { what: "open files", .. } => Errno::NFILE,
        other => Errno::from_raw_os_error(other.errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_linux_would_tell_them() {
        let cases = [
            (Error::NotFound, Errno::NOENT),
            (Error::Stale, Errno::STALE),
            (Error::ReadOnly, Errno::ROFS),
            (Error::NoSpace { what: "blocks" }, Errno::NOSPC),
            (Error::Io { errno: 28, at: 0 }, Errno::IO),
            (Error::Io { errno: 0, at: 0 }, Errno::IO),
            (Error::ShortDevice { need: 2, have: 1 }, Errno::IO),
            (Error::NoMemory { what: "open files", need: 1, have: 0 }, Errno::NFILE),
            (Error::NoMemory { what: "vnodes", need: 1, have: 0 }, Errno::NOMEM),
            (Error::NoAttribute, Errno::NODATA),
            (Error::Unsupported { what: "punch" }, Errno::OPNOTSUPP),
            (Error::Corrupt { what: "x", at: 1 }, Errno::UCLEAN),
            (Error::Checksum { what: "x", at: 1 }, Errno::BADMSG),
            (Error::Encrypted, Errno::NOKEY),
        ];
        for (error, want) in cases {
            assert_eq!(errno(error), want, "{error:?}");
        }
    }
}
