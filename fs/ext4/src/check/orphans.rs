//! What is left of deleted files: the list of orphans, and the file of orphans.
//!
//! Who calls it: `check`. Whom it calls: `live`, `mapping`.
//!
//! An orphan is no error: whoever mounts the file system deletes it, or cuts it off, as it should have been.
//!
//! Source: the documentation in the Linux kernel, `filesystems/ext4/orphan`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, u32_at};
use super::finding::{Detail, Place};
use super::live::{self, Live};
use super::mapping::{self, Piece};
use super::memory::Scratch;
use crate::checksum::crc32c;
use core::ops::ControlFlow;
use rumpcap_host::Result;

/// `ro_compat`: the file of orphans holds some.
const PRESENT: u32 = 0x1_0000;
/// Last word but one of each block of the file of orphans, and the bytes of both.
const MAGIC: u32 = 0x0B10_CA04;
const TAIL: usize = 8;

const SUPER: Place = Place::SuperBlock { group: 0 };

/// Says what is to be deleted yet, and what is wrong with how that is noted.
pub(super) fn check(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>) -> Result<()> {
    list(cx, scratch)?;
    let is_said = cx.sb.features.ro_compat & PRESENT != 0;
    let ino = cx.raw.orphan_file_inode.get();
    if !cx.sb.features.has_orphan_file() {
        if is_said {
            cx.find(SUPER, "orphans are present, without the feature orphan_file", Detail::Nothing);
        }
        return Ok(());
    }
    let Some(live) = live::one(cx, ino, scratch.inode)?.filter(|_| ino >= cx.first_inode()) else {
        cx.find(SUPER, "no inode for the file of orphans:", Detail::Number(ino.into()));
        return Ok(());
    };
    let orphans = file(cx, &live, scratch.block)?;
    // A kernel says so as long as it has the file system mounted: after a replay it means nothing.
    if is_said && orphans == 0 && cx.fs.recovery.is_none() {
        cx.find(SUPER, "orphans are said to be present, and there are none", Detail::Nothing);
    }
    Ok(())
}

/// The list that begins in the super block and goes on in the times of deletion.
fn list(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>) -> Result<()> {
    let mut ino = cx.raw.last_orphan.get();
    // A list that is longer than there are inodes goes round.
    for _ in 0..cx.sb.inodes_count {
        if ino == 0 || cx.is_stopped() {
            return Ok(());
        }
        let is_possible = ino >= cx.first_inode();
        let live = if is_possible { live::one(cx, ino, scratch.inode)? } else { None };
        let Some(live) = live else {
            cx.find(SUPER, "the list of orphans names the inode", Detail::Number(ino.into()));
            return Ok(());
        };
        tell(cx, ino);
        ino = live.raw.dtime.get();
    }
    cx.find(SUPER, "the list of orphans does not end", Detail::Nothing);
    Ok(())
}

fn tell(cx: &mut Context<'_, '_>, ino: u32) {
    cx.note(Place::Inode(ino), "an orphan: to be deleted, or cut off, yet", Detail::Nothing);
}

/// The blocks of the file of orphans; gives the number of orphans in it.
fn file(cx: &mut Context<'_, '_>, live: &Live, block: &mut [u8]) -> Result<u64> {
    let mut orphans = 0_u64;
    mapping::for_each_silently(cx, live, &mut |cx, piece| {
        let Piece::Data { first, count, .. } = piece else { return Ok(ControlFlow::Continue(())) };
        for physical in first..first.saturating_add(count) {
            if cx.is_stopped() {
                return Ok(ControlFlow::Break(()));
            }
            cx.read(physical, block)?;
            orphans = orphans.saturating_add(file_block(cx, live, physical, block));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(orphans)
}

fn file_block(cx: &mut Context<'_, '_>, live: &Live, physical: u64, bytes: &[u8]) -> u64 {
    let place = Place::InodeBlock { ino: live.ino, block: physical };
    let (entries, tail) = bytes.split_at_checked(bytes.len().saturating_sub(TAIL)).unwrap_or_default();
    if u32_at(tail, 0) != MAGIC {
        cx.find(place, "file of orphans: no magic number", Detail::Nothing);
        return 0;
    }
    let sum = crc32c(crc32c(live.seed, &physical.to_le_bytes()), entries);
    if cx.sb.features.has_metadata_csum() && sum != u32_at(tail, 4) {
        cx.find(place, "file of orphans: wrong checksum", Detail::Nothing);
    }
    let mut orphans = 0_u64;
    for word in entries.as_chunks::<4>().0 {
        let ino = u32::from_le_bytes(*word);
        if ino != 0 {
            orphans = orphans.saturating_add(1);
            tell(cx, ino);
        }
    }
    orphans
}
