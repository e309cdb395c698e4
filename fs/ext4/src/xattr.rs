//! Extended attributes: in the inode, in a block of their own, in inodes of their own.
//!
//! Who calls it: `vnops`, and `dir` and `vnops` for the rest of inline content; to change them `vnops_change`, `attributes`,
//! `namespace`. Whom it calls: `xattr::area` for the entries of one place, `xattr::value`, `xattr::name`.
//!
//! Reading is here, in `area` and `value`. Writing: `set` (the contract) → `place` (where an attribute goes) → `draft` (the entries of
//! one place, `seal` their sums) → `store` (to the device) · `value_inode` · `inherit` (new files) · `free` (deleted ones) · `inline` (the rest of inline content).
//!
//! A place is checked as a whole before any of it is handed out. Those in the inode come first, as the kernel has it.
//! Pins: two pages (a block larger than a page while it is verified, see [`verify`]); everything else one at a time, names
//! and heads copied to the stack.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod area;
mod draft;
mod free;
mod inherit;
mod inline;
pub(crate) mod name;
mod place;
mod seal;
mod set;
mod store;
#[cfg(test)]
mod tests;
mod value;
mod value_inode;

use crate::Ext4;
use crate::checksum::crc32c;
use crate::layout::{INODE_BASE_BYTES, RawXattrHeader, XATTR_MAGIC};
use crate::node::Ext4Node;
use crate::region::Region;
use area::{Area, Value};
use core::mem::offset_of;
use core::ops::ControlFlow;
pub(crate) use free::Freed;
pub(crate) use inherit::AclBytes;
use name::Name;
pub(crate) use place::{Stored, Wanted};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Node, XattrSink};
use rumpcap_vm::Reservation;
pub(crate) use seal::entry_hash;
pub(crate) use set::{set, store};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of the header of a block.
const BLOCK_HEAD: u32 = size_of::<RawXattrHeader>() as u32;
/// Bytes of the header in an inode: the magic number.
const INODE_HEAD: u32 = 4;

/// Hands over names and lengths.
pub(crate) fn list(fs: &Ext4, r: &Reservation<'_>, node: &Node, sink: &mut XattrSink<'_>) -> Result<()> {
    let mut failure = None;
    let mut visit = |name: Name<'_>, value: Value| {
        let Some(full) = name.full() else {
            return ControlFlow::Continue(());
        };
        match value::user_len(name, value, node) {
            Ok(len) => sink(&full, len as u64),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    for_each_place(fs, r, node, &mut |area| area.for_each(&mut visit))?;
    failure.map_or(Ok(()), Err)
}

/// Copies the value of `name`; with an empty `buf` gives only its length.
pub(crate) fn get(fs: &Ext4, r: &Reservation<'_>, node: &Node, name: &[u8], buf: &mut [u8]) -> Result<usize> {
    let name = Name::parse(name).ok_or(Error::NoAttribute)?;
    let value = find(fs, r, node, name)?.ok_or(Error::NoAttribute)?;
    let len = value::user_len(name, value, node)?;
    if buf.is_empty() {
        return Ok(len);
    }
    let buf = buf.get_mut(..len).ok_or(Error::Range { need: len as u64 })?;
    value::copy(fs, r, node, name, value, buf)?;
    Ok(len)
}

/// Where the value of `system.data` is: what inline content has beyond the 60 bytes of `i_block`. It is always kept in the
/// inode itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InlineTail {
    /// Byte of the device at which the value begins.
    pub place: u64,
    /// Its length in bytes, checked to lie within the inode.
    pub len_bytes: u32,
}

/// Finds the value of `system.data`; `None` when there is no such attribute.
pub(crate) fn inline_tail(fs: &Ext4, r: &Reservation<'_>, node: &Node) -> Result<Option<InlineTail>> {
    let Some(area) = inode_area(fs, r, node)? else {
        return Ok(None);
    };
    match find_in(&area, Name::INLINE_DATA)? {
        Some(Value::Here(region)) => Ok(Some(InlineTail { place: region.start, len_bytes: region.len })),
        Some(Value::Inode { .. }) => {
            Err(Error::Corrupt { what: "inline content in another inode", at: node.attributes.ino.0 })
        }
        None => Ok(None),
    }
}

fn find(fs: &Ext4, r: &Reservation<'_>, node: &Node, wanted: Name<'_>) -> Result<Option<Value>> {
    let mut found = None;
    for_each_place(fs, r, node, &mut |area| {
        found = find_in(area, wanted)?;
        Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

fn find_in(area: &Area<'_, '_>, wanted: Name<'_>) -> Result<Option<Value>> {
    let mut found = None;
    let _ = area.for_each(&mut |name, value| {
        if name == wanted {
            found = Some(value);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn for_each_place(
    fs: &Ext4,
    r: &Reservation<'_>,
    node: &Node,
    visit: &mut impl FnMut(&Area<'_, '_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if let Some(area) = inode_area(fs, r, node)?
        && visit(&area)?.is_break()
    {
        return Ok(());
    }
    if let Some(area) = block_area(fs, r, node)? {
        let _ = visit(&area)?;
    }
    Ok(())
}

/// The attributes in the inode, checked; `None` when there is no room for any, or no magic number.
fn inode_area<'a, 'v>(fs: &'a Ext4, r: &'a Reservation<'v>, node: &Node) -> Result<Option<Area<'a, 'v>>> {
    let used = (INODE_BASE_BYTES as u32).saturating_add(u32::from(node.extra_isize()));
    let room = fs.sb.inode_size.saturating_sub(used);
    if node.extra_isize() == 0 || room < INODE_HEAD.saturating_mul(2) {
        return Ok(None);
    }
    let region = Region { start: node.place().saturating_add(u64::from(used)), len: room };
    let mut magic = [0; INODE_HEAD as usize];
    region.read(fs, r, &mut magic)?;
    if u32::from_le_bytes(magic) != XATTR_MAGIC {
        return Ok(None);
    }
    let at = node.attributes.ino.0;
    let area = Area { fs, r, region, entries: INODE_HEAD, values: INODE_HEAD, at };
    area.check()?;
    Ok(Some(area))
}

/// The attributes in a block of their own, verified and checked; `None` when there is none.
fn block_area<'a, 'v>(fs: &'a Ext4, r: &'a Reservation<'v>, node: &Node) -> Result<Option<Area<'a, 'v>>> {
    let block = node.file_acl();
    if block == 0 {
        return Ok(None);
    }
    let region = Region { start: fs.byte_of(block, 0)?, len: fs.sb.block_size };
    let mut head = RawXattrHeader::new_zeroed();
    region.read(fs, r, head.as_mut_bytes())?;
    if head.magic.get() != XATTR_MAGIC || head.blocks.get() != 1 {
        return Err(Error::Corrupt { what: "extended attribute block: header", at: block });
    }
    verify(fs, r, block, region, &head)?;
    let area = Area { fs, r, region, entries: BLOCK_HEAD, values: 0, at: block };
    area.check()?;
    Ok(Some(area))
}

/// Verifies the checksum of a block: over its number, and its bytes with the checksum taken as 0.
///
/// Once while its (first) page stays; a block larger than a page each time, for its other pages may have gone.
fn verify(fs: &Ext4, r: &Reservation<'_>, block: u64, region: Region, head: &RawXattrHeader) -> Result<()> {
    const CHECKSUM: u32 = offset_of!(RawXattrHeader, checksum) as u32;
    const BEHIND: u32 = CHECKSUM + 4;
    if !fs.sb.features.has_metadata_csum() {
        return Ok(());
    }
    let mismatch = Error::Checksum { what: "extended attribute block", at: block };
    let window = region.window(fs, r, 0, 0)?;
    let note = window.note();
    let is_whole = window.bytes().len() == region.len as usize;
    if is_whole && window.page().is_checked(note) {
        return Ok(());
    }
    let before = region.part(0, CHECKSUM).ok_or(mismatch)?;
    let behind = region.part(BEHIND, region.len.saturating_sub(BEHIND)).ok_or(mismatch)?;
    let sum = crc32c(fs.sb.csum_seed, &block.to_le_bytes());
    let sum = before.crc32c(fs, r, sum)?;
    let sum = behind.crc32c(fs, r, crc32c(sum, &[0; 4]))?;
    if sum != head.checksum.get() {
        return Err(mismatch);
    }
    if is_whole {
        window.page().set_checked(note);
    }
    Ok(())
}
