//! Visiting everything below a path, in one of three orders.
//!
//! [`Order::Device`] is the library's walk: bounded memory, few device reads; a directory comes before what is in it.
//! [`Order::Nested`] is the same walk with the promise that a directory comes right before its content, and all that is
//! below it before anything else, also where the walk gives the subdirectories of a directory ahead of their content. An archive
//! needs that (an extracting tar sets a directory's times when it meets a member outside of it), and so does a sum per directory.
//! [`Order::Sorted`] visits by name (bytes ascending), each directory's content right behind it, so that the output depends on the tree
//! alone; memory: the names of the directories on the way down, not of the whole tree.
//!
//! Who calls it: `find`, `du`, `cp`, `tar`, `sha256`, `tree`, `ls -R` (the last two only [`Listing`]).
//! Failure: a path that cannot be visited is named and counted, and the visit goes on.

use crate::outcome::Run;
use crate::session::{Session, Target};
use rumpcap::{Metadata, Mount};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// In what order a tree is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the device has it.
    Device,
    /// As the device has it, directories right before their content.
    Nested,
    /// By name.
    Sorted,
}

/// One path that is visited.
pub struct Visit<'a> {
    /// The start's path joined with what is below.
    pub path: &'a Path,
    /// 0 for the start.
    pub depth: usize,
    /// Attributes; of a symbolic link itself.
    pub metadata: &'a Metadata,
}

/// Called for every path.
pub type Visitor<'a> = dyn FnMut(&mut Session, &Visit<'_>) -> Run + 'a;

/// Visits `target` and all that is below it, down to `max_depth` levels.
pub fn traverse(
    session: &mut Session,
    target: &Target,
    order: Order,
    max_depth: usize,
    visitor: &mut Visitor<'_>,
) -> Run {
    match order {
        Order::Device => by_device(session, target, max_depth, visitor),
        Order::Nested => nested(session, target, max_depth, visitor),
        Order::Sorted => Sorted::start(session, target, max_depth, visitor),
    }
}

fn by_device(session: &mut Session, target: &Target, max_depth: usize, visitor: &mut Visitor<'_>) -> Run {
    let mut walk = match target.mount.walk(&target.path) {
        Ok(walk) => walk.max_depth(max_depth),
        Err(e) => {
            session.fail(&target.path, &e);
            return Ok(());
        }
    };
    loop {
        match walk.next_entry() {
            Ok(None) => return Ok(()),
            Ok(Some(entry)) => {
                let visit = Visit { path: entry.path(), depth: entry.depth(), metadata: entry.metadata() };
                visitor(session, &visit)?;
            }
            Err(e) => session.fail(&e.path, &e.error),
        }
    }
}

fn nested(session: &mut Session, target: &Target, max_depth: usize, visitor: &mut Visitor<'_>) -> Run {
    let mut nest = Nest { target, visitor, entered: target.path.clone(), held: None };
    by_device(session, target, max_depth, &mut |session: &mut Session, visit: &Visit<'_>| {
        nest.release(session, Some(visit.path))?;
        nest.enter_parent_of(session, visit)?;
        if visit.metadata.is_dir() && (1..max_depth).contains(&visit.depth) {
            nest.held = Some((visit.path.to_owned(), visit.depth, *visit.metadata));
            return Ok(());
        }
        (nest.visitor)(session, visit)
    })?;
    nest.release(session, None)
}

/// Turns the walk's order into a nested one, holding back one directory.
struct Nest<'a, 'v> {
    target: &'a Target,
    visitor: &'a mut Visitor<'v>,
    /// The directory whose content is being visited: it and all above it have been visited.
    entered: PathBuf,
    /// A directory that is visited when it shows whether its content follows.
    held: Option<(PathBuf, usize, Metadata)>,
}

impl Nest<'_, '_> {
    /// Visits the directory that is held back, unless its content is still to come and does not come now.
    fn release(&mut self, session: &mut Session, next: Option<&Path>) -> Run {
        let Some((path, depth, metadata)) = self.held.take() else { return Ok(()) };
        if next.and_then(Path::parent) == Some(&path) {
            self.entered.clone_from(&path);
        } else if next.is_some() && has_entries(self.target, &path) {
            return Ok(());
        }
        (self.visitor)(session, &Visit { path: &path, depth, metadata: &metadata })
    }

    /// Visits the directory that `visit` is an entry of, if that has been put off.
    fn enter_parent_of(&mut self, session: &mut Session, visit: &Visit<'_>) -> Run {
        let Some(parent) = visit.path.parent().filter(|_| visit.depth > 0) else { return Ok(()) };
        let is_new = !self.entered.starts_with(parent);
        self.entered.clear();
        self.entered.push(parent);
        // The start's own visit was the first.
        if !is_new || visit.depth == 1 {
            return Ok(());
        }
        match self.target.mount.symlink_metadata(parent) {
            Ok(metadata) => {
                (self.visitor)(session, &Visit { path: parent, depth: visit.depth - 1, metadata: &metadata })
            }
            Err(e) => {
                session.fail(parent, &e);
                Ok(())
            }
        }
    }
}

/// Whether the walk will go into the directory. One that cannot be read has none; the walk names it.
fn has_entries(target: &Target, path: &Path) -> bool {
    target.mount.read_dir(path).is_ok_and(|mut entries| matches!(entries.next(), Some(Ok(_))))
}

/// The names of one directory, sorted, in one allocation.
pub struct Listing {
    names: Vec<u8>,
    /// Where each name begins and ends, and its inode.
    entries: Vec<(u32, u32, u64)>,
}

impl Listing {
    /// Reads and sorts the directory `path`. An error in the middle is named and counted; what came before it is listed.
    pub fn read(session: &mut Session, mount: &Mount, path: &Path) -> Listing {
        let mut listing = Listing { names: Vec::new(), entries: Vec::new() };
        let entries = match mount.read_dir(path) {
            Ok(entries) => entries,
            Err(e) => {
                session.fail(path, &e);
                return listing;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => listing.push(entry.file_name().as_bytes(), entry.ino()),
                Err(e) => session.fail(path, &e),
            }
        }
        let names = &listing.names;
        listing
            .entries
            .sort_by(|a, b| names[a.0 as usize..a.1 as usize].cmp(&names[b.0 as usize..b.1 as usize]));
        listing
    }

    /// A directory whose names would take 4 GiB is cut: no file system here has one.
    fn push(&mut self, name: &[u8], ino: u64) {
        let (Ok(start), Ok(end)) = (self.names.len().try_into(), (self.names.len() + name.len()).try_into())
        else {
            return;
        };
        self.names.extend_from_slice(name);
        self.entries.push((start, end, ino));
    }

    /// Keeps the entries that `wanted`, given name and inode number, says.
    pub fn retain(&mut self, wanted: impl Fn(&[u8], u64) -> bool) {
        let names = &self.names;
        self.entries.retain(|&(start, end, ino)| wanted(&names[start as usize..end as usize], ino));
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Name and inode number of entry `i`, by name.
    pub fn get(&self, i: usize) -> Option<(&OsStr, u64)> {
        let (start, end, ino) = *self.entries.get(i)?;
        Some((OsStr::from_bytes(&self.names[start as usize..end as usize]), ino))
    }
}

/// A directory on the way down.
struct Level {
    listing: Listing,
    next: usize,
    ino: u64,
    path_len: usize,
}

struct Sorted<'a, 'v> {
    mount: &'a Mount,
    max_depth: usize,
    visitor: &'a mut Visitor<'v>,
    path: Vec<u8>,
    levels: Vec<Level>,
}

impl Sorted<'_, '_> {
    fn start(session: &mut Session, target: &Target, max_depth: usize, visitor: &mut Visitor<'_>) -> Run {
        let Some(metadata) = session.metadata(target, crate::session::Links::Keep) else { return Ok(()) };
        let path = target.path.as_os_str().as_bytes().to_vec();
        let mut walk = Sorted { mount: &target.mount, max_depth, visitor, path, levels: Vec::new() };
        walk.visit(session, &metadata)?;
        while let Some(level) = walk.levels.last_mut() {
            walk.path.truncate(level.path_len);
            let Some((name, ino)) = level.listing.get(level.next) else {
                walk.levels.pop();
                continue;
            };
            join(&mut walk.path, name.as_bytes());
            level.next += 1;
            match walk.mount.metadata_ino(ino) {
                Ok(metadata) => walk.visit(session, &metadata)?,
                Err(e) => session.fail(Path::new(OsStr::from_bytes(&walk.path)), &e),
            }
        }
        Ok(())
    }

    /// Visits the current path and, if it is a directory, makes it the next level.
    fn visit(&mut self, session: &mut Session, metadata: &Metadata) -> Run {
        let path = PathBuf::from(std::ffi::OsString::from_vec(self.path.clone()));
        let depth = self.levels.len();
        (self.visitor)(session, &Visit { path: &path, depth, metadata })?;
        if !metadata.is_dir() || depth >= self.max_depth {
            return Ok(());
        }
        let ino = metadata.ino();
        if self.levels.iter().any(|l| l.ino == ino) {
            session.fail(&path, &"directory loop: it is inside itself");
            return Ok(());
        }
        let listing = Listing::read(session, self.mount, &path);
        self.levels.push(Level { listing, next: 0, ino, path_len: self.path.len() });
        Ok(())
    }
}

/// Appends `/name` to `path`.
pub fn join(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
