//! Access control lists in the model: what one says of the permission bits, and what a new file gets of its directory's.
//!
//! Who calls it: `apply`, `generator`. In the form that `getxattr` gives: a version, then entries of tag, permissions and id.
//! Source: acl(5); POSIX 1003.1e draft 17, 23.1.

/// The attribute that a file's own list is.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute that a directory gives to what is made in it.
pub const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const NOBODY: u32 = u32::MAX;
const OWNER: u16 = 1;
const USER: u16 = 2;
const OWNING_GROUP: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHERS: u16 = 32;

/// A list: tag, permissions, id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl(Vec<(u16, u16, u32)>);

impl Acl {
    /// A list made of random bits: the permissions of everybody, and of up to seven users and groups besides.
    pub fn random(mut random: impl FnMut(u64) -> u64) -> Acl {
        let mut entries = vec![(OWNER, random(8) as u16, NOBODY)];
        let (users, groups) = (random(4), random(4));
        let mut named = |tag, count, entries: &mut Vec<_>| {
            for n in 0..count {
                entries.push((tag, random(8) as u16, n as u32 * 40_000 + 1));
            }
        };
        named(USER, users, &mut entries);
        named(OWNING_GROUP, 1, &mut entries);
        named(GROUP, groups, &mut entries);
        if users + groups > 0 {
            named(MASK, 1, &mut entries);
        }
        named(OTHERS, 1, &mut entries);
        for entry in entries.iter_mut().filter(|entry| !matches!(entry.0, USER | GROUP)) {
            entry.2 = NOBODY;
        }
        Acl(entries)
    }

    /// From what an attribute holds.
    ///
    /// # Panics
    /// When it is no list.
    pub fn parse(bytes: &[u8]) -> Acl {
        assert_eq!(bytes.first_chunk(), Some(&VERSION.to_le_bytes()), "an access control list");
        let entry = |bytes: &[u8; 8]| {
            let [t0, t1, p0, p1, id @ ..] = *bytes;
            (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]), u32::from_le_bytes(id))
        };
        Acl(bytes[4..].as_chunks().0.iter().map(entry).collect())
    }

    /// What an attribute holds.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in &self.0 {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// Whether it says more than permission bits can.
    pub fn says_more(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.0, USER | GROUP | MASK))
    }

    /// The tag of the entry that the group's bits are.
    fn group_tag(&self) -> u16 {
        if self.0.iter().any(|entry| entry.0 == MASK) { MASK } else { OWNING_GROUP }
    }

    /// The entries that the permission bits are, with the place of their bits.
    fn of_bits(&mut self) -> impl Iterator<Item = (&mut u16, u32)> {
        let group = self.group_tag();
        self.0.iter_mut().filter_map(move |(tag, permissions, _)| match *tag {
            OWNER => Some((permissions, 6)),
            OTHERS => Some((permissions, 0)),
            tag if tag == group => Some((permissions, 3)),
            _ => None,
        })
    }

    /// `mode` with the permissions of the list.
    pub fn mode(&self, mode: u32) -> u32 {
        let bits: u32 = self.clone().of_bits().map(|(permissions, at)| u32::from(*permissions) << at).sum();
        mode & !0o777 | bits
    }

    /// The list with the permissions of `mode`.
    pub fn with_mode(mut self, mode: u32) -> Acl {
        self.of_bits().for_each(|(permissions, at)| *permissions = (mode >> at & 7) as u16);
        self
    }

    /// The list of a file that is made with `mode` in a directory that gives it this one.
    pub fn inherited(mut self, mode: u32) -> Acl {
        self.of_bits().for_each(|(permissions, at)| *permissions &= (mode >> at & 7) as u16);
        self
    }
}
