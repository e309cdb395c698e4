//! [`HostTarget`]: operations by system calls, in a directory. It judges the model and the generator: they are right if the host's own file
//! system does what the model says.

use super::acl;
use super::model::SLOTS;
use super::operation::{Handle, Op, crowd_names, data};
use super::permitted::KNOWN;
use crate::oracle::{self, Description};
use crate::writing::{Answer, Target};
use rumpcap::{Allocate, FileKind, Rename, SetXattr, Timestamp};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

/// A directory of the host.
pub struct HostTarget {
    root: PathBuf,
    slots: [Option<File>; SLOTS],
}

type Done<T = ()> = Result<T, Errno>;

const EEXIST: Errno = Errno::EXIST;

impl HostTarget {
    /// Applies operations in `root`, the root of a file system.
    pub fn new(root: PathBuf) -> HostTarget {
        // Modes are as they are asked for: what a mask takes away would be a question of access control lists.
        rustix::process::umask(Mode::empty());
        HostTarget { root, slots: Default::default() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn with<T>(&self, file: &Handle, act: impl FnOnce(&File) -> Done<T>) -> Done<T> {
        match file {
            Handle::Slot(slot) => act(self.slots[*slot].as_ref().expect("the model knows what is open")),
            Handle::Path(path) => act(&self.open(path, OFlags::RDWR, 0)?),
        }
    }

    /// As [`HostTarget::with`], for what changes nothing: it may be a file that cannot be changed.
    fn with_to_read<T>(&self, file: &Handle, act: impl FnOnce(&File) -> Done<T>) -> Done<T> {
        match file {
            Handle::Slot(_) => self.with(file, act),
            Handle::Path(path) => act(&self.open(path, OFlags::RDONLY, 0)?),
        }
    }

    /// Writes; at the end of a file that can only be appended to too.
    fn write(&self, file: &Handle, offset: u64, bytes: &[u8]) -> Done {
        let written = self.with(file, |file| io(file.write_all_at(bytes, offset)));
        let (Handle::Path(path), Err(Errno::PERM)) = (file, written) else { return written };
        let file = self.open(path, OFlags::WRONLY | OFlags::APPEND, 0)?;
        let is_at_end = io(file.metadata())?.len() == offset;
        if is_at_end { io((&file).write_all(bytes)) } else { written }
    }

    fn make_nameless(&self, dir: &str, mode: u32, uid: u32, gid: u32) -> Done<File> {
        let file = self.open(dir, OFlags::TMPFILE | OFlags::RDWR, mode)?;
        let inherits = io(std::fs::metadata(self.path(dir)))?.permissions().mode() & 0o2000 != 0;
        rustix::fs::fchown(&file, Some(uid_of(uid)), (!inherits).then(|| gid_of(gid)))?;
        Ok(file)
    }

    fn open(&self, path: &str, flags: OFlags, mode: u32) -> Done<File> {
        rustix::fs::open(self.path(path), flags, Mode::from_raw_mode(mode)).map(File::from)
    }

    /// Sets owner, and the bits of the mode that a call that makes something leaves out.
    fn made(&self, path: &str, mode: u32, uid: u32, gid: u32) -> Done {
        let path = self.path(path);
        let inherited = std::os::unix::fs::MetadataExt::gid(&io(std::fs::symlink_metadata(&path))?);
        let parent = io(std::fs::metadata(path.parent().expect("a parent")))?;
        let (gid, extra) = if parent.permissions().mode() & 0o2000 != 0 {
            (inherited, if path.is_dir() { 0o2000 } else { 0 })
        } else {
            (gid, 0)
        };
        rustix::fs::chownat(CWD, &path, Some(uid_of(uid)), Some(gid_of(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        if mode & 0o7000 | extra == 0 {
            return Ok(());
        }
        let now = io(std::fs::symlink_metadata(&path))?.permissions().mode() & 0o777;
        io(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(now | mode & 0o7000 | extra)))
    }

    fn do_op(&mut self, op: &Op) -> Done<Answer> {
        match op {
            Op::Write { file, offset, len, seed } => {
                self.write(file, *offset, &data(*seed, *len))?;
                return Ok(Answer::Wrote(*len));
            }
            Op::Read { file, offset, len } => {
                let mut bytes = vec![0; *len];
                let n = self.with_to_read(file, |file| io(read_all(file, &mut bytes, *offset)))?;
                bytes.truncate(n);
                return Ok(Answer::Bytes(bytes));
            }
            Op::SetLen { file, len } => self.with(file, |file| io(file.set_len(*len)))?,
            Op::Punch { file, range } => {
                self.fallocate(file, range, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)?;
            }
            Op::ZeroRange { file, range } => {
                self.fallocate(file, range, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE)?;
            }
            Op::Allocate { file, range, how: Allocate::Extend } => {
                self.fallocate(file, range, FallocateFlags::empty())?;
            }
            Op::Allocate { file, range, how: Allocate::KeepSize } => {
                self.fallocate(file, range, FallocateFlags::KEEP_SIZE)?;
            }
            Op::Fsync { file } => self.with_to_read(file, |file| io(file.sync_all()))?,
            Op::Open { path, slot } => {
                let file = self.open(path, OFlags::RDWR, 0)?;
                self.slots[*slot] = Some(file);
            }
            Op::Close { slot } => self.slots[*slot] = None,
            Op::MakeNameless { dir, slot, mode, uid, gid } => {
                let file = self.make_nameless(dir, *mode, *uid, *gid)?;
                self.slots[*slot] = Some(file);
            }
            Op::LinkOpen { slot, new } => {
                let file = self.slots[*slot].as_ref().expect("the model knows what is open");
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                rustix::fs::linkat(CWD, link, CWD, self.path(new), AtFlags::SYMLINK_FOLLOW)?;
            }
            Op::Remount => self.slots = Default::default(),
            Op::Sync => {}
            _ => self.do_name(op)?,
        }
        Ok(Answer::Done)
    }

    fn fallocate(&self, file: &Handle, range: &std::ops::Range<u64>, flags: FallocateFlags) -> Done {
        self.with(file, |file| rustix::fs::fallocate(file, flags, range.start, range.end - range.start))
    }

    fn do_name(&self, op: &Op) -> Done {
        match op {
            Op::Create { path, mode, uid, gid } => {
                self.open(path, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, *mode)?;
                self.made(path, *mode, *uid, *gid)
            }
            Op::MakeDir { path, mode, uid, gid } => {
                rustix::fs::mkdir(self.path(path), Mode::from_raw_mode(*mode))?;
                self.made(path, *mode, *uid, *gid)
            }
            Op::MakeNode { path, kind, rdev, mode } => {
                let kind = match kind {
                    FileKind::CharDevice => FileType::CharacterDevice,
                    FileKind::BlockDevice => FileType::BlockDevice,
                    FileKind::Fifo => FileType::Fifo,
                    _ => FileType::Socket,
                };
                let rdev = rustix::fs::makedev(rdev.0, rdev.1);
                rustix::fs::mknodat(CWD, self.path(path), kind, Mode::from_raw_mode(*mode), rdev)?;
                self.made(path, *mode, 0, 0)
            }
            Op::Symlink { path, target } => rustix::fs::symlink(target, self.path(path)),
            Op::Link { existing, new } => {
                rustix::fs::linkat(CWD, self.path(existing), CWD, self.path(new), AtFlags::empty())
            }
            Op::Unlink { path } => rustix::fs::unlink(self.path(path)),
            Op::RemoveDir { path } => rustix::fs::rmdir(self.path(path)),
            Op::Rename { from, to, how } => {
                let flags = match how {
                    Rename::Replace => RenameFlags::empty(),
                    Rename::Refuse => RenameFlags::NOREPLACE,
                    Rename::Exchange => RenameFlags::EXCHANGE,
                    Rename::Whiteout => RenameFlags::WHITEOUT,
                };
                rustix::fs::renameat_with(CWD, self.path(from), CWD, self.path(to), flags)
            }
            Op::Crowd { dir, count, name_len } => crowd_names(dir, *count, *name_len).try_for_each(|name| {
                match self.open(&name, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, 0o600) {
                    Ok(_) => self.made(&name, 0o600, 0, 0),
                    Err(EEXIST) => Ok(()),
                    Err(error) => Err(error),
                }
            }),
            Op::Thin { dir, count, name_len, step } => crowd_names(dir, *count, *name_len)
                .step_by(*step)
                .try_for_each(|name| match rustix::fs::unlink(self.path(&name)) {
                    Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
                    Err(error) => Err(error),
                }),
            _ => self.do_attribute(op),
        }
    }

    fn do_attribute(&self, op: &Op) -> Done {
        match op {
            Op::SetMode { path, mode } => rustix::fs::chmod(self.path(path), Mode::from_raw_mode(*mode)),
            Op::SetOwner { path, uid, gid } => {
                let (uid, gid) = (Some(uid_of(*uid)), Some(gid_of(*gid)));
                rustix::fs::chownat(CWD, self.path(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
            Op::SetTimes { path, atime, mtime } => {
                let time = |t: &Timestamp| Timespec { tv_sec: t.seconds, tv_nsec: t.nanoseconds.into() };
                let times = Timestamps { last_access: time(atime), last_modification: time(mtime) };
                rustix::fs::utimensat(CWD, self.path(path), &times, AtFlags::SYMLINK_NOFOLLOW)
            }
            Op::SetFlags { path, flags } => {
                let file = self.open(path, OFlags::RDONLY, 0)?;
                let others = rustix::fs::ioctl_getflags(&file)?.bits() & !KNOWN;
                rustix::fs::ioctl_setflags(&file, IFlags::from_bits_retain(others | flags))
            }
            Op::SetAcl { path, is_default, acl } => {
                let name = if *is_default { acl::DEFAULT } else { acl::ACCESS };
                rustix::fs::lsetxattr(self.path(path), name, &acl.to_bytes(), XattrFlags::empty())
            }
            Op::SetXattr { path, name, len, seed, how } => {
                let flags = match how {
                    SetXattr::Any => XattrFlags::empty(),
                    SetXattr::Create => XattrFlags::CREATE,
                    SetXattr::Replace => XattrFlags::REPLACE,
                };
                rustix::fs::lsetxattr(self.path(path), name, &data(*seed, *len), flags)
            }
            Op::RemoveXattr { path, name } => rustix::fs::lremovexattr(self.path(path), name),
            _ => unreachable!("all other operations are above"),
        }
    }
}

impl Target for HostTarget {
    fn apply(&mut self, op: &Op) -> Result<Answer, i32> {
        self.do_op(op).map_err(Errno::raw_os_error)
    }

    fn look(&mut self) -> Result<Description, String> {
        Ok(oracle::describe_directory(&self.root))
    }
}

fn uid_of(uid: u32) -> Uid {
    Uid::from_raw(uid)
}

fn gid_of(gid: u32) -> Gid {
    Gid::from_raw(gid)
}

fn io<T>(result: std::io::Result<T>) -> Done<T> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn read_all(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
