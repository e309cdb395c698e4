//! Batches: the entries of a directory but its subdirectories, gathered and put into the order of their inodes, in bounded
//! memory.
//!
//! Who calls it: the walk of `rumpcap` (the library). Whom it calls: [`crate::FileSystem::read_dir`].
//!
//! Reading inodes in the order in which a directory lists them is slow where that order is a hash: every inode is on
//! another page of the inode table. A batch takes as many entries as fit, sorts them by inode, and the walk
//! reads their inodes page after page. A directory that does not fit into one batch and is in no order is scanned
//! several times, each time for one range of inodes: a scan of names is cheap (blocks of names are read in sequence),
//! a page of the inode table that is read once for each of its inodes is dear.
//!
//! Ways of a [`DirScan`], each change with its function:
//! ```text
//! InOrder ──── settle: more than a batch, and scattered ────► ByInode (range, then the next range ...)
//!    └───────────────────────── read_dir ends ─────────────────────┴──► done
//! ```
//! BA-1. Every entry of the directory that is not known to be a directory is in exactly one batch, `.` and `..` in none.
//! BA-2. A scan ends: InOrder moves its cookie by an entry at least; ByInode moves its range, or halves it down to one
//! inode, whose entries then come in order.
//!
//! Memory: a wired buffer, two frames at first; for a directory that needs more, up to three quarters of the frames, given
//! back with the directory. If no frame can be wired, room for one entry in the batch itself: slow, never stuck.

use crate::file_system::{DirCookie, DirEntry};
use crate::mount::Mount;
use crate::node::{FileKind, InodeNo, Node};
use core::ops::ControlFlow;
use rumpcap_host::Result;
use rumpcap_host::sync::Arc;
use rumpcap_vm::{PAGE_SIZE, Reservation, Vm, WiredRun};
use zerocopy::FromBytes;

/// Frames that a batch begins with: about 250 entries with names of 20 bytes.
const FIRST_FRAMES: u32 = 2;

/// Scans of a directory that are still cheaper than reading its inodes in the order of its names: passing over an entry
/// takes about a hundredth of the time of a request to the device.
const MOST_SCANS: u64 = 64;

/// Bytes of a record besides its name: kind and length.
const HEAD: usize = 2;

/// Bytes of a record's key.
const KEY: usize = size_of::<u64>();

/// Room for one entry, whatever its name, and its key; a multiple of the key's size.
const ONE_ENTRY: usize = (HEAD + 255 + KEY).next_multiple_of(KEY);

/// One directory entry of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The inode that it names.
    pub ino: InodeNo,
    /// The kind, as far as the directory says it.
    pub kind: FileKind,
    /// The name.
    pub name: &'a [u8],
}

/// Where the listing of one directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirScan {
    way: Way,
    done: bool,
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    InOrder { from: DirCookie },
    ByInode(Range),
}

/// Inodes `low..low + width`, of which those up to `last` are there; `from` is where a range of one inode continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: u64,
    width: u64,
    last: u64,
    from: DirCookie,
}

impl Default for DirScan {
    fn default() -> DirScan {
        DirScan { way: Way::InOrder { from: DirCookie(0) }, done: false, failed: false }
    }
}

impl DirScan {
    /// Whether all entries have been in a batch, or reading the directory has failed.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

/// The entries gathered; keys of `InodeNo - base` and the record's place, from the end of the memory downwards.
pub struct Batch {
    vm: Arc<Vm>,
    wired: Option<WiredRun>,
    one_entry: [u64; ONE_ENTRY / KEY],
    count: usize,
    end: usize,
    base: u64,
    grown: bool,
    /// The batches since the last reset met an entry that is a directory, or may be one.
    met_directories: bool,
}

/// What one scan of a directory has come to.
struct Gathered {
    /// The place of the first entry that did not fit.
    overflow: Option<DirCookie>,
    outcome: Result<()>,
}

impl Batch {
    /// An empty batch in a kernel's memory. Never waits.
    pub fn new(vm: &Arc<Vm>) -> Batch {
        let (wired, one_entry) = (first_memory(vm), [0; ONE_ENTRY / KEY]);
        Batch {
            vm: vm.clone(),
            wired,
            one_entry,
            count: 0,
            end: 0,
            base: 0,
            grown: false,
            met_directories: false,
        }
    }

    /// Entries in the batch.
    pub fn len(&self) -> usize {
        self.count
    }

    /// No entries?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the directory may have subdirectories, as far as it was read since the last reset.
    pub fn met_directories(&self) -> bool {
        self.met_directories
    }

    /// Entry `at` in the order of the inodes.
    pub fn get(&self, at: usize) -> Option<Record<'_>> {
        let key = *self.keys().get(at)?;
        let record = self.bytes().get((key & 0xffff_ffff) as usize..)?;
        let (&[kind, len], name) = record.split_first_chunk::<HEAD>()?;
        let ino = InodeNo(self.base + (key >> 32));
        Some(Record { ino, kind: kind_of(kind), name: name.get(..len.into())? })
    }

    /// Empties the batch, and gives back what memory it took beyond its first.
    pub fn reset(&mut self) {
        self.clear(0);
        self.met_directories = false;
        if self.grown {
            // The large buffer goes first, so that the small one finds its room.
            self.wired = None;
            self.wired = first_memory(&self.vm);
            self.grown = false;
        }
    }

    /// Replaces the batch by the next entries of `dir`. An error leaves in the batch what was read before it, and ends
    /// the scan.
    ///
    /// # Errors
    /// Those of [`crate::FileSystem::read_dir`].
    pub fn fill(&mut self, mount: &Mount, r: &Reservation<'_>, dir: &Node, scan: &mut DirScan) -> Result<()> {
        let outcome = match scan.way {
            Way::InOrder { from } => self.fill_in_order(mount, r, dir, from, scan),
            Way::ByInode(range) => self.fill_range(mount, r, dir, range, scan),
        };
        self.sort();
        let reported = scan.failed;
        if outcome.is_err() {
            (scan.done, scan.failed) = (scan.done || matches!(scan.way, Way::InOrder { .. }), true);
        }
        if reported { Ok(()) } else { outcome }
    }

    fn fill_in_order(
        &mut self,
        mount: &Mount,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        scan: &mut DirScan,
    ) -> Result<()> {
        let mut gathered = self.gather(mount, r, dir, from, None);
        if gathered.overflow.is_some() && self.grow(dir) {
            gathered = self.gather(mount, r, dir, from, None);
        }
        let Some(next) = gathered.overflow else {
            scan.done = true;
            return gathered.outcome;
        };
        scan.way = Way::InOrder { from: next };
        let scattered = from == DirCookie(0) && self.is_scattered(mount);
        if let Some(range) = scattered.then(|| self.settle(mount, r, dir)).flatten() {
            scan.way = Way::ByInode(range);
            return self.fill_range(mount, r, dir, range, scan);
        }
        gathered.outcome
    }

    /// Whether the entries gathered use less than half of the inodes on the pages that they are on.
    fn is_scattered(&mut self, mount: &Mount) -> bool {
        self.sort();
        let per_page = u64::from(mount.fs().inodes_per_page()).max(1);
        let page = |key: &u64| mount.fs().inode_page(InodeNo(self.base + (key >> 32)));
        let pages = self.keys().chunk_by(|a, b| page(a) == page(b)).count() as u64;
        pages * per_page > 2 * self.count as u64
    }

    /// Finds the range of all inodes of the directory, and how wide a part of it one batch can take. `None` when it does
    /// not pay, or when the directory cannot be read to its end.
    fn settle(&self, mount: &Mount, r: &Reservation<'_>, dir: &Node) -> Option<Range> {
        let (mut low, mut last, mut bytes) = (u64::MAX, 0, 0usize);
        let scanned = mount.fs().read_dir(r, dir, DirCookie(0), &mut |entry| {
            low = low.min(entry.ino.0);
            last = last.max(entry.ino.0);
            bytes += HEAD + entry.name.len() + KEY;
            ControlFlow::Continue(())
        });
        let span = last.checked_sub(low)?.saturating_add(1);
        let scans = (bytes / (self.bytes().len() / 10 * 9).max(1)) as u64 + 1;
        let pays = scanned.is_ok() && scans <= MOST_SCANS;
        pays.then_some(Range { low, width: span.div_ceil(scans), last, from: DirCookie(0) })
    }

    fn fill_range(
        &mut self,
        mount: &Mount,
        r: &Reservation<'_>,
        dir: &Node,
        mut range: Range,
        scan: &mut DirScan,
    ) -> Result<()> {
        loop {
            let gathered = self.gather(mount, r, dir, range.from, Some(range));
            match gathered.overflow {
                Some(_) if range.width > 1 => range.width = range.width.div_ceil(2),
                Some(next) => {
                    scan.way = Way::ByInode(Range { from: next, ..range });
                    return gathered.outcome;
                }
                None => {
                    let low = range.low.saturating_add(range.width);
                    scan.done = low > range.last;
                    // Half empty: the next part may be wider.
                    let wider = if self.free() > self.bytes().len() / 2 { range.width / 2 } else { 0 };
                    let width = range.width.saturating_add(wider);
                    scan.way = Way::ByInode(Range { low, width, last: range.last, from: DirCookie(0) });
                    if gathered.outcome.is_err() || !self.is_empty() || scan.done {
                        return gathered.outcome;
                    }
                    range = Range { low, width, last: range.last, from: DirCookie(0) };
                }
            }
        }
    }

    /// One scan of the directory from `from` on, for the inodes of `only` or all.
    fn gather(
        &mut self,
        mount: &Mount,
        r: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        only: Option<Range>,
    ) -> Gathered {
        self.clear(only.map_or(0, |range| range.low));
        let (mut at, mut overflow) = (from, None);
        let inodes = only.map_or(0..u64::MAX, |range| range.low..range.low.saturating_add(range.width));
        let outcome = mount.fs().read_dir_range(r, dir, from, inodes, &mut |entry| {
            let here = core::mem::replace(&mut at, entry.next);
            if only.is_none() && self.count == 0 {
                self.base = entry.ino.0.saturating_sub(1 << 31);
            }
            if self.push(entry.ino.0.wrapping_sub(self.base), &entry) {
                return ControlFlow::Continue(());
            }
            overflow = Some(here);
            ControlFlow::Break(())
        });
        Gathered { overflow, outcome }
    }

    /// Adds an entry unless it is a directory; false if it does not fit, or its inode is 2^32 or more from the first.
    fn push(&mut self, delta: u64, entry: &DirEntry<'_>) -> bool {
        if entry.name == b"." || entry.name == b".." {
            return true;
        }
        self.met_directories |= matches!(entry.kind, FileKind::Directory | FileKind::Unknown);
        if entry.kind == FileKind::Directory {
            return true;
        }
        let len = HEAD + entry.name.len();
        if len + KEY > self.free() || delta >> 32 != 0 || entry.name.len() > 255 {
            return false;
        }
        let (at, key_at) = (self.end, self.bytes().len() - (self.count + 1) * KEY);
        let key = delta << 32 | at as u64;
        let bytes = self.bytes_mut();
        bytes[at] = entry.kind as u8;
        bytes[at + 1] = entry.name.len() as u8;
        bytes[at + HEAD..at + len].copy_from_slice(entry.name);
        bytes[key_at..key_at + KEY].copy_from_slice(&key.to_ne_bytes());
        self.end += len;
        self.count += 1;
        true
    }

    fn clear(&mut self, base: u64) {
        (self.count, self.end, self.base) = (0, 0, base);
    }

    fn free(&self) -> usize {
        self.bytes().len() - self.count * KEY - self.end
    }

    /// Takes a buffer that the whole directory may fit into, or as much as there is; true if the batch was emptied for
    /// it and is to be gathered again.
    fn grow(&mut self, dir: &Node) -> bool {
        if self.grown {
            return false;
        }
        // A record is at most a few bytes larger than the entry that it is made of: half as much again is room for all.
        let wanted = dir.attributes.size_bytes / PAGE_SIZE as u64 * 3 / 2 + 1;
        let most = self.vm.plan().frames / 4 * 3;
        let mut frames = u32::try_from(wanted).unwrap_or(u32::MAX).min(most);
        self.wired = None;
        while frames > FIRST_FRAMES {
            if let Ok(run) = WiredRun::buffer(&self.vm, frames, "a walk") {
                self.wired = Some(run);
                self.grown = true;
                return true;
            }
            frames = frames * 3 / 4;
        }
        self.wired = first_memory(&self.vm);
        self.grown = true;
        true
    }

    fn bytes(&self) -> &[u8] {
        match &self.wired {
            Some(run) => run,
            None => zerocopy::IntoBytes::as_bytes(&self.one_entry),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.wired {
            Some(run) => run,
            None => zerocopy::IntoBytes::as_mut_bytes(&mut self.one_entry),
        }
    }

    fn keys(&self) -> &[u64] {
        let bytes = self.bytes();
        let start = bytes.len() - self.count * KEY;
        <[u64]>::ref_from_bytes(&bytes[start..])
            .expect("the memory begins and ends at a multiple of a key's size")
    }

    fn sort(&mut self) {
        let bytes_before = self.bytes().len() - self.count * KEY;
        let bytes = &mut self.bytes_mut()[bytes_before..];
        let keys =
            <[u64]>::mut_from_bytes(bytes).expect("the memory begins and ends at a multiple of a key's size");
        keys.sort_unstable();
    }
}

fn first_memory(vm: &Arc<Vm>) -> Option<WiredRun> {
    WiredRun::buffer(vm, FIRST_FRAMES, "a walk").or_else(|_| WiredRun::buffer(vm, 1, "a walk")).ok()
}

/// [`FileKind`] from the byte that a record keeps of it.
fn kind_of(byte: u8) -> FileKind {
    const KINDS: [FileKind; 8] = [
        FileKind::Regular,
        FileKind::Directory,
        FileKind::Symlink,
        FileKind::CharDevice,
        FileKind::BlockDevice,
        FileKind::Fifo,
        FileKind::Socket,
        FileKind::Unknown,
    ];
    KINDS.into_iter().find(|kind| *kind as u8 == byte).unwrap_or(FileKind::Unknown)
}
