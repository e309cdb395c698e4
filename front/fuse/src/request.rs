//! [`Request`]: a request that was received: its header, and what is left of its arguments.
//!
//! Who calls it: `dispatch` and `ops`. Failure: a request that is shorter than it should be is `EINVAL`; nothing is assumed of its bytes.

use crate::errno::Answer;
use crate::wire::received::InHeader;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A request.
pub(crate) struct Request<'b> {
    /// Its header.
    pub(crate) header: InHeader,
    rest: &'b [u8],
}

impl<'b> Request<'b> {
    /// The request in `bytes`; `None` for too few of them.
    pub(crate) fn parse(bytes: &'b [u8]) -> Option<Request<'b>> {
        let (header, rest) = InHeader::read_from_prefix(bytes).ok()?;
        Some(Request { header, rest })
    }

    /// The next argument.
    pub(crate) fn take<T: FromBytes + KnownLayout + Immutable>(&mut self) -> Answer<T> {
        let (value, rest) = T::read_from_prefix(self.rest).map_err(|_| Errno::INVAL)?;
        self.rest = rest;
        Ok(value)
    }

    /// The next argument, which ends with a NUL.
    pub(crate) fn name(&mut self) -> Answer<&'b OsStr> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let (name, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Ok(OsStr::from_bytes(name))
    }

    /// The next `len` bytes.
    pub(crate) fn data(&mut self, len: u32) -> Answer<&'b [u8]> {
        self.rest.get(..len as usize).ok_or(Errno::INVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::received::MkdirIn;
    use zerocopy::IntoBytes;

    #[test]
    fn arguments_come_one_after_the_other_and_short_requests_are_refused() {
        let header = InHeader {
            len: 0,
            opcode: 9,
            unique: 7,
            nodeid: 1,
            uid: 0,
            gid: 0,
            pid: 0,
            total_extlen: 0,
            padding: 0,
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(MkdirIn { mode: 0o755, umask: 0o22 }.as_bytes());
        bytes.extend(b"name\0rest");
        let mut request = Request::parse(&bytes).unwrap();
        assert_eq!(request.header.unique, 7);
        assert_eq!(request.take::<MkdirIn>().unwrap().umask, 0o22);
        assert_eq!(request.name().unwrap(), "name");
        assert_eq!(request.data(4).unwrap(), b"rest");
        assert_eq!(request.data(5).unwrap_err(), Errno::INVAL);
        assert_eq!(request.name().unwrap_err(), Errno::INVAL);
        assert_eq!(request.take::<InHeader>().unwrap_err(), Errno::INVAL);
        assert!(Request::parse(&bytes[..39]).is_none());
    }
}
