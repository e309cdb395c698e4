//! `rumpcap tar -x`: extracts an archive into an image.
//!
//! Members are made in directories that are known by their number ([`ImageTree`]); the directories on the way to the last member are
//! remembered, so that a path is looked up only where it differs from the last one's.
//!
//! A member's path has no `..`, and every directory on it was reached as a directory: what a link points to is not touched.
//! Directories get their times at the end: what is extracted into them would change them.
//!
//! Memory: one buffer; 48 bytes for each directory; what `pax::read` says.
//! Failure: what fails is named and the rest is extracted; an archive that makes no sense, a full image, or a signal ends it.

use super::TarArgs;
use crate::accounts::Accounts;
use crate::content::buffer;
use crate::image_tree::{ACL_ACCESS, ACL_DEFAULT, Freed, ImageTree, Inherits, Refusal, Wanted, ends_all};
use crate::interrupt::Input;
use crate::outcome::{Run, Stop, plain};
use crate::pax::acl::{self, Who};
use crate::pax::read::{Broken, Entry, Reader, What};
use crate::progress::{Place, Progress};
use crate::quote::for_message;
use crate::session::Session;
use crate::target_dir::Existing;
use rumpcap::{Error, FileKind, Mount, Owner, Timestamp};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Permissions of directories that the archive does not have.
const DIRECTORY_MODE: u32 = 0o755;

/// How members are extracted.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// So many directories are taken off their names.
    pub strip_components: usize,
    /// What becomes of what has the name of a member.
    pub existing: Existing,
    /// When blocks that come free are free.
    pub freed: Freed,
    /// Whose everything is, if not whose the archive says.
    pub owner: Option<(u32, u32)>,
    /// What becomes of extended attributes and lists.
    pub xattrs: Xattrs,
    /// No time of a member is set to a later one.
    pub latest: Option<Timestamp>,
}

/// What becomes of extended attributes and access control lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xattrs {
    /// They are extracted.
    Keep,
    /// They are not.
    LeaveOut,
}

/// Runs `tar -x`.
pub fn run(session: &mut Session, args: &TarArgs) -> Run {
    let [text] = args.sources.as_slice() else {
        return Stop::usage("tar: -x takes one directory of an image");
    };
    if args.output.is_none() && session.input_is_script() {
        return Stop::usage("tar: standard input is the script; name the archive with -f");
    }
    let target = session.writable(text, args.write)?;
    let top = target
        .mount
        .metadata(&target.path)
        .and_then(|m| if m.is_dir() { Ok(m) } else { Err(Error::NotADirectory) });
    let top = match top {
        Ok(top) => top.ino(),
        Err(e) => {
            session.fail(&target.path, &e);
            return Ok(());
        }
    };
    let how = How {
        strip_components: args.strip_components,
        existing: if args.keep_old_files { Existing::Keep } else { Existing::Replace },
        freed: Freed::Later,
        owner: args.owner.owner,
        xattrs: if args.no_xattrs { Xattrs::LeaveOut } else { Xattrs::Keep },
        latest: args.write.time.map(|seconds| Timestamp { seconds, nanoseconds: 0 }),
    };
    archive(session, args.output.as_deref(), (&target.mount, top), how)
}

/// Extracts the archive `source`, or standard input, into directory `top` of `mount`.
///
/// # Errors
/// What ends it; that members failed is named and counted.
pub fn archive(session: &mut Session, source: Option<&Path>, (mount, top): (&Mount, u64), how: How) -> Run {
    let tree = ImageTree { mount: mount.clone(), existing: how.existing, freed: how.freed };
    let extract = Extract {
        how,
        inherits: vec![tree.inherits(top)],
        tree,
        top,
        way: Vec::new(),
        directories: Vec::new(),
        accounts: Accounts::default(),
        buffer: buffer(),
        progress: session.progress(Place::Free)?,
    };
    let interrupt = session.interrupt().cloned();
    match source {
        Some(path) => {
            let failed = |e: std::io::Error| {
                Stop::Fatal(format!("{}: {}", show(path.as_os_str().as_bytes()), plain(&e)))
            };
            let file = std::fs::File::open(path).map_err(failed)?;
            extract.all(
                session,
                Reader::new(std::io::BufReader::with_capacity(BUFFER_BYTES, Input::new(file, interrupt))),
            )
        }
        None => {
            let input = Input::new(std::io::stdin().lock(), interrupt);
            extract.all(session, Reader::new(std::io::BufReader::with_capacity(BUFFER_BYTES, input)))
        }
    }
}

/// Bytes of an archive that are read at once; content goes past it.
const BUFFER_BYTES: usize = 64 << 10;

/// One run of `tar -x`.
struct Extract {
    how: How,
    tree: ImageTree,
    /// The directory that everything goes into.
    top: u64,
    /// The directories below it that lead to the last member, by name and number.
    way: Vec<(Box<[u8]>, u64)>,
    /// For the top and each of these: whether it passes a list on. Shorter where that has not been asked.
    inherits: Vec<Inherits>,
    /// Directories that were members, and their times.
    directories: Vec<(u64, Option<Timestamp>, Timestamp)>,
    /// None until a list has a name.
    accounts: Accounts,
    buffer: Vec<u8>,
    progress: Progress,
}

/// Why a member was not extracted.
enum Failure {
    Image(Refusal),
    Said(String),
    Archive(Broken),
    Stop(Stop),
}

impl Extract {
    fn all<R: Read>(mut self, session: &mut Session, mut reader: Reader<R>) -> Run {
        let end = loop {
            session.check_interrupt()?;
            let entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break Ok(()),
                Err(broken) => break Err(broken),
            };
            self.progress.file();
            let Err(failure) = self.member(session, &entry, &mut reader) else { continue };
            let name = Path::new(OsStr::from_bytes(&entry.name));
            match failure {
                Failure::Image(refusal) => {
                    session.fail(name, &format_args!("not extracted: {refusal}"));
                    if let Refusal::Image(e) = refusal
                        && let Some(stop) = ends_all(e)
                    {
                        return Err(stop);
                    }
                }
                Failure::Said(reason) => session.fail(name, &reason),
                Failure::Archive(broken) => break Err(broken),
                Failure::Stop(stop) => return Err(stop),
            }
        };
        // X-2; also where the archive ended early.
        for (ino, atime, mtime) in std::mem::take(&mut self.directories) {
            if let Err(e) = self.tree.times(ino, atime, Some(mtime)) {
                session.say(format_args!("times of a directory: {e}"));
                session.count_failures(1);
            }
        }
        match end {
            Ok(()) => reader.finish(),
            Err(broken) => {
                session.check_interrupt()?;
                return Stop::fatal(broken.to_string());
            }
        }
        Ok(())
    }

    fn member<R: Read>(
        &mut self,
        session: &mut Session,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), Failure> {
        let path = safe_path(&entry.name).map_err(|e| Failure::Said(e.to_owned()))?;
        let path = path.get(self.how.strip_components..).unwrap_or_default();
        let Some((name, parents)) = path.split_last() else { return self.top_itself(session, entry) };
        let dir = self.enter(parents)?;
        let inherits = self.inherited(parents.len());
        let owner = self.owner(entry);
        let ino = match entry.what {
            What::File => return self.file(session, entry, reader, (dir, name), inherits),
            What::HardLink => {
                let ino = self.linked(&entry.link)?;
                return Ok(self.tree.link(ino, dir, name)?);
            }
            What::Directory => {
                let made = self.tree.directory(dir, name, &owner)?;
                self.directories.push((made.ino, entry.atime, self.mtime(entry)));
                // Its own list is set below, and passed on from then on.
                self.way.truncate(parents.len());
                self.inherits.truncate(parents.len() + 1);
                made.ino
            }
            What::Symlink => self.tree.symlink(dir, name, &entry.link, &owner)?.ino(),
            What::CharDevice => self.tree.node(dir, name, FileKind::CharDevice, entry.rdev, &owner)?.ino(),
            What::BlockDevice => self.tree.node(dir, name, FileKind::BlockDevice, entry.rdev, &owner)?.ino(),
            What::Fifo => self.tree.node(dir, name, FileKind::Fifo, (0, 0), &owner)?.ino(),
            What::Other(letter) => {
                let letter = char::from(letter).escape_default();
                return Err(Failure::Said(format!(
                    "is of the type '{letter}', which is not known; left out"
                )));
            }
        };
        self.attributes(session, entry, ino, inherits)
    }

    /// The member `.` is the directory that everything goes into.
    fn top_itself(&mut self, session: &mut Session, entry: &Entry) -> Result<(), Failure> {
        if entry.what != What::Directory || self.how.strip_components > 0 {
            return Ok(());
        }
        self.directories.push((self.top, entry.atime, self.mtime(entry)));
        self.inherits.clear();
        self.attributes(session, entry, self.top, Inherits::Nothing)
    }

    fn file<R: Read>(
        &mut self,
        session: &mut Session,
        entry: &Entry,
        reader: &mut Reader<R>,
        (dir, name): (u64, &[u8]),
        inherits: Inherits,
    ) -> Result<(), Failure> {
        let file = self.tree.file(dir, name, &self.owner(entry))?;
        let whole = [(0, entry.size)];
        let mut written = 0;
        for &(start, len) in entry.runs.as_deref().unwrap_or(&whole) {
            let mut at = start;
            while at < start.saturating_add(len) {
                session.check_interrupt().map_err(Failure::Stop)?;
                let left = usize::try_from(start + len - at).unwrap_or(usize::MAX);
                let most = left.min(self.buffer.len());
                let got = reader.content(&mut self.buffer[..most]).map_err(Failure::Archive)?;
                if got == 0 {
                    return Err(Failure::Said("its content is shorter than its map says".to_owned()));
                }
                at += file.write_at(&self.buffer[..got], at)? as u64;
                written = at;
                self.progress.bytes(got as u64);
            }
        }
        if written < entry.size {
            file.set_len(entry.size)?;
        }
        self.attributes(session, entry, file.ino(), inherits)
    }

    fn attributes(
        &mut self,
        session: &mut Session,
        entry: &Entry,
        ino: u64,
        inherits: Inherits,
    ) -> Result<(), Failure> {
        let mut xattrs = Vec::new();
        if self.how.xattrs == Xattrs::Keep {
            xattrs.clone_from(&entry.xattrs);
            for (name, text) in [ACL_ACCESS, ACL_DEFAULT].into_iter().zip(&entry.acls) {
                let Some(text) = text else { continue };
                match self.list(text) {
                    Some(value) => xattrs.push((name.to_vec(), value)),
                    None => session.fail(
                        Path::new(OsStr::from_bytes(&entry.name)),
                        &"an access control list that cannot be read, or names somebody unknown",
                    ),
                }
            }
        }
        let owner = self.owner(entry);
        let wanted = Wanted {
            mode: entry.mode,
            owner: (owner.uid, owner.gid),
            atime: entry.atime.map(|atime| self.how.latest.map_or(atime, |latest| atime.min(latest))),
            mtime: Some(self.mtime(entry)),
            xattrs: &xattrs,
            inherits,
        };
        for (name, e) in self.tree.finish(ino, &wanted)? {
            let path = Path::new(OsStr::from_bytes(&entry.name));
            session.fail(path, &format_args!("extended attribute {}: {e}", for_message(&name)));
        }
        Ok(())
    }

    /// A list in its binary form. GNU tar writes names; they are looked up in the image (as it was, and as it is now, since the archive may
    /// have brought its accounts along), then on the host, where the archive may come from.
    fn list(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let parse = |accounts: &Accounts| {
            acl::parse(text, &|who, name| match who {
                Who::User => accounts.uid(name),
                Who::Group => accounts.gid(name),
            })
        };
        parse(&self.accounts).or_else(|| {
            self.accounts = Accounts::of(&self.tree.mount);
            parse(&self.accounts).or_else(|| parse(&Accounts::host()))
        })
    }

    fn owner(&self, entry: &Entry) -> Owner {
        let (uid, gid) = self.how.owner.unwrap_or((entry.uid, entry.gid));
        Owner { mode: entry.mode, uid, gid }
    }

    fn mtime(&self, entry: &Entry) -> Timestamp {
        self.how.latest.map_or(entry.mtime, |latest| entry.mtime.min(latest))
    }

    /// The directory that `path` leads to; what of it is not there is made. X-1.
    fn enter(&mut self, path: &[&[u8]]) -> Result<u64, Refusal> {
        let same = self.way.iter().zip(path).take_while(|((known, _), name)| **known == ***name).count();
        self.way.truncate(same);
        self.inherits.truncate(same + 1);
        let mut dir = self.way.last().map_or(self.top, |(_, ino)| *ino);
        for name in path.iter().skip(same) {
            dir = match self.tree.look_up(dir, name)? {
                Some(there) if there.is_dir() => there.ino(),
                Some(_) => return Err(Refusal::NotDirectory),
                None => self.tree.directory(dir, name, &Owner::with_mode(DIRECTORY_MODE))?.ino,
            };
            self.way.push(((*name).into(), dir));
        }
        Ok(dir)
    }

    /// Whether the directory that was entered, `depth` below the top, passes a list on.
    fn inherited(&mut self, depth: usize) -> Inherits {
        while self.inherits.len() <= depth {
            let below = self.inherits.len().checked_sub(1).and_then(|at| self.way.get(at));
            let ino = below.map_or(self.top, |(_, ino)| *ino);
            self.inherits.push(self.tree.inherits(ino));
        }
        self.inherits.get(depth).copied().unwrap_or(Inherits::Nothing)
    }

    /// The file that a hard link is another name of. X-1.
    fn linked(&self, name: &[u8]) -> Result<u64, Failure> {
        let path = safe_path(name).map_err(|e| Failure::Said(e.to_owned()))?;
        let mut at = self.top;
        for name in path.get(self.how.strip_components..).unwrap_or_default() {
            let there = self.tree.look_up(at, name)?;
            at = there.ok_or_else(|| Failure::Said(format!("{}: no file to link to", show(name))))?.ino();
        }
        Ok(at)
    }
}

/// The names of a path, without a leading slash and dots.
///
/// # Errors
/// A message for the user where it has `..`.
fn safe_path(name: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let names: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    match names.iter().any(|name| *name == b".." || name.contains(&0)) {
        true => Err("has a name that leads out of the directory; not extracted"),
        false => Ok(names),
    }
}

fn show(name: &[u8]) -> String {
    for_message(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let path = |name: &str| safe_path(name.as_bytes()).map(|p| p.join(&b'|'));
        assert_eq!(path("./a//b/./c/").unwrap(), b"a|b|c");
        assert_eq!(path("/etc/passwd").unwrap(), b"etc|passwd");
        assert_eq!(path("./").unwrap(), b"");
        for bad in ["..", "a/../b", "../x", "a/..", "a\0b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
