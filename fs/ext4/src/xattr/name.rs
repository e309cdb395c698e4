//! Names of extended attributes: an index that stands for a prefix, and the rest.
//!
//! Who calls it: `xattr`. Pure functions.
//!
//! Indices that stand for something inside the file system (encryption context, Lustre's data) have no name for a user,
//! nor has `system.data`, which is file content.
//!
//! Source: "ext4 Data Structures and Algorithms", extended attributes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use arrayvec::ArrayVec;

/// Index of what `system.` stands for.
const SYSTEM: u8 = 7;
/// Index of what `user.` stands for.
const USER: u8 = 1;
/// The suffix that file content is kept under, with [`SYSTEM`].
const INLINE_DATA: &[u8] = b"data";

/// Index and prefix. Those that stand for a whole name come before prefixes that it begins with.
const PREFIXES: &[(u8, &[u8])] = &[
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (8, b"system.richacl"),
    (USER, b"user."),
    (4, b"trusted."),
    (6, b"security."),
    (SYSTEM, b"system."),
    (10, b"gnu."),
];

/// Longest prefix and 255 bytes behind it.
const FULL_NAME_MAX: usize = 24 + 255;

/// A name as the device has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub index: u8,
    pub suffix: &'a [u8],
}

impl<'a> Name<'a> {
    /// The attribute that keeps the rest of inline content.
    pub(crate) const INLINE_DATA: Name<'static> = Name { index: SYSTEM, suffix: INLINE_DATA };
    /// Who may do what with a file.
    pub(crate) const ACCESS_ACL: Name<'static> = Name { index: 2, suffix: b"" };
    /// What new files in a directory inherit.
    pub(crate) const DEFAULT_ACL: Name<'static> = Name { index: 3, suffix: b"" };

    /// From a full name; `None` when no attribute can have it, or users cannot see it.
    pub(crate) fn parse(full: &'a [u8]) -> Option<Name<'a>> {
        let whole = |prefix: &[u8]| prefix.last() != Some(&b'.');
        let name = PREFIXES.iter().find_map(|&(index, prefix)| {
            let suffix = full.strip_prefix(prefix)?;
            (whole(prefix) == suffix.is_empty()).then_some(Name { index, suffix })
        })?;
        name.is_visible().then_some(name)
    }

    fn is_visible(&self) -> bool {
        *self != Name::INLINE_DATA
    }

    /// Whether the value is an ACL in the device's form.
    pub(crate) fn is_posix_acl(&self) -> bool {
        matches!(self.index, 2 | 3)
    }

    /// Whether a user may keep anything under such a name, in files and directories.
    pub(crate) fn is_users(&self) -> bool {
        self.index == USER
    }

    /// The full name; `None` when users cannot see it.
    pub(crate) fn full(&self) -> Option<ArrayVec<u8, FULL_NAME_MAX>> {
        let (_, prefix) = PREFIXES.iter().find(|(index, _)| *index == self.index)?;
        let mut full = ArrayVec::new();
        full.try_extend_from_slice(prefix).ok()?;
        full.try_extend_from_slice(self.suffix).ok()?;
        self.is_visible().then_some(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for full in [
            &b"user.a"[..],
            b"trusted.x",
            b"security.selinux",
            b"system.posix_acl_access",
            b"system.posix_acl_default",
            b"system.richacl",
            b"system.other",
            b"gnu.translator",
        ] {
            assert_eq!(Name::parse(full).unwrap().full().unwrap().as_slice(), full);
        }
    }

    #[test]
    fn what_is_no_name_of_an_attribute() {
        for full in [&b""[..], b"user", b"user.", b"system.", b"system.data", b"other.a", b"lustre.lov"] {
            assert_eq!(Name::parse(full), None, "{full:?}");
        }
        // Context of encryption.
        assert_eq!(Name { index: 9, suffix: b"c" }.full(), None);
        assert_eq!(Name::INLINE_DATA.full(), None);
    }
}
