//! The namecache: which inode a name in a directory names, or that there is none.
//!
//! Who calls it: `namei`. Names longer than [`NAME_MAX_CACHED`] bytes are not kept.
//!
//! NC-1. An entry says what the directory says: who changes a directory tells the cache before anybody else looks.
//! NC-2. A directory that goes is empty: of its entries `..` alone is forgotten. What is known not to be in it is not in a new
//! directory that gets its number either, until somebody tells.
//! Locks: one mutex, held for moments. Memory: a 64th of the limit.

use crate::cache::{Cache, Entry};
use crate::node::InodeNo;
use rumpcap_host::sync::{Arc, Mutex};
use rumpcap_vm::{ItemNo, Reclaim, Vm};

/// The names' share of the limit.
const SHARE: usize = 64;

/// Items that one call of the daemon takes.
const RECLAIM_ITEMS: usize = 64;

/// Longest name that is kept, in bytes: 88 % of the names of a system's /usr (133,244 counted) are no longer, and an entry
/// stays below 100 bytes.
const NAME_MAX_CACHED: usize = 39;

#[derive(Clone, Copy)]
struct Name {
    directory: InodeNo,
    /// What it names; `None`: nothing (a negative entry).
    ino: Option<InodeNo>,
    mount: u32,
    len: u8,
    bytes: [u8; NAME_MAX_CACHED],
}

impl Entry for Name {
    const WHAT: &'static str = "names";
    fn is_idle(&self, _: &Vm) -> bool {
        true
    }
}

impl Name {
    fn is(&self, mount: u32, directory: InodeNo, name: &[u8]) -> bool {
        self.mount == mount && self.directory == directory && self.bytes.get(..self.len.into()) == Some(name)
    }
}

/// The namecache of a kernel.
pub(crate) struct Namecache {
    vm: Arc<Vm>,
    cache: Mutex<Cache<Name>>,
}

fn find(cache: &mut Cache<Name>, mount: u32, directory: InodeNo, name: &[u8]) -> Option<ItemNo> {
    cache.find(hash(mount, directory, name), |n| n.is(mount, directory, name))
}

/// FNV-1a over the name, started with where it is.
fn hash(mount: u32, directory: InodeNo, name: &[u8]) -> u32 {
    let start = (directory.0 ^ u64::from(mount) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = name.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    (mixed ^ mixed >> 32) as u32
}

impl Namecache {
    pub(crate) fn new(vm: &Arc<Vm>) -> Namecache {
        let most = Cache::<Name>::entries_in(vm.plan().limit_bytes / SHARE);
        Namecache { vm: vm.clone(), cache: Mutex::new(Cache::new(most)) }
    }

    /// What is known of a name: nothing, or the inode, or that there is none.
    pub(crate) fn find(&self, mount: u32, directory: InodeNo, name: &[u8]) -> Option<Option<InodeNo>> {
        if name.len() > NAME_MAX_CACHED {
            return None;
        }
        let mut cache = self.cache.lock();
        let item = find(&mut cache, mount, directory, name)?;
        Some(cache.get(item).ino)
    }

    /// Remembers what the directory said.
    pub(crate) fn remember(&self, mount: u32, directory: InodeNo, name: &[u8], ino: Option<InodeNo>) {
        let mut bytes = [0; NAME_MAX_CACHED];
        let Some(start) = bytes.get_mut(..name.len()) else { return };
        start.copy_from_slice(name);
        let entry = Name { directory, ino, mount, len: name.len() as u8, bytes };
        let mut cache = self.cache.lock();
        match find(&mut cache, mount, directory, name) {
            Some(item) => cache.get_mut(item).ino = ino,
            None => drop(cache.insert(&self.vm, hash(mount, directory, name), entry, |_| ())),
        }
    }

    /// Forgets what is known of a name.
    pub(crate) fn forget(&self, mount: u32, directory: InodeNo, name: &[u8]) {
        let mut cache = self.cache.lock();
        if let Some(item) = find(&mut cache, mount, directory, name) {
            cache.remove(item);
        }
    }

    /// Forgets all names of a mount that goes.
    pub(crate) fn forget_mount(&self, mount: u32) {
        self.cache.lock().take_all(|name| name.mount == mount, |_| ());
    }
}

impl Reclaim for Namecache {
    fn give_back_empty(&self) -> u64 {
        self.cache.try_lock().map_or(0, |mut cache| cache.give_back_empty())
    }

    fn reclaim(&self) -> u64 {
        let Some(mut cache) = self.cache.try_lock() else { return 0 };
        core::iter::from_fn(|| cache.take_oldest_idle(&self.vm)).take(RECLAIM_ITEMS).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumpcap_vm::{BootOptions, Daemon};

    #[test]
    fn the_daemon_does_not_wait_for_the_lock() {
        let limit_bytes = Some(1 << 20);
        let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
        let cache = Namecache::new(&vm);
        let _held = cache.cache.lock();
        assert_eq!((cache.give_back_empty(), cache.reclaim()), (0, 0));
    }
}
