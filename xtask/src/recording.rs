//! Recorded workloads: what is done to a mounted image while every access to a page is recorded in memory.
//!
//! Who calls it: `policies`, `bench`. Whom it calls: the library and the recorder, in this process; so the bytes that are read
//! are counted by a device of this program's own.
//!
//! All is deterministic: random numbers come from one seed, and nothing depends on the host's order but the image.

use crate::Result;
use rumpcap::block::{BlockDevice, Counting, FileDevice};
use rumpcap::{File, FileType, Kernel, Mount, MountOptions, PolicyKind};
use rumpcap_trace::format::Header;
use rumpcap_trace::{Recorder, Trace};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What programs that copy read at once.
const COPY_BYTES: usize = 128 << 10;
/// Reads of the random workload.
const RANDOM_READS: u64 = 60_000;
const PAGE_BYTES: u64 = 4096;
/// Entries of a walk for each page of metadata: 16 inodes share one, and names take their part.
const ENTRIES_PER_PAGE: u64 = 14;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Every entry with its attributes.
    Walk,
    /// Every entry with its attributes, and the content of every regular file, each in pieces of 128 KiB.
    Tar,
    /// Every entry first, then each file that was found by its path: content in pieces of 4 KiB.
    FindAndCat,
    /// The largest file from front to back in pieces of 4 KiB.
    Copy,
    /// Pages of the largest file at random, one in five of them from a tenth of it.
    Random,
    /// A hot set of half as many pages as there are frames, in use all the time, while the largest file is read through.
    HotSetAndScan,
    /// A few directories, walked again and again, while the whole image is walked.
    HotTreeAndWalk,
}

impl Workload {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Walk => "walk",
            Workload::Tar => "tar",
            Workload::FindAndCat => "find + cat",
            Workload::Copy => "sequential copy",
            Workload::Random => "random reads",
            Workload::HotSetAndScan => "hot set + scan of a file",
            Workload::HotTreeAndWalk => "hot directories + walk",
        }
    }
}

/// Whether the host caches the image, and so whether data that is asked for once gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCache {
    Cached,
    Uncached,
}

/// A trace and what was counted beside it.
pub(crate) struct Recording {
    pub(crate) trace: Trace,
    /// Pages read from the image, read-ahead included, by the device's count.
    pub(crate) pages_read: u64,
    pub(crate) frames: u64,
}

/// Records `workload` on `image` under `limit_bytes` with the default policy.
pub(crate) fn record(
    workload: Workload,
    image: &Path,
    host_cache: HostCache,
    limit_bytes: u64,
) -> Result<Recording> {
    let policy = PolicyKind::default();
    let header = Header { limit_bytes: Some(limit_bytes), policy, label: workload.name().to_owned() };
    let recorder = Recorder::new(Vec::new(), &header)?;
    let kernel = Kernel::builder().memory_limit(limit_bytes).trace(recorder.listener()).boot()?;
    let base: Arc<dyn BlockDevice> = match host_cache {
        HostCache::Cached => Arc::new(FileDevice::open(image)?),
        HostCache::Uncached => Arc::new(AsIfUncached(FileDevice::open(image)?)),
    };
    let device = Arc::new(Counting::new(base));
    let mount = kernel.mount(device.clone(), &MountOptions::default())?;
    Work { mount, frames: kernel.memory_report().frames, random: 0x9e37_79b9_7f4a_7c15 }.run(workload)?;
    let (bytes, _) = recorder.finish()?.ok_or("the recording was ended")?;
    let trace = Trace::read(&bytes[..])?;
    let pages_read = device.counts().read_bytes.div_ceil(PAGE_BYTES);
    Ok(Recording { trace, pages_read, frames: kernel.memory_report().frames })
}

/// An image file that says of itself that the host keeps nothing of it.
struct AsIfUncached(FileDevice);

impl BlockDevice for AsIfUncached {
    fn len_bytes(&self) -> u64 {
        self.0.len_bytes()
    }
    fn read_at(&self, offset: u64, bufs: &mut [std::io::IoSliceMut<'_>]) -> rumpcap::Result<()> {
        self.0.read_at(offset, bufs)
    }
    fn write_at(&self, _: u64, _: &mut [std::io::IoSlice<'_>]) -> rumpcap::Result<()> {
        Err(rumpcap::Error::ReadOnly)
    }
    fn flush(&self) -> rumpcap::Result<()> {
        Ok(())
    }
    fn is_cached_by_host(&self) -> bool {
        false
    }
    fn alignment_bytes(&self) -> usize {
        self.0.alignment_bytes()
    }
}

struct Work {
    mount: Mount,
    frames: u64,
    random: u64,
}

impl Work {
    fn run(&mut self, workload: Workload) -> Result {
        match workload {
            Workload::Walk => self.walk(Path::new("/"), |_, _| Ok(())),
            Workload::Tar => self.tar(),
            Workload::FindAndCat => self.find_and_cat(),
            Workload::Copy => self.copy(),
            Workload::Random => self.random_reads(),
            Workload::HotSetAndScan => self.hot_set_and_scan(),
            Workload::HotTreeAndWalk => self.hot_tree_and_walk(),
        }
    }

    fn walk(&self, root: &Path, mut visit: impl FnMut(&Path, FileType) -> Result) -> Result {
        let mut walk = self.mount.walk(root)?;
        while let Some(entry) = walk.next_entry().map_err(|e| e.error)? {
            let (path, kind) = (entry.path().to_owned(), entry.metadata().file_type());
            visit(&path, kind)?;
        }
        Ok(())
    }

    fn tar(&self) -> Result {
        let mut buf = vec![0; COPY_BYTES];
        let mut walk = self.mount.walk("/")?;
        while let Some(entry) = walk.next_entry().map_err(|e| e.error)? {
            let (ino, kind) = (entry.metadata().ino(), entry.metadata().file_type());
            if kind.is_file() {
                read_through(&self.mount.open_ino(ino)?, &mut buf)?;
            }
        }
        Ok(())
    }

    fn find_and_cat(&self) -> Result {
        let mut found: Vec<PathBuf> = Vec::new();
        self.walk(Path::new("/"), |path, kind| {
            if kind.is_file() {
                found.push(path.to_owned());
            }
            Ok(())
        })?;
        // Every eighth: as much again as the walk.
        let mut buf = vec![0; PAGE_BYTES as usize];
        found.iter().step_by(8).try_for_each(|path| read_through(&self.mount.open(path)?, &mut buf))
    }

    fn copy(&self) -> Result {
        let (file, _) = self.largest()?;
        read_through(&file, &mut vec![0; PAGE_BYTES as usize])
    }

    fn random_reads(&mut self) -> Result {
        let (file, pages) = self.largest()?;
        let mut buf = vec![0; PAGE_BYTES as usize];
        for _ in 0..RANDOM_READS {
            let among = if self.below(5) == 0 { pages / 10 } else { pages };
            let page = self.below(among.max(1));
            file.read_at(&mut buf, page * PAGE_BYTES)?;
        }
        Ok(())
    }

    /// Between two uses of the hot set a scan passes that alone would fill the memory.
    fn hot_set_and_scan(&mut self) -> Result {
        let (file, pages) = self.largest()?;
        let mut buf = vec![0; 1024];
        let (hot, mut at) = (self.frames / 2, self.frames);
        for _ in 0..40 {
            for page in 0..hot {
                // Spread, so that neighbours are not read along.
                file.read_at(&mut buf, (page * 37 % pages) * PAGE_BYTES + 1024)?;
            }
            for _ in 0..2 * self.frames {
                at = (at + 1) % pages;
                file.read_at(&mut buf, at * PAGE_BYTES)?;
            }
        }
        Ok(())
    }

    /// Directories whose metadata fill about half of the frames are walked whenever the great walk has passed by pages that alone
    /// would fill the memory twice.
    fn hot_tree_and_walk(&mut self) -> Result {
        let (mut hot, mut hot_pages) = (Vec::new(), 0);
        let mut directories = self.mount.walk("/")?;
        while let Some(entry) = directories.next_entry().map_err(|e| e.error)? {
            let is_top = entry.metadata().is_dir() && entry.path().components().count() == 2;
            if is_top && hot_pages < self.frames / 2 {
                let entries = self.mount.read_dir(entry.path())?.count() as u64;
                hot.push(entry.path().to_owned());
                hot_pages += 1 + entries / ENTRIES_PER_PAGE;
            }
        }
        let mut entries = 0;
        for _ in 0..4 {
            self.walk(Path::new("/"), |_, _| {
                entries += 1;
                if entries % (2 * self.frames * ENTRIES_PER_PAGE) != 0 {
                    return Ok(());
                }
                hot.iter().try_for_each(|directory| self.walk(directory, |_, _| Ok(())))
            })?;
        }
        Ok(())
    }

    /// The largest file and its pages.
    fn largest(&self) -> Result<(File, u64)> {
        let mut largest = (0, PathBuf::new());
        let mut walk = self.mount.walk("/")?;
        while let Some(entry) = walk.next_entry().map_err(|e| e.error)? {
            if entry.metadata().is_file() && entry.metadata().len() > largest.0 {
                largest = (entry.metadata().len(), entry.path().to_owned());
            }
        }
        Ok((self.mount.open(&largest.1)?, largest.0 / PAGE_BYTES))
    }

    /// A number below `bound` (xorshift64*).
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

fn read_through(file: &File, buf: &mut [u8]) -> Result {
    let mut at = 0;
    loop {
        match file.read_at(buf, at)? {
            0 => return Ok(()),
            n => at += n as u64,
        }
    }
}
