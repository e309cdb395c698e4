//! [`Worker`]: what a thread of a simulated world does, and that all that it is given is true (SIM-2).
//!
//! Who calls it: [`crate::run`], in a thread of the model checker. Every action goes through the library's public interface.

use crate::disk::{Disk, Failures};
use crate::image::{Entry, Image};
use crate::plan::Plan;
use crate::trace::{Event, Trace};
use rumpcap::{Error, File, Kernel, Lease, Mount, MountOptions, Result};
use rumpcap_testing::seed::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most bytes of one read: more than are read past the pages.
const READ_BYTES: u64 = 40_000;

/// Leases that a worker keeps across its actions.
const LEASES: usize = 6;

/// What all threads of a world share.
pub struct World {
    /// What the seed decided.
    pub plan: Plan,
    /// The kernel.
    pub kernel: Kernel,
    /// What may be mounted.
    pub images: Arc<[Image]>,
    /// Whose requests failed.
    pub failures: Arc<Failures>,
    /// What happens.
    pub trace: Arc<Trace>,
    /// Pages that were lent out. One whose object goes meanwhile stays, when it is given back, until its frame is needed.
    pub lent: AtomicU64,
    disks: AtomicU64,
}

impl World {
    /// A world around `kernel`.
    pub fn new(
        plan: Plan,
        kernel: Kernel,
        images: Arc<[Image]>,
        failures: Arc<Failures>,
        trace: Arc<Trace>,
    ) -> World {
        let (lent, disks) = (AtomicU64::new(0), AtomicU64::new(0));
        World { plan, kernel, images, failures, trace, lent, disks }
    }

    /// Mounts an image from a new disk.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mount(&self, image: &Image) -> Result<Mount> {
        let number = self.disks.fetch_add(1, Relaxed);
        let (failures, trace) = (self.failures.clone(), self.trace.clone());
        let disk = Disk::new(&self.plan, number, image.bytes.clone(), failures, trace);
        self.kernel.mount(Arc::new(disk), &MountOptions::default())
    }

    /// The image that `number` chooses.
    pub fn image(&self, number: u64) -> &Image {
        &self.images[(number % self.images.len() as u64) as usize]
    }
}

/// Something that a thread does.
type Action<'a> = fn(&mut Worker<'a>);

/// One thread at work on one mount.
pub struct Worker<'a> {
    world: &'a World,
    image: &'a Image,
    mount: Mount,
    random: Random,
    number: u64,
    leases: Vec<(Lease, PathBuf, u64)>,
}

impl<'a> Worker<'a> {
    /// Worker `number` on `mount`, which is of `image`.
    pub fn new(world: &'a World, image: &'a Image, mount: Mount, random: Random, number: u64) -> Worker<'a> {
        Worker { world, image, mount, random, number, leases: Vec::new() }
    }

    /// Does `actions` things, one after the other.
    pub fn work(mut self, actions: u64) {
        for _ in 0..actions {
            self.act();
        }
        self.unmount_under_leases();
    }

    fn act(&mut self) {
        let actions: [(&'static str, Action<'a>); 10] = [
            ("walk", Self::walk),
            ("read at random", Self::read_randomly),
            ("read in sequence", Self::read_in_sequence),
            ("list", Self::list),
            ("look up", Self::look_up),
            ("lend", Self::lend),
            ("give back", Self::give_back),
            ("mount", Self::mount_another),
            ("look at the memory", Self::look_at_memory),
            ("ask the daemon", Self::ask_daemon),
        ];
        let (what, action) = *self.random.pick(&actions);
        let (worker, number) = (self.number, self.random.next());
        self.world.trace.add(Event::Action { worker, what, number });
        action(self);
    }

    /// The result, if it is one. An error is only right where a request of this very thread failed since `before`, or
    /// if it `may_be` for another reason.
    fn allow<T>(&self, before: u64, result: Result<T>, may_be: fn(&Error) -> bool) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) if may_be(&error) => None,
            Err(error) => {
                let is_the_disk_s = matches!(error, Error::Io { .. } | Error::ShortDevice { .. });
                let failed = self.world.failures.of_this_thread() > before;
                assert!(is_the_disk_s && failed, "SIM-2: an error out of nothing: {error:?}");
                None
            }
        }
    }

    /// Runs `operation`; its result, if the disk let it have one.
    fn attempt<T>(&self, operation: impl FnOnce() -> Result<T>) -> Option<T> {
        let before = self.world.failures.of_this_thread();
        self.allow(before, operation(), |_| false)
    }

    /// Every entry is true, none comes twice, and without an error none is left out.
    fn walk(&mut self) {
        let start = self.random.pick(&self.image.directories).clone();
        let Some(mut walk) = self.attempt(|| self.mount.walk(&start)) else { return };
        let mut seen = BTreeSet::new();
        let mut is_whole = true;
        // Errors are given in the order of the entries, later than they are met: each has a failure of its own.
        let mut before = self.world.failures.of_this_thread();
        loop {
            match self.allow(before, walk.next_entry().map_err(|e| e.error), |_| false) {
                Some(None) => break,
                Some(Some(entry)) => {
                    self.check_metadata(entry.path(), entry.metadata());
                    assert!(seen.insert(entry.path().to_owned()), "SIM-2: {} twice", entry.path().display());
                }
                None => {
                    is_whole = false;
                    before += 1;
                }
            }
        }
        let expected = self.image.tree.keys().filter(|path| path.starts_with(&start)).count();
        assert!(!is_whole || seen.len() == expected, "SIM-2: {} of {expected} entries", seen.len());
    }

    fn check_metadata(&self, path: &Path, metadata: &rumpcap::Metadata) {
        let true_one = self.image.tree.get(path);
        let is_true = match true_one {
            Some(Entry::Directory) => metadata.is_dir(),
            Some(Entry::File(content)) => metadata.is_file() && metadata.len() == content.len() as u64,
            Some(Entry::Link(target)) => {
                metadata.is_symlink() && metadata.len() == target.as_os_str().len() as u64
            }
            None => false,
        };
        assert!(is_true, "SIM-2: {} is {metadata:?}", path.display());
    }

    fn open(&mut self) -> Option<(File, &'a Path, &'a [u8])> {
        let image = self.image;
        let path = self.random.pick(&image.files);
        let Some(Entry::File(content)) = image.tree.get(path) else { unreachable!("a list of files") };
        let file = self.attempt(|| self.mount.open(path))?;
        Some((file, path, content))
    }

    fn check_read(&self, file: &File, content: &[u8], offset: u64, len: u64) {
        let mut buf = vec![0; len as usize];
        let Some(n) = self.attempt(|| file.read_at(&mut buf, offset)) else { return };
        let start = content.len().min(offset as usize);
        let truth = &content[start..content.len().min(start + buf.len())];
        assert!(buf[..n] == *truth, "SIM-2: {len} bytes at {offset} are not what was written ({n} read)");
    }

    fn read_randomly(&mut self) {
        let Some((file, _, content)) = self.open() else { return };
        for _ in 0..4 {
            let offset = self.random.below(content.len() as u64 + 10);
            // Whole pages in their places are read in another way than parts.
            let (offset, len) = match self.random.below(3) {
                0 => (offset & !4095, 4096),
                1 => (offset, 1 + self.random.below(3000)),
                _ => (offset, 1 + self.random.below(READ_BYTES)),
            };
            self.check_read(&file, content, offset, len);
        }
    }

    fn read_in_sequence(&mut self) {
        let Some((file, _, content)) = self.open() else { return };
        let mut offset = self.random.below(content.len() as u64);
        let len = 1 + self.random.below(9000);
        for _ in 0..6 {
            self.check_read(&file, content, offset, len);
            offset += len;
        }
    }

    fn list(&mut self) {
        let directory = self.random.pick(&self.image.directories).clone();
        let Some(listing) = self.attempt(|| self.mount.read_dir(&directory)) else { return };
        let mut seen = BTreeSet::new();
        let before = self.world.failures.of_this_thread();
        for entry in listing {
            // What is behind an error is not given.
            let Some(entry) = self.allow(before, entry, |_| false) else { return };
            let path = directory.join(entry.file_name());
            assert!(self.image.tree.contains_key(&path), "SIM-2: there is no {}", path.display());
            assert!(seen.insert(path), "SIM-2: an entry twice");
        }
        let is_in = |path: &&PathBuf| path.parent() == Some(&*directory);
        assert_eq!(seen.len(), self.image.tree.keys().filter(is_in).count(), "SIM-2: a listing not whole");
    }

    fn look_up(&mut self) {
        let paths: &BTreeMap<_, _> = &self.image.tree;
        for _ in 0..3 {
            let nth = self.random.below(paths.len() as u64) as usize;
            let Some((path, entry)) = paths.iter().nth(nth) else { return };
            if let Some(metadata) = self.attempt(|| self.mount.symlink_metadata(path)) {
                self.check_metadata(path, &metadata);
            }
            if let Entry::Link(target) = entry {
                let read = self.attempt(|| self.mount.read_link(path));
                assert!(read.is_none_or(|read| read == *target), "SIM-2: another target");
            }
            let before = self.world.failures.of_this_thread();
            let missing = self.mount.metadata(path.join("none"));
            let not_there = |e: &Error| matches!(e, Error::NotFound | Error::NotADirectory);
            assert!(self.allow(before, missing, not_there).is_none(), "SIM-2: found what is not there");
        }
    }

    fn lend(&mut self) {
        let Some((file, path, content)) = self.open() else { return };
        let offset = self.random.below(content.len() as u64);
        let before = self.world.failures.of_this_thread();
        let lent = self.allow(before, file.lend(offset), |e| matches!(e, Error::NoMemory { .. }));
        let Some(Some(lease)) = lent else { return };
        self.world.lent.fetch_add(1, Relaxed);
        self.leases.push((lease, path.to_owned(), offset));
        if self.leases.len() > LEASES {
            self.leases.remove(0);
        }
        check_leases(self.image, &self.leases);
    }

    fn give_back(&mut self) {
        check_leases(self.image, &self.leases);
        self.leases.clear();
    }

    /// Another file system on another disk comes, is used for a moment, and goes.
    fn mount_another(&mut self) {
        let image = self.world.image(self.random.next());
        let before = self.world.failures.of_this_thread();
        let is_short = matches!(self.world.plan.disk.faults, crate::disk::Faults::Short(_));
        let mounted = self.world.mount(image);
        let may_be = if is_short {
            |e: &Error| {
                matches!(e, Error::NoMemory { .. } | Error::ShortDevice { .. } | Error::NotAFileSystem)
            }
        } else {
            |e: &Error| matches!(e, Error::NoMemory { .. })
        };
        let Some(mount) = self.allow(before, mounted, may_be) else { return };
        let random = Random::new(self.random.next());
        let mut guest = Worker::new(self.world, image, mount, random, self.number);
        guest.read_randomly();
        guest.lend();
        guest.list();
        guest.unmount_under_leases();
    }

    /// The mount goes before what it lent.
    fn unmount_under_leases(self) {
        let Worker { image, mount, leases, .. } = self;
        drop(mount);
        check_leases(image, &leases);
    }

    /// Memory is short, says somebody: idle vnodes and names go, and the pages that are in nobody's hands.
    fn ask_daemon(&mut self) {
        self.world.kernel.ask_daemon();
    }

    fn look_at_memory(&mut self) {
        let report = self.world.kernel.memory_report();
        assert!(report.peak_bytes <= report.limit_bytes, "over the limit: {report:?}");
        assert_eq!(report.stuck, 0, "{report:?}");
    }
}

fn check_leases(image: &Image, leases: &[(Lease, PathBuf, u64)]) {
    for (lease, path, offset) in leases {
        let Some(Entry::File(content)) = image.tree.get(path) else { continue };
        let truth = &content[*offset as usize..][..lease.len()];
        assert!(**lease == *truth, "SIM-2: a page that is lent has changed");
    }
}
