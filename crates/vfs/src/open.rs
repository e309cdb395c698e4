//! Open files of a mount that can be written: how many handles each inode has, so that one that loses its last name lives until it is
//! closed.
//!
//! Who calls it: `mount` (opening and closing), `tree` (names that go).
//!
//! An inode that is changed in steps is marked too (`resize`): who would write it waits until that is done.
//!
//! OP-1. An inode is in the table as long as a handle of it is open. OP-2. An inode without names and with handles is marked; who closes
//! the last one deletes it, alone in the mount, so nobody opens it meanwhile; or the mount does, at its end. OP-3. The memory of the first
//! is taken at mount and kept: whatever else has taken the rest, a hundred inodes can be open.
//!
//! Locks: one mutex, held for moments. Memory: two frames of a small limit from the beginning, and up to a 16th of the limit, as
//! files are opened. Failure: `NoMemory`, for the file that is one too many.

use crate::cache::{Cache, Entry};
use crate::node::InodeNo;
use core::cell::Cell;
use rumpcap_host::sync::{Arc, Condvar, Mutex};
use rumpcap_host::{Error, Result};
use rumpcap_vm::{ItemNo, Reclaim, Vm};

/// The open files' share of the limit.
const SHARE: usize = 16;

/// An inode that is open.
#[derive(Clone, Copy)]
struct Open {
    ino: InodeNo,
    handles: u32,
    /// It has no names (OP-2).
    is_nameless: bool,
    /// It is changed in steps, and between two of them.
    is_changing: bool,
}

impl Entry for Open {
    const WHAT: &'static str = "open files";
    const IS_OFFER: bool = false;
    fn is_idle(&self, _: &Vm) -> bool {
        false
    }
}

/// The open files of a mount.
pub(crate) struct OpenTable {
    vm: Arc<Vm>,
    cache: Mutex<Cache<Open>>,
    changed: Condvar,
}

/// What closing a handle did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The handle is closed.
    Done,
    /// It is the last of an inode without names, and still open: to be closed alone in the mount.
    IsLast,
}

fn hash(ino: InodeNo) -> u32 {
    (ino.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

fn find(cache: &mut Cache<Open>, ino: InodeNo) -> Option<ItemNo> {
    cache.find(hash(ino), |open| open.ino == ino)
}

impl OpenTable {
    /// An empty table. Allocates: at mount only.
    pub(crate) fn new(vm: &Arc<Vm>) -> Arc<OpenTable> {
        let most = Cache::<Open>::entries_in(vm.plan().limit_bytes / SHARE);
        let mut cache = Cache::new(most);
        cache.take_first(vm);
        let (cache, changed) = (Mutex::new(cache), Condvar::new());
        let table = Arc::new(OpenTable { vm: vm.clone(), cache, changed });
        vm.register_reclaim(Arc::downgrade(&(table.clone() as _)));
        table
    }

    /// One more handle of an inode.
    ///
    /// # Errors
    /// `NoMemory`.
    pub(crate) fn open(&self, ino: InodeNo) -> Result<()> {
        let mut cache = self.cache.lock();
        if let Some(item) = find(&mut cache, ino) {
            cache.get_mut(item).handles += 1;
            return Ok(());
        }
        let open = Open { ino, handles: 1, is_nameless: false, is_changing: false };
        let full = Error::NoMemory { what: Open::WHAT, need: 1, have: 0 };
        cache.insert(&self.vm, hash(ino), open, |_| ()).map(|_| ()).ok_or(full)
    }

    /// One handle less, unless it is the last of an inode without names.
    pub(crate) fn close(&self, ino: InodeNo) -> Closed {
        let mut cache = self.cache.lock();
        let item = find(&mut cache, ino).expect("OP-1: what is open is in the table");
        let open = cache.get_mut(item);
        if open.handles == 1 && open.is_nameless {
            return Closed::IsLast;
        }
        open.handles -= 1;
        if open.handles == 0 {
            cache.remove(item);
        }
        Closed::Done
    }

    /// One handle less, of an inode without names, by one who is alone in the mount; whether it was the last.
    pub(crate) fn close_nameless(&self, ino: InodeNo) -> bool {
        let mut cache = self.cache.lock();
        let item = find(&mut cache, ino).expect("OP-1: what is open is in the table");
        let open = cache.get_mut(item);
        open.handles -= 1;
        let (is_last, is_nameless) = (open.handles == 0, open.is_nameless);
        if is_last {
            cache.remove(item);
        }
        is_last && is_nameless
    }

    /// Whether a handle of the inode is open.
    pub(crate) fn is_open(&self, ino: InodeNo) -> bool {
        find(&mut self.cache.lock(), ino).is_some()
    }

    /// Takes out an inode without names that is still open, at unmounting; whoever had it open closes it no more.
    pub(crate) fn take_nameless(&self) -> Option<InodeNo> {
        let found = Cell::new(None);
        let is_first = |open: &Open| open.is_nameless && found.get().is_none();
        self.cache.lock().take_all(is_first, |open| found.set(Some(open.ino)));
        found.get()
    }

    /// Notes whether an inode has names; false if no handle of it is open.
    pub(crate) fn set_nameless(&self, ino: InodeNo, is_nameless: bool) -> bool {
        let mut cache = self.cache.lock();
        let Some(item) = find(&mut cache, ino) else { return false };
        cache.get_mut(item).is_nameless = is_nameless;
        true
    }

    /// Notes whether an inode is changed in steps; false if no handle of it is open.
    pub(crate) fn set_changing(&self, ino: InodeNo, is_changing: bool) -> bool {
        let mut cache = self.cache.lock();
        let item = find(&mut cache, ino);
        if let Some(item) = item {
            cache.get_mut(item).is_changing = is_changing;
        }
        self.changed.notify_all();
        item.is_some()
    }

    /// Whether an inode is changed in steps.
    pub(crate) fn is_changing(&self, ino: InodeNo) -> bool {
        let mut cache = self.cache.lock();
        find(&mut cache, ino).is_some_and(|item| cache.get(item).is_changing)
    }

    /// Waits until an inode is not changed in steps. The caller holds nothing.
    pub(crate) fn wait_until_changed(&self, ino: InodeNo) {
        let mut cache = self.cache.lock();
        while find(&mut cache, ino).is_some_and(|item| cache.get(item).is_changing) {
            cache = self.changed.wait(cache);
        }
    }
}

impl Reclaim for OpenTable {
    fn give_back_empty(&self) -> u64 {
        self.cache.try_lock().map_or(0, |mut cache| cache.give_back_spare())
    }

    fn reclaim(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_vm::{BootOptions, Daemon, WiredRun};

    /// OP-3: files were refused, in a kernel whose memory the buffers of walks and the caches had taken.
    #[test]
    fn the_first_files_are_opened_when_no_memory_is_left() {
        let limit_bytes = Some(256 << 10);
        let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
        let table = OpenTable::new(&vm);
        let taken: Vec<_> =
            core::iter::from_fn(|| WiredRun::buffer(&vm, 1, "all that is left").ok()).collect();
        assert!(taken.len() > 10);
        table.open(InodeNo(7)).unwrap();
        assert_eq!(table.close(InodeNo(7)), Closed::Done);
        // Nor does the daemon take it.
        assert_eq!(table.give_back_empty(), 0);
        (0..80).for_each(|ino| table.open(InodeNo(ino)).unwrap());
        (0..80).for_each(|ino| assert_eq!(table.close(InodeNo(ino)), Closed::Done));
    }
}
