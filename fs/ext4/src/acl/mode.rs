//! Access control lists and permission bits: what one says of the other.
//!
//! Who calls it: `xattr::set`, `xattr::inherit`, `attributes`. Pure functions, on the device's form.
//!
//! The owner's entry is the owner's bits, that of others the others'. The group's bits are the mask where there is one, else the owning
//! group's entry. Source: POSIX 1003.1e draft 17, 23.1; `acl(5)`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{DEVICE_VERSION, HEAD, LONG, Malformed, SHORT, has_id, take};

/// Tags of entries.
const OWNER: u32 = 0x01;
const USER: u32 = 0x02;
const OWNING_GROUP: u32 = 0x04;
const GROUP: u32 = 0x08;
const MASK: u32 = 0x10;
const OTHERS: u32 = 0x20;

/// The nine bits that a list is about.
const PERMISSIONS: u32 = 0o777;

/// An entry, where it is.
#[derive(Clone, Copy)]
struct Entry {
    at: usize,
    tag: u32,
    permissions: u32,
}

/// The entries of a list in the device's form.
fn entries(acl: &[u8]) -> Result<impl Iterator<Item = Result<Entry, Malformed>> + '_, Malformed> {
    let mut at = 0;
    if take(acl, &mut at)? != DEVICE_VERSION {
        return Err(Malformed);
    }
    Ok(core::iter::from_fn(move || {
        if at >= acl.len() {
            return None;
        }
        let here = at;
        let word = match take(acl, &mut at) {
            Ok(word) => word,
            Err(error) => return Some(Err(error)),
        };
        at = here.saturating_add(if has_id(word) { LONG } else { SHORT });
        let entry = Entry { at: here, tag: word & 0xFFFF, permissions: word >> 16 };
        Some(if at <= acl.len() { Ok(entry) } else { Err(Malformed) })
    }))
}

/// Whether a list is one: the owner; users; the owning group; groups; the mask, which users and groups need; others; in this order.
pub(crate) fn check(acl: &[u8]) -> Result<(), Malformed> {
    let mut last = 0;
    let mut needs_mask = false;
    let mut has_mask = false;
    for entry in entries(acl)? {
        let Entry { tag, permissions, .. } = entry?;
        let follows = match tag {
            OWNER => last == 0,
            USER => matches!(last, OWNER | USER),
            OWNING_GROUP => matches!(last, OWNER | USER),
            GROUP => matches!(last, OWNING_GROUP | GROUP),
            MASK => matches!(last, OWNING_GROUP | GROUP),
            OTHERS => matches!(last, MASK) || !needs_mask && last == OWNING_GROUP,
            _ => false,
        };
        if !follows || permissions > 7 {
            return Err(Malformed);
        }
        needs_mask |= matches!(tag, USER | GROUP);
        has_mask |= tag == MASK;
        last = tag;
    }
    if last == OTHERS && has_mask >= needs_mask { Ok(()) } else { Err(Malformed) }
}

/// Whether a list has no entries.
pub(crate) fn is_empty(acl: &[u8]) -> bool {
    acl.len() <= HEAD
}

/// The permission bits that a list means, and whether they say all that it says.
pub(crate) fn mode_of(acl: &[u8]) -> Result<(u32, Meaning), Malformed> {
    let mut mode = 0;
    let mut meaning = Meaning::Mode;
    for entry in entries(acl)? {
        let Entry { tag, permissions, .. } = entry?;
        match tag {
            OWNER => mode |= permissions << 6,
            OWNING_GROUP => mode |= permissions << 3,
            OTHERS => mode |= permissions,
            // It comes behind the owning group's.
            MASK => mode = mode & !0o070 | permissions << 3,
            _ => {}
        }
        if matches!(tag, USER | GROUP | MASK) {
            meaning = Meaning::More;
        }
    }
    Ok((mode & PERMISSIONS, meaning))
}

/// What a list says besides permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nothing.
    Mode,
    /// Users, groups, a mask.
    More,
}

/// Puts the permission bits of `mode` into a list.
pub(crate) fn set_mode(acl: &mut [u8], mode: u32) -> Result<(), Malformed> {
    change_bits(acl, |bits, _| bits, mode).map(|_| ())
}

/// Makes of a directory's default list that of a new file: it allows what both it and `mode` do. Gives the bits that are left of `mode`,
/// and what the list says besides.
pub(crate) fn inherit(acl: &mut [u8], mode: u32) -> Result<(u32, Meaning), Malformed> {
    change_bits(acl, |bits, own| bits & own, mode)?;
    let (left, meaning) = mode_of(acl)?;
    Ok((mode & !PERMISSIONS | left, meaning))
}

/// Sets the entries that stand for permission bits to what `combine` makes of those of `mode` and their own.
fn change_bits(acl: &mut [u8], combine: impl Fn(u32, u32) -> u32, mode: u32) -> Result<(), Malformed> {
    let mut group = None;
    let mut at = HEAD;
    while at < acl.len() {
        let word = take(acl, &mut at.clone())?;
        let entry = Entry { at, tag: word & 0xFFFF, permissions: word >> 16 };
        match entry.tag {
            OWNER => put_permissions(acl, &entry, combine(mode >> 6 & 7, entry.permissions))?,
            OTHERS => put_permissions(acl, &entry, combine(mode & 7, entry.permissions))?,
            OWNING_GROUP | MASK => group = Some(entry),
            _ => {}
        }
        at = at.saturating_add(if has_id(word) { LONG } else { SHORT });
    }
    let group = group.ok_or(Malformed)?;
    put_permissions(acl, &group, combine(mode >> 3 & 7, group.permissions))
}

fn put_permissions(acl: &mut [u8], entry: &Entry, permissions: u32) -> Result<(), Malformed> {
    let word = acl.get_mut(entry.at..).and_then(|rest| rest.first_chunk_mut()).ok_or(Malformed)?;
    *word = (entry.tag | permissions << 16).to_le_bytes();
    Ok(())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, Option<u32>)]) -> Vec<u8> {
        let mut bytes = DEVICE_VERSION.to_le_bytes().to_vec();
        for &(tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.into_iter().flat_map(u32::to_le_bytes));
        }
        bytes
    }

    #[test]
    fn order_and_mask() {
        let id = Some(7);
        let ok = |entries: &[_]| check(&acl(entries)).is_ok();
        assert!(ok(&[(1, 7, None), (4, 5, None), (32, 0, None)]));
        assert!(ok(&[(1, 7, None), (4, 5, None), (16, 5, None), (32, 0, None)]));
        assert!(ok(&[(1, 7, None), (2, 7, id), (4, 5, None), (8, 1, id), (16, 5, None), (32, 0, None)]));
        assert!(!ok(&[(1, 7, None), (2, 7, id), (4, 5, None), (32, 0, None)]));
        assert!(!ok(&[(1, 7, None), (4, 5, None)]));
        assert!(!ok(&[(4, 5, None), (1, 7, None), (32, 0, None)]));
        assert!(!ok(&[(1, 8, None), (4, 5, None), (32, 0, None)]));
        assert!(!ok(&[(1, 7, None), (4, 5, None), (32, 0, None), (32, 0, None)]));
        assert!(!ok(&[]));
    }

    #[test]
    fn bits_there_and_back() {
        let mut plain = acl(&[(1, 6, None), (4, 4, None), (32, 0, None)]);
        assert_eq!(mode_of(&plain), Ok((0o640, Meaning::Mode)));
        assert_eq!(set_mode(&mut plain, 0o4751), Ok(()));
        assert_eq!(plain, acl(&[(1, 7, None), (4, 5, None), (32, 1, None)]));
        let mut rich = acl(&[(1, 7, None), (2, 7, Some(5)), (4, 5, None), (16, 6, None), (32, 1, None)]);
        assert_eq!(mode_of(&rich), Ok((0o761, Meaning::More)));
        assert_eq!(inherit(&mut rich, 0o100_644), Ok((0o100_640, Meaning::More)));
        assert_eq!(rich, acl(&[(1, 6, None), (2, 7, Some(5)), (4, 5, None), (16, 4, None), (32, 0, None)]));
    }
}
