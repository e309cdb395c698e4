//! What each operation does to the model, and what it gives: the rules of POSIX and of Linux, in their order where more than one error applies.
//!
//! A rule that is not told here (a link in the middle of a path, writing to a directory) gives [`Expected::Skip`]: the operation is left out.

use super::acl::{self, Acl};
use super::model::{Inode, InodeId, Kind, Model};
use super::operation::{Handle, Op, crowd_names, data};
use super::permitted::{self, APPEND, CASEFOLD, IMMUTABLE, Permitted};
use crate::writing::Answer;
use rumpcap::{Allocate, FileKind, Rename, SetXattr};
use std::collections::BTreeMap;

const EPERM: i32 = 1;
/// Where an operation is forbidden by flags and refused for another reason too, any reason is right.
const ANY: &[i32] = &[EPERM, ENOENT, EEXIST, ENOTDIR, EISDIR, EINVAL, ENOTEMPTY, ENODATA];
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const ENOTEMPTY: i32 = 39;
const ENODATA: i32 = 61;

/// The group of a directory goes to what is made in it.
const SET_GROUP: u32 = 0o2000;

/// What an operation is to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This.
    Gives(Answer),
    /// One of these errors.
    Refused(&'static [i32]),
    /// Nothing: it is not applied.
    Skip,
}

/// Why it does not succeed.
enum Not {
    Refused(&'static [i32]),
    Foretold,
}

type Outcome<T = Answer> = Result<T, Not>;

fn refuse<T>(errors: &'static [i32]) -> Outcome<T> {
    Err(Not::Refused(errors))
}

/// A name in a directory, and what it names.
struct At {
    dir: InodeId,
    name: String,
    found: Option<InodeId>,
}

impl At {
    fn existing(&self) -> Outcome<InodeId> {
        self.found.map_or_else(|| refuse(&[ENOENT]), Ok)
    }
}

impl Model {
    /// Applies an operation; a write of `written` bytes, if that is known, stops there. When it does not succeed, nothing has changed.
    pub fn apply(&mut self, op: &Op, written: Option<usize>) -> Expected {
        let before = self.clone();
        let permitted = self.permits(op);
        let outcome = match (self.change(op, written), permitted) {
            (outcome, Permitted::Yes) => outcome,
            (_, Permitted::Unknown) | (Err(Not::Foretold), _) => Err(Not::Foretold),
            (Ok(_), Permitted::No) => refuse(&[EPERM]),
            (Err(Not::Refused(_)), Permitted::No) => refuse(ANY),
        };
        if outcome.is_err() {
            *self = before;
        }
        match outcome {
            Ok(answer) => Expected::Gives(answer),
            Err(Not::Refused(errors)) => Expected::Refused(errors),
            Err(Not::Foretold) => Expected::Skip,
        }
    }

    fn change(&mut self, op: &Op, written: Option<usize>) -> Outcome {
        match op {
            Op::Create { path, mode, uid, gid } => {
                self.make(path, Kind::File(Default::default()), *mode, (*uid, *gid))
            }
            Op::MakeDir { path, mode, uid, gid } => {
                let kind = Kind::Directory { entries: BTreeMap::new(), parent: 0 };
                self.make(path, kind, *mode, (*uid, *gid))
            }
            Op::MakeNode { path, kind, rdev, mode } => {
                self.make(path, Kind::Special(*kind, *rdev), *mode, (0, 0))
            }
            Op::MakeNameless { dir, slot, mode, uid, gid } => {
                let dir = self.dir_at(dir).ok_or(Not::Foretold)?;
                let id = self.new_inode(dir, Kind::File(Default::default()), *mode, (*uid, *gid));
                let inode = self.get_mut(id);
                (inode.nlink, inode.is_linkable) = (0, true);
                self.close(*slot);
                self.slots[*slot] = Some(id);
                Ok(Answer::Done)
            }
            Op::LinkOpen { slot, new } => {
                let id = self.slots[*slot].ok_or(Not::Foretold)?;
                let inode = self.get(id);
                // One that has lost its names gets none again.
                if inode.nlink == 0 && !inode.is_linkable {
                    Err(Not::Foretold)
                } else {
                    self.link_inode(id, new)
                }
            }
            Op::SetAcl { path, is_default, acl } => self.set_acl(path, *is_default, acl),
            Op::SetFlags { path, flags } => self.set_flags(path, *flags),
            Op::Symlink { path, target } => self.make(path, Kind::Symlink(target.clone()), 0o777, (0, 0)),
            Op::Link { existing, new } => self.link(existing, new),
            Op::Unlink { path } => self.unlink(path),
            Op::RemoveDir { path } => self.remove_dir(path),
            Op::Rename { from, to, how } => self.rename(from, to, *how),
            Op::Crowd { dir, count, name_len } => self.crowd(dir, *count, *name_len),
            Op::Thin { dir, count, name_len, step } => self.thin(dir, *count, *name_len, *step),
            Op::Open { path, slot } => {
                let id = self.regular(&Handle::Path(path.clone()))?;
                self.close(*slot);
                self.slots[*slot] = Some(id);
                Ok(Answer::Done)
            }
            Op::Close { slot } => {
                self.close(*slot);
                Ok(Answer::Done)
            }
            Op::Write { file, offset, len, seed } => {
                let bytes = data(*seed, *len);
                let n = written.unwrap_or(*len);
                self.edit(file, |content| content.write(*offset, &bytes[..n]))?;
                Ok(Answer::Wrote(n))
            }
            Op::Read { file, offset, len } => {
                let id = self.regular(file)?;
                let content = self.get(id).content().expect("a regular file");
                Ok(Answer::Bytes(content.read(*offset, *len)))
            }
            Op::SetLen { file, len } => self.edit(file, |content| content.set_len(*len)),
            Op::Punch { file, range } | Op::ZeroRange { file, range } => {
                self.edit(file, |content| content.zero(range.clone()))?;
                self.forget_times(file)
            }
            Op::Allocate { file, range, how } => {
                self.edit(file, |content| {
                    if *how == Allocate::Extend {
                        content.set_len(content.len().max(range.end));
                    }
                })?;
                self.forget_times(file)
            }
            Op::SetMode { path, mode } => self.set_mode(path, *mode),
            Op::SetOwner { path, uid, gid } => {
                let (id, now) = (self.at(path)?.existing()?, self.now);
                let inode = self.get_mut(id);
                (inode.uid, inode.gid, inode.ctime) = (*uid, *gid, now);
                Ok(Answer::Done)
            }
            Op::SetTimes { path, atime, mtime } => {
                let (id, now) = (self.at(path)?.existing()?, self.now);
                let inode = self.get_mut(id);
                (inode.atime, inode.mtime, inode.ctime) = (Some(*atime), Some(*mtime), now);
                Ok(Answer::Done)
            }
            Op::SetXattr { path, name, len, seed, how } => {
                self.set_xattr(path, name, Some(data(*seed, *len)), *how)
            }
            Op::RemoveXattr { path, name } => self.set_xattr(path, name, None, SetXattr::Replace),
            Op::Sync => Ok(Answer::Done),
            Op::Fsync { file } => self.regular(file).map(|_| Answer::Done),
            Op::Remount => {
                (0..self.slots.len()).for_each(|slot| self.close(slot));
                self.now.iter_mut().for_each(|now| now.seconds += 1);
                Ok(Answer::Done)
            }
        }
    }

    /// The place of a path's last name. Links on the way are not foretold.
    fn at(&self, path: &str) -> Outcome<At> {
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        let (mut dir, mut at) = (super::model::ROOT, None);
        while let Some(name) = names.next() {
            let found = match &self.get(dir).kind {
                Kind::Directory { .. } => self.entry(dir, name),
                Kind::Symlink(_) => return Err(Not::Foretold),
                _ => return refuse(&[ENOTDIR]),
            };
            let name = found.as_ref().map_or(name, |(name, _)| name).to_owned();
            let found = found.map(|(_, id)| id);
            if names.peek().is_none() {
                at = Some(At { dir, name, found });
            } else {
                dir = found.map_or_else(|| refuse(&[ENOENT]), Ok)?;
            }
        }
        at.ok_or(Not::Foretold)
    }

    /// The entry that `name` means, as it is spelt there.
    fn entry(&self, dir: InodeId, name: &str) -> Option<(String, InodeId)> {
        let Inode { kind: Kind::Directory { entries, .. }, flags, .. } = self.get(dir) else { return None };
        let is_meant = |there: &str| there.to_lowercase() == name.to_lowercase();
        let found = match flags & CASEFOLD != 0 {
            true => entries.iter().find(|(there, _)| is_meant(there)),
            false => entries.get_key_value(name),
        };
        found.map(|(name, id)| (name.clone(), *id))
    }

    /// The directory that a path's last name is in, and what it names there.
    pub(super) fn place(&self, path: &str) -> Option<(InodeId, Option<InodeId>)> {
        self.at(path).ok().map(|at| (at.dir, at.found))
    }

    /// The directory of this path; the root's is empty.
    pub(super) fn dir_at(&self, path: &str) -> Option<InodeId> {
        let found = if path.is_empty() { Some(super::model::ROOT) } else { self.place(path)?.1 };
        found.filter(|id| self.get(*id).is_dir())
    }

    fn regular(&self, file: &Handle) -> Outcome<InodeId> {
        let id = match file {
            Handle::Path(path) => self.at(path)?.existing()?,
            Handle::Slot(slot) => self.slots[*slot].ok_or(Not::Foretold)?,
        };
        self.get(id).content().map(|_| id).ok_or(Not::Foretold)
    }

    fn close(&mut self, slot: usize) {
        if let Some(id) = self.slots[slot].take() {
            self.forget_if_unused(id);
        }
    }

    fn entries(&mut self, dir: InodeId) -> &mut BTreeMap<String, InodeId> {
        match &mut self.get_mut(dir).kind {
            Kind::Directory { entries, .. } => entries,
            _ => unreachable!("a directory of the model"),
        }
    }

    /// The entries of a directory have changed.
    fn touch_dir(&mut self, dir: InodeId) {
        let now = self.now;
        let inode = self.get_mut(dir);
        (inode.mtime, inode.ctime) = (now, now);
    }

    fn make(&mut self, path: &str, kind: Kind, mode: u32, owner: (u32, u32)) -> Outcome {
        let at = self.at(path)?;
        if at.found.is_some() {
            return refuse(&[EEXIST]);
        }
        self.make_at(at.dir, at.name, kind, mode, owner);
        Ok(Answer::Done)
    }

    fn make_at(&mut self, dir: InodeId, name: String, kind: Kind, mode: u32, owner: (u32, u32)) {
        let id = self.new_inode(dir, kind, mode, owner);
        let is_dir = self.get(id).is_dir();
        self.entries(dir).insert(name, id);
        self.get_mut(dir).nlink += u32::from(is_dir);
        self.touch_dir(dir);
    }

    /// An inode with what it gets of its directory.
    fn new_inode(&mut self, dir: InodeId, kind: Kind, mode: u32, (uid, gid): (u32, u32)) -> InodeId {
        let parent = self.get(dir);
        let inherits = parent.mode & SET_GROUP != 0;
        let gid = if inherits { parent.gid } else { gid };
        let is_dir = matches!(kind, Kind::Directory { .. });
        let mode = if inherits && is_dir { mode | SET_GROUP } else { mode };
        let kind = if is_dir { Kind::Directory { entries: BTreeMap::new(), parent: dir } } else { kind };
        let default = parent.xattrs.get(acl::DEFAULT).cloned();
        let flags = permitted::inherited(parent.flags, &kind);
        let is_link = matches!(kind, Kind::Symlink(_));
        let mut inode = Inode::new(kind, mode, (uid, gid), if is_dir { 2 } else { 1 }, self.now);
        inode.flags = flags;
        if let Some(default) = default.filter(|_| !is_link) {
            let own = Acl::parse(&default).inherited(mode);
            inode.mode = own.mode(mode);
            if own.says_more() {
                inode.xattrs.insert(acl::ACCESS.to_owned(), own.to_bytes());
            }
            if is_dir {
                inode.xattrs.insert(acl::DEFAULT.to_owned(), default);
            }
        }
        self.add(inode)
    }

    fn link(&mut self, existing: &str, new: &str) -> Outcome {
        let id = self.at(existing)?.existing()?;
        self.link_inode(id, new)
    }

    fn link_inode(&mut self, id: InodeId, new: &str) -> Outcome {
        let at = self.at(new)?;
        let is_dir = self.get(id).is_dir();
        if at.found.is_some() {
            return refuse(if is_dir { &[EEXIST, EISDIR, EPERM] } else { &[EEXIST] });
        }
        if is_dir {
            return refuse(&[EISDIR, EPERM]);
        }
        self.entries(at.dir).insert(at.name, id);
        self.touch_dir(at.dir);
        let now = self.now;
        let inode = self.get_mut(id);
        (inode.nlink, inode.ctime, inode.is_linkable) = (inode.nlink + 1, now, false);
        Ok(Answer::Done)
    }

    /// An inode has lost a name.
    fn lost(&mut self, id: InodeId) {
        let now = self.now;
        let inode = self.get_mut(id);
        inode.ctime = now;
        inode.nlink = if inode.is_dir() { 0 } else { inode.nlink - 1 };
        self.forget_if_unused(id);
    }

    fn unlink(&mut self, path: &str) -> Outcome {
        let at = self.at(path)?;
        let id = at.existing()?;
        if self.get(id).is_dir() {
            return refuse(&[EISDIR]);
        }
        self.entries(at.dir).remove(&at.name);
        self.touch_dir(at.dir);
        self.lost(id);
        Ok(Answer::Done)
    }

    fn is_empty(&self, id: InodeId) -> bool {
        matches!(&self.get(id).kind, Kind::Directory { entries, .. } if entries.is_empty())
    }

    fn remove_dir(&mut self, path: &str) -> Outcome {
        let at = self.at(path)?;
        let id = at.existing()?;
        if !self.get(id).is_dir() {
            return refuse(&[ENOTDIR]);
        }
        if !self.is_empty(id) {
            return refuse(&[ENOTEMPTY]);
        }
        self.entries(at.dir).remove(&at.name);
        self.get_mut(at.dir).nlink -= 1;
        self.touch_dir(at.dir);
        self.lost(id);
        Ok(Answer::Done)
    }

    /// Whether directory `dir` is `id` or below it.
    fn is_within(&self, mut dir: InodeId, id: InodeId) -> bool {
        while dir != id && dir != super::model::ROOT {
            match self.get(dir).kind {
                Kind::Directory { parent, .. } => dir = parent,
                _ => return false,
            }
        }
        dir == id
    }

    fn may_rename(&self, from: &At, to: &At, how: Rename) -> Outcome<()> {
        let moved = from.existing()?;
        let exchange = how == Rename::Exchange;
        if how == Rename::Refuse && to.found.is_some() {
            return refuse(&[EEXIST]);
        }
        if exchange && to.found.is_none() {
            return refuse(&[ENOENT]);
        }
        if self.get(moved).is_dir() && self.is_within(to.dir, moved) {
            return refuse(&[EINVAL]);
        }
        let Some(other) = to.found else { return Ok(()) };
        if self.get(other).is_dir() && self.is_within(from.dir, other) {
            return refuse(if exchange { &[EINVAL] } else { &[ENOTEMPTY, EISDIR] });
        }
        match (self.get(moved).is_dir(), self.get(other).is_dir()) {
            _ if exchange || moved == other => Ok(()),
            (true, false) => refuse(&[ENOTDIR]),
            (false, true) => refuse(&[EISDIR]),
            (true, true) if !self.is_empty(other) => refuse(&[ENOTEMPTY]),
            _ => Ok(()),
        }
    }

    fn rename(&mut self, from: &str, to: &str, how: Rename) -> Outcome {
        let (from, to) = (self.at(from)?, self.at(to)?);
        self.may_rename(&from, &to, how)?;
        let moved = from.existing()?;
        if to.found == Some(moved) {
            return Ok(Answer::Done);
        }
        self.entries(from.dir).remove(&from.name);
        self.entries(to.dir).insert(to.name.clone(), moved);
        self.reparent(moved, from.dir, to.dir);
        if how == Rename::Exchange {
            let other = to.existing_id();
            self.entries(from.dir).insert(from.name.clone(), other);
            self.reparent(other, to.dir, from.dir);
            self.get_mut(other).ctime = self.now;
        } else if let Some(other) = to.found {
            if self.get(other).is_dir() {
                self.get_mut(to.dir).nlink -= 1;
            }
            self.lost(other);
        }
        self.touch_dir(from.dir);
        self.touch_dir(to.dir);
        self.get_mut(moved).ctime = self.now;
        if how == Rename::Whiteout {
            self.make_at(from.dir, from.name, Kind::Special(FileKind::CharDevice, (0, 0)), 0, (0, 0));
        }
        Ok(Answer::Done)
    }

    fn reparent(&mut self, id: InodeId, from: InodeId, to: InodeId) {
        if let Kind::Directory { parent, .. } = &mut self.get_mut(id).kind {
            *parent = to;
            self.get_mut(from).nlink -= 1;
            self.get_mut(to).nlink += 1;
        }
    }

    /// Makes those that are not there.
    fn crowd(&mut self, dir: &str, count: u32, name_len: usize) -> Outcome {
        self.require_directory(dir)?;
        for name in crowd_names(dir, count, name_len) {
            if self.at(&name)?.found.is_none() {
                self.make(&name, Kind::File(Default::default()), 0o600, (0, 0))?;
            }
        }
        Ok(Answer::Done)
    }

    /// Removes those that are there.
    fn thin(&mut self, dir: &str, count: u32, name_len: usize, step: usize) -> Outcome {
        self.require_directory(dir)?;
        for name in crowd_names(dir, count, name_len).step_by(step) {
            if self.at(&name)?.found.is_some_and(|id| !self.get(id).is_dir()) {
                self.unlink(&name)?;
            }
        }
        Ok(Answer::Done)
    }

    fn require_directory(&self, dir: &str) -> Outcome<()> {
        self.dir_at(dir).map(drop).ok_or(Not::Foretold)
    }

    fn edit(&mut self, file: &Handle, edit: impl FnOnce(&mut crate::writing::Sparse)) -> Outcome {
        let (id, now) = (self.regular(file)?, self.now);
        let inode = self.get_mut(id);
        (inode.mtime, inode.ctime) = (now, now);
        if let Kind::File(content) = &mut inode.kind {
            edit(content);
        }
        Ok(Answer::Done)
    }

    /// Kernels differ in whether this sets the times.
    fn forget_times(&mut self, file: &Handle) -> Outcome {
        let id = self.regular(file)?;
        let inode = self.get_mut(id);
        (inode.mtime, inode.ctime) = (None, None);
        Ok(Answer::Done)
    }

    fn set_mode(&mut self, path: &str, mode: u32) -> Outcome {
        let (id, now) = (self.at(path)?.existing()?, self.now);
        let inode = self.get_mut(id);
        if matches!(inode.kind, Kind::Symlink(_)) {
            return Err(Not::Foretold);
        }
        (inode.mode, inode.ctime) = (mode, now);
        if let Some(list) = inode.xattrs.get_mut(acl::ACCESS) {
            *list = Acl::parse(list).with_mode(mode).to_bytes();
        }
        Ok(Answer::Done)
    }

    fn set_acl(&mut self, path: &str, is_default: bool, list: &Acl) -> Outcome {
        let (id, now) = (self.at(path)?.existing()?, self.now);
        let inode = self.get_mut(id);
        if !(inode.is_dir() || !is_default && inode.content().is_some()) {
            return Err(Not::Foretold);
        }
        inode.ctime = now;
        if is_default {
            inode.xattrs.insert(acl::DEFAULT.to_owned(), list.to_bytes());
            return Ok(Answer::Done);
        }
        inode.mode = list.mode(inode.mode);
        if list.says_more() {
            inode.xattrs.insert(acl::ACCESS.to_owned(), list.to_bytes());
        } else {
            inode.xattrs.remove(acl::ACCESS);
        }
        Ok(Answer::Done)
    }

    fn set_flags(&mut self, path: &str, flags: u32) -> Outcome {
        let (id, now) = (self.at(path)?.existing()?, self.now);
        let inode = self.get(id);
        // What is open would be changed all the same.
        let becomes_fixed = flags & (IMMUTABLE | APPEND) != 0 && self.slots.contains(&Some(id));
        if becomes_fixed || !(inode.is_dir() || inode.content().is_some()) {
            return Err(Not::Foretold);
        }
        if !inode.is_dir() && flags & permitted::OF_DIRECTORIES != 0 {
            return Err(Not::Foretold);
        }
        if (inode.flags ^ flags) & CASEFOLD != 0 && !self.is_empty(id) {
            return refuse(&[ENOTEMPTY]);
        }
        let inode = self.get_mut(id);
        (inode.flags, inode.ctime) = (flags, now);
        Ok(Answer::Done)
    }

    fn set_xattr(&mut self, path: &str, name: &str, value: Option<Vec<u8>>, how: SetXattr) -> Outcome {
        let (id, now) = (self.at(path)?.existing()?, self.now);
        let inode = self.get_mut(id);
        if !matches!(inode.kind, Kind::File(_) | Kind::Directory { .. }) {
            return Err(Not::Foretold);
        }
        if name == acl::ACCESS || name == acl::DEFAULT {
            // Linux does not mind if it is not there.
            return inode.xattrs.remove(name).map_or(Err(Not::Foretold), |_| {
                inode.ctime = now;
                Ok(Answer::Done)
            });
        }
        match (how, inode.xattrs.contains_key(name)) {
            (SetXattr::Create, true) => return refuse(&[EEXIST]),
            (SetXattr::Replace, false) => return refuse(&[ENODATA]),
            _ => {}
        }
        match value {
            Some(value) => drop(inode.xattrs.insert(name.to_owned(), value)),
            None => drop(inode.xattrs.remove(name)),
        }
        inode.ctime = now;
        Ok(Answer::Done)
    }
}

impl At {
    fn existing_id(&self) -> InodeId {
        self.found.expect("looked at before")
    }
}
