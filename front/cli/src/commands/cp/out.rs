//! `rumpcap cp` out of an image, onto the host.
//!
//! One directory of the target is open at a time: that of the entry being made. Making entries changes its times; they are set
//! again whenever the walk goes on to another directory ([`OpenDirectory`]).
//! What is written where: `target_dir`. Attributes: `attributes`.
//! Memory: one buffer, the open directory, and the hard links that are not complete ([`LinkMap`]).
//! Failure: what fails is named and the rest is done; when the target is full, or a signal comes, the copy ends: the file that is not complete goes,
//! directories get their times and modes.

use super::CpArgs;
use super::attributes::{Attribute, Keeper, OpenDirectory};
use super::destination::{self, Destination};
use crate::content::{buffer, each_chunk};
use crate::estimate::Tree;
use crate::links::LinkMap;
use crate::outcome::{Run, Stop};
use crate::progress::{Place, Progress};
use crate::session::{Links, Session, Target};
use crate::target_dir::{self, Existing, Refusal, TargetDir};
use crate::traverse::{Order, Visit, traverse};
use rumpcap::{File, FileKind, Metadata};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One run of `cp`.
struct Copy {
    existing: Existing,
    buffer: Vec<u8>,
    links: LinkMap,
    keeper: Keeper,
    progress: Progress,
}

/// Copies what `args` name onto the host.
pub fn run(session: &mut Session, args: &CpArgs) -> Run {
    let recursive = args.recursive || args.archive;
    let to = Path::new(&args.target);
    let targets = session.targets(&args.sources).map_err(|stop| with_hint(session, args, stop))?;
    session.watch_signals()?;
    let mut copy = Copy {
        existing: if args.no_clobber { Existing::Keep } else { Existing::Replace },
        buffer: buffer(),
        links: LinkMap::default(),
        keeper: Keeper::new(&args.no_preserve, args.preserve || args.archive),
        progress: session.progress(Place::Free)?,
    };
    copy.progress.expect_trees(targets.iter().cloned().map(Tree::Image));
    let links = if recursive { Links::Keep } else { Links::Follow };
    let end = copy.all(session, &targets, links, to);
    copy.keeper.finish(session);
    if let Err(Stop::Code(_)) = end {
        copy.progress.say_interrupted(session, "cp");
    }
    end
}

/// Who copies into an image, and forgets the colon or the image, is told that a source is no image.
fn with_hint(session: &Session, args: &CpArgs, stop: Stop) -> Stop {
    let names_an_image = |text: &OsString| session.is_in_image(text);
    match stop {
        Stop::Fatal(message) if !args.sources.iter().any(names_an_image) => Stop::Fatal(format!(
            "{message}\ncp: to copy into an image, name one that is there, with a colon behind it: IMAGE:PATH"
        )),
        stop => stop,
    }
}

/// Where a source goes, and how far it has come.
struct Way<'a> {
    destination: &'a Destination,
    open: Option<OpenDirectory>,
}

impl Copy {
    fn all(&mut self, session: &mut Session, targets: &[Target], links: Links, to: &Path) -> Run {
        let mut image = None;
        for target in targets {
            if image != Some(target.image) {
                self.links = LinkMap::default();
                image = Some(target.image);
            }
            let Some(metadata) = session.metadata(target, links) else { continue };
            if metadata.is_dir() && links == Links::Follow {
                session.fail(&target.path, &"is a directory; -r copies it");
                continue;
            }
            let destination = destination::choose(&target.path, &metadata, to, targets.len())?;
            self.source(session, target, &metadata, &destination)?;
        }
        Ok(())
    }

    fn source(&mut self, session: &mut Session, target: &Target, m: &Metadata, to: &Destination) -> Run {
        let mut place = Way { destination: to, open: None };
        let end = if m.is_dir() {
            let mut visit =
                |session: &mut Session, visit: &Visit<'_>| self.visit(session, target, visit, &mut place);
            traverse(session, target, Order::Device, usize::MAX, &mut visit)
        } else {
            let visit = Visit { path: &target.path, depth: 0, metadata: m };
            self.visit(session, target, &visit, &mut place)
        };
        if let Some(open) = place.open.take() {
            open.leave(&mut self.keeper);
        }
        self.keeper.restore_modes(session, &to.dir);
        end
    }

    /// Copies one path; a failure is named and counted. When the target is full, or a signal came, it ends all.
    fn visit(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        place: &mut Way<'_>,
    ) -> Run {
        session.check_interrupt()?;
        let relative = match place.destination.relative(&target.path, visit) {
            Ok(relative) => relative,
            Err(reason) => {
                session.fail(visit.path, &reason);
                return Ok(());
            }
        };
        let done = match relative {
            None => self.keep_target_itself(session, target, visit, place),
            Some(relative) => self.entry(session, target, visit, place, &relative),
        };
        match done {
            Ok(()) => self.progress.file(),
            Err(Failure::Stop(stop)) => return Err(stop),
            Err(failure) => {
                session.fail(visit.path, &failure);
                if failure.is_full() {
                    return Err(Stop::Fatal("the target is full".into()));
                }
            }
        }
        Ok(())
    }

    /// The source is a directory whose content goes into the target: its attributes become the target's.
    fn keep_target_itself(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        place: &Way<'_>,
    ) -> Result<(), Failure> {
        let fd = place.destination.dir.directory(b"")?;
        self.keeper.directory(session, target, visit, fd.as_fd(), b"");
        Ok(())
    }

    fn entry(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        place: &mut Way<'_>,
        relative: &[u8],
    ) -> Result<(), Failure> {
        let (parent, name) = split(relative);
        let name = target_dir::safe_name(name).map_err(Failure::Unsafe)?;
        let destination = place.destination;
        let at = self.enter(place, parent)?;
        let m = visit.metadata;
        let linked = m.nlink() > 1 && !m.is_dir() && self.keeper.keeps(Attribute::Links);
        if linked && let Some(first) = self.links.meet(m.ino(), m.nlink(), relative) {
            return Ok(self.link(&destination.dir, &first, at, name)?);
        }
        let made = self.make(session, target, visit, at, name, relative);
        if linked && made.is_err() {
            self.links.forget(m.ino());
        }
        made
    }

    /// Opens the directory of the target that `parent` names, unless it is the open one.
    fn enter<'p>(&mut self, place: &'p mut Way<'_>, parent: &[u8]) -> Result<BorrowedFd<'p>, Failure> {
        if place.open.as_ref().is_none_or(|o| o.relative() != parent) {
            if let Some(open) = place.open.take() {
                open.leave(&mut self.keeper);
            }
            let fd = place.destination.dir.directory(parent)?;
            let mut open = OpenDirectory::enter(parent, fd);
            if !parent.is_empty() || place.destination.is_source_itself() {
                open.remember_times();
            }
            self.keeper.inherits = open.passes_on_acl();
            place.open = Some(open);
        }
        place.open.as_ref().map(OpenDirectory::fd).ok_or(Failure::Unsafe("no directory is open"))
    }

    fn link(&self, dir: &TargetDir, first: &[u8], at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Refusal> {
        let (first_parent, first_name) = split(first);
        let first_at = dir.directory(first_parent)?;
        target_dir::make_link(first_at.as_fd(), first_name, at, name, self.existing)
    }

    fn make(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        at: BorrowedFd<'_>,
        name: &[u8],
        relative: &[u8],
    ) -> Result<(), Failure> {
        let m = visit.metadata;
        let kind = match m.file_type().kind() {
            FileKind::Regular => {
                let fd = target_dir::make_file(at, name, self.existing)?;
                let copied = self.content(session, target, visit, fd.as_fd());
                if let Err(Failure::Stop(_)) = copied {
                    // Where even that fails, the signal is still what ended it.
                    let _ = rustix::fs::unlinkat(at, name, AtFlags::empty());
                    return copied;
                }
                self.keeper.open_file(session, target, visit, fd.as_fd());
                return copied;
            }
            FileKind::Directory => {
                let fd = target_dir::make_directory(at, name)?;
                self.keeper.directory(session, target, visit, fd.as_fd(), relative);
                return Ok(());
            }
            FileKind::Symlink => {
                let to = target.mount.read_link_ino(m.ino())?;
                target_dir::make_symlink(at, name, to.as_os_str().as_bytes(), self.existing)?;
                self.keeper.named(session, target, visit, at, name);
                return Ok(());
            }
            FileKind::CharDevice => FileType::CharacterDevice,
            FileKind::BlockDevice => FileType::BlockDevice,
            FileKind::Fifo => FileType::Fifo,
            FileKind::Socket => FileType::Socket,
            FileKind::Unknown => return Err(Failure::Unsafe("unknown type of file")),
        };
        target_dir::make_node(at, name, kind, m.rdev(), self.existing)?;
        self.keeper.named(session, target, visit, at, name);
        Ok(())
    }

    /// Copies the content, hole by hole.
    fn content(
        &mut self,
        session: &Session,
        target: &Target,
        visit: &Visit<'_>,
        to: BorrowedFd<'_>,
    ) -> Result<(), Failure> {
        let m = visit.metadata;
        self.progress.begin(visit.path, m.len(), m.blocks().saturating_mul(512));
        let file = target.mount.open_ino(m.ino())?;
        let mut at = 0;
        while let Some(segment) = file.segment_at(at)? {
            let end = segment.offset.saturating_add(segment.len_bytes);
            if end <= at {
                break;
            }
            if !segment.hole {
                self.range(session, &file, at..end, to)?;
            }
            at = end;
        }
        Ok(rustix::fs::ftruncate(to, m.len()).map_err(Refusal::Host)?)
    }

    fn range(
        &mut self,
        session: &Session,
        file: &File,
        range: std::ops::Range<u64>,
        to: BorrowedFd<'_>,
    ) -> Result<(), Failure> {
        let mut at = range.start;
        let mut failure = None;
        let progress = &mut self.progress;
        let read = each_chunk(file, range, &mut self.buffer, &mut |bytes| {
            session.check_interrupt()?;
            progress.bytes(bytes.len() as u64);
            if let Err(e) = write_all_at(to, bytes, at) {
                failure = Some(e);
                return Err(Stop::Done);
            }
            at += bytes.len() as u64;
            Ok(())
        });
        match (failure, read) {
            (Some(errno), _) => Err(Refusal::Host(errno).into()),
            (None, Ok(Err(e))) => Err(e.into()),
            (None, Err(stop)) => Err(Failure::Stop(stop)),
            (None, Ok(Ok(()))) => Ok(()),
        }
    }
}

fn write_all_at(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), rustix::io::Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(to, bytes, at) {
            Ok(0) => return Err(rustix::io::Errno::IO),
            Ok(n) => {
                bytes = &bytes[n..];
                at += n as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// `a/b/c` to `a/b` and `c`.
fn split(relative: &[u8]) -> (&[u8], &[u8]) {
    match relative.iter().rposition(|b| *b == b'/') {
        Some(at) => (&relative[..at], &relative[at + 1..]),
        None => (b"", relative),
    }
}

/// Why one path was not copied.
#[derive(Debug)]
enum Failure {
    Image(rumpcap::Error),
    Target(Refusal),
    Unsafe(&'static str),
    Stop(Stop),
}

impl Failure {
    fn is_full(&self) -> bool {
        use rustix::io::Errno;
        matches!(self, Failure::Target(Refusal::Host(Errno::NOSPC | Errno::DQUOT)))
    }
}

impl From<rumpcap::Error> for Failure {
    fn from(error: rumpcap::Error) -> Failure {
        Failure::Image(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Target(refusal)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Image(e) => e.fmt(f),
            Failure::Target(refusal) => write!(f, "not copied: {refusal}"),
            Failure::Unsafe(reason) => f.write_str(reason),
            Failure::Stop(_) => f.write_str("ended"),
        }
    }
}
