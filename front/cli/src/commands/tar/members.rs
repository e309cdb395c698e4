//! [`Extract`]: makes the members of an archive in an image.
//!
//! Who calls it: `extract`. Members are made in directories that are known by their number ([`ImageTree`]); the directories on the way to the last
//! member are remembered, so that a path is looked up only where it differs from the last one's.
//!
//! A member's path has no `..`, and every directory on it was reached as a directory: what a link points to is not touched.
//! Directories get their times at the end: what is extracted into them would change them.
//! A file whose content is not complete, whatever the reason, has no name in the image at the end.
//!
//! Memory: one buffer; 48 bytes for each directory; what `pax::read` says.
//! Failure: what fails is named and the rest is extracted; an archive that makes no sense, a full image, or a signal ends it.

use super::extract::{How, Meter, Xattrs};
use crate::accounts::Accounts;
use crate::content::buffer;
use crate::image_tree::{ACL_ACCESS, ACL_DEFAULT, ImageTree, Inherits, Refusal, Wanted, ends_all};
use crate::outcome::{Run, Stop};
use crate::pax::acl::{self, Who};
use crate::pax::read::{Broken, Entry, Reader, What};
use crate::quote::for_message;
use crate::session::Session;
use rumpcap::{Error, FileKind, Mount, Owner, Timestamp};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Permissions of directories that the archive does not have.
const DIRECTORY_MODE: u32 = 0o755;

/// One run of `tar -x`.
pub struct Extract {
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
    meter: Meter,
}

/// Why a member was not extracted.
enum Failure {
    Image(Refusal),
    Said(String),
    Archive(Broken),
    Stop(Stop),
}

impl Extract {
    /// Extracts into directory `top` of `mount`.
    pub fn new((mount, top): (&Mount, u64), how: How, meter: Meter) -> Extract {
        let tree = ImageTree { mount: mount.clone(), existing: how.existing, freed: how.freed };
        Extract {
            how,
            inherits: vec![tree.inherits(top)],
            tree,
            top,
            way: Vec::new(),
            directories: Vec::new(),
            accounts: Accounts::default(),
            buffer: buffer(),
            meter,
        }
    }

    /// Extracts all members.
    ///
    /// # Errors
    /// What ends it; that members failed is named and counted.
    pub fn all<R: Read>(mut self, session: &mut Session, mut reader: Reader<R>) -> Run {
        let end = loop {
            match self.next(session, &mut reader) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(stop) => break Err(stop),
            }
        };
        // X-2; also where it ended early.
        for (ino, atime, mtime) in std::mem::take(&mut self.directories) {
            if let Err(e) = self.tree.times(ino, atime, Some(mtime)) {
                session.say(format_args!("times of a directory: {e}"));
                session.count_failures(1);
            }
        }
        // An archive that broke off because a signal came is none that is broken.
        let end = session.check_interrupt().and(end);
        match &end {
            Ok(()) => reader.finish(),
            Err(Stop::Code(_)) => self.meter.say_interrupted(session),
            Err(_) => {}
        }
        end
    }

    /// Extracts the next member; whether there was one.
    fn next<R: Read>(&mut self, session: &mut Session, reader: &mut Reader<R>) -> Run<bool> {
        session.check_interrupt()?;
        let broken = |broken: Broken| Stop::Fatal(broken.to_string());
        let Some(entry) = reader.next().map_err(broken)? else { return Ok(false) };
        let name = Path::new(OsStr::from_bytes(&entry.name));
        self.meter.begin(name);
        match self.member(session, &entry, reader) {
            Ok(()) => self.meter.file(),
            Err(Failure::Image(refusal)) => {
                session.fail(name, &format_args!("not extracted: {refusal}"));
                if let Refusal::Image(e) = refusal
                    && let Some(stop) = ends_all(e)
                {
                    return Err(stop);
                }
            }
            Err(Failure::Said(reason)) => session.fail(name, &reason),
            Err(Failure::Archive(why)) => return Err(broken(why)),
            Err(Failure::Stop(stop)) => return Err(stop),
        }
        Ok(true)
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
        if let Err(failure) = self.content(session, entry, reader, &file) {
            // Where even that fails, the first failure says more.
            let _ = self.tree.mount.remove_file_at(dir, OsStr::from_bytes(name));
            return Err(failure);
        }
        self.attributes(session, entry, file.ino(), inherits)
    }

    fn content<R: Read>(
        &mut self,
        session: &Session,
        entry: &Entry,
        reader: &mut Reader<R>,
        file: &rumpcap::File,
    ) -> Result<(), Failure> {
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
                self.meter.content(got as u64);
            }
        }
        if written < entry.size {
            file.set_len(entry.size)?;
        }
        Ok(())
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
