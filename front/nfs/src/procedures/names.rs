//! Names of entries, as clients send them.

use super::Done;
use nfs3_types::nfs3::nfsstat3;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The longest name.
pub const NAME_BYTES_MAX: usize = 255;

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// The directory itself.
    Dot,
    /// The one above.
    DotDot,
    /// Any other.
    Plain(&'a OsStr),
}

impl<'a> Name<'a> {
    /// Looks at a name.
    ///
    /// # Errors
    /// `NAMETOOLONG`; `INVAL` for what cannot be one.
    pub fn of(name: &'a [u8]) -> Done<Name<'a>> {
        match name {
            b"." => Ok(Name::Dot),
            b".." => Ok(Name::DotDot),
            _ if name.len() > NAME_BYTES_MAX => Err(nfsstat3::NFS3ERR_NAMETOOLONG),
            _ if name.is_empty() || name.contains(&b'/') || name.contains(&0) => Err(nfsstat3::NFS3ERR_INVAL),
            _ => Ok(Name::Plain(os(name))),
        }
    }

    /// A name for something new, or to be renamed to.
    ///
    /// # Errors
    /// As [`Name::of`]; `dots` for those that every directory has.
    pub fn plain(name: &'a [u8], dots: nfsstat3) -> Done<&'a OsStr> {
        match Name::of(name)? {
            Name::Plain(name) => Ok(name),
            Name::Dot | Name::DotDot => Err(dots),
        }
    }
}

/// Bytes as the library takes them.
pub fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
