//! One inode by itself: whether it is in use, and whether its fields agree with each other.
//!
//! Who calls it: `pass1`. Whom it calls: `mapping` for the targets of symbolic links.
//!
//! Reserved inodes are always in use. Any other is when it has links; without, what is left in it must not look as if it
//! were.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::Context;
use super::finding::{Detail, Place};
use super::live::{Live, number};
use super::mapping;
use crate::layout::{BLOCK_BYTES, INODE_BASE_BYTES, inode_flags};
use rumpcap_host::Result;
use rumpcap_vfs::FileKind;

/// `i_flags`: may not be changed, may only grow: never set on devices, pipes, sockets and short links.
const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;

/// What an inode is to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Not in use.
    Free,
    /// In use by files and directories.
    File,
    /// Holds the value of an attribute: no directory names it.
    Value,
    /// The file system's own: journal, quota, orphans, resizing, bad blocks, those without a use.
    Own,
}

/// The role of `live`.
pub(super) fn role(cx: &Context<'_, '_>, live: &Live) -> Role {
    match live.ino {
        number::ROOT if live.is_linked() => Role::File,
        number::ROOT => Role::Free,
        ino if ino < cx.first_inode() => Role::Own,
        _ if !live.is_linked() => Role::Free,
        ino if is_own_file(cx, ino) => Role::Own,
        _ if live.has_flag(inode_flags::EA_INODE) && cx.sb.features.has_ea_inode() => Role::Value,
        _ => Role::File,
    }
}

/// Files that the super block names: journal, quotas, orphans.
pub(super) fn is_own_file(cx: &Context<'_, '_>, ino: u32) -> bool {
    let raw = &cx.raw;
    let quotas = [raw.user_quota_inode.get(), raw.group_quota_inode.get(), raw.project_quota_inode.get()];
    let is_quota = cx.has_quota() && quotas.contains(&ino);
    let is_orphans = cx.sb.features.has_orphan_file() && raw.orphan_file_inode.get() == ino;
    let is_journal = cx.sb.features.has_journal() && cx.sb.journal_inode == ino;
    ino != 0 && (is_quota || is_orphans || is_journal)
}

/// Tells what is wrong with an inode that is not in use.
pub(super) fn check_free(cx: &mut Context<'_, '_>, live: &Live) {
    let place = Place::Inode(live.ino);
    if live.ino == number::ROOT {
        cx.find(place, "the root directory is not in use", Detail::Nothing);
    }
    if live.raw.mode.get() != 0 && live.raw.dtime.get() == 0 {
        cx.find(place, "no links and no time of deletion", Detail::Nothing);
    }
    check_sum(cx, live);
}

fn check_sum(cx: &mut Context<'_, '_>, live: &Live) {
    if !live.is_checksum_right {
        cx.find(Place::Inode(live.ino), "wrong checksum", Detail::Nothing);
    }
}

/// Tells what is wrong with the fields of an inode in use, but for what it takes.
pub(super) fn check_fields(
    cx: &mut Context<'_, '_>,
    live: &Live,
    role: Role,
    target: &mut [u8],
) -> Result<()> {
    let place = Place::Inode(live.ino);
    check_sum(cx, live);
    if role == Role::Own {
        check_own(cx, live);
        return Ok(());
    }
    if live.raw.dtime.get() != 0 {
        cx.find(place, "in use, and has a time of deletion", Detail::Nothing);
    }
    if live.ino == number::ROOT && !live.is_directory() {
        cx.find(place, "the root is no directory", Detail::Nothing);
    }
    if live.raw.obsolete_fragment.get() != 0 {
        cx.find(
            place,
            "i_faddr",
            Detail::ShouldBe { is: live.raw.obsolete_fragment.get().into(), should_be: 0 },
        );
    }
    check_high_halves(cx, live);
    check_extra(cx, live);
    check_flags(cx, live);
    match live.kind() {
        FileKind::Unknown => cx.find(place, "i_mode", Detail::Is(live.raw.mode.get().into())),
        FileKind::Regular | FileKind::Directory => {}
        FileKind::Symlink => check_link(cx, live, target)?,
        _ => check_special(cx, live),
    }
    Ok(())
}

fn check_own(cx: &mut Context<'_, '_>, live: &Live) {
    let place = Place::Inode(live.ino);
    let mode = live.raw.mode.get();
    if is_own_file(cx, live.ino) {
        if live.kind() != FileKind::Regular {
            cx.find(
                place,
                "a file of the file system's own is no regular file: i_mode",
                Detail::Is(mode.into()),
            );
        }
    } else if live.ino == number::RESIZE && cx.sb.features.has_resize_inode() {
        if live.kind() != FileKind::Regular {
            cx.find(place, "the resize inode is no regular file: i_mode", Detail::Is(mode.into()));
        }
    } else if live.ino == number::BOOT_LOADER {
        if live.is_directory() {
            cx.find(place, "the boot loader's inode is a directory", Detail::Nothing);
        }
    } else if mode != 0 {
        cx.find(place, "reserved, and in use: i_mode", Detail::Is(mode.into()));
    }
}

/// Halves that only count with a feature must be 0 without it.
fn check_high_halves(cx: &mut Context<'_, '_>, live: &Live) {
    let place = Place::Inode(live.ino);
    let features = cx.sb.features;
    let mut expect_zero = |what, value: u32, is_expected: bool| {
        if is_expected && value != 0 {
            cx.find(place, what, Detail::ShouldBe { is: value.into(), should_be: 0 });
        }
    };
    expect_zero("upper half of i_blocks", live.raw.blocks_hi.get().into(), !features.has_huge_file());
    expect_zero("upper half of i_file_acl", live.raw.file_acl_hi.get().into(), !features.has_64bit());
    let is_small_directory = live.is_directory() && !features.has_large_dir();
    expect_zero("upper half of i_size", live.raw.size_hi.get(), is_small_directory);
}

/// What lies behind the first 128 bytes: how much of it there is, and times that no clock has shown.
fn check_extra(cx: &mut Context<'_, '_>, live: &Live) {
    let (place, raw) = (Place::Inode(live.ino), &live.raw);
    let room = (cx.sb.inode_size as usize).saturating_sub(INODE_BASE_BYTES);
    let extra = raw.extra_isize.get();
    if room == 0 {
        return;
    }
    if extra != 0 && (extra < 4 || usize::from(extra) > room || extra % 4 != 0) {
        cx.find(place, "i_extra_isize", Detail::Is(extra.into()));
        return;
    }
    // Before 1970 and, by the bits of the epoch, beyond 2310: what an old bug made of times before 1970.
    let is_odd = |seconds: u32, epoch: u32| seconds >> 31 != 0 && epoch & 3 == 3;
    let times = [
        (raw.atime.get(), raw.atime_extra.get(), 16),
        (raw.ctime.get(), raw.ctime_extra.get(), 8),
        (raw.mtime.get(), raw.mtime_extra.get(), 12),
        (raw.crtime.get(), raw.crtime_extra.get(), 24),
    ];
    // A value's inode keeps its hash and its references where others have times.
    let is_value = live.has_flag(inode_flags::EA_INODE);
    if !is_value && times.iter().any(|&(seconds, epoch, end)| extra >= end && is_odd(seconds, epoch)) {
        cx.note(place, "a time is before 1970 and after 2310 at once", Detail::Nothing);
    }
}

fn check_flags(cx: &mut Context<'_, '_>, live: &Live) {
    let place = Place::Inode(live.ino);
    let features = cx.sb.features;
    let mut check = |flag, may: bool, what| {
        if live.has_flag(flag) && !may {
            cx.find(place, what, Detail::Nothing);
        }
    };
    check(inode_flags::EXTENTS, features.has_extent(), "has extents, without the feature");
    check(inode_flags::INLINE_DATA, features.has_inline_data(), "has inline data, without the feature");
    let is_either = !live.has_flag(inode_flags::EXTENTS);
    check(inode_flags::INLINE_DATA, is_either, "has extents and inline data at once");
    check(
        inode_flags::EA_INODE,
        features.has_ea_inode(),
        "is marked as that of a value, without the feature",
    );
    check(inode_flags::ENCRYPT, features.has_encrypt(), "is encrypted, without the feature");
    let folds = features.has_casefold() && live.is_directory();
    check(inode_flags::CASEFOLD, folds, "is casefolded, and no directory or without the feature");
    let is_indexed = features.has_dir_index() && live.is_directory();
    check(inode_flags::INDEX, is_indexed, "is indexed, and no directory or without the feature");
}

/// Devices, pipes and sockets have no content.
fn check_special(cx: &mut Context<'_, '_>, live: &Live) {
    let place = Place::Inode(live.ino);
    if live.has_flag(inode_flags::EXTENTS | inode_flags::INLINE_DATA) {
        cx.find(place, "a device, pipe or socket with extents or inline data", Detail::Nothing);
    }
    if live.has_flag(IMMUTABLE | APPEND) {
        cx.find(place, "a device, pipe or socket that is immutable or append-only", Detail::Nothing);
    }
    if live.size() != 0 {
        cx.find(
            place,
            "size of a device, pipe or socket",
            Detail::ShouldBe { is: live.size(), should_be: 0 },
        );
    }
}

/// The target of a symbolic link: as long as it says, and without a NUL.
fn check_link(cx: &mut Context<'_, '_>, live: &Live, buf: &mut [u8]) -> Result<()> {
    let place = Place::Inode(live.ino);
    let size = live.size();
    if size == 0 || size > u64::from(cx.sb.block_size) {
        cx.find(place, "length of a symbolic link", Detail::Is(size));
        return Ok(());
    }
    if live.has_flag(inode_flags::INLINE_DATA) {
        return Ok(());
    }
    if live.is_fast_link(cx) {
        let bytes = live.block_bytes();
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(BLOCK_BYTES);
        if len == BLOCK_BYTES || (len as u64 != size && !live.has_flag(inode_flags::ENCRYPT)) {
            cx.find(place, "length of a symbolic link", Detail::ShouldBe { is: size, should_be: len as u64 });
        }
        if live.has_flag(IMMUTABLE | APPEND) {
            cx.find(place, "a short symbolic link that is immutable or append-only", Detail::Nothing);
        }
        return Ok(());
    }
    let Some(block) = mapping::first_block(cx, live)? else {
        cx.find(place, "a symbolic link without a target", Detail::Nothing);
        return Ok(());
    };
    cx.read(block, buf)?;
    let len = buf.iter().position(|byte| *byte == 0).unwrap_or(buf.len()) as u64;
    if len != size && !live.has_flag(inode_flags::ENCRYPT) {
        cx.find(place, "length of a symbolic link", Detail::ShouldBe { is: size, should_be: len });
    }
    Ok(())
}
