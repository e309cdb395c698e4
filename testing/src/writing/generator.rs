//! [`Generator`]: makes operations from a seed and from what is there, so that most of them do something and some are refused.

use super::acl::Acl;
use super::model::{InodeId, Kind, Model, SLOTS};
use super::operation::{Handle, Op};
use super::permitted::{APPEND, CASEFOLD, IMMUTABLE};
use crate::seed::Random;
use rumpcap::{Allocate, FileKind, Rename, SetXattr, Timestamp};
use std::ops::Range;

/// Pages of content at which files are made smaller instead of larger.
const PAGES_OF_ALL: usize = 1500;
/// Inodes at which they are removed.
const INODES: usize = 250;
/// Paths are not made longer than that: a name of 255 bytes at every level would be too much for the host.
const PATH_BYTES: usize = 1200;

/// What may be asked of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Bytes of a block.
    pub block_bytes: u64,
    /// No file is made longer.
    pub file_bytes: u64,
    /// Times have nanoseconds, and go beyond 2038.
    pub large_times: bool,
    /// The longest value of an attribute.
    pub xattr_bytes: usize,
    /// Ranges can be allocated, and holes punched.
    pub ranges: bool,
    /// Directories can have names without case.
    pub casefold: bool,
}

/// Makes operations.
pub struct Generator {
    random: Random,
    can: Capabilities,
    /// Files keep small: for power cuts.
    pub small: bool,
    /// Syncs among some hundred operations.
    pub sync_weight: u64,
    /// Others work on the same mount: it is neither unmounted nor synced.
    pub shared: bool,
}

/// What the generator chooses from.
struct Scene<'m> {
    model: &'m Model,
    paths: Vec<(String, InodeId)>,
}

impl Scene<'_> {
    fn all(&self, accept: impl Fn(&Kind) -> bool) -> Vec<&str> {
        let wanted = self.paths.iter().filter(|(_, id)| accept(&self.model.get(*id).kind));
        wanted.map(|(path, _)| path.as_str()).filter(|path| !matches!(*path, "" | "/lost+found")).collect()
    }
}

impl Generator {
    /// A generator that asks for what a file system can do.
    pub fn new(seed: u64, can: Capabilities) -> Generator {
        Generator { random: Random::new(seed), can, small: false, sync_weight: 2, shared: false }
    }

    /// The next operation for what `model` holds.
    pub fn next(&mut self, model: &Model) -> Op {
        let scene = Scene { model, paths: model.paths() };
        if model.pages() > PAGES_OF_ALL && self.random.one_in(2) {
            return self.make_room(&scene);
        }
        if model.inodes().count() > INODES && self.random.one_in(2) {
            return Op::Unlink { path: self.non_directory(&scene) };
        }
        let choices = if self.shared { 98 } else { 100 + self.sync_weight };
        match self.random.below(choices) {
            0..34 => self.file_op(&scene),
            34..52 => self.make(&scene),
            52..64 => self.remove(&scene),
            64..74 => self.rename(&scene),
            74..92 => self.attribute(&scene),
            92..96 => self.slot(&scene),
            96..98 => self.crowd(&scene),
            98..100 => Op::Remount,
            _ if self.random.one_in(2) => Op::Sync,
            _ => Op::Fsync { file: self.file(&scene) },
        }
    }

    /// Now and then: for those who share a mount, and sync it themselves.
    pub fn is_time_to_sync(&mut self) -> bool {
        self.random.one_in(40)
    }

    fn make_room(&mut self, scene: &Scene<'_>) -> Op {
        match self.random.below(3) {
            0 => Op::Unlink { path: self.non_directory(scene) },
            1 => Op::SetLen { file: self.file(scene), len: self.random.below(5000) },
            _ => Op::Close { slot: self.random.below(SLOTS as u64) as usize },
        }
    }

    fn pick(&mut self, paths: &[&str]) -> Option<String> {
        (!paths.is_empty()).then(|| (*self.random.pick(paths)).to_owned())
    }

    fn directory(&mut self, scene: &Scene<'_>) -> String {
        let all = scene.all(|kind| matches!(kind, Kind::Directory { .. }));
        if self.random.one_in(3) { String::new() } else { self.pick(&all).unwrap_or_default() }
    }

    fn name(&mut self) -> String {
        let n = self.random.below(20);
        let name = match self.random.below(12) {
            0 => format!("{n:x>255}"),
            1 => format!("{n:m<90}"),
            2 => format!("naïve \\ name {n}"),
            _ => format!("{}", char::from(b'a' + n as u8)),
        };
        if self.can.casefold && self.random.one_in(3) { name.to_uppercase() } else { name }
    }

    /// An existing path, now and then in another case.
    fn spelt(&mut self, path: String) -> String {
        let Some((dir, name)) = path.rsplit_once('/').filter(|_| self.can.casefold) else { return path };
        if self.random.one_in(4) { format!("{dir}/{}", name.to_uppercase()) } else { path }
    }

    /// A path that is there or not.
    fn any_path(&mut self, scene: &Scene<'_>) -> String {
        let mut dir = self.directory(scene);
        if dir.len() > PATH_BYTES {
            dir.clear();
        }
        format!("{dir}/{}", self.name())
    }

    /// A path that most likely is not there.
    fn new_path(&mut self, scene: &Scene<'_>) -> String {
        let tried: Vec<String> = (0..4).map(|_| self.any_path(scene)).collect();
        let free = tried.iter().find(|path| !scene.paths.iter().any(|(there, _)| there == *path));
        free.unwrap_or(&tried[0]).clone()
    }

    fn existing(&mut self, scene: &Scene<'_>, accept: impl Fn(&Kind) -> bool) -> String {
        let all = scene.all(accept);
        let found = if self.random.one_in(25) { None } else { self.pick(&all) };
        let found = found.map(|path| self.spelt(path));
        found.unwrap_or_else(|| self.any_path(scene))
    }

    fn anything(&mut self, scene: &Scene<'_>) -> String {
        self.existing(scene, |_| true)
    }

    fn non_directory(&mut self, scene: &Scene<'_>) -> String {
        self.existing(scene, |kind| !matches!(kind, Kind::Directory { .. }))
    }

    fn regular(&mut self, scene: &Scene<'_>) -> String {
        self.existing(scene, |kind| matches!(kind, Kind::File(_)))
    }

    fn file(&mut self, scene: &Scene<'_>) -> Handle {
        let open: Vec<usize> = (0..SLOTS).filter(|slot| scene.model.slots()[*slot].is_some()).collect();
        if !open.is_empty() && self.random.one_in(2) {
            return Handle::Slot(*self.random.pick(&open));
        }
        Handle::Path(self.regular(scene))
    }

    /// A place in a file, near its end or far behind it; often on a border.
    fn offset(&mut self, len: u64) -> u64 {
        let block = self.can.block_bytes;
        let at = match self.random.below(16) {
            0..4 => len,
            4 => len + self.random.below(3 * block),
            5 => len.saturating_sub(self.random.below(block)),
            6 => self.random.below(64) * block,
            7 => self.far(),
            8 => 0,
            _ => self.random.below(len + block),
        };
        let at = if self.random.one_in(3) { at - at % block } else { at };
        let at = if self.random.one_in(6) { at - at % 4096 } else { at };
        at.min(self.can.file_bytes - (2 << 20))
    }

    fn far(&mut self) -> u64 {
        if self.small || self.random.one_in(2) {
            return self.random.below(300_000);
        }
        // Any order of magnitude up to the largest file.
        let bits = 18 + self.random.below(u64::from(self.can.file_bytes.ilog2()) - 18);
        self.random.below(1 << bits)
    }

    fn len(&mut self) -> usize {
        let block = self.can.block_bytes;
        let len = match self.random.below(20) {
            0..7 => self.random.below(200),
            7..12 => self.random.below(3 * block),
            12..15 => block * self.random.below(9),
            15..18 => self.random.below(40_000),
            18 if !self.small => self.random.below(700_000),
            _ => 4096 * self.random.below(12),
        };
        (len as usize).max(1)
    }

    fn range(&mut self, len: u64) -> Range<u64> {
        let from = self.offset(len);
        let n = if self.random.one_in(5) { self.random.below(len + 1) } else { self.len() as u64 };
        from..from + n.clamp(1, 1 << 20)
    }

    fn file_op(&mut self, scene: &Scene<'_>) -> Op {
        let file = self.file(scene);
        let len = scene.model.len_of(&file).unwrap_or(0);
        match self.random.below(20) {
            0..11 => {
                let (offset, len, seed) = (self.offset(len), self.len(), self.random.next());
                Op::Write { file, offset, len, seed }
            }
            11..14 => Op::Read { file, offset: self.offset(len), len: self.len() },
            14 | 15 => Op::SetLen { file, len: self.new_len(len) },
            _ if !self.can.ranges => Op::SetLen { file, len: self.new_len(len) },
            16 => Op::Punch { file, range: self.range(len) },
            17 => Op::ZeroRange { file, range: self.range(len) },
            _ => {
                let how = if self.random.one_in(2) { Allocate::Extend } else { Allocate::KeepSize };
                Op::Allocate { file, range: self.range(len), how }
            }
        }
    }

    /// Another length: the same one is not foretold.
    fn new_len(&mut self, len: u64) -> u64 {
        let new = if self.random.one_in(3) { self.random.below(len + 1) } else { self.offset(len) };
        if new == len { len + 1 } else { new }
    }

    fn mode(&mut self) -> u32 {
        self.random.below(0o1000) as u32 | 0o400
    }

    fn owner(&mut self) -> (u32, u32) {
        let id = |n: u64| [0, 1000, 65_534, 65_536, 70_000, 0x1234_5678, 0xFFFF_FFFE][n as usize];
        (id(self.random.below(7)), id(self.random.below(7)))
    }

    fn make(&mut self, scene: &Scene<'_>) -> Op {
        let (path, mode, (uid, gid)) = (self.new_path(scene), self.mode(), self.owner());
        match self.random.below(16) {
            0..6 => Op::Create { path, mode, uid, gid },
            6..9 => {
                let mode = mode | if self.random.one_in(5) { 0o2000 } else { 0 };
                Op::MakeDir { path, mode, uid, gid }
            }
            9 => Op::MakeNode { path, kind: FileKind::Fifo, rdev: (0, 0), mode },
            10 => {
                let kind =
                    *self.random.pick(&[FileKind::CharDevice, FileKind::BlockDevice, FileKind::Socket]);
                let small = (self.random.below(256) as u32, self.random.below(256) as u32);
                let large = (self.random.below(4096) as u32, self.random.below(1 << 20) as u32);
                let rdev = if self.random.one_in(2) { small } else { large };
                let rdev = if kind == FileKind::Socket { (0, 0) } else { rdev };
                Op::MakeNode { path, kind, rdev, mode }
            }
            11 => Op::Symlink { path, target: "../some where".to_owned() },
            12 => {
                let len = *self.random.pick(&[59, 60, 61, 150, 900]);
                Op::Symlink { path, target: format!("{:t>len$}", self.random.below(100)) }
            }
            _ => Op::Link { existing: self.non_directory(scene), new: path },
        }
    }

    fn remove(&mut self, scene: &Scene<'_>) -> Op {
        match self.random.below(12) {
            0..7 => Op::Unlink { path: self.non_directory(scene) },
            7 => Op::Unlink { path: self.anything(scene) },
            8 => Op::RemoveDir { path: self.anything(scene) },
            _ => {
                let empty =
                    |kind: &Kind| matches!(kind, Kind::Directory { entries, .. } if entries.is_empty());
                Op::RemoveDir { path: self.existing(scene, empty) }
            }
        }
    }

    fn rename(&mut self, scene: &Scene<'_>) -> Op {
        let from = self.anything(scene);
        let to = if self.random.one_in(2) { self.new_path(scene) } else { self.anything(scene) };
        let how = match self.random.below(10) {
            0 => Rename::Refuse,
            1 | 2 => Rename::Exchange,
            3 => Rename::Whiteout,
            _ => Rename::Replace,
        };
        Op::Rename { from, to, how }
    }

    fn time(&mut self) -> Timestamp {
        // From 1901 to 2446, or to 2038.
        let (first, last) =
            (-(1 << 31), if self.can.large_times { (1 << 34) - (1 << 31) - 1 } else { (1 << 31) - 1 });
        if self.random.one_in(4) {
            let seconds =
                *self.random.pick(&[first, -1, 0, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, last]);
            return Timestamp { seconds: seconds.min(last), nanoseconds: 0 };
        }
        let seconds = first + 1 + self.random.below((last - first - 1) as u64) as i64;
        let nanoseconds = if self.can.large_times { self.random.below(1_000_000_000) as u32 } else { 0 };
        Timestamp { seconds, nanoseconds }
    }

    fn attribute(&mut self, scene: &Scene<'_>) -> Op {
        let path = self.anything(scene);
        match self.random.below(13) {
            10 | 11 => {
                let is_default = self.random.one_in(2);
                let path = if is_default {
                    self.existing(scene, |kind| matches!(kind, Kind::Directory { .. }))
                } else {
                    path
                };
                let acl = Acl::random(|n| self.random.below(n));
                Op::SetAcl { path, is_default, acl }
            }
            12 => self.set_flags(scene),
            0 => Op::SetMode { path, mode: self.mode() },
            1 => {
                let (uid, gid) = self.owner();
                Op::SetOwner { path, uid, gid }
            }
            2 => Op::SetTimes { path, atime: self.time(), mtime: self.time() },
            3 | 4 => Op::RemoveXattr { path, name: self.xattr_name(scene) },
            _ => self.set_xattr(scene, path),
        }
    }

    /// Flags of something; what can not be changed now is made changeable again, mostly.
    fn set_flags(&mut self, scene: &Scene<'_>) -> Op {
        let is_fixed = |id: &InodeId| scene.model.get(*id).flags & (IMMUTABLE | APPEND) != 0;
        let fixed: Vec<&str> =
            scene.paths.iter().filter(|(_, id)| is_fixed(id)).map(|(path, _)| path.as_str()).collect();
        if !fixed.is_empty() && !self.random.one_in(4) {
            return Op::SetFlags { path: (*self.random.pick(&fixed)).to_owned(), flags: 0 };
        }
        let kind = self.random.below(3);
        let path = self.existing(scene, |there| match there {
            Kind::Directory { .. } => kind > 0,
            Kind::File(_) => kind < 2,
            _ => false,
        });
        let casefold = if self.can.casefold && kind > 0 { CASEFOLD } else { 0 };
        let choices =
            [0x8, 0x40, 0x80, IMMUTABLE, APPEND, casefold, casefold, if kind == 2 { 0x3_0000 } else { 0 }];
        let flags = *self.random.pick(&choices) | *self.random.pick(&[0, 0x40, 0x80]);
        Op::SetFlags { path, flags }
    }

    fn xattr_name(&mut self, scene: &Scene<'_>) -> String {
        let there: Vec<&str> =
            scene.model.inodes().flat_map(|(_, inode)| inode.xattrs.keys()).map(String::as_str).collect();
        if !there.is_empty() && self.random.one_in(2) {
            return (*self.random.pick(&there)).to_owned();
        }
        let n = self.random.below(6);
        match self.random.below(8) {
            0 => format!("trusted.name{n}"),
            1 => format!("security.name{n}"),
            2 => format!("user.{n:l>80}"),
            _ => format!("user.name{n}"),
        }
    }

    fn set_xattr(&mut self, scene: &Scene<'_>, path: String) -> Op {
        let len = match self.random.below(12) {
            0 => 0,
            1..7 => self.random.below(40) as usize,
            7..10 => self.random.below(300) as usize,
            _ => self.random.below(self.can.xattr_bytes as u64) as usize,
        };
        let how = match self.random.below(6) {
            0 => SetXattr::Create,
            1 => SetXattr::Replace,
            _ => SetXattr::Any,
        };
        // Some values are the same on many files, so that blocks of attributes are shared.
        let seed = if self.random.one_in(2) { 7 } else { self.random.next() };
        // Lists are set otherwise.
        let name = self.xattr_name(scene);
        let name = if name.starts_with("system.") { "user.name0".to_owned() } else { name };
        Op::SetXattr { path, name, len, seed, how }
    }

    fn slot(&mut self, scene: &Scene<'_>) -> Op {
        let slot = self.random.below(SLOTS as u64) as usize;
        match self.random.below(8) {
            0 | 1 => Op::Close { slot },
            2 => {
                let (dir, mode, (uid, gid)) = (self.directory(scene), self.mode(), self.owner());
                Op::MakeNameless { dir, slot, mode, uid, gid }
            }
            3 => Op::LinkOpen { slot, new: self.new_path(scene) },
            _ => Op::Open { path: self.regular(scene), slot },
        }
    }

    fn crowd(&mut self, scene: &Scene<'_>) -> Op {
        let dir = self.directory(scene);
        let (count, name_len) =
            if self.small { (12, 60) } else { (40, 60 + 40 * self.random.below(4) as usize) };
        let is_there = scene.paths.iter().any(|(path, _)| *path == format!("{dir}/{:0>name_len$}", 1));
        if is_there || self.random.one_in(10) {
            return Op::Thin { dir, count, name_len, step: 1 + self.random.below(3) as usize };
        }
        Op::Crowd { dir, count, name_len }
    }
}
