//! Random operations, done to a file system and to the model, with the same results.

use crate::model::{Model, Thing};
use crate::world::{Mounted, NOW};
use rumpcap_host::{Error, Result};
use rumpcap_testing::seed::Random;
use rumpcap_vfs::{Change, EntryName, FileKind, InodeNo, NewFile, Node, Remove, Rename};
use std::collections::{BTreeMap, BTreeSet};

/// What is chosen, from a seed.
pub struct Numbers(pub Random);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.below(end as u64) as usize
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len())])
    }

    /// A name: mostly short, so that it is met again; some as long as can be, of any bytes.
    pub fn name(&mut self) -> Vec<u8> {
        let number = self.below(60);
        match self.below(10) {
            0 => vec![b'n'; 200 + number % 56],
            1 => (0..1 + number * 4)
                .map(|_| (self.next() as u8).max(1))
                .map(|b| if matches!(b, b'/' | b'.') { b'x' } else { b })
                .collect(),
            2 => format!("Name-{number}-of-middle-length-{}", "m".repeat(number)).into_bytes(),
            3 => format!("nAME-{number}-OF-middle-length-{}", "m".repeat(number)).into_bytes(),
            _ => format!("f{}", number + self.below(200)).into_bytes(),
        }
    }
}

/// A file system and its model.
pub struct Walk {
    pub mounted: Mounted,
    pub model: Model,
    pub numbers: Numbers,
    pub block_size: usize,
    /// Inodes without names that are in use.
    pub nameless: Vec<Thing>,
    /// Inodes that are in use.
    pub in_use: BTreeSet<u64>,
    /// Operations that found no space, which then have done nothing.
    pub full: usize,
}

const KINDS: &[FileKind] = &[
    FileKind::Regular,
    FileKind::Regular,
    FileKind::Regular,
    FileKind::Regular,
    FileKind::Directory,
    FileKind::Directory,
    FileKind::Symlink,
    FileKind::Symlink,
    FileKind::Fifo,
    FileKind::Socket,
    FileKind::CharDevice,
    FileKind::BlockDevice,
];

fn new_file(kind: FileKind) -> NewFile<'static> {
    NewFile { kind, mode: 0o755, uid: 1, gid: 2, rdev: (0, 0), target: b"" }
}

impl Walk {
    /// Begins with an empty directory `name` in the root.
    pub fn begin(mounted: Mounted, name: &[u8], seed: u64, folds: bool) -> Walk {
        let at = EntryName { dir: InodeNo(2), name };
        let node = mounted.fs.create(&mounted.r(), at, &new_file(FileKind::Directory), NOW).unwrap();
        let top = thing(&node, &new_file(FileKind::Directory), 0, folds);
        Walk::go_on(mounted, Model::new(top), seed)
    }

    /// With another mount, and other numbers.
    pub fn go_on(mounted: Mounted, model: Model, seed: u64) -> Walk {
        let block_size = mounted.stat_fs().block_size as usize;
        let numbers = Numbers(Random::new(seed));
        Walk { mounted, model, numbers, block_size, nameless: Vec::new(), in_use: BTreeSet::new(), full: 0 }
    }

    pub fn ino(&self, id: usize) -> InodeNo {
        InodeNo(self.model.get(id).ino)
    }

    fn at<'n>(&self, dir: usize, name: &'n [u8]) -> EntryName<'n> {
        EntryName { dir: self.ino(dir), name }
    }

    fn any_dir(&mut self) -> usize {
        let dirs = self.model.all(|thing| thing.kind == FileKind::Directory);
        // The first ones become large.
        let few = dirs.len().min(3);
        let all = if self.numbers.below(2) == 0 { &dirs[..few] } else { &dirs[..] };
        self.numbers.of(all).expect("the top is there")
    }

    /// A directory, and mostly a name in it.
    fn any_entry(&mut self) -> (usize, Vec<u8>) {
        let dir = self.any_dir();
        let names: Vec<&Vec<u8>> = self.model.get(dir).entries.values().map(|(name, _)| name).collect();
        let picked = if names.is_empty() { None } else { Some(self.numbers.next() as usize % names.len()) };
        let name = picked.map(|at| names[at].clone());
        if self.numbers.below(20) == 0 {
            (dir, self.numbers.name())
        } else {
            (dir, name.unwrap_or_else(|| self.numbers.name()))
        }
    }

    /// What was done; `None` if there was no space for it.
    fn unless_full<T: std::fmt::Debug>(&mut self, done: Result<T>) -> Option<T> {
        if let Err(Error::NoSpace { .. }) = done {
            self.full += 1;
            return None;
        }
        Some(done.unwrap())
    }

    /// One operation; the parts per hundred that add are `growth`.
    pub fn step(&mut self, growth: usize) {
        if self.numbers.below(8) == 0 {
            match self.numbers.below(4) {
                0 => self.use_some(),
                1 => self.create_nameless(),
                2 => self.end_nameless(),
                _ => self.write(),
            }
        } else if self.numbers.below(100) < growth {
            if self.numbers.below(6) == 0 { self.link() } else { self.create() }
        } else if self.numbers.below(2) == 0 {
            self.rename()
        } else {
            self.remove()
        }
    }

    pub fn create(&mut self) {
        let (dir, name) = (self.any_dir(), self.numbers.name());
        let kind = self.numbers.of(KINDS).expect("there are some");
        let longest = [70, self.block_size - 2][self.numbers.below(2)];
        let target: Vec<u8> = (0..1 + self.numbers.below(longest)).map(|at| b'a' + (at % 23) as u8).collect();
        let (major, minor) = (self.numbers.below(4096) as u32, self.numbers.below(1 << 20) as u32);
        let new = NewFile {
            kind,
            mode: self.numbers.below(0o10_000) as u32,
            uid: self.numbers.next() as u32 >> self.numbers.below(32),
            gid: self.numbers.next() as u32 >> self.numbers.below(32),
            rdev: match kind {
                FileKind::CharDevice | FileKind::BlockDevice if minor & 1 == 0 => (major, minor),
                FileKind::CharDevice | FileKind::BlockDevice => (major & 255, minor & 255 | 1),
                _ => (0, 0),
            },
            target: if kind == FileKind::Symlink { &target } else { b"" },
        };
        let made = self.mounted.fs.create(&self.mounted.r(), self.at(dir, &name), &new, NOW);
        if self.model.find(dir, &name).is_some() {
            assert_eq!(made.map(|_| ()), Err(Error::Exists));
            return;
        }
        let Some(node) = self.unless_full(made) else { return };
        let parent = self.model.get(dir);
        let folds = parent.folds && kind == FileKind::Directory;
        let mut new_thing = thing(&node, &new, dir, folds);
        if parent.mode & 0o2000 != 0 {
            new_thing.owner.1 = parent.owner.1;
            if kind == FileKind::Directory {
                new_thing.mode |= 0o2000;
            }
        }
        self.model.things.push(Some(new_thing));
        self.model.put(dir, &name, self.model.things.len() - 1);
    }

    fn link(&mut self) {
        let (from_dir, from) = self.any_entry();
        let Some(id) = self.model.find(from_dir, &from) else { return };
        let (dir, name) = (self.any_dir(), self.numbers.name());
        let made = self.mounted.fs.link(&self.mounted.r(), self.ino(id), self.at(dir, &name), NOW);
        let want = if self.model.is_dir(id) {
            Err(Error::IsADirectory)
        } else if self.model.find(dir, &name).is_some() {
            Err(Error::Exists)
        } else {
            Ok(self.model.get(id).links + 1)
        };
        if let (Ok(_), Err(Error::NoSpace { .. })) = (&want, &made) {
            self.full += 1;
            return;
        }
        assert_eq!(made.map(|node| node.attributes.nlink), want);
        if let Ok(links) = want {
            self.model.get_mut(id).links = links;
            self.model.put(dir, &name, id);
        }
    }

    /// Some are in use from now on.
    fn use_some(&mut self) {
        let (dir, name) = self.any_entry();
        if let Some(id) = self.model.find(dir, &name) {
            self.in_use.insert(self.ino(id).0);
        }
    }

    fn lose(&mut self, id: usize) -> bool {
        let thing = self.model.get(id).clone();
        let is_gone = self.model.lose(id);
        if is_gone && self.in_use.contains(&thing.ino) {
            self.nameless.push(Thing { links: 0, ..thing });
        }
        is_gone
    }

    fn create_nameless(&mut self) {
        let dir = self.any_dir();
        let new = NewFile { mode: 0o640, ..new_file(FileKind::Regular) };
        let r = self.mounted.r();
        let made = self.mounted.fs.create_nameless(&r, self.ino(dir), &new, NOW);
        drop(r);
        let Some(node) = self.unless_full(made) else { return };
        let mut thing = Thing { links: 0, ..thing(&node, &new, 0, false) };
        if self.model.get(dir).mode & 0o2000 != 0 {
            thing.owner.1 = self.model.get(dir).owner.1;
        }
        self.in_use.insert(thing.ino);
        self.nameless.push(thing);
    }

    /// Deletes one without a name, or gives it one.
    fn end_nameless(&mut self) {
        if self.nameless.is_empty() {
            return;
        }
        let at = self.numbers.below(self.nameless.len());
        let is_dir = self.nameless[at].kind == FileKind::Directory;
        let (dir, name) = (self.any_dir(), self.numbers.name());
        if is_dir || self.numbers.below(2) == 0 || self.model.find(dir, &name).is_some() {
            let thing = self.nameless.swap_remove(at);
            self.in_use.remove(&thing.ino);
            self.mounted.fs.delete(&self.mounted.r(), InodeNo(thing.ino), NOW).unwrap();
            return;
        }
        let thing = self.nameless.swap_remove(at);
        let at = self.at(dir, &name);
        let made = self.mounted.fs.link(&self.mounted.r(), InodeNo(thing.ino), at, NOW);
        let Some(node) = self.unless_full(made) else { return self.nameless.push(thing) };
        assert_eq!(node.attributes.nlink, 1);
        self.model.things.push(Some(Thing { links: 1, parent: dir, ..thing }));
        self.model.put(dir, &name, self.model.things.len() - 1);
    }

    /// Ends all that have no names.
    pub fn end_all_nameless(&mut self) {
        for thing in std::mem::take(&mut self.nameless) {
            self.mounted.fs.delete(&self.mounted.r(), InodeNo(thing.ino), NOW).unwrap();
        }
        self.in_use.clear();
    }

    /// Some blocks for a file; what is in them does not matter.
    fn write(&mut self) {
        let files = self.model.all(|thing| thing.kind == FileKind::Regular);
        let Some(id) = self.numbers.of(&files) else { return };
        for _ in 0..self.numbers.below(12) {
            let data = vec![1; 1 + self.numbers.below(20_000)];
            let offset = self.numbers.below(400) as u64 * 2048;
            let written =
                self.mounted.fs.write(&self.mounted.r(), self.ino(id), offset, &data, NOW, &mut |_| Ok(()));
            let Some(written) = self.unless_full(written) else { return };
            assert!(written.len_bytes > 0);
        }
    }

    pub fn remove(&mut self) {
        let (dir, name) = self.any_entry();
        let found = self.model.find(dir, &name);
        let mut what =
            if found.is_some_and(|id| self.model.is_dir(id)) { Remove::Directory } else { Remove::File };
        if self.numbers.below(20) == 0 {
            what = if what == Remove::File { Remove::Directory } else { Remove::File };
        }
        let want = match found {
            None => Err(Error::NotFound),
            Some(id) => match (what, self.model.is_dir(id)) {
                (Remove::File, true) => Err(Error::IsADirectory),
                (Remove::Directory, false) => Err(Error::NotADirectory),
                (Remove::Directory, true) if !self.model.get(id).entries.is_empty() => Err(Error::NotEmpty),
                _ => Ok(id),
            },
        };
        let removed = self.remove_entry(dir, &name, what);
        match want {
            Ok(id) => {
                self.model.take(dir, &name);
                assert_eq!(removed.unwrap(), self.lose(id));
            }
            Err(error) => assert_eq!(removed, Err(error)),
        }
    }

    fn remove_entry(&self, dir: usize, name: &[u8], what: Remove) -> Result<bool> {
        let r = self.mounted.r();
        let removed =
            self.mounted.fs.remove(&r, self.at(dir, name), what, &|ino| self.in_use.contains(&ino.0), NOW);
        drop(r);
        self.mounted.finish(&removed);
        removed.map(|removed| removed.is_nameless)
    }

    fn rename(&mut self) {
        let ((old, from), (new, to)) = (self.any_entry(), self.any_entry());
        let to = if self.numbers.below(2) == 0 { self.numbers.name() } else { to };
        let how = [Rename::Replace, Rename::Replace, Rename::Refuse, Rename::Exchange, Rename::Whiteout];
        let how = self.numbers.of(&how).expect("there are some");
        let (from_at, to_at) = (self.at(old, &from), self.at(new, &to));
        let renamed = {
            let in_use = |ino: InodeNo| self.in_use.contains(&ino.0);
            self.mounted.fs.rename(&self.mounted.r(), from_at, to_at, how, &in_use, NOW)
        };
        self.mounted.finish(renamed.iter().flat_map(|renamed| &renamed.other));
        let there = self.model.find(new, &to);
        let want = match (self.model.find(old, &from), how, there) {
            (None, ..) => Err(Error::NotFound),
            (_, Rename::Refuse, Some(_)) => Err(Error::Exists),
            (_, Rename::Exchange, None) => Err(Error::NotFound),
            (Some(moved), _, Some(other)) if moved == other => {
                renamed.unwrap();
                return;
            }
            (Some(moved), ..) => {
                let is_exchange = how == Rename::Exchange;
                self.model.refuses((old, moved), (new, there), is_exchange).map_or(Ok(moved), Err)
            }
        };
        let moved = match want {
            Ok(moved) => moved,
            Err(error) => return assert_eq!(renamed.map(|_| ()), Err(error), "{from:?} {to:?} {how:?}"),
        };
        let Some(renamed) = self.unless_full(renamed) else { return };
        assert_eq!(renamed.moved.attributes.ino, self.ino(moved));
        if how == Rename::Exchange {
            let other = there.expect("it is there");
            self.model.put(old, &from, other);
            self.model.put(new, &to, moved);
            (self.model.get_mut(moved).parent, self.model.get_mut(other).parent) = (new, old);
            return;
        }
        self.model.take(old, &from);
        self.model.put(new, &to, moved);
        self.model.get_mut(moved).parent = new;
        if let Some(other) = there {
            let removed = renamed.other.expect("it was replaced");
            assert_eq!(removed.node.attributes.ino, self.ino(other));
            assert_eq!(removed.is_nameless, self.lose(other));
        }
        if how == Rename::Whiteout {
            self.put_whiteout(old, &from);
        }
    }

    /// The model learns the number of a whiteout that a rename left.
    fn put_whiteout(&mut self, dir: usize, name: &[u8]) {
        use rumpcap_vfs::FileSystem;
        let r = self.mounted.r();
        let parent = self.mounted.fs.read_node(&r, self.ino(dir), 0).unwrap();
        let ino = self.mounted.fs.lookup(&r, &parent, name).unwrap();
        let node = self.mounted.fs.read_node(&r, ino, 0).unwrap();
        drop(r);
        let new = NewFile { mode: 0, uid: 0, gid: 0, ..new_file(FileKind::CharDevice) };
        let mut whiteout = thing(&node, &new, dir, false);
        if self.model.get(dir).mode & 0o2000 != 0 {
            whiteout.owner.1 = self.model.get(dir).owner.1;
        }
        self.model.things.push(Some(whiteout));
        // Removed and made again in place, so the spelling is that of before; the model's is the one that was given.
        self.model.put(dir, name, self.model.things.len() - 1);
    }

    /// Removes all, the top included.
    pub fn remove_all(&mut self, top: &[u8]) {
        self.empty(0);
        let at = EntryName { dir: InodeNo(2), name: top };
        let removed = self.mounted.fs.remove(&self.mounted.r(), at, Remove::Directory, &|_| false, NOW);
        self.mounted.finish(&removed);
        removed.unwrap();
    }
}

impl Walk {
    fn empty(&mut self, dir: usize) {
        let entries: Vec<_> = self.model.get(dir).entries.values().cloned().collect();
        for (name, id) in entries {
            let is_dir = self.model.is_dir(id);
            if is_dir {
                self.empty(id);
            }
            let what = if is_dir { Remove::Directory } else { Remove::File };
            self.remove_entry(dir, &name, what).unwrap();
            self.model.take(dir, &name);
            self.model.lose(id);
        }
    }
}

fn thing(node: &Node, new: &NewFile<'_>, parent: usize, folds: bool) -> Thing {
    Thing {
        kind: new.kind,
        ino: node.attributes.ino.0,
        links: 1,
        mode: new.mode,
        owner: (new.uid, new.gid),
        rdev: new.rdev,
        target: new.target.to_vec(),
        entries: BTreeMap::new(),
        parent,
        folds,
    }
}
