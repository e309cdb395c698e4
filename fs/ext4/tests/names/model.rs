//! A tree in memory that does what a file system does, with the same errors; and how the two are compared.

use crate::world::{Mounted, NOW};
use core::ops::ControlFlow;
use rumpcap_host::Error;
use rumpcap_vfs::{DirCookie, FileKind, FileSystem, InodeNo};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An inode of the model.
#[derive(Clone, Debug)]
pub struct Thing {
    pub kind: FileKind,
    pub ino: u64,
    pub links: u32,
    pub mode: u32,
    pub owner: (u32, u32),
    pub rdev: (u32, u32),
    pub target: Vec<u8>,
    /// Names, as they are compared, with the names as they were given.
    pub entries: BTreeMap<Vec<u8>, (Vec<u8>, usize)>,
    pub parent: usize,
    pub folds: bool,
}

/// The tree. Thing 0 is its top.
pub struct Model {
    pub things: Vec<Option<Thing>>,
}

impl Model {
    pub fn new(top: Thing) -> Model {
        Model { things: vec![Some(top)] }
    }

    pub fn get(&self, id: usize) -> &Thing {
        self.things[id].as_ref().expect("it is there")
    }

    pub fn get_mut(&mut self, id: usize) -> &mut Thing {
        self.things[id].as_mut().expect("it is there")
    }

    pub fn all(&self, wanted: impl Fn(&Thing) -> bool) -> Vec<usize> {
        let is_wanted = |id: &usize| self.things[*id].as_ref().is_some_and(&wanted);
        (0..self.things.len()).filter(is_wanted).collect()
    }

    pub fn key(&self, dir: usize, name: &[u8]) -> Vec<u8> {
        if self.get(dir).folds { name.to_ascii_lowercase() } else { name.to_vec() }
    }

    pub fn find(&self, dir: usize, name: &[u8]) -> Option<usize> {
        self.get(dir).entries.get(&self.key(dir, name)).map(|(_, id)| *id)
    }

    pub fn is_dir(&self, id: usize) -> bool {
        self.get(id).kind == FileKind::Directory
    }

    pub fn put(&mut self, dir: usize, name: &[u8], id: usize) {
        let key = self.key(dir, name);
        // An entry that is there keeps its spelling.
        let entries = &mut self.get_mut(dir).entries;
        let spelling = entries.get(&key).map_or(name.to_vec(), |(spelling, _)| spelling.clone());
        entries.insert(key, (spelling, id));
    }

    pub fn take(&mut self, dir: usize, name: &[u8]) {
        let key = self.key(dir, name);
        self.get_mut(dir).entries.remove(&key).expect("it was there");
    }

    /// `id` lost a name; whether that was the last.
    pub fn lose(&mut self, id: usize) -> bool {
        let thing = self.get_mut(id);
        thing.links = if thing.kind == FileKind::Directory { 0 } else { thing.links - 1 };
        let is_gone = thing.links == 0;
        if is_gone {
            self.things[id] = None;
        }
        is_gone
    }

    /// Whether `below` is `above` or below it.
    pub fn is_below(&self, mut below: usize, above: usize) -> bool {
        loop {
            if below == above {
                return true;
            }
            if below == 0 {
                return false;
            }
            below = self.get(below).parent;
        }
    }

    /// What a rename must say, as far as it is refused.
    pub fn refuses(
        &self,
        from: (usize, usize),
        to: (usize, Option<usize>),
        is_exchange: bool,
    ) -> Option<Error> {
        let ((old_dir, moved), (new_dir, other)) = (from, to);
        let below = Error::InvalidInput { what: "directory that would be below itself" };
        if old_dir != new_dir && self.is_dir(moved) && self.is_below(new_dir, moved) {
            return Some(below);
        }
        let other = other?;
        if is_exchange {
            let is_below = old_dir != new_dir && self.is_dir(other) && self.is_below(old_dir, other);
            return is_below.then_some(below);
        }
        match (self.is_dir(moved), self.is_dir(other)) {
            (true, false) => Some(Error::NotADirectory),
            (false, true) => Some(Error::IsADirectory),
            (true, true) if !self.get(other).entries.is_empty() => Some(Error::NotEmpty),
            _ => None,
        }
    }

    pub fn links(&self, id: usize) -> u32 {
        let thing = self.get(id);
        if thing.kind != FileKind::Directory {
            return thing.links;
        }
        let below: BTreeSet<usize> = thing.entries.values().map(|(_, id)| *id).collect();
        2 + below.into_iter().filter(|id| self.is_dir(*id)).count() as u32
    }

    /// The file system must hold what the model holds.
    pub fn compare(&self, mounted: &Mounted) {
        self.compare_dir(mounted, 0);
    }

    fn compare_dir(&self, mounted: &Mounted, id: usize) {
        let thing = self.get(id);
        let r = mounted.r();
        let node = mounted.fs.read_node(&r, InodeNo(thing.ino), 0).unwrap();
        let mut found = BTreeMap::new();
        mounted
            .fs
            .read_dir(&r, &node, DirCookie(0), &mut |entry| {
                let twice = found.insert(entry.name.to_vec(), entry.ino.0);
                assert_eq!(twice, None, "a name is there once");
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found.remove(&b"."[..]), Some(thing.ino));
        let parent = if id == 0 { 2 } else { self.get(thing.parent).ino };
        assert_eq!(found.remove(&b".."[..]), Some(parent), ".. of {}", thing.ino);
        let want: BTreeMap<_, _> =
            thing.entries.values().map(|(name, id)| (name.clone(), self.get(*id).ino)).collect();
        assert_eq!(found, want, "entries of {}", thing.ino);
        assert_eq!(mounted.fs.lookup(&r, &node, b"never there"), Err(Error::NotFound));
        drop(r);
        for (name, child) in thing.entries.values() {
            let looked_up = mounted.fs.lookup(&mounted.r(), &node, name).unwrap();
            assert_eq!(looked_up.0, self.get(*child).ino);
            self.compare_node(mounted, *child);
            if self.is_dir(*child) {
                self.compare_dir(mounted, *child);
            }
        }
    }

    fn compare_node(&self, mounted: &Mounted, id: usize) {
        let thing = self.get(id);
        let r = mounted.r();
        let node = mounted.fs.read_node(&r, InodeNo(thing.ino), 0).unwrap();
        let a = node.attributes;
        assert_eq!((a.kind(), a.mode & 0o7777, a.rdev), (thing.kind, thing.mode, thing.rdev));
        assert_eq!(
            (a.nlink, (a.uid, a.gid)),
            (self.links(id), thing.owner),
            "links and owner of {}",
            thing.ino
        );
        if thing.kind == FileKind::Symlink {
            let mut target = vec![0; 4096];
            let len = mounted.fs.read_link(&r, &node, &mut target).unwrap();
            assert_eq!(target[..len], thing.target);
        }
        assert!(a.crtime.is_none_or(|time| time == NOW));
    }

    /// The tree below `path`, as the host's kernel sees it, must be the model's.
    pub fn compare_host(&self, path: &Path) {
        self.compare_host_dir(path, 0);
    }

    fn compare_host_dir(&self, path: &Path, id: usize) {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        use std::os::unix::fs::MetadataExt;
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.path().symlink_metadata().unwrap();
            found.insert(entry.file_name().into_vec(), metadata);
        }
        let thing = self.get(id);
        assert_eq!(found.len(), thing.entries.len(), "{path:?}");
        for (name, child) in thing.entries.values() {
            let metadata = found.get(name).unwrap_or_else(|| panic!("{name:?} in {path:?}"));
            let thing = self.get(*child);
            assert_eq!(FileKind::from_mode(metadata.mode()), thing.kind);
            assert_eq!(metadata.mode() & 0o7777, thing.mode);
            assert_eq!((metadata.uid(), metadata.gid()), thing.owner);
            assert_eq!(metadata.nlink(), u64::from(self.links(*child)), "{name:?} in {path:?}");
            assert_eq!((metadata.mtime_nsec() != 0, metadata.ino()), (metadata.mtime_nsec() != 0, thing.ino));
            let below = path.join(std::ffi::OsStr::from_bytes(name));
            if matches!(thing.kind, FileKind::CharDevice | FileKind::BlockDevice) {
                let (major, minor) = thing.rdev;
                let (major, minor) = (u64::from(major), u64::from(minor));
                let rdev = major << 8 & 0xF_FF00 | minor & 0xFF | (minor & !0xFF) << 12;
                assert_eq!(metadata.rdev(), rdev);
            }
            if thing.kind == FileKind::Symlink {
                let target = std::fs::read_link(&below).unwrap();
                assert_eq!(target.as_os_str().as_bytes(), thing.target);
            }
            if self.is_dir(*child) {
                self.compare_host_dir(&below, *child);
            }
        }
    }
}
