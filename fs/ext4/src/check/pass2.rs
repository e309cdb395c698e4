//! Pass 2: directories, the links that they make, and whether every directory hangs from the root.
//!
//! Who calls it: `check`. Whom it calls: `live`, `directory`, `index`, `slots`.
//!
//! All directories are scanned once for each window of inodes. In each: the slots are filled from the inode tables, the scan
//! counts in them, and then they are compared. A directory's way up to the root goes by the parents in the slots and, beyond the
//! window, by `..` on the device; a way that comes back to itself is found by Brent's method, so it ends.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::{Context, Telling, u16_at, u32_at};
use super::directory::Scan;
use super::finding::{Detail, Place};
use super::index;
use super::inode::{self, Role};
use super::live::{self, Live, number};
use super::mapping;
use super::memory::Scratch;
use super::slots::{Slot, Slots, Start, state};
use crate::layout::inode_flags;
use rumpcap_host::Result;
use rumpcap_vfs::FileKind;

/// Most links that an inode counts; a directory with more counts 1.
const LINKS_MAX: u16 = 65_000;

/// Runs the pass; gives the number of windows.
pub(super) fn run(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, map: &mut [u8]) -> Result<u32> {
    let mut start = Some(Start { group: 0, index: 0 });
    let mut windows = 0_u32;
    while let Some(from) = start
        && !cx.is_stopped()
    {
        let (mut slots, next) = Slots::new(cx, map, from)?;
        fill(cx, scratch, &mut slots)?;
        scan_all(cx, scratch, &mut slots)?;
        compare(cx, scratch, &mut slots)?;
        cx.telling = Telling::Repeated;
        windows = windows.saturating_add(1);
        start = next.filter(|next| *next != from);
    }
    cx.telling = Telling::First;
    Ok(windows)
}

/// Fills the slots from the inodes of the window.
fn fill(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, slots: &mut Slots<'_>) -> Result<()> {
    for group in slots.groups() {
        let places = cx.group(group)?;
        let part = slots.part(group);
        let _ = live::for_each(cx, group, part, places.inode_table, scratch.inode, &mut |cx, _, live, _| {
            let role = inode::role(cx, live);
            let Some(slot) = slots.of(live.ino) else { return Ok(()) };
            *slot =
                Slot { stored: live.raw.links.get(), file_type: file_type(live.kind()), ..Slot::default() };
            if role != Role::Free {
                slot.state |= state::USED;
            }
            if role == Role::File {
                slot.state |= state::FILE;
            }
            if live.is_directory() {
                slot.state |= state::DIRECTORY;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The file type that directories note for a kind.
fn file_type(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
        FileKind::Unknown => 0,
    }
}

/// Scans all directories.
fn scan_all(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, slots: &mut Slots<'_>) -> Result<()> {
    let mut lost_and_found = 0;
    for group in 0..cx.sb.group_count {
        let places = cx.group(group)?;
        let used = cx.used_inodes(&places);
        let Scratch { inode: buf, block, seen, names } = scratch;
        let _ = live::for_each(cx, group, 0..used, places.inode_table, buf, &mut |cx, _, live, bytes| {
            if !live.is_directory() || inode::role(cx, live) != Role::File {
                return Ok(());
            }
            let mut scan = Scan::new(cx, live, slots, names);
            scan.run(cx, bytes, block)?;
            lost_and_found = scan.lost_and_found.max(lost_and_found);
            let is_indexed = live.has_flag(inode_flags::INDEX) && !live.has_flag(inode_flags::INLINE_DATA);
            if is_indexed && cx.sb.features.has_dir_index() && cx.telling == Telling::First {
                let mut rest = Scratch { inode: &mut [], block, seen, names };
                index::check(cx, live, &mut rest)?;
            }
            Ok(())
        })?;
        cx.progress("directories", group.saturating_add(1));
        if cx.is_stopped() {
            return Ok(());
        }
    }
    let found = live::one(cx, lost_and_found, scratch.inode)?;
    if !found.is_some_and(|live| live.is_directory()) {
        cx.find(Place::Inode(number::ROOT), "no directory lost+found in the root", Detail::Nothing);
    }
    Ok(())
}

/// Compares what was counted with what the inodes say.
fn compare(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, slots: &mut Slots<'_>) -> Result<()> {
    for group in slots.groups() {
        for index in slots.part(group) {
            let first = u64::from(group).saturating_mul(cx.sb.inodes_per_group.into());
            let ino = u32::try_from(first.saturating_add(index.into()).saturating_add(1)).unwrap_or(u32::MAX);
            let Some(slot) = slots.of(ino).copied() else { continue };
            if slot.state & (state::USED | state::FILE) == state::USED | state::FILE {
                compare_one(cx, ino, &slot);
                if slot.state & state::DIRECTORY != 0 {
                    follow(cx, scratch, slots, ino)?;
                }
            }
        }
        if cx.is_stopped() {
            break;
        }
    }
    Ok(())
}

fn compare_one(cx: &mut Context<'_, '_>, ino: u32, slot: &Slot) {
    let place = Place::Inode(ino);
    let is_directory = slot.state & state::DIRECTORY != 0;
    let mut find = |what, detail| cx.find_here(place, what, detail, b"");
    if is_directory {
        let parent = if ino == number::ROOT { number::ROOT } else { slot.parent };
        if parent == 0 {
            find("a directory that no directory names", Detail::Nothing);
        } else if slot.dotdot != parent {
            let detail = Detail::ShouldBe { is: slot.dotdot.into(), should_be: parent.into() };
            find("inode of the entry \"..\"", detail);
        }
    } else if slot.found == 0 {
        return find("in use, and no directory names it", Detail::Nothing);
    }
    let counts_one = is_directory && slot.found > LINKS_MAX;
    let should_be = if counts_one { 1 } else { slot.found };
    if slot.stored != should_be {
        find("number of links", Detail::ShouldBe { is: slot.stored.into(), should_be: should_be.into() });
    }
}

/// Follows the way from directory `ino` up to the root, or to where it has been followed before.
fn follow(
    cx: &mut Context<'_, '_>,
    scratch: &mut Scratch<'_>,
    slots: &mut Slots<'_>,
    ino: u32,
) -> Result<()> {
    let (mut at, mut beyond) = (ino, None);
    while at != number::ROOT && at != 0 {
        let Some(slot) = slots.of(at) else {
            beyond = Some(at);
            break;
        };
        if slot.state & state::ON_THE_WAY != 0 {
            cx.find_here(Place::Inode(at), "a directory below itself", Detail::Nothing, b"");
            break;
        }
        if slot.state & state::DONE != 0 {
            break;
        }
        slot.state |= state::ON_THE_WAY;
        at = slot.parent;
    }
    if let Some(beyond) = beyond {
        follow_beyond(cx, scratch, slots, ino, beyond)?;
    }
    let mut at = ino;
    while let Some(slot) = slots.of(at).filter(|slot| slot.state & state::ON_THE_WAY != 0) {
        slot.state = slot.state & !state::ON_THE_WAY | state::DONE;
        at = slot.parent;
    }
    Ok(())
}

/// Goes on from `from`, which is in no slot, by what `..` says on the device, until it comes to the window, to the root, or back.
fn follow_beyond(
    cx: &mut Context<'_, '_>,
    scratch: &mut Scratch<'_>,
    slots: &mut Slots<'_>,
    ino: u32,
    from: u32,
) -> Result<()> {
    let (mut at, mut remembered) = (from, from);
    let (mut steps, mut until) = (0_u64, 1_u64);
    loop {
        let Some(parent) = parent_on_device(cx, scratch, at)? else { return Ok(()) };
        at = parent;
        if at == number::ROOT {
            return Ok(());
        }
        if let Some(slot) = slots.of(at) {
            if slot.state & state::ON_THE_WAY != 0 {
                cx.find_here(Place::Inode(at), "a directory below itself", Detail::Nothing, b"");
                return Ok(());
            }
            if slot.state & state::DONE != 0 {
                return Ok(());
            }
        }
        if at == remembered {
            cx.find_here(
                Place::Inode(ino),
                "a directory below others that are below themselves",
                Detail::Nothing,
                b"",
            );
            return Ok(());
        }
        steps = steps.saturating_add(1);
        if steps == until {
            (remembered, until) = (at, until.saturating_mul(2));
            steps = 0;
        }
    }
}

/// What `..` of directory `ino` names.
fn parent_on_device(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, ino: u32) -> Result<Option<u32>> {
    let Some(live) = live::one(cx, ino, scratch.inode)? else { return Ok(None) };
    if !live.is_directory() || !live.is_linked() {
        return Ok(None);
    }
    let parent = parent_of(cx, scratch, &live)?;
    Ok(parent.filter(|parent| *parent != 0 && *parent <= cx.sb.inodes_count))
}

fn parent_of(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>, live: &Live) -> Result<Option<u32>> {
    if live.has_flag(inode_flags::INLINE_DATA) {
        return Ok(Some(u32_at(&live.block_bytes(), 0)));
    }
    let Some(block) = mapping::first_block(cx, live)? else { return Ok(None) };
    cx.read(block, scratch.block)?;
    let at = usize::from(u16_at(scratch.block, 4));
    Ok(scratch.block.get(at..).map(|entry| u32_at(entry, 0)))
}
