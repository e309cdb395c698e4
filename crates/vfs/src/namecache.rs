//! The namecache: which inode a name in a directory names, or that there is none.
//!
//! Who calls it: `namei`. Names longer than [`NAME_MAX_CACHED`] bytes are not kept.
//!
//! NC-1. An entry says what the directory says: who changes a directory tells the cache before anybody else looks.
//! NC-2. A directory's entries go with it, all at once: they carry the age of their directory's slot, which [`Namecache::forget_directory`]
//! raises, and with it that of other directories that share the slot.
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

/// Ages of directories: a directory that goes takes a 64th of the names of others with it.
const AGES: usize = 64;

#[derive(Clone, Copy)]
struct Name {
    directory: InodeNo,
    /// What it names; `None`: nothing (a negative entry).
    ino: Option<InodeNo>,
    mount: u32,
    /// Of the directory's slot when this was remembered (NC-2).
    age: u32,
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
    names: Mutex<Names>,
}

struct Names {
    cache: Cache<Name>,
    ages: [u32; AGES],
}

impl Names {
    fn age(&mut self, mount: u32, directory: InodeNo) -> &mut u32 {
        &mut self.ages[hash(mount, directory, b"") as usize % AGES]
    }

    /// The entry of a name, if it is of its directory's age; one that is older goes.
    fn find(&mut self, mount: u32, directory: InodeNo, name: &[u8]) -> Option<ItemNo> {
        let age = *self.age(mount, directory);
        let item = self.cache.find(hash(mount, directory, name), |n| n.is(mount, directory, name))?;
        if self.cache.get(item).age == age {
            return Some(item);
        }
        self.cache.remove(item);
        None
    }
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
        let names = Names { cache: Cache::new(most), ages: [0; AGES] };
        Namecache { vm: vm.clone(), names: Mutex::new(names) }
    }

    /// What is known of a name: nothing, or the inode, or that there is none.
    pub(crate) fn find(&self, mount: u32, directory: InodeNo, name: &[u8]) -> Option<Option<InodeNo>> {
        if name.len() > NAME_MAX_CACHED {
            return None;
        }
        let mut names = self.names.lock();
        let item = names.find(mount, directory, name)?;
        Some(names.cache.get(item).ino)
    }

    /// Remembers what the directory said.
    pub(crate) fn remember(&self, mount: u32, directory: InodeNo, name: &[u8], ino: Option<InodeNo>) {
        let mut bytes = [0; NAME_MAX_CACHED];
        let Some(start) = bytes.get_mut(..name.len()) else { return };
        start.copy_from_slice(name);
        let mut names = self.names.lock();
        let age = *names.age(mount, directory);
        let entry = Name { directory, ino, mount, age, len: name.len() as u8, bytes };
        match names.find(mount, directory, name) {
            Some(item) => names.cache.get_mut(item).ino = ino,
            None => drop(names.cache.insert(&self.vm, hash(mount, directory, name), entry, |_| ())),
        }
    }

    /// Forgets what is known of a name.
    pub(crate) fn forget(&self, mount: u32, directory: InodeNo, name: &[u8]) {
        let mut names = self.names.lock();
        if let Some(item) = names.find(mount, directory, name) {
            names.cache.remove(item);
        }
    }

    /// Forgets all names in a directory (NC-2).
    pub(crate) fn forget_directory(&self, mount: u32, directory: InodeNo) {
        let mut names = self.names.lock();
        let age = names.age(mount, directory);
        *age = age.wrapping_add(1);
    }

    /// Forgets all names of a mount that goes.
    pub(crate) fn forget_mount(&self, mount: u32) {
        let mut names = self.names.lock();
        names.cache.take_all(|name| name.mount == mount, |_| ());
    }
}

impl Reclaim for Namecache {
    fn give_back_empty(&self) -> u64 {
        self.names.try_lock().map_or(0, |mut names| names.cache.give_back_empty())
    }

    fn reclaim(&self) -> u64 {
        let Some(mut names) = self.names.try_lock() else { return 0 };
        core::iter::from_fn(|| names.cache.take_oldest_idle(&self.vm)).take(RECLAIM_ITEMS).count() as u64
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
        let _held = cache.names.lock();
        assert_eq!((cache.give_back_empty(), cache.reclaim()), (0, 0));
    }
}
