//! Extended attributes: behind the fixed fields of the inode as far as they fit, the rest in one block.
//!
//! Who calls it: `Maker`. Whom it calls: `xattr::name` for names, `acl` for the device's form of access control lists.
//!
//! Entries grow from the beginning of a place, values from its end; four zero bytes must stay between them. In a block entries
//! are sorted by index, length of the name, name, as the kernel looks for them.

use crate::acl;
use crate::checksum::crc32c;
use crate::layout::{RawXattrEntry, RawXattrHeader, XATTR_MAGIC};
use crate::xattr::entry_hash;
use crate::xattr::name::Name;
use rumpcap_host::{Error, Result};
use zerocopy::IntoBytes;

/// Bytes of an entry without its name.
const HEAD: usize = size_of::<RawXattrEntry>();
/// Bytes of the header of a block, and of that in an inode.
const BLOCK_HEAD: usize = size_of::<RawXattrHeader>();
const INODE_HEAD: usize = 4;
/// Bytes that end the entries.
const END: usize = 4;

/// An extended attribute, as `getxattr` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// Full name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

impl<'a> Xattr<'a> {
    /// Whether the file system has a place for attributes of this name.
    pub fn is_storable(&self) -> bool {
        Name::parse(self.name).is_some_and(|name| name.suffix.len() <= 255)
    }

    fn parsed(&self) -> Result<Name<'a>> {
        Name::parse(self.name).ok_or(Error::InvalidInput { what: "name of an extended attribute" })
    }

    /// Bytes of the value on the device.
    fn device_len(&self, name: Name<'_>) -> Result<usize> {
        if !name.is_posix_acl() {
            return Ok(self.value.len());
        }
        acl::device_len(self.value).map_err(|_| malformed())
    }

    fn write_value(&self, name: Name<'_>, to: &mut [u8]) -> Result<()> {
        if name.is_posix_acl() {
            return acl::to_device(self.value, to).map_err(|_| malformed());
        }
        to.copy_from_slice(self.value);
        Ok(())
    }
}

fn malformed() -> Error {
    Error::InvalidInput { what: "access control list" }
}

/// A place that is being filled.
struct Area<'b> {
    bytes: &'b mut [u8],
    /// Offset of the next entry, and of the first value.
    entries: usize,
    values: usize,
    /// Offset that values' offsets count from.
    base: usize,
}

impl Area<'_> {
    fn fits(&self, name: Name<'_>, len: usize) -> bool {
        let entry = HEAD + name.suffix.len().next_multiple_of(4);
        self.entries + entry + END + len.next_multiple_of(4) <= self.values
    }

    /// Puts an attribute that fits; gives the hash of its entry.
    fn put(&mut self, xattr: &Xattr<'_>, name: Name<'_>, len: usize) -> Result<u32> {
        let value_at = self.values - len.next_multiple_of(4);
        self.bytes[value_at..self.values].fill(0);
        xattr.write_value(name, &mut self.bytes[value_at..value_at + len])?;
        let hash = entry_hash(name.suffix, &self.bytes[value_at..self.values]);
        let head = RawXattrEntry {
            name_len: name.suffix.len() as u8,
            name_index: name.index,
            value_offset: (if len == 0 { 0 } else { value_at - self.base } as u16).into(),
            value_inode: 0.into(),
            value_len: (len as u32).into(),
            hash: hash.into(),
        };
        let name_at = self.entries + HEAD;
        self.bytes[self.entries..name_at].copy_from_slice(head.as_bytes());
        self.bytes[name_at..name_at + name.suffix.len()].copy_from_slice(name.suffix);
        self.entries = name_at + name.suffix.len().next_multiple_of(4);
        self.values = value_at;
        Ok(hash)
    }
}

/// Puts all of `xattrs` into `inode` (the zeroed bytes behind the fixed fields) and `block` (zeroed too). True if anything is in
/// the block, which then lacks its checksum only.
///
/// # Errors
/// `NoSpace` when they do not fit; `InvalidInput` for names that cannot be, and malformed access control lists.
pub(super) fn place(xattrs: &mut [Xattr<'_>], inode: &mut [u8], block: &mut [u8]) -> Result<bool> {
    let key = |xattr: &Xattr<'_>| Name::parse(xattr.name).map_or((0, 0), |n| (n.index, n.suffix.len()));
    xattrs.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.name.cmp(b.name)));
    let room = inode.len();
    let mut inside = Area { bytes: inode, entries: INODE_HEAD, values: room, base: INODE_HEAD };
    let size = block.len();
    let mut outside = Area { bytes: block, entries: BLOCK_HEAD, values: size, base: 0 };
    let mut block_hash = 0u32;
    let mut all_hashed = true;
    for xattr in xattrs.iter() {
        let name = xattr.parsed()?;
        let len = xattr.device_len(name)?;
        if inside.fits(name, len) {
            inside.put(xattr, name, len)?;
        } else if outside.fits(name, len) {
            let hash = outside.put(xattr, name, len)?;
            block_hash = block_hash.rotate_left(16) ^ hash;
            all_hashed &= hash != 0;
        } else {
            return Err(Error::NoSpace { what: "bytes for extended attributes" });
        }
    }
    if inside.entries > INODE_HEAD {
        inside.bytes[..INODE_HEAD].copy_from_slice(&XATTR_MAGIC.to_le_bytes());
    }
    let uses_block = outside.entries > BLOCK_HEAD;
    let head = RawXattrHeader {
        magic: XATTR_MAGIC.into(),
        reference_count: 1.into(),
        blocks: 1.into(),
        hash: if all_hashed { block_hash } else { 0 }.into(),
        checksum: 0.into(),
        reserved: [0.into(); 3],
    };
    outside.bytes[..BLOCK_HEAD].copy_from_slice(head.as_bytes());
    Ok(uses_block)
}

/// Sums up a block of attributes that stands at `number`.
pub(super) fn seal(block: &mut [u8], number: u64, csum_seed: u32) {
    const AT: usize = core::mem::offset_of!(RawXattrHeader, checksum);
    let sum = crc32c(crc32c(csum_seed, &number.to_le_bytes()), block);
    block[AT..AT + 4].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_inside_and_the_rest_in_the_block() {
        let (mut inode, mut block) = ([0; 96], [0; 1024]);
        let big = [7; 200];
        let mut all = [
            Xattr { name: b"user.big", value: &big },
            Xattr { name: b"user.a", value: b"1" },
            Xattr { name: b"trusted.empty", value: b"" },
        ];
        assert_eq!(place(&mut all, &mut inode, &mut block), Ok(true));
        assert_eq!(inode[..4], XATTR_MAGIC.to_le_bytes());
        assert_eq!(&inode[4..24], b"\x01\x01\x58\0\0\0\0\0\x01\0\0\0\x31\0\x61\0a\0\0\0");
        assert_eq!(&block[824..1024], &big[..]);
        let mut huge = [Xattr { name: b"user.huge", value: &[0; 1000] }];
        let full = place(&mut huge, &mut [0; 96], &mut [0; 1024]);
        assert_eq!(full, Err(Error::NoSpace { what: "bytes for extended attributes" }));
    }
}
