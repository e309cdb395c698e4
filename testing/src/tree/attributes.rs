//! Times, owners, modes, extended attributes, access control lists and flags.

use super::{Room, attempt, make_directory, write_file};
use crate::seed::Random;
use rustix::fs::{AtFlags, CWD, IFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Seconds since 1970 at the ends of what 32 bits, and 34 bits counted from 1901, can hold, and within.
const SECONDS: &[i64] = &[
    -0x8000_0000,
    -0x7fff_ffff,
    -1,
    0,
    1,
    1_000_000_000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_8000_0000,
    0x2_0000_0000,
    0x3_7fff_ffff,
];

/// Files with times from 1901 to 2446, and nanoseconds.
pub fn times(directory: &Path) {
    make_directory(directory);
    for (n, &seconds) in SECONDS.iter().enumerate() {
        let path = directory.join(format!("at-{seconds}"));
        write_file(&path, b"");
        let nanoseconds = [0, 1, 999_999_999, 123_456_789][n % 4];
        set_times(&path, seconds, nanoseconds);
    }
}

fn set_times(path: &Path, seconds: i64, nanoseconds: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let access = Timespec { tv_sec: seconds / 2, tv_nsec: (999_999_999 - nanoseconds).into() };
    let times = Timestamps { last_access: access, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("setting times");
}

/// Owners beyond 16 bits, and every special mode bit.
pub fn owners_and_modes(directory: &Path, room: &Room) {
    make_directory(directory);
    for mode in [0, 0o400, 0o777, 0o4755, 0o2755, 0o1777, 0o7777] {
        // What its owner cannot read, an ordinary user's mke2fs -d cannot copy.
        if mode & 0o400 == 0 && !room.root {
            continue;
        }
        let path = directory.join(format!("mode-{mode:o}"));
        write_file(&path, b"");
        set_mode(&path, mode);
    }
    make_directory(&directory.join("sticky"));
    set_mode(&directory.join("sticky"), 0o1777);
    if !room.root {
        return;
    }
    for (uid, gid) in
        [(1, 2), (65_535, 65_536), (65_536, 65_535), (70_000, 80_000), (0xffff_fffe, 0xffff_fffe)]
    {
        let path = directory.join(format!("owner-{uid}-{gid}"));
        write_file(&path, b"");
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("giving a file away");
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("setting a mode");
}

/// Errnos of a file system that has no room for an attribute, or no such attributes.
const NO_ROOM: &[Errno] = &[Errno::NOSPC, Errno::OPNOTSUPP, Errno::TOOBIG, Errno::PERM, Errno::RANGE];

fn set(path: &Path, name: &str, value: &[u8]) {
    attempt(name, rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()), NO_ROOM);
}

/// Attributes in every namespace, in the inode, in a block, in inodes of their own; shared blocks; many.
pub fn extended(directory: &Path, room: &Room) {
    make_directory(directory);
    let file = |name: &str| {
        let path = directory.join(name);
        write_file(&path, name.as_bytes());
        path
    };
    let path = file("small");
    set(&path, "user.small", b"value");
    set(&path, "user.empty", b"");
    set(&path, "user.x", b"\0binary\xff");
    set(&path, "trusted.overlay", b"y");
    set(&path, "security.selinux", b"system_u:object_r:etc_t:s0\0");
    for length in [20, 60, 80, 100, 120, 200, 500, 900, 2000, 3000, 3900, 5000, 20_000, 60_000, 65_536] {
        if length > room.attribute_bytes {
            continue;
        }
        let path = file(&format!("large-{length}"));
        set(&path, "user.large", &Random::new(length).bytes(length as usize));
        set(&path, "user.beside", b"it");
    }
    let path = file("long-name");
    set(&path, &format!("user.{}", "n".repeat(250)), b"long");
    let path = file("many");
    let in_a_block = if room.mounted { 4000 } else { (room.block_bytes - 300).min(4000) };
    for n in 0..in_a_block / 70 {
        set(&path, &format!("user.number-{n}"), &Random::new(n).bytes(n as usize));
    }
    for n in 0..4 {
        set(&file(&format!("shared-{n}")), "user.shared", &[b's'; 600]);
    }
    set(directory, "user.directory", b"of files");
    rustix::fs::symlink("small", directory.join("link")).expect("a link");
    set(&directory.join("link"), "trusted.link", b"of a link");
    if room.root && !room.mounted {
        // mke2fs -d keeps what the host's file system gives; nothing more to add.
        return;
    }
    set_on_device(directory, room);
}

fn set_on_device(directory: &Path, room: &Room) {
    if room.root {
        let path = directory.join("device");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let number = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::CharacterDevice, mode, number)
            .expect("a device");
        set(&path, "trusted.device", b"of a device");
        set(&path, "security.selinux", b"label");
    }
}

/// The form in which user space hands access control lists to the kernel: a version and entries of tag, permissions
/// and id.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Access lists of files and directories, default lists of directories, up to many entries.
pub fn access_lists(directory: &Path, room: &Room) {
    const NO_ID: u32 = u32::MAX;
    make_directory(&directory.join("dir"));
    write_file(&directory.join("file"), b"");
    write_file(&directory.join("many"), b"");
    let (owner, user, group_owner, group, mask, other) = (1, 2, 4, 8, 16, 32);
    let some = access_list(&[
        (owner, 7, NO_ID),
        (user, 4, 1000),
        (user, 7, 70_000),
        (group_owner, 4, NO_ID),
        (group, 5, 100_000),
        (mask, 7, NO_ID),
        (other, 0, NO_ID),
    ]);
    set(&directory.join("file"), "system.posix_acl_access", &some);
    set(&directory.join("dir"), "system.posix_acl_access", &some);
    set(&directory.join("dir"), "system.posix_acl_default", &some);
    let mut entries = vec![(owner, 6, NO_ID)];
    entries.extend((1..60).map(|n| (user, 4, n * 1000)));
    entries.extend([(group_owner, 4, NO_ID), (mask, 7, NO_ID), (other, 4, NO_ID)]);
    if entries.len() as u64 * 8 <= room.attribute_bytes {
        set(&directory.join("many"), "system.posix_acl_access", &access_list(&entries));
    }
    if directory.join("dir").is_dir() {
        write_file(&directory.join("dir/inherits"), b"");
        make_directory(&directory.join("dir/inherits-too"));
    }
}

/// Files with flags as `chattr` sets them, some of which forbid further change.
pub fn flags(directory: &Path, room: &Room) {
    make_directory(directory);
    if !(room.mounted && room.root) {
        return;
    }
    let flags = [
        ("append", IFlags::APPEND),
        ("immutable", IFlags::IMMUTABLE),
        ("nodump", IFlags::NODUMP),
        ("noatime", IFlags::NOATIME),
        ("sync", IFlags::SYNC),
        ("two", IFlags::IMMUTABLE | IFlags::NODUMP),
    ];
    for (name, flag) in flags {
        let path = directory.join(name);
        write_file(&path, name.as_bytes());
        let file = File::open(&path).expect("a file to mark");
        let before = rustix::fs::ioctl_getflags(&file).expect("reading flags");
        let tolerated = [Errno::OPNOTSUPP];
        attempt("marking", rustix::fs::ioctl_setflags(&file, before | flag), &tolerated);
    }
}

/// A few, for corruption.
pub fn few(directory: &Path, room: &Room) {
    make_directory(directory);
    let fits = |length: &u64| *length <= room.attribute_bytes;
    for (n, length) in [10, 700, 2000, 20_000].into_iter().filter(fits).enumerate() {
        let path = directory.join(format!("x{n}"));
        write_file(&path, b"attributes");
        set(&path, "user.value", &Random::new(length).bytes(length as usize));
        set(&path, "user.other", b"small");
    }
    access_lists(&directory.join("acls"), room);
}
