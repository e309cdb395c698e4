//! `rumpcap cp` into an image: from a tree of the host.
//!
//! The tree is gone through by open directories, entries by name; in the image everything is made in a directory that is known by
//! its number ([`ImageTree`]). A directory gets its attributes when it is made, and its times when it is full.
//!
//! Memory: one buffer; the names of the directories on the way down; hard links that are not complete, 40 bytes each.
//! Failure: what fails is named and the rest is done; when the image is full, or a signal comes, the copy ends.

use super::CpArgs;
use super::attributes::Attribute;
use super::destination::source_name;
use crate::content::buffer;
use crate::host_tree::{self, Reach, Xattrs, kind_of};
use crate::image_tree::{Freed, ImageTree, Inherits, Refusal, Wanted, ends_all};
use crate::outcome::{Run, Stop, plain};
use crate::progress::{Place, Progress};
use crate::quote::for_message;
use crate::session::{Session, Target};
use crate::target_dir::Existing;
use rumpcap::{Error, FileKind, Metadata, Owner, Timestamp};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Runs `cp` into the image that `args.target` names.
pub fn run(session: &mut Session, args: &CpArgs) -> Run {
    let target = session.writable(&args.target, args.write)?;
    host_tree::raise_open_files();
    let mut copy = Into {
        tree: ImageTree {
            mount: target.mount.clone(),
            existing: if args.no_clobber { Existing::Keep } else { Existing::Replace },
            freed: Freed::Later,
        },
        left_out: args.no_preserve.clone(),
        owner: args.owner.owner,
        latest: args.write.time.map(|seconds| Timestamp { seconds, nanoseconds: 0 }),
        umask: crate::modes::umask(),
        images: session.identities(),
        buffer: buffer(),
        xattrs: Xattrs::default(),
        links: HashMap::new(),
        progress: session.progress(Place::Free)?,
    };
    for source in &args.sources {
        copy.source(session, args, Path::new(source), &target)?;
    }
    Ok(())
}

/// One run of `cp`.
struct Into {
    tree: ImageTree,
    left_out: Vec<Attribute>,
    owner: Option<(u32, u32)>,
    /// No time of a copy is later.
    latest: Option<Timestamp>,
    umask: u32,
    /// What the images themselves are on the host: they are left out.
    images: Vec<(u64, u64)>,
    buffer: Vec<u8>,
    xattrs: Xattrs,
    links: HashMap<(u64, u64), FirstName>,
    progress: Progress,
}

/// A file with several names, the first of which is in the image.
struct FirstName {
    ino: u64,
    left: u64,
}

/// A directory that is being filled.
struct Level {
    fd: OwnedFd,
    /// What is still to be done, the next one last.
    waiting: Vec<Box<[u8]>>,
    path_len: usize,
    ino: u64,
    inherits: Inherits,
    /// Its times when it is full.
    times: Option<(Timestamp, Timestamp)>,
}

/// Where a source goes.
struct Placed {
    /// The directory.
    dir: u64,
    /// The name that it gets; `None` when the source's content goes into the directory itself.
    name: Option<Vec<u8>>,
}

/// Why one path was not copied.
enum Failure {
    Host(Errno),
    Read(std::io::Error),
    Image(Refusal),
    Said(&'static str),
    Stop(Stop),
}

impl Into {
    fn source(&mut self, session: &mut Session, args: &CpArgs, source: &Path, target: &Target) -> Run {
        let recursive = args.recursive || args.archive;
        let stat = if recursive { rustix::fs::lstat(source) } else { rustix::fs::stat(source) };
        let stat = match stat {
            Ok(stat) => stat,
            Err(e) => {
                session.fail(source, &plain(&e.into()));
                return Ok(());
            }
        };
        let is_dir = kind_of(&stat) == FileKind::Directory;
        if is_dir && !recursive {
            session.fail(source, &"is a directory; -r copies it");
            return Ok(());
        }
        let placed = choose(source, is_dir, target, args.sources.len())?;
        if is_dir {
            return self.tree(session, source, placed);
        }
        let Some(name) = placed.name else { return Stop::usage(format!("cp: {}: not a name", show(source))) };
        let inherits = self.tree.inherits(placed.dir);
        // Behind a link that is followed there is something else than the name says.
        let done = match kind_of(&stat) {
            FileKind::Regular => self.named_file(session, source, placed.dir, &name, inherits),
            _ => {
                let name_on_host = source.as_os_str().as_bytes();
                let at = Original { at: host_tree::here(), name: name_on_host, dir: placed.dir, inherits };
                self.other(session, &at, &name, &stat, source)
            }
        };
        self.done(session, source, done)
    }

    /// Names a failure, or ends everything.
    fn done(&mut self, session: &mut Session, path: &Path, done: Result<(), Failure>) -> Run {
        self.progress.file();
        let reason: &dyn std::fmt::Display = match &done {
            Ok(()) => return Ok(()),
            Err(Failure::Stop(_)) => {
                let Err(Failure::Stop(stop)) = done else { return Ok(()) };
                return Err(stop);
            }
            Err(Failure::Host(errno)) => &plain(&(*errno).into()),
            Err(Failure::Read(e)) => &plain(e),
            Err(Failure::Image(refusal)) => &format!("not copied: {refusal}"),
            Err(Failure::Said(reason)) => reason,
        };
        session.fail(path, reason);
        match &done {
            Err(Failure::Image(Refusal::Image(e))) => ends_all(*e).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// Copies a directory with all that is in it.
    fn tree(&mut self, session: &mut Session, source: &Path, placed: Placed) -> Run {
        let mut path = source.as_os_str().as_bytes().to_vec();
        let top = host_tree::open_named(source).map_err(Failure::Host).and_then(|fd| {
            let (dir, name) = (placed.dir, placed.name.as_deref());
            let inherits = if name.is_some() { self.tree.inherits(dir) } else { Inherits::Nothing };
            self.directory(session, fd, dir, name, inherits, &path)
        });
        let mut levels = Vec::new();
        match top {
            Ok(level) => levels.push(level),
            Err(failure) => self.done(session, source, Err(failure))?,
        }
        while let Some(level) = levels.last_mut() {
            session.check_interrupt()?;
            path.truncate(level.path_len);
            let Some(name) = level.waiting.pop() else {
                let times = level.times.map_or(Ok(()), |(a, m)| self.tree.times(level.ino, Some(a), Some(m)));
                self.done(session, as_path(&path), times.map_err(Failure::Image))?;
                levels.pop();
                continue;
            };
            crate::traverse::join(&mut path, &name);
            match self.entry(session, level, &name, &path) {
                Ok(None) => self.done(session, as_path(&path), Ok(()))?,
                Ok(Some(below)) => levels.push(below),
                Err(failure) => self.done(session, as_path(&path), Err(failure))?,
            }
        }
        Ok(())
    }

    /// Copies an entry of a directory; gives the directory that is to be filled, if it is one.
    fn entry(
        &mut self,
        session: &mut Session,
        level: &Level,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Level>, Failure> {
        let stat = host_tree::stat_at(level.fd.as_fd(), name).map_err(Failure::Host)?;
        if self.images.contains(&(stat.st_dev, stat.st_ino)) {
            return Err(Failure::Said("is the image itself; left out"));
        }
        if kind_of(&stat) == FileKind::Directory {
            let fd = host_tree::open_directory(level.fd.as_fd(), name).map_err(Failure::Host)?;
            return self.directory(session, fd, level.ino, Some(name), level.inherits, path).map(Some);
        }
        let at = Original { at: level.fd.as_fd(), name, dir: level.ino, inherits: level.inherits };
        self.other(session, &at, name, &stat, as_path(path)).map(|()| None)
    }

    /// Makes a directory, which is then to be filled. Without a name it is `dir` itself.
    fn directory(
        &mut self,
        session: &mut Session,
        fd: OwnedFd,
        dir: u64,
        name: Option<&[u8]>,
        inherits: Inherits,
        path: &[u8],
    ) -> Result<Level, Failure> {
        let stat = rustix::fs::fstat(&fd).map_err(Failure::Host)?;
        let owner = self.owner_of(&stat, 0o777);
        let ino = match name {
            Some(name) => self.tree.directory(dir, name, &owner)?.ino,
            None => dir,
        };
        self.attributes(session, ino, &stat, Reach::Open(fd.as_fd()), inherits, as_path(path))?;
        let waiting = host_tree::names(&fd).map_err(Failure::Host)?;
        let times = self.keeps(Attribute::Times).then(|| self.times(&stat));
        let inherits = self.tree.inherits(ino);
        Ok(Level { fd, waiting, path_len: path.len(), ino, inherits, times })
    }

    /// Copies what is no directory, as `to` in the image.
    fn other(
        &mut self,
        session: &mut Session,
        from: &Original<'_>,
        to: &[u8],
        stat: &Stat,
        path: &Path,
    ) -> Result<(), Failure> {
        let identity = (stat.st_dev, stat.st_ino);
        let is_linked = stat.st_nlink > 1 && self.keeps(Attribute::Links);
        if is_linked && let Some(first) = self.links.get_mut(&identity) {
            first.left -= 1;
            let (ino, is_last) = (first.ino, first.left == 0);
            if is_last {
                self.links.remove(&identity);
            }
            return Ok(self.tree.link(ino, from.dir, to)?);
        }
        let ino = match kind_of(stat) {
            FileKind::Regular => {
                let file = host_tree::open_at(from.at, from.name).map_err(Failure::Host)?;
                self.regular(session, &file, from.dir, to, from.inherits, path)?
            }
            kind => {
                let owner = self.owner_of(stat, 0o666);
                let made = match kind {
                    FileKind::Symlink => {
                        let target = rustix::fs::readlinkat(from.at, from.name, Vec::new());
                        let target = target.map_err(Failure::Host)?;
                        self.tree.symlink(from.dir, to, target.as_bytes(), &owner)?
                    }
                    FileKind::Unknown => return Err(Failure::Said("unknown type of file")),
                    kind => self.tree.node(from.dir, to, kind, rdev(stat), &owner)?,
                };
                let reach = Reach::Named(from.at, from.name);
                self.attributes(session, made.ino(), stat, reach, from.inherits, path)?;
                made.ino()
            }
        };
        if is_linked {
            self.links.insert(identity, FirstName { ino, left: stat.st_nlink - 1 });
        }
        Ok(())
    }

    /// A regular file that the user named: behind a link, if it is one.
    fn named_file(
        &mut self,
        session: &mut Session,
        source: &Path,
        dir: u64,
        name: &[u8],
        inherits: Inherits,
    ) -> Result<(), Failure> {
        let file = File::from(host_tree::open_named(source).map_err(Failure::Host)?);
        self.regular(session, &file, dir, name, inherits, source).map(drop)
    }

    /// Copies a regular file; gives its number in the image.
    fn regular(
        &mut self,
        session: &mut Session,
        file: &File,
        dir: u64,
        name: &[u8],
        inherits: Inherits,
        path: &Path,
    ) -> Result<u64, Failure> {
        let stat = rustix::fs::fstat(file).map_err(Failure::Host)?;
        if kind_of(&stat) != FileKind::Regular {
            return Err(Failure::Said("changed while it was read"));
        }
        let owner = self.owner_of(&stat, 0o666);
        let to = self.tree.file(dir, name, &owner)?;
        self.content(session, file, &stat, &to)?;
        self.attributes(session, to.ino(), &stat, Reach::Open(file.as_fd()), inherits, path)?;
        Ok(to.ino())
    }

    /// Copies the content, hole by hole.
    fn content(
        &mut self,
        session: &Session,
        file: &File,
        stat: &Stat,
        to: &rumpcap::File,
    ) -> Result<(), Failure> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // Without holes, asking for them takes longer than reading a small file.
        let has_holes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < size;
        let (mut at, mut written) = (0, 0);
        while at < size {
            let end = if has_holes {
                let Some((start, end)) = host_tree::next_data(file, at, size).map_err(Failure::Host)? else {
                    break;
                };
                at = start;
                end
            } else {
                size
            };
            while at < end {
                session.check_interrupt().map_err(Failure::Stop)?;
                let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
                let got = host_tree::read(file, &mut self.buffer[..want], at).map_err(Failure::Read)?;
                if got == 0 {
                    return Err(Failure::Said("became shorter while it was read"));
                }
                let done = to.write_at(&self.buffer[..got], at)?;
                at += done as u64;
                written = at;
                self.progress.bytes(done as u64);
            }
        }
        if written < size {
            to.set_len(size)?;
        }
        Ok(())
    }

    fn keeps(&self, attribute: Attribute) -> bool {
        !self.left_out.contains(&attribute)
    }

    /// Owner and mode of a copy; what any other program would give it where they are not kept.
    fn owner_of(&self, stat: &Stat, usual_mode: u32) -> Owner {
        let mode = if self.keeps(Attribute::Mode) { stat.st_mode & 0o7777 } else { usual_mode & !self.umask };
        let kept = if self.keeps(Attribute::Owner) { (stat.st_uid, stat.st_gid) } else { (0, 0) };
        let (uid, gid) = self.owner.unwrap_or(kept);
        Owner { mode, uid, gid }
    }

    /// Times of access and change.
    fn times(&self, stat: &Stat) -> (Timestamp, Timestamp) {
        let time = |seconds, nanoseconds: u64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
        let (atime, mtime) =
            (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
        match self.latest {
            // A copy of the tree has other times of access: they would show.
            Some(latest) => (latest, mtime.min(latest)),
            None => (atime, mtime),
        }
    }

    fn attributes(
        &mut self,
        session: &mut Session,
        ino: u64,
        stat: &Stat,
        from: Reach<'_>,
        inherits: Inherits,
        path: &Path,
    ) -> Result<(), Failure> {
        let xattrs = if self.keeps(Attribute::Xattr) {
            self.xattrs.read(from).map_err(Failure::Host)?
        } else {
            Vec::new()
        };
        let is_dir = kind_of(stat) == FileKind::Directory;
        let owner = self.owner_of(stat, if is_dir { 0o777 } else { 0o666 });
        let times = self.keeps(Attribute::Times).then(|| self.times(stat));
        let wanted = Wanted {
            mode: owner.mode,
            owner: (owner.uid, owner.gid),
            atime: times.map(|(atime, _)| atime),
            mtime: times.map(|(_, mtime)| mtime),
            xattrs: &xattrs,
            inherits,
        };
        for (name, e) in self.tree.finish(ino, &wanted)? {
            session.fail(path, &format_args!("extended attribute {}: {e}", for_message(&name)));
        }
        Ok(())
    }
}

/// What is copied, and where to.
struct Original<'a> {
    at: BorrowedFd<'a>,
    name: &'a [u8],
    dir: u64,
    inherits: Inherits,
}

/// Where `source` goes when the user said `target`: the rules of cp(1).
fn choose(source: &Path, is_dir: bool, target: &Target, sources: usize) -> Run<Placed> {
    let name = source_name(source);
    let there = match target.mount.metadata(&target.path) {
        Ok(metadata) => Some(metadata),
        Err(Error::NotFound) => None,
        Err(e) => return Stop::fatal(format!("{}: {e}", show(&target.path))),
    };
    if let Some(there) = there.filter(Metadata::is_dir) {
        return Ok(Placed { dir: there.ino(), name });
    }
    if sources > 1 {
        return Stop::usage(format!(
            "cp: {}: not a directory, and there are several sources",
            show(&target.path)
        ));
    }
    if target.path.as_os_str().as_bytes().ends_with(b"/") && !is_dir {
        return Stop::usage(format!("cp: {}: not a directory", show(&target.path)));
    }
    let (Some(parent), Some(last)) = (target.path.parent(), target.path.file_name()) else {
        return Stop::usage(format!("cp: {}: not a name for a copy", show(&target.path)));
    };
    let parent = target.mount.metadata(parent).map_err(|e| Stop::Fatal(format!("{}: {e}", show(parent))))?;
    let last = last.as_bytes().to_vec();
    if is_dir && name.is_none() {
        // The content of a directory goes into a directory that is new.
        let made =
            target.mount.create_dir_at(parent.ino(), OsStr::from_bytes(&last), &Owner::with_mode(0o755));
        let made = made.map_err(|e| Stop::Fatal(format!("{}: {e}", show(&target.path))))?;
        return Ok(Placed { dir: made.ino(), name: None });
    }
    Ok(Placed { dir: parent.ino(), name: Some(last) })
}

fn rdev(stat: &Stat) -> (u32, u32) {
    match kind_of(stat) {
        FileKind::CharDevice | FileKind::BlockDevice => {
            (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
        }
        _ => (0, 0),
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn show(path: &Path) -> String {
    for_message(path.as_os_str().as_bytes())
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Image(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Image(Refusal::Image(error))
    }
}
