//! [`Copier`]: copies trees into an image, wherever they come from ([`Source`]).
//!
//! Who calls it: `into`. The tree is gone through by open directories; in the image everything is made in a directory that is known by
//! its number ([`ImageTree`]). A directory gets its attributes when it is made, and its times when it is full.
//!
//! CO-1. A file whose content is not complete, whatever the reason, has no name in the image when the copy ends.
//! CO-2. What is copied is never removed to make room for its own copy: [`Copier::must_be_another`].
//!
//! Memory: one buffer; the names of the directories on the way down; hard links that are not complete, 48 bytes each.
//! Failure: what fails is named and the rest is done; when the image is full, or a signal comes, the copy ends.

mod files;

use super::CpArgs;
use super::attributes::Attribute;
use super::source::{Attributes, Failure, Identity, Name, Of, Place, Source};
use crate::content::buffer;
use crate::image_tree::{Freed, ImageTree, Inherits, Refusal, Wanted, ends_all};
use crate::outcome::{Run, plain};
use crate::progress::Progress;
use crate::quote::for_message;
use crate::session::{Session, Target};
use crate::target_dir::Existing;
use rumpcap::{FileKind, Owner, Timestamp};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One run of `cp` into an image.
pub struct Copier {
    tree: ImageTree,
    /// The image that is written, among those of the session.
    image: usize,
    left_out: Vec<Attribute>,
    owner: Option<(u32, u32)>,
    /// No time of a copy is later.
    latest: Option<Timestamp>,
    umask: u32,
    /// What the images themselves are on the host: they are left out.
    images: Vec<(u64, u64)>,
    buffer: Vec<u8>,
    links: HashMap<Identity, FirstName>,
    pub progress: Progress,
}

/// A file with several names, the first of which is in the image.
struct FirstName {
    ino: u64,
    left: u64,
}

/// A place in the image where something is made.
#[derive(Clone, Copy)]
pub struct To<'a> {
    /// The directory.
    pub dir: u64,
    pub name: &'a [u8],
    /// What the directory passes on.
    pub inherits: Inherits,
}

/// What no directory is, where it was found.
pub struct Found<'a, S: Source> {
    pub directory: &'a S::Directory,
    pub name: &'a Name,
    pub attributes: Attributes,
}

/// What was made in the image, and what its directory passes on.
#[derive(Clone, Copy)]
struct Made {
    ino: u64,
    inherits: Inherits,
}

/// A directory that is being filled.
struct Level<S: Source> {
    from: S::Directory,
    identity: Identity,
    /// What is still to be done, the next one last.
    waiting: Vec<Name>,
    path_len: usize,
    ino: u64,
    inherits: Inherits,
    /// Its times when it is full.
    times: Option<(Timestamp, Timestamp)>,
}

impl Copier {
    /// Copies into the image of `target`, as `args` say.
    pub fn new(session: &Session, args: &CpArgs, target: &Target, progress: Progress) -> Copier {
        Copier {
            tree: ImageTree {
                mount: target.mount.clone(),
                existing: if args.no_clobber { Existing::Keep } else { Existing::Replace },
                freed: Freed::Later,
            },
            image: target.image,
            left_out: args.no_preserve.clone(),
            owner: args.owner.owner,
            latest: args.write.time.map(|seconds| Timestamp { seconds, nanoseconds: 0 }),
            umask: crate::modes::umask(),
            images: session.identities(),
            buffer: buffer(),
            links: HashMap::new(),
            progress,
        }
    }

    /// What directory `dir` passes on to what is made in it.
    pub fn inherits(&self, dir: u64) -> Inherits {
        self.tree.inherits(dir)
    }

    /// Names a failure, or ends everything.
    pub fn done(&mut self, session: &mut Session, path: &Path, done: Result<(), Failure>) -> Run {
        let reason: &dyn std::fmt::Display = match &done {
            Ok(()) => {
                self.progress.file();
                return Ok(());
            }
            Err(Failure::Stop(_)) => {
                let Err(Failure::Stop(stop)) = done else { return Ok(()) };
                return Err(stop);
            }
            Err(Failure::Host(errno)) => &plain(&(*errno).into()),
            Err(Failure::Read(e)) => &plain(e),
            Err(Failure::Source(e)) => e,
            Err(Failure::Image(refusal)) => &format!("not copied: {refusal}"),
            Err(Failure::Said(reason)) => reason,
        };
        session.fail(path, reason);
        match &done {
            Err(Failure::Image(Refusal::Image(e))) => ends_all(*e).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// Copies a directory with all that is in it: as `name` in `dir`, or into `dir` itself.
    pub fn tree<S: Source>(
        &mut self,
        session: &mut Session,
        source: &mut S,
        top: (S::Directory, Attributes),
        (dir, name): (u64, Option<&[u8]>),
        path: &Path,
    ) -> Run {
        let mut path = path.as_os_str().as_bytes().to_vec();
        let inherits = if name.is_some() { self.inherits(dir) } else { Inherits::Nothing };
        let mut levels = Vec::new();
        match self.directory(session, source, top, (dir, name), inherits, &path) {
            Ok(level) => levels.push(level),
            Err(failure) => self.done(session, as_path(&path), Err(failure))?,
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
            crate::traverse::join(&mut path, &name.name);
            match self.entry(session, source, &levels, &name, &path) {
                Ok(None) => self.done(session, as_path(&path), Ok(()))?,
                Ok(Some(below)) => levels.push(below),
                Err(failure) => self.done(session, as_path(&path), Err(failure))?,
            }
        }
        Ok(())
    }

    /// Copies an entry of the last directory; gives the directory that is to be filled, if it is one.
    fn entry<S: Source>(
        &mut self,
        session: &mut Session,
        source: &mut S,
        levels: &[Level<S>],
        name: &Name,
        path: &[u8],
    ) -> Result<Option<Level<S>>, Failure> {
        let Some(level) = levels.last() else { return Ok(None) };
        let attributes = source.look_at(&level.from, name)?;
        if let Identity { place: Place::Host(device), ino } = attributes.identity
            && self.images.contains(&(device, ino))
        {
            return Err(Failure::Said("is the image itself; left out"));
        }
        if attributes.kind == FileKind::Directory {
            if levels.iter().any(|above| above.identity == attributes.identity) {
                return Err(Failure::Said("directory loop: it is inside itself"));
            }
            let below = source.enter(&level.from, name)?;
            let to = (level.ino, Some(&*name.name));
            return self.directory(session, source, below, to, level.inherits, path).map(Some);
        }
        let to = To { dir: level.ino, name: &name.name, inherits: level.inherits };
        let found = Found { directory: &level.from, name, attributes };
        self.other(session, source, &found, to, as_path(path)).map(|()| None)
    }

    /// Makes a directory, which is then to be filled. Without a name it is `dir` itself.
    fn directory<S: Source>(
        &mut self,
        session: &mut Session,
        source: &mut S,
        (from, attributes): (S::Directory, Attributes),
        (dir, name): (u64, Option<&[u8]>),
        inherits: Inherits,
        path: &[u8],
    ) -> Result<Level<S>, Failure> {
        let owner = self.owner_of(&attributes);
        let ino = match name {
            Some(name) => self.tree.directory(dir, name, &owner)?.ino,
            None => dir,
        };
        let made = Made { ino, inherits };
        self.finish(session, source, Of::Directory(&from), &attributes, made, as_path(path))?;
        let waiting = source.names(&from)?;
        let times = self.keeps(Attribute::Times).then(|| self.times(&attributes));
        let (inherits, identity) = (self.inherits(ino), attributes.identity);
        Ok(Level { from, identity, waiting, path_len: path.len(), ino, inherits, times })
    }

    /// Copies what is no directory.
    pub fn other<S: Source>(
        &mut self,
        session: &mut Session,
        source: &mut S,
        found: &Found<'_, S>,
        to: To<'_>,
        path: &Path,
    ) -> Result<(), Failure> {
        let &Found { directory: from, name, ref attributes } = found;
        let is_linked = attributes.nlink > 1 && self.keeps(Attribute::Links);
        if is_linked && let Some(first) = self.links.get_mut(&attributes.identity) {
            first.left -= 1;
            let (ino, is_last) = (first.ino, first.left == 0);
            if is_last {
                self.links.remove(&attributes.identity);
            }
            return Ok(self.tree.link(ino, to.dir, to.name)?);
        }
        let ino = match attributes.kind {
            FileKind::Regular => {
                let (file, attributes) = source.open(from, name)?;
                self.regular(session, source, &file, &attributes, to, path)?
            }
            kind => {
                self.must_be_another(attributes, to)?;
                let owner = self.owner_of(attributes);
                let made = match kind {
                    FileKind::Symlink => {
                        let target = source.link_target(from, name)?;
                        self.tree.symlink(to.dir, to.name, &target, &owner)?
                    }
                    FileKind::Unknown => return Err(Failure::Said("unknown type of file")),
                    kind => self.tree.node(to.dir, to.name, kind, attributes.rdev, &owner)?,
                };
                let of = Of::Entry(from, name);
                let made = Made { ino: made.ino(), inherits: to.inherits };
                self.finish(session, source, of, attributes, made, path)?;
                made.ino
            }
        };
        if is_linked {
            self.links.insert(attributes.identity, FirstName { ino, left: attributes.nlink - 1 });
        }
        Ok(())
    }

    fn keeps(&self, attribute: Attribute) -> bool {
        !self.left_out.contains(&attribute)
    }

    /// Owner and mode of a copy; what any other program would give it where they are not kept.
    fn owner_of(&self, of: &Attributes) -> Owner {
        let usual = if of.kind == FileKind::Directory { 0o777 } else { 0o666 };
        let mode = if self.keeps(Attribute::Mode) { of.mode } else { usual & !self.umask };
        let kept = if self.keeps(Attribute::Owner) { of.owner } else { (0, 0) };
        let (uid, gid) = self.owner.unwrap_or(kept);
        Owner { mode, uid, gid }
    }

    /// Times of access and change.
    fn times(&self, of: &Attributes) -> (Timestamp, Timestamp) {
        match self.latest {
            // A copy of the tree has other times of access: they would show.
            Some(latest) => (latest, of.mtime.min(latest)),
            None => (of.atime, of.mtime),
        }
    }

    /// Gives a copy its attributes.
    fn finish<S: Source>(
        &mut self,
        session: &mut Session,
        source: &mut S,
        from: Of<'_, S>,
        attributes: &Attributes,
        made: Made,
        path: &Path,
    ) -> Result<(), Failure> {
        let xattrs = if self.keeps(Attribute::Xattr) { source.xattrs(from)? } else { Vec::new() };
        let owner = self.owner_of(attributes);
        let times = self.keeps(Attribute::Times).then(|| self.times(attributes));
        let wanted = Wanted {
            mode: owner.mode,
            owner: (owner.uid, owner.gid),
            atime: times.map(|(atime, _)| atime),
            mtime: times.map(|(_, mtime)| mtime),
            xattrs: &xattrs,
            inherits: made.inherits,
        };
        for (name, e) in self.tree.finish(made.ino, &wanted)? {
            session.fail(path, &format_args!("extended attribute {}: {e}", for_message(&name)));
        }
        Ok(())
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
