//! POSIX ACLs: from the form on the device to the form in which `getxattr` gives them on Linux, and back.
//!
//! Who calls it: `xattr`, `mkfs`. Pure functions, no memory beyond the caller's buffer.
//!
//! Device, version 1: four bytes of version; then entries of tag and permissions (two bytes each), with an id of four
//! bytes behind them for the tags that need one. `getxattr`, version 2: four bytes of version; then entries of eight
//! bytes, all with an id, which is all ones where the tag needs none. Both little-endian, entries in the same order.
//!
//! Source: `acl(5)`; `linux/posix_acl_xattr.h` for the form and the numbers.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod mode;

const DEVICE_VERSION: u32 = 1;
const XATTR_VERSION: u32 = 2;
const HEAD: usize = 4;
const SHORT: usize = 4;
const LONG: usize = 8;
/// The entries without an id: owner, owning group, mask and others. An ACL with an id has all four.
const SHORT_ENTRIES: usize = 4;
const NO_ID: u32 = u32::MAX;

/// What is wrong with an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Length in bytes of the `getxattr` form of an ACL that takes `device_len` bytes on the device; `None` when no ACL does.
pub(crate) fn xattr_len(device_len: usize) -> Option<usize> {
    let entries = device_len.checked_sub(HEAD)?;
    let (rest, unit, before) = match entries.checked_sub(SHORT.saturating_mul(SHORT_ENTRIES)) {
        Some(long) => (long, LONG, SHORT_ENTRIES),
        None => (entries, SHORT, 0),
    };
    let whole = rest.checked_rem(unit)? == 0;
    let count = rest.checked_div(unit)?.checked_add(before)?;
    whole.then(|| count.checked_mul(LONG)?.checked_add(HEAD)).flatten()
}

/// Converts in place: the last `device_len` bytes of `buf` are the device's form, `buf` (exactly [`xattr_len`] bytes)
/// becomes the other.
///
/// What is written never reaches what is still to be read: no entry shrinks, and both forms end together.
pub(crate) fn convert(buf: &mut [u8], device_len: usize) -> Result<(), Malformed> {
    let len = buf.len();
    if xattr_len(device_len) != Some(len) {
        return Err(Malformed);
    }
    let mut from = len.checked_sub(device_len).ok_or(Malformed)?;
    if take(buf, &mut from)? != DEVICE_VERSION {
        return Err(Malformed);
    }
    let mut to = 0;
    put(buf, &mut to, XATTR_VERSION)?;
    while from < len {
        let tag_and_permissions = take(buf, &mut from)?;
        let id = match tag_and_permissions & 0xFFFF {
            // A user, a group.
            0x02 | 0x08 => take(buf, &mut from)?,
            // Owner, owning group, mask, others.
            0x01 | 0x04 | 0x10 | 0x20 => NO_ID,
            _ => return Err(Malformed),
        };
        put(buf, &mut to, tag_and_permissions)?;
        put(buf, &mut to, id)?;
    }
    if to == len { Ok(()) } else { Err(Malformed) }
}

/// Length in bytes that the `getxattr` form `xattr` takes on the device.
pub(crate) fn device_len(xattr: &[u8]) -> Result<usize, Malformed> {
    let entries = xattr_entries(xattr)?;
    let long = entries.filter(|entry| has_id(entry.0)).count().saturating_mul(LONG - SHORT);
    let all = xattr.len().saturating_sub(HEAD) / LONG;
    Ok(all.saturating_mul(SHORT).saturating_add(long).saturating_add(HEAD))
}

/// Converts the `getxattr` form `xattr` into the device's, which fills `to` ([`device_len`] bytes).
pub(crate) fn to_device(xattr: &[u8], to: &mut [u8]) -> Result<(), Malformed> {
    let mut at = 0;
    put(to, &mut at, DEVICE_VERSION)?;
    for (tag_and_permissions, id) in xattr_entries(xattr)? {
        put(to, &mut at, tag_and_permissions)?;
        if has_id(tag_and_permissions) {
            put(to, &mut at, id)?;
        }
    }
    if at == to.len() { Ok(()) } else { Err(Malformed) }
}

/// Whether entries with this tag keep an id on the device: those of a user, of a group.
fn has_id(tag_and_permissions: u32) -> bool {
    matches!(tag_and_permissions & 0xFFFF, 0x02 | 0x08)
}

/// The entries of the `getxattr` form: tag with permissions, and id.
fn xattr_entries(xattr: &[u8]) -> Result<impl Iterator<Item = (u32, u32)> + '_, Malformed> {
    let mut at = 0;
    let (entries, rest) = xattr.get(HEAD..).ok_or(Malformed)?.as_chunks::<LONG>();
    if take(xattr, &mut at)? != XATTR_VERSION || !rest.is_empty() {
        return Err(Malformed);
    }
    Ok(entries
        .iter()
        .map(|&[t0, t1, p0, p1, id @ ..]| (u32::from_le_bytes([t0, t1, p0, p1]), u32::from_le_bytes(id))))
}

fn take(buf: &[u8], at: &mut usize) -> Result<u32, Malformed> {
    let word = buf.get(*at..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    *at = at.saturating_add(4);
    Ok(u32::from_le_bytes(*word))
}

fn put(buf: &mut [u8], at: &mut usize, value: u32) -> Result<(), Malformed> {
    let word = buf.get_mut(*at..).and_then(|rest| rest.first_chunk_mut()).ok_or(Malformed)?;
    *word = value.to_le_bytes();
    *at = at.saturating_add(4);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// user::rw- user:1000:r-- group::r-- mask::r-- other::---, as ext4 keeps it.
    const DEVICE: [u8; 28] =
        [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xE8, 3, 0, 0, 4, 0, 4, 0, 0x10, 0, 4, 0, 0x20, 0, 0, 0];

    fn converted(device: &[u8]) -> Option<Vec<u8>> {
        let mut buf = vec![0xAA; xattr_len(device.len())?];
        let at = buf.len().checked_sub(device.len())?;
        buf[at..].copy_from_slice(device);
        convert(&mut buf, device.len()).ok()?;
        Some(buf)
    }

    #[test]
    fn five_entries() {
        let none = [0xFF; 4];
        let expected = [
            &[2, 0, 0, 0, 1, 0, 6, 0][..],
            &none,
            &[2, 0, 4, 0, 0xE8, 3, 0, 0],
            &[4, 0, 4, 0],
            &none,
            &[0x10, 0, 4, 0],
            &none,
            &[0x20, 0, 0, 0],
            &none,
        ]
        .concat();
        assert_eq!(converted(&DEVICE), Some(expected));
    }

    #[test]
    fn malformed_is_refused() {
        assert_eq!(converted(&DEVICE[..27]), None);
        assert_eq!(converted(&[]), None);
        assert_eq!(converted(&[2, 0, 0, 0]), None);
        let mut tag = DEVICE;
        tag[4] = 3;
        assert_eq!(converted(&tag), None);
        // More entries with an id than the length allows for.
        let mut id = DEVICE;
        id[16] = 2;
        assert_eq!(converted(&id), None);
    }

    proptest! {
        #[test]
        fn any_bytes_convert_or_not(device in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = converted(&device);
        }

        #[test]
        fn every_entry_survives(entries in proptest::collection::vec((any::<bool>(), 0..8_u16, any::<u32>()), 0..20)) {
            // At least the four short ones, as any ACL with ids has.
            let mut device = 1_u32.to_le_bytes().to_vec();
            let mut expected = 2_u32.to_le_bytes().to_vec();
            let mut add = |tag: u16, permissions: u16, id: Option<u32>| {
                for bytes in [&mut device, &mut expected] {
                    bytes.extend(tag.to_le_bytes());
                    bytes.extend(permissions.to_le_bytes());
                }
                device.extend(id.into_iter().flat_map(u32::to_le_bytes));
                expected.extend(id.unwrap_or(u32::MAX).to_le_bytes());
            };
            for tag in [1, 4, 0x10, 0x20] {
                add(tag, 7, None);
            }
            for (is_user, permissions, id) in entries {
                add(if is_user { 2 } else { 8 }, permissions, Some(id));
            }
            let mut back = vec![0; device_len(&expected).unwrap()];
            prop_assert_eq!(to_device(&expected, &mut back), Ok(()));
            prop_assert_eq!(&back, &device);
            prop_assert_eq!(converted(&device), Some(expected));
        }
    }
}
