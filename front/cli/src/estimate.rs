//! [`Estimate`]: how much there is to copy, counted by a thread of its own while the copy goes on.
//!
//! Who calls it: `progress`, when a copy turns out to take long and somebody looks. What is counted is what the copy counts: the stored bytes of regular
//! files, of a file with several names once.
//! Memory: the names of the directories on the way down; 16 bytes for each file with several names.
//! Failure: what cannot be looked at is not counted; the copy names it.

use crate::host_tree::{self, kind_of};
use crate::session::Target;
use rumpcap::FileKind;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Stat;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

/// A tree that is copied.
#[derive(Clone)]
pub enum Tree {
    /// Of the host.
    Host(PathBuf),
    /// Of an image.
    Image(Target),
}

/// A count that goes on.
pub struct Estimate {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    is_complete: AtomicBool,
    is_unwanted: AtomicBool,
}

impl Estimate {
    /// Begins to count. Where there can be no thread there is no total.
    pub fn start(trees: Vec<Tree>) -> Estimate {
        let shared = Arc::new(Shared::default());
        let counter = Counter { shared: shared.clone(), met: HashSet::new() };
        let count = || counter.count(trees);
        let thread = std::thread::Builder::new().name("estimate".to_owned()).spawn(count).ok();
        Estimate { shared, thread }
    }

    /// All that there is, once that is known.
    pub fn total_bytes(&self) -> Option<u64> {
        self.shared.is_complete.load(Relaxed).then(|| self.shared.bytes.load(Relaxed))
    }
}

impl Drop for Estimate {
    /// The thread has mounts, which may be unmounted next.
    fn drop(&mut self) {
        self.shared.is_unwanted.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // Who counts does not panic; if it did, there is no total.
            let _ = thread.join();
        }
    }
}

/// What a regular file adds: its holes do not.
pub fn stored_bytes(len_bytes: u64, blocks_bytes: u64) -> u64 {
    len_bytes.min(blocks_bytes)
}

struct Counter {
    shared: Arc<Shared>,
    /// Files with several names.
    met: HashSet<(u64, u64)>,
}

impl Counter {
    fn count(mut self, trees: Vec<Tree>) {
        for tree in trees {
            self.met.clear();
            match tree {
                Tree::Host(path) => self.host(&path),
                Tree::Image(target) => self.image(&target),
            }
        }
        self.shared.is_complete.store(!self.is_unwanted(), Relaxed);
    }

    fn is_unwanted(&self) -> bool {
        self.shared.is_unwanted.load(Relaxed)
    }

    fn add(&mut self, len_bytes: u64, blocks_bytes: u64, identity: (u64, u64), nlink: u64) {
        if nlink == 1 || self.met.insert(identity) {
            self.shared.bytes.fetch_add(stored_bytes(len_bytes, blocks_bytes), Relaxed);
        }
    }

    fn add_host(&mut self, stat: &Stat) {
        let blocks_bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let len_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        self.add(len_bytes, blocks_bytes, (stat.st_dev, stat.st_ino), stat.st_nlink);
    }

    fn host(&mut self, path: &Path) {
        match rustix::fs::stat(path) {
            Ok(stat) if kind_of(&stat) == FileKind::Regular => return self.add_host(&stat),
            Ok(_) => {}
            Err(_) => return,
        }
        let Ok(top) = host_tree::open_named(path) else { return };
        let mut levels: Vec<(OwnedFd, Vec<Box<[u8]>>)> = Vec::new();
        let names = host_tree::names(&top).unwrap_or_default();
        levels.push((top, names));
        while let Some((directory, names)) = levels.last_mut() {
            if self.is_unwanted() {
                return;
            }
            let Some(name) = names.pop() else {
                levels.pop();
                continue;
            };
            let Ok(stat) = host_tree::stat_at(directory.as_fd(), &name) else { continue };
            match kind_of(&stat) {
                FileKind::Regular => self.add_host(&stat),
                FileKind::Directory => {
                    if let Ok(below) = host_tree::open_directory(directory.as_fd(), &name) {
                        let names = host_tree::names(&below).unwrap_or_default();
                        levels.push((below, names));
                    }
                }
                _ => {}
            }
        }
    }

    fn image(&mut self, target: &Target) {
        let Ok(mut walk) = target.mount.walk(&target.path) else { return };
        while !self.is_unwanted() {
            match walk.next_entry() {
                Ok(Some(entry)) => {
                    let m = entry.metadata();
                    if m.is_file() {
                        let blocks_bytes = m.blocks().saturating_mul(512);
                        self.add(m.len(), blocks_bytes, (0, m.ino()), m.nlink().into());
                    }
                }
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }
}
