//! [`Walk`]: visits every entry below a directory, with its attributes, in bounded memory.
//!
//! Order: a directory, then its entries that are no directories (in the order of their inodes where that saves device
//! reads), then each of its subdirectories in the same way before the next. So a directory always comes before what is
//! in it. (Where a directory does not say which of its entries are directories, those are given with the others.)
//!
//! States of the walk of one directory, each transition with its function:
//! ```text
//! descend ──► entries (a batch, then the next: next_batch) ──► subdirectories (next_directory) ──► the parent's ...
//! ```
//! WK-1. The tree is not kept: a level is the directory's node and a cookie. WK-2. A directory that contains itself, or
//! more directories than the file system has inodes, end the walk of that part with `Corrupt`, so every walk ends.
//!
//! Memory: the kernel's is one [`Batch`]; the caller's is the path, a level for each directory on it with up to
//! [`WINDOW`] names of subdirectories, and the attributes of [`RUN`] entries.

use crate::{File, Metadata, Mount};
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Attributes, Batch, DirCookie, DirScan, FileKind, FileSystem, Follow, InodeNo, Node};
use rumpcap_vm::Reservation;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Entries whose inodes are read in one pass through the gate.
const RUN: usize = 32;

/// Pages of inodes that are asked for ahead; the kernel bounds it by a share of its limit.
const MOST_AHEAD: u64 = 31;

/// Subdirectories that are taken from a directory at once, to be visited in the order of their inodes.
const WINDOW: usize = 64;

/// A walk in progress.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> Result<(), Box<dyn std::error::Error>> {
/// let mut walk = mount.walk("/usr")?.max_depth(3);
/// loop {
///     match walk.next_entry() {
///         Ok(Some(entry)) => println!("{} {}", entry.metadata().ino(), entry.path().display()),
///         Ok(None) => break,
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Walk {
    mount: Mount,
    max_depth: usize,
    /// The path of what is visited; its first `levels.last().path_len` bytes are the directory's.
    path: Vec<u8>,
    levels: Vec<Level>,
    batch: Batch,
    /// Entry of the batch that is next, and attributes of those before it that were read and not given yet.
    next: usize,
    /// The last page of inodes, from that of the entry before `next` on, that the batch goes on without a gap to.
    dense_to: Option<u64>,
    run: VecDeque<Result<Attributes>>,
    start: Option<Attributes>,
    directories: u64,
    most_directories: u64,
}

/// A directory on the path.
struct Level {
    dir: Node,
    path_len: usize,
    scan: DirScan,
    /// An error of reading the directory was given.
    failed: bool,
    subdirectories: Subdirectories,
}

/// The subdirectories of a directory that are still to be visited.
#[derive(Default)]
struct Subdirectories {
    /// Where looking for more goes on; `None` when there are no more.
    from: Option<DirCookie>,
    /// Those found, in falling order of their inodes: inode, place of the name in `names`, whether it is known to be a
    /// directory.
    window: Vec<(InodeNo, core::ops::Range<usize>, bool)>,
    names: Vec<u8>,
}

/// An entry of a walk; lends its path.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> Result<(), Box<dyn std::error::Error>> {
/// let mut walk = mount.walk("/etc")?;
/// while let Some(entry) = walk.next_entry()? {
///     if entry.metadata().is_file() {
///         let mut first = [0; 2];
///         let n = entry.open()?.read_at(&mut first, 0)?;
///         println!("{} {:?}", entry.path().display(), &first[..n]);
///     }
/// }
/// # Ok(()) }
/// ```
pub struct WalkEntry<'a> {
    mount: &'a Mount,
    path: &'a Path,
    depth: usize,
    metadata: Metadata,
}

/// What could not be visited. The walk goes on with the rest.
#[derive(Clone, Debug)]
pub struct WalkError {
    /// The path of the directory or entry.
    pub path: PathBuf,
    /// Why.
    pub error: Error,
}

impl core::fmt::Display for WalkError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl core::error::Error for WalkError {}

impl Walk {
    pub(crate) fn new(mount: &Mount, path: &Path) -> Result<Walk> {
        let r = mount.vfs().enter();
        let bytes = path.as_os_str().as_bytes();
        let start = mount.vfs().resolve(&r, mount.vfs().fs().root(), bytes, Follow::No)?;
        let most_directories = mount.vfs().fs().inodes();
        drop(r);
        let mut walk = Walk {
            mount: mount.clone(),
            max_depth: usize::MAX,
            path: bytes.to_vec(),
            levels: Vec::new(),
            batch: Batch::new(mount.vfs().vfs().vm()),
            next: 0,
            dense_to: None,
            run: VecDeque::with_capacity(RUN),
            start: Some(start.attributes),
            directories: 0,
            most_directories,
        };
        if start.kind() == FileKind::Directory {
            walk.push_level(start);
        }
        Ok(walk)
    }

    /// Goes down at most `depth` levels; 0 is the start alone.
    pub fn max_depth(mut self, depth: usize) -> Walk {
        self.max_depth = depth;
        self
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// An error concerns one path; call again for the rest.
    pub fn next_entry(&mut self) -> core::result::Result<Option<WalkEntry<'_>>, WalkError> {
        if let Some(attributes) = self.start.take() {
            return Ok(Some(self.entry(attributes, 0)));
        }
        loop {
            if let Some(attributes) = self.run.pop_front() {
                return self.give(attributes);
            }
            if self.next < self.batch.len() {
                self.read_run();
                continue;
            }
            if self.levels.is_empty() {
                return Ok(None);
            }
            if self.levels.len() > self.max_depth {
                self.levels.pop();
            } else if !self.levels.last().is_some_and(|level| level.scan.is_done()) {
                self.next_batch()?;
            } else if let Some(attributes) = self.next_directory()? {
                return Ok(Some(self.entry(attributes, self.levels.len() - 1)));
            }
        }
    }

    /// The entry that `attributes` are of: the one behind those given before.
    fn give(
        &mut self,
        attributes: Result<Attributes>,
    ) -> core::result::Result<Option<WalkEntry<'_>>, WalkError> {
        let at = self.next - self.run.len() - 1;
        let depth = self.levels.len();
        if let (Some(level), Some(record)) = (self.levels.last(), self.batch.get(at)) {
            join(&mut self.path, level.path_len, record.name);
        }
        match attributes {
            Ok(attributes) => Ok(Some(self.entry(attributes, depth))),
            Err(error) => Err(self.error(error)),
        }
    }

    fn entry(&self, attributes: Attributes, depth: usize) -> WalkEntry<'_> {
        let path = Path::new(OsStr::from_bytes(&self.path));
        WalkEntry { mount: &self.mount, path, depth, metadata: Metadata(attributes) }
    }

    fn error(&self, error: Error) -> WalkError {
        WalkError { path: PathBuf::from(OsStr::from_bytes(&self.path)), error }
    }

    /// Reads the inodes of the next entries of the batch.
    fn read_run(&mut self) {
        let r = self.mount.vfs().enter();
        let fs = self.mount.vfs().fs();
        let end = self.batch.len().min(self.next + RUN);
        for at in self.next..end {
            let Some(record) = self.batch.get(at) else { break };
            let page = fs.inode_page(record.ino);
            if self.dense_to.is_none_or(|last| page > last) {
                self.dense_to = Some(dense_to(&self.batch, at, fs));
            }
            let ahead = self.dense_to.map_or(0, |last| last - page).min(MOST_AHEAD) as u32;
            self.run.push_back(fs.read_node(&r, record.ino, ahead).map(|node| node.attributes));
        }
        self.next = end;
    }

    /// The next entries of the directory.
    fn next_batch(&mut self) -> core::result::Result<(), WalkError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let r = self.mount.vfs().enter();
        (self.next, self.dense_to) = (0, None);
        let dir = self.mount.vfs().current(&r, &level.dir).unwrap_or(level.dir);
        let filled = self.batch.fill(self.mount.vfs(), &r, &dir, &mut level.scan);
        drop(r);
        if level.scan.is_done() {
            level.subdirectories.from = self.batch.met_directories().then_some(DirCookie(0));
        }
        self.path.truncate(level.path_len);
        level.failed |= filled.is_err();
        filled.map_err(|error| self.error(error))
    }

    /// Goes down into the next subdirectory, and gives its attributes if they were not given with its parent's entries;
    /// up if there is none.
    fn next_directory(&mut self) -> core::result::Result<Option<Attributes>, WalkError> {
        self.batch.reset();
        self.next = 0;
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        let r = self.mount.vfs().enter();
        if level.subdirectories.window.is_empty() {
            // Reading it again may fail where it did not before: what is left out is never left out silently.
            let (taken, told) = (level.take_window(&self.mount, &r), level.failed);
            level.failed |= taken.is_err();
            if let (Err(error), false) = (taken, told) {
                self.path.truncate(level.path_len);
                drop(r);
                return Err(self.error(error));
            }
        }
        let Some((ino, name, is_directory)) = level.subdirectories.window.pop() else {
            self.levels.pop();
            return Ok(None);
        };
        join(&mut self.path, level.path_len, &level.subdirectories.names[name]);
        let node = self.mount.vfs().fs().read_node(&r, ino, 0);
        drop(r);
        match node {
            Ok(node) if node.kind() == FileKind::Directory => self.descend(node, is_directory),
            // An entry without a kind, which was given with the others.
            Ok(_) if !is_directory => Ok(None),
            Ok(node) => {
                Err(self
                    .error(Error::Corrupt { what: "entry says directory, inode", at: node.attributes.ino.0 }))
            }
            Err(error) => Err(self.error(error)),
        }
    }

    fn descend(&mut self, dir: Node, give: bool) -> core::result::Result<Option<Attributes>, WalkError> {
        let InodeNo(at) = dir.attributes.ino;
        if self.levels.iter().any(|level| level.dir.attributes.ino == dir.attributes.ino) {
            return Err(self.error(Error::Corrupt { what: "directory contains itself: inode", at }));
        }
        if self.directories >= self.most_directories {
            return Err(self.error(Error::Corrupt { what: "directory has several parents: inode", at }));
        }
        self.push_level(dir);
        Ok(give.then_some(dir.attributes))
    }

    fn push_level(&mut self, dir: Node) {
        self.directories += 1;
        self.levels.push(Level {
            dir,
            path_len: self.path.len(),
            scan: DirScan::default(),
            failed: false,
            subdirectories: Subdirectories::default(),
        });
    }
}

impl Level {
    /// The next subdirectories, in falling order of their inodes. An error ends the list behind those before it.
    fn take_window(&mut self, mount: &Mount, r: &Reservation<'_>) -> Result<()> {
        let Subdirectories { from, window, names } = &mut self.subdirectories;
        let Some(start) = from.take() else { return Ok(()) };
        names.clear();
        let mut rest = None;
        let dir = mount.vfs().current(r, &self.dir)?;
        let outcome = mount.vfs().fs().read_dir(r, &dir, start, &mut |entry| {
            let may_be = matches!(entry.kind, FileKind::Directory | FileKind::Unknown);
            if may_be && entry.name != b"." && entry.name != b".." {
                let name_start = names.len();
                names.extend_from_slice(entry.name);
                window.push((entry.ino, name_start..names.len(), entry.kind == FileKind::Directory));
            }
            if window.len() < WINDOW {
                return ControlFlow::Continue(());
            }
            rest = Some(entry.next);
            ControlFlow::Break(())
        });
        *from = rest;
        window.sort_unstable_by_key(|(ino, ..)| core::cmp::Reverse(*ino));
        outcome
    }
}

/// The last page of inodes, from the one of entry `at` on, before one that no entry of the batch is on: as far as reading
/// ahead reads nothing in vain.
fn dense_to(batch: &Batch, at: usize, fs: &dyn FileSystem) -> u64 {
    let page = |at: usize| batch.get(at).map(|record| fs.inode_page(record.ino));
    let mut last = page(at).unwrap_or(0);
    for next in (at + 1..batch.len()).map_while(page) {
        if next > last + 1 {
            break;
        }
        last = next;
    }
    last
}

/// Makes `path` the directory's, which is its first `directory_len` bytes, and `name` in it.
fn join(path: &mut Vec<u8>, directory_len: usize, name: &[u8]) {
    path.truncate(directory_len);
    if path.last().is_some_and(|last| *last != b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

impl<'a> WalkEntry<'a> {
    /// Path: the start's as it was given, joined with what is below.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// 0 for the start, 1 for its entries, ...
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Attributes (of a symbolic link itself).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Opens it, by inode, without looking the path up again.
    ///
    /// # Errors
    /// As [`Mount::open_ino`].
    pub fn open(&self) -> Result<File> {
        self.mount.open_ino(self.metadata.ino())
    }
}
