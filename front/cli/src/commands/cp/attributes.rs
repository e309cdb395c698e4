//! [`Keeper`]: gives copies the attributes of their originals, and counts what could not be kept.
//!
//! Order: owner (clears set-id bits and capabilities), extended attributes (access control lists change the mode), mode, times.

use crate::outcome::plain;
use crate::session::{Session, Target};
use crate::target_dir::TargetDir;
use crate::traverse::Visit;
use clap::ValueEnum;
use rumpcap::{Metadata, Timestamp};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What can be kept or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attribute {
    /// Permissions.
    Mode,
    /// Owner and group.
    Owner,
    /// Times of access and change.
    Times,
    /// Extended attributes, access control lists among them.
    Xattr,
    /// Hard links between files.
    Links,
}

/// How often something could not be kept, and the host's first word.
#[derive(Default)]
struct Lost {
    files: u64,
    why: Option<Errno>,
}

/// Gives copies the attributes of their originals.
pub struct Keeper {
    left_out: Vec<Attribute>,
    /// Whether an attribute that only root could keep is a failure.
    strict: bool,
    is_root: bool,
    owners: Lost,
    xattrs: Lost,
    privileged_xattrs: Lost,
    modes: Lost,
    times: Lost,
    /// Directories that got permissions for filling them, with those that they are to have. Only for who is not root, and only
    /// directories that their owner may not write into or pass.
    restore: Vec<(Vec<u8>, u32)>,
    /// What is made now gets an access control list of its directory's.
    pub inherits: bool,
}

/// How an attribute's file is reached: by an open descriptor, or by name where it cannot be opened.
#[derive(Clone, Copy)]
enum Reach<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, &'a [u8]),
}

impl Keeper {
    /// Keeps all but `left_out`.
    pub fn new(left_out: &[Attribute], strict: bool) -> Keeper {
        Keeper {
            left_out: left_out.to_vec(),
            strict,
            is_root: rustix::process::geteuid().is_root(),
            owners: Lost::default(),
            xattrs: Lost::default(),
            privileged_xattrs: Lost::default(),
            modes: Lost::default(),
            times: Lost::default(),
            restore: Vec::new(),
            inherits: false,
        }
    }

    /// Whether `attribute` is kept.
    pub fn keeps(&self, attribute: Attribute) -> bool {
        !self.left_out.contains(&attribute)
    }

    /// A regular file that is open.
    pub fn open_file(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        fd: BorrowedFd<'_>,
    ) {
        self.all(session, target, visit, Reach::Open(fd), visit.metadata.mode());
    }

    /// What cannot be opened: symbolic links, devices, fifos, sockets.
    pub fn named(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        at: BorrowedFd<'_>,
        name: &[u8],
    ) {
        self.all(session, target, visit, Reach::Named(at, name), visit.metadata.mode());
    }

    /// A directory, before it is filled.
    pub fn directory(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        fd: BorrowedFd<'_>,
        relative: &[u8],
    ) {
        let mode = visit.metadata.mode();
        let fillable = mode | 0o700;
        let will_be_filled =
            || target.mount.read_dir(visit.path).is_ok_and(|mut entries| entries.next().is_some());
        let postponed = self.keeps(Attribute::Mode) && !self.is_root && fillable != mode && will_be_filled();
        let now = if postponed { fillable } else { mode };
        let owner_kept = self.all(session, target, visit, Reach::Open(fd), now);
        if postponed {
            self.restore.push((relative.to_vec(), if owner_kept { mode } else { mode & !0o6000 }));
        }
    }

    /// Keeps all there is to keep; whether the owner was.
    fn all(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        reach: Reach<'_>,
        mode: u32,
    ) -> bool {
        let m = visit.metadata;
        let owner_kept = self.keeps(Attribute::Owner) && self.owner(m, reach);
        if self.keeps(Attribute::Xattr) {
            self.xattrs(session, target, visit, reach);
        }
        // A set-id bit is the owner's: without the owner it would be another's.
        let mode = if owner_kept { mode } else { mode & !0o6000 };
        let mode = if self.keeps(Attribute::Mode) { mode } else { default_mode(m) };
        if !m.is_symlink() {
            note(&mut self.modes, set_mode(reach, mode));
        }
        if self.keeps(Attribute::Times) {
            note(&mut self.times, set_times(reach, &timestamps(m)));
        }
        owner_kept
    }

    fn owner(&mut self, m: &Metadata, reach: Reach<'_>) -> bool {
        // The one id that means "leave it" to chown(2) cannot be given.
        let ids = (m.uid() != u32::MAX && m.gid() != u32::MAX)
            .then(|| (Uid::from_raw(m.uid()), Gid::from_raw(m.gid())));
        let done = match (ids, reach) {
            (None, _) => Err(Errno::INVAL),
            (Some((uid, gid)), Reach::Open(fd)) => rustix::fs::fchown(fd, Some(uid), Some(gid)),
            (Some((uid, gid)), Reach::Named(at, name)) => {
                rustix::fs::chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            }
        };
        note(&mut self.owners, done);
        done.is_ok()
    }

    fn xattrs(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>, reach: Reach<'_>) {
        let all = match target.mount.xattrs_ino(visit.metadata.ino()) {
            Ok(all) => all,
            Err(e) => return session.fail(visit.path, &format_args!("extended attributes: {e}")),
        };
        if self.inherits {
            drop_inherited(reach, &all);
        }
        for (name, value) in &all {
            let done = match reach {
                Reach::Open(fd) => {
                    rustix::fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty())
                }
                Reach::Named(at, file) => rustix::fs::lsetxattr(
                    proc_path(at, file),
                    OsStr::from_bytes(name),
                    value,
                    XattrFlags::empty(),
                ),
            };
            let privileged =
                !self.is_root && (name.starts_with(b"security.") || name.starts_with(b"trusted."));
            note(if privileged { &mut self.privileged_xattrs } else { &mut self.xattrs }, done);
        }
    }

    /// Gives directories their own permissions, once they are filled; the deepest first.
    pub fn restore_modes(&mut self, session: &mut Session, dir: &TargetDir) {
        while let Some((relative, mode)) = self.restore.pop() {
            match dir.directory(&relative) {
                Ok(fd) => note(&mut self.modes, set_mode(Reach::Open(fd.as_fd()), mode)),
                Err(e) => session.fail(Path::new(OsStr::from_bytes(&relative)), &e),
            }
        }
    }

    /// Says what could not be kept, and counts it where it is a failure.
    pub fn finish(&mut self, session: &mut Session) {
        let only_root = !self.is_root && !self.strict;
        let lost = [
            ("owner and group of", &self.owners, only_root),
            ("security and trusted attributes:", &self.privileged_xattrs, only_root),
            ("extended attributes:", &self.xattrs, false),
            ("permissions of", &self.modes, false),
            ("times of", &self.times, false),
        ];
        for (what, lost, excused) in lost {
            let Some(why) = lost.why else { continue };
            let why = plain(&why.into());
            session.say(format_args!("cp: could not keep {what} {} files: {why}", lost.files));
            session.count_failures(if excused { 0 } else { lost.files });
        }
    }
}

/// Takes away the access control lists that the original does not have.
fn drop_inherited(reach: Reach<'_>, own: &[(Vec<u8>, Vec<u8>)]) {
    for acl in ["system.posix_acl_access", ACL_DEFAULT] {
        if own.iter().any(|(name, _)| name == acl.as_bytes()) {
            continue;
        }
        // That there is none is the usual case, and no other error is left behind: the mode is set afterwards.
        let _ = match reach {
            Reach::Open(fd) => rustix::fs::fremovexattr(fd, acl),
            Reach::Named(at, file) => rustix::fs::lremovexattr(proc_path(at, file), acl),
        };
    }
}

/// A path for calls that take no descriptor of a directory.
fn proc_path(at: BorrowedFd<'_>, file: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", at.as_raw_fd()).as_bytes(), file].concat()
}

const ACL_DEFAULT: &str = "system.posix_acl_default";

fn note(lost: &mut Lost, done: Result<(), Errno>) {
    if let Err(why) = done {
        lost.files += 1;
        lost.why.get_or_insert(why);
    }
}

/// What a new file would get from any other program.
fn default_mode(m: &Metadata) -> u32 {
    (if m.is_dir() { 0o777 } else { 0o666 }) & !crate::modes::umask()
}

fn set_mode(reach: Reach<'_>, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    match reach {
        Reach::Open(fd) => rustix::fs::fchmod(fd, mode),
        Reach::Named(at, name) => {
            // The kernel has no fchmodat that does not follow links; a descriptor without access stands for the file.
            let fd = rustix::fs::openat(
                at,
                name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
        }
    }
}

fn set_times(reach: Reach<'_>, times: &Timestamps) -> Result<(), Errno> {
    match reach {
        Reach::Open(fd) => rustix::fs::futimens(fd, times),
        Reach::Named(at, name) => rustix::fs::utimensat(at, name, times, AtFlags::SYMLINK_NOFOLLOW),
    }
}

fn timestamps(m: &Metadata) -> Timestamps {
    let spec = |t: Timestamp| Timespec { tv_sec: t.seconds, tv_nsec: t.nanoseconds.into() };
    Timestamps { last_access: spec(m.accessed()), last_modification: spec(m.modified()) }
}

/// The directory of the target that is being filled.
pub struct OpenDirectory {
    relative: Vec<u8>,
    fd: OwnedFd,
    /// Its times before it was filled: those of the original, if times are kept. None of a directory that is not copied,
    /// only written into.
    times: Option<Timestamps>,
}

impl OpenDirectory {
    /// Begins to fill the directory `relative`.
    pub fn enter(relative: &[u8], fd: OwnedFd) -> OpenDirectory {
        OpenDirectory { relative: relative.to_vec(), fd, times: None }
    }

    /// Takes note of its times, to set them again when it is full.
    pub fn remember_times(&mut self) {
        self.times = rustix::fs::fstat(&self.fd).ok().map(|s| Timestamps {
            last_access: Timespec { tv_sec: s.st_atime as _, tv_nsec: s.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: s.st_mtime as _, tv_nsec: s.st_mtime_nsec as _ },
        });
    }

    /// Whether what is made in it gets an access control list of its own accord.
    pub fn passes_on_acl(&self) -> bool {
        let mut none: [u8; 0] = [];
        rustix::fs::fgetxattr(&self.fd, ACL_DEFAULT, &mut none[..]).is_ok()
    }

    /// Its path below the target.
    pub fn relative(&self) -> &[u8] {
        &self.relative
    }

    /// The directory, for making entries in it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// It is full: its times are those of before again.
    pub fn leave(self, keeper: &mut Keeper) {
        if keeper.keeps(Attribute::Times)
            && let Some(times) = &self.times
        {
            note(&mut keeper.times, rustix::fs::futimens(&self.fd, times));
        }
    }
}
