//! [`Credentials`]: who a client says that it is (AUTH_SYS, RFC 5531 appendix A), and who it is taken for.
//!
//! Who calls it: `dispatch`. A client is believed: AUTH_SYS proves nothing. So it is of use among machines that are trusted, and
//! superusers of clients are by default nobody here ([`Squash`]).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::options::{Owner, Squash};
use crate::rpc::Call;
use crate::xdr::{Garbage, Reader};
use nfs3_types::rpc::auth_stat;

/// Supplementary groups that AUTH_SYS carries at most.
pub const GROUPS_MAX: usize = 16;

/// The most bytes of a client's name.
const MACHINE_NAME_BYTES_MAX: usize = 255;

const AUTH_NONE: u32 = 0;
const AUTH_SYS: u32 = 1;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    groups: [u32; GROUPS_MAX],
    group_count: usize,
}

impl Credentials {
    /// A user without supplementary groups.
    pub fn new(owner: Owner) -> Credentials {
        Credentials { uid: owner.uid, gid: owner.gid, groups: [0; GROUPS_MAX], group_count: 0 }
    }

    /// Whether nothing is forbidden.
    pub fn is_superuser(&self) -> bool {
        self.uid == 0
    }

    /// Whether the group is one of theirs.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.iter().take(self.group_count).any(|group| *group == gid)
    }

    /// Whoever makes a call, as they are taken here.
    ///
    /// # Errors
    /// What the client is told.
    pub fn of(call: &Call<'_>, squash: Squash, anonymous: Owner) -> Result<Credentials, auth_stat> {
        match call.flavour {
            AUTH_NONE => Ok(Credentials::new(anonymous)),
            AUTH_SYS => {
                let said = Credentials::read(call.credentials).map_err(|_| auth_stat::AUTH_BADCRED)?;
                Ok(said.squashed(squash, anonymous))
            }
            _ => Err(auth_stat::AUTH_TOOWEAK),
        }
    }

    fn read(body: &[u8]) -> Result<Credentials, Garbage> {
        let mut reader = Reader::new(body);
        let _stamp = reader.u32()?;
        reader.opaque(MACHINE_NAME_BYTES_MAX)?;
        let owner = Owner { uid: reader.u32()?, gid: reader.u32()? };
        let count = reader.u32()? as usize;
        let mut credentials = Credentials { group_count: count, ..Credentials::new(owner) };
        for group in credentials.groups.get_mut(..count).ok_or(Garbage)? {
            *group = reader.u32()?;
        }
        reader.end()?;
        Ok(credentials)
    }

    fn squashed(mut self, squash: Squash, anonymous: Owner) -> Credentials {
        match squash {
            Squash::None => self,
            Squash::All => Credentials::new(anonymous),
            Squash::Root => {
                if self.uid == 0 {
                    self.uid = anonymous.uid;
                }
                let groups = self.groups.iter_mut().chain([&mut self.gid]);
                groups.filter(|group| **group == 0).for_each(|group| *group = anonymous.gid);
                self
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(uid: u32, gid: u32, groups: &[u32]) -> Vec<u8> {
        let mut words = vec![1, 0, uid, gid, u32::try_from(groups.len()).unwrap()];
        words.extend_from_slice(groups);
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    const NOBODY: Owner = Owner { uid: 65_534, gid: 65_533 };

    #[test]
    fn squashing() {
        let root = Credentials::read(&body(0, 0, &[0, 7])).unwrap();
        assert!(root.is_superuser() && root.is_in_group(0) && root.is_in_group(7));
        let squashed = root.squashed(Squash::Root, NOBODY);
        assert_eq!((squashed.uid, squashed.gid), (65_534, 65_533));
        assert!(!squashed.is_in_group(0) && squashed.is_in_group(7));
        let user = Credentials::read(&body(5, 6, &[7])).unwrap();
        assert_eq!(user.squashed(Squash::Root, NOBODY).uid, 5);
        assert_eq!(user.squashed(Squash::All, NOBODY), Credentials::new(NOBODY));
        assert_eq!(root.squashed(Squash::None, NOBODY), root);
    }

    #[test]
    fn more_groups_than_there_can_be_are_garbage() {
        assert!(Credentials::read(&body(1, 1, &[9; 16])).is_ok());
        assert_eq!(Credentials::read(&body(1, 1, &[9; 17])), Err(Garbage));
        let mut lie = body(1, 1, &[]);
        lie.truncate(lie.len() - 4);
        lie.extend_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Credentials::read(&lie), Err(Garbage));
    }
}
