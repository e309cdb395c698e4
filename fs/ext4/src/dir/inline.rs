//! Directories that are kept in their inode.
//!
//! Who calls it: `dir`. Whom it calls: `xattr` for where the rest is, `dir::block` for the rest's entries.
//!
//! `i_block` begins with the parent's inode number; records fill what is left of it, and a second area, the value of
//! the `system.data` attribute. There are no entries for `.` and `..`: they are made here. Cookies: as if both had
//! records of 12 bytes, with the records of `i_block` and then those of the value behind them.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Dir;
use super::block::walk_windows;
use super::entry::{Broken, Entry, Rules};
use crate::layout::BLOCK_BYTES;
use crate::node::Ext4Node;
use crate::region::Region;
use crate::xattr;
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};

/// Bytes of the parent's inode number.
const PARENT: usize = 4;
/// Cookies of `..`, of the records in `i_block`, and of those in the value.
const AT_DOTDOT: u32 = 12;
const AT_RECORDS: u32 = 24;
const AT_TAIL: u32 = AT_RECORDS + (BLOCK_BYTES - PARENT) as u32;
/// File type of a directory.
const DIRECTORY: u8 = 2;

/// Hands the entries from cookie `from` on to `visit`, until it breaks.
pub(super) fn scan<V>(dir: &Dir<'_, '_>, from: u64, visit: &mut V) -> Result<()>
where
    V: FnMut(u64, Entry<'_>) -> ControlFlow<()>,
{
    let from = u32::try_from(from).unwrap_or(u32::MAX);
    let bytes = dir.node.block_bytes();
    let (parent, records) = bytes.split_first_chunk::<PARENT>().expect("60 bytes hold 4");
    let ino = dir.node.attributes.ino.0 as u32;
    let dots: [(u32, u32, &[u8], u32); 2] =
        [(0, ino, b".", AT_DOTDOT), (AT_DOTDOT, u32::from_le_bytes(*parent), b"..", AT_RECORDS)];
    for (at, ino, name, end) in dots {
        if at >= from && visit(0, Entry { ino, file_type: DIRECTORY, name, at, end }).is_break() {
            return Ok(());
        }
    }
    let broken = |Broken(what): Broken| Error::Corrupt { what, at: dir.node.attributes.ino.0 };
    let rules = Rules { limit: records.len() as u32, ..dir.rules };
    let skip = from.saturating_sub(AT_RECORDS);
    let visit_record = |entry: Entry<'_>| visit(u64::from(AT_RECORDS), entry);
    if rules.walk(records, 0, &mut 0, skip, visit_record).map_err(broken)?.is_break() {
        return Ok(());
    }
    scan_tail(dir, from.saturating_sub(AT_TAIL), &broken, &mut |entry| visit(u64::from(AT_TAIL), entry))
}

fn scan_tail(
    dir: &Dir<'_, '_>,
    from: u32,
    broken: &impl Fn(Broken) -> Error,
    visit: &mut impl FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let Some(tail) = xattr::inline_tail(dir.fs, dir.r, dir.node)? else {
        return Ok(());
    };
    let region = Region { start: tail.place, len: tail.len_bytes };
    let rules = Rules { limit: tail.len_bytes, ..dir.rules };
    let mut open = |at| region.window(dir.fs, dir.r, at, 0);
    let _ = walk_windows(&rules, region, 0..from, visit, &mut open, broken)?;
    Ok(())
}
