//! `rumpcap cp`: copies files and directory trees out of an image; into one: `into`.
//!
//! One directory of the target is open at a time: that of the entry being made. Making entries changes its times; they are set
//! again whenever the walk goes on to another directory ([`OpenDirectory`]).
//! What is written where: `target_dir`. Attributes: `attributes`.
//! Memory: one buffer, the open directory, and the hard links that are not complete ([`LinkMap`]).

mod attributes;
mod destination;
mod into;

use crate::args::{OwnerArgs, WriteArgs};
use crate::content::{buffer, each_chunk};
use crate::links::LinkMap;
use crate::outcome::{Run, Stop};
use crate::progress::{Place, Progress};
use crate::session::{Links, Session, Target};
use crate::target_dir::{self, Existing, Refusal, TargetDir};
use crate::traverse::{Order, Visit, traverse};
use attributes::{Attribute, Keeper, OpenDirectory};
use clap::Args;
use destination::Destination;
use rumpcap::{File, FileKind, Metadata};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::FileType;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const EXAMPLES: &str = "\
Where TARGET is IMAGE:PATH, the sources are on the host and are copied into the image; its name must then have a \
colon: `disk.img:` or `disk.img:/` is the root. What exists on the host under the whole name is the host's.

Kept by default: modes, owners, times to the nanosecond, extended attributes with access control \
lists, hard links, holes, devices, fifos and sockets. Leave some out with --no-preserve. Inode flags \
(chattr) are not copied.

Out of an image: who is not root cannot give files away or set security.* and trusted.* attributes: then owners \
become yours, set-id bits are dropped, and the number of files that this concerns is said at the \
end. With -p or -a that is a failure (exit 1), without it is not. Devices that cannot be made are \
always a failure, each named.

Into an image: owners are those of the host, or --owner. With --time, or SOURCE_DATE_EPOCH in the environment, no \
time of a copy is later. The image itself is left out where it is below a source.

A file in the target that has the name of a new one is replaced, not written into; links in the \
target tree are not followed: nothing outside TARGET is touched, whatever names and links the image \
holds.

Examples:
  rumpcap cp disk.img:/etc/fstab .
  rumpcap cp -r disk.img:/home/me restored        makes restored, or restored/me if restored is there
  rumpcap cp -r disk.img:/ restored               the whole file system into restored
  rumpcap cp -r disk.img:/srv/. restored          what is in /srv into restored
  rumpcap cp fstab disk.img:/etc                  into the image
  rumpcap cp -r --owner 0:0 rootfs/. disk.img:/   what is in rootfs, as root's, into the root directory";

/// Options of `cp`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct CpArgs {
    /// Directories with all that is in them; symbolic links are copied as links
    #[arg(short = 'r', short_alias = 'R', long)]
    recursive: bool,
    /// It is a failure if an attribute cannot be kept
    #[arg(short = 'p', long)]
    preserve: bool,
    /// -r and -p
    #[arg(short = 'a', long)]
    archive: bool,
    /// Attributes that are not to be kept
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    no_preserve: Vec<Attribute>,
    /// Keep files that are already in the target; that they were skipped is said and counts as failure
    #[arg(short = 'n', long)]
    no_clobber: bool,
    /// Owner and group of all copies in an image
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// What is copied: from an image, or from the host into one
    #[arg(required = true, value_name = "IMAGE:PATH")]
    sources: Vec<OsString>,
    /// Where it goes: a directory, or the name of the copy; IMAGE:PATH to copy into an image
    #[arg(value_name = "TARGET")]
    target: OsString,
}

/// One run of `cp`.
struct Copy {
    existing: Existing,
    buffer: Vec<u8>,
    links: LinkMap,
    keeper: Keeper,
    progress: Progress,
}

/// Runs `cp`.
pub fn run(session: &mut Session, args: &CpArgs) -> Run {
    if session.is_in_image(&args.target) {
        return into_image(session, args);
    }
    if args.owner.owner.is_some() {
        return Stop::usage("cp: --owner is for copies into an image");
    }
    if session.within().is_some() && !args.sources.iter().all(|source| session.is_in_image(source)) {
        return Stop::usage("cp: paths in the image begin with a colon: cp :FILE HOST, cp HOST :DIRECTORY");
    }
    let recursive = args.recursive || args.archive;
    let to = Path::new(&args.target);
    let targets = session.targets(&args.sources)?;
    let mut copy = Copy {
        existing: if args.no_clobber { Existing::Keep } else { Existing::Replace },
        buffer: buffer(),
        links: LinkMap::default(),
        keeper: Keeper::new(&args.no_preserve, args.preserve || args.archive),
        progress: session.progress(Place::Free)?,
    };
    let mut image = None;
    for target in &targets {
        if image != Some(target.image) {
            copy.links = LinkMap::default();
            image = Some(target.image);
        }
        let links = if recursive { Links::Keep } else { Links::Follow };
        let Some(metadata) = session.metadata(target, links) else { continue };
        if metadata.is_dir() && !recursive {
            session.fail(&target.path, &"is a directory; -r copies it");
            continue;
        }
        let destination = destination::choose(&target.path, &metadata, to, targets.len())?;
        copy.source(session, target, &metadata, &destination)?;
    }
    copy.keeper.finish(session);
    Ok(())
}

fn into_image(session: &mut Session, args: &CpArgs) -> Run {
    if args.sources.iter().any(|source| session.is_in_image(source)) {
        return Stop::usage("cp: from image to image: rumpcap tar A:/x | rumpcap tar -x B:/");
    }
    into::run(session, args)
}

/// Where a source goes, and how far it has come.
struct Way<'a> {
    destination: &'a Destination,
    open: Option<OpenDirectory>,
}

impl Copy {
    fn source(&mut self, session: &mut Session, target: &Target, m: &Metadata, to: &Destination) -> Run {
        let mut place = Way { destination: to, open: None };
        if !m.is_dir() {
            let visit = Visit { path: &target.path, depth: 0, metadata: m };
            self.visit(session, target, &visit, &mut place);
        } else {
            traverse(
                session,
                target,
                Order::Device,
                usize::MAX,
                &mut |session: &mut Session, visit: &Visit<'_>| {
                    self.visit(session, target, visit, &mut place);
                    if self.keeper.target_is_full {
                        Err(Stop::Fatal("the target is full".into()))
                    } else {
                        Ok(())
                    }
                },
            )?;
        }
        if let Some(open) = place.open.take() {
            open.leave(&mut self.keeper);
        }
        self.keeper.restore_modes(session, &to.dir);
        Ok(())
    }

    /// Copies one path; a failure is named and counted.
    fn visit(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>, place: &mut Way<'_>) {
        let relative = match place.destination.relative(&target.path, visit) {
            Ok(relative) => relative,
            Err(reason) => return session.fail(visit.path, &reason),
        };
        let done = match relative {
            None => self.keep_target_itself(session, target, visit, place),
            Some(relative) => self.entry(session, target, visit, place, &relative),
        };
        if let Err(failure) = done {
            if failure.is_full() {
                self.keeper.target_is_full = true;
            }
            session.fail(visit.path, &failure);
        }
        self.progress.file();
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
                let copied = self.content(target, m, fd.as_fd());
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
    fn content(&mut self, target: &Target, m: &Metadata, to: BorrowedFd<'_>) -> Result<(), Failure> {
        let file = target.mount.open_ino(m.ino())?;
        let mut at = 0;
        while let Some(segment) = file.segment_at(at)? {
            let end = segment.offset.saturating_add(segment.len_bytes);
            if end <= at {
                break;
            }
            if !segment.hole {
                self.range(&file, at..end, to)?;
            }
            at = end;
        }
        Ok(rustix::fs::ftruncate(to, m.len()).map_err(Refusal::Host)?)
    }

    fn range(&mut self, file: &File, range: std::ops::Range<u64>, to: BorrowedFd<'_>) -> Result<(), Failure> {
        let mut at = range.start;
        let mut failure = None;
        let progress = &mut self.progress;
        let read = each_chunk(file, range, &mut self.buffer, &mut |bytes| {
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
            (None, _) => Ok(()),
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
        }
    }
}
