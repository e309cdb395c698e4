//! The vnode table: nodes that were read lately, and the objects that hold their files' pages.
//!
//! Who calls it: `mount` (nodes), `data` (objects). An open file holds no vnode: it is an inode number, and an
//! operation finds its vnode again or reads the inode again. So the number of open files is not bounded by memory, and a
//! vnode is referenced only while an operation reads its pages.
//!
//! VN-1. At most one vnode for (mount, inode). VN-2. A vnode with references is not recycled; its object lives as long as
//! it does. VN-3. No vnode free is no error: the operation reads or writes past the cache.
//! VN-4. A vnode with dirty pages is not recycled: whoever reads the file finds them.
//! VN-5. A node is what the file system says: who changes an inode replaces it or says that it is stale, with the mount's lock held alone.
//!
//! Locks: one mutex, held for moments, inside of which only leaves are taken. Memory: a 32nd of the limit.

use crate::cache::{Cache, Entry};
use crate::node::{InodeNo, Node};
use rumpcap_host::sync::{Arc, Mutex};
use rumpcap_vm::{ItemNo, ObjectId, PageIndex, Reclaim, Vm};

/// The vnodes' share of the limit.
const SHARE: usize = 32;

/// Items that one call of the daemon takes.
const RECLAIM_ITEMS: usize = 32;

/// One vnode.
#[derive(Clone, Copy)]
struct Vnode {
    mount: u32,
    /// Operations that read its pages now.
    references: u32,
    /// Its pages' object, once it has any.
    object: Option<ObjectId>,
    /// Its node is to be read again.
    is_stale: bool,
    /// Its pages were changed since it was made, and may be dirty (VN-4).
    is_written: bool,
    node: Node,
}

impl Entry for Vnode {
    const WHAT: &'static str = "vnodes";
    fn is_idle(&self, vm: &Vm) -> bool {
        let may_be_dirty = self.object.filter(|_| self.is_written);
        self.references == 0 && !may_be_dirty.is_some_and(|object| vm.is_dirty(object))
    }
}

/// The vnode table of a kernel.
pub(crate) struct VnodeTable {
    vm: Arc<Vm>,
    cache: Mutex<Cache<Vnode>>,
}

/// A reference to a vnode with an object (VN-2).
pub(crate) struct VnodeRef<'a> {
    table: &'a VnodeTable,
    item: ItemNo,
    object: ObjectId,
}

fn hash(mount: u32, ino: InodeNo) -> u32 {
    let mixed = (ino.0 ^ u64::from(mount) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

impl VnodeTable {
    pub(crate) fn new(vm: &Arc<Vm>) -> VnodeTable {
        let share = vm.plan().limit_bytes / SHARE;
        let most =
            Cache::<Vnode>::entries_in(share).min(vm.plan().objects - rumpcap_vm::plan::MAX_MOUNTS as u32);
        VnodeTable { vm: vm.clone(), cache: Mutex::new(Cache::new(most)) }
    }

    /// The node of an inode, if it was read lately.
    pub(crate) fn node(&self, mount: u32, ino: InodeNo) -> Option<Node> {
        let mut cache = self.cache.lock();
        let item = find(&mut cache, mount, ino)?;
        let vnode = cache.get(item);
        (!vnode.is_stale).then_some(vnode.node)
    }

    /// Remembers a node that was read, or is what an inode is now (VN-5).
    pub(crate) fn remember(&self, mount: u32, node: &Node) {
        let mut cache = self.cache.lock();
        if let Some(item) = self.find_or_insert(&mut cache, mount, node) {
            let vnode = cache.get_mut(item);
            (vnode.node, vnode.is_stale) = (*node, false);
        }
    }

    /// Has the node of an inode read again by the next who wants it.
    pub(crate) fn mark_stale(&self, mount: u32, ino: InodeNo) {
        let mut cache = self.cache.lock();
        if let Some(item) = find(&mut cache, mount, ino) {
            cache.get_mut(item).is_stale = true;
        }
    }

    /// Forgets an inode that is no more, and its pages, dirty ones too. Nobody references it: the mount's lock is held alone.
    pub(crate) fn forget(&self, mount: u32, ino: InodeNo) {
        let mut cache = self.cache.lock();
        let vnode = find(&mut cache, mount, ino).map(|item| cache.remove(item));
        drop(cache);
        vnode.into_iter().for_each(|vnode| self.gone(vnode));
    }

    /// References the vnode of an inode if it has an object: if not, it has no pages.
    pub(crate) fn with_pages(&self, mount: u32, ino: InodeNo) -> Option<VnodeRef<'_>> {
        let mut cache = self.cache.lock();
        let item = find(&mut cache, mount, ino)?;
        let vnode = cache.get_mut(item);
        let object = vnode.object?;
        vnode.references += 1;
        Some(VnodeRef { table: self, item, object })
    }

    fn find_or_insert(&self, cache: &mut Cache<Vnode>, mount: u32, node: &Node) -> Option<ItemNo> {
        let ino = node.attributes.ino;
        if let Some(item) = find(cache, mount, ino) {
            return Some(item);
        }
        let vnode =
            Vnode { mount, references: 0, object: None, is_stale: false, is_written: false, node: *node };
        cache.insert(&self.vm, hash(mount, ino), vnode, |old| self.recycled(old))
    }

    fn recycled(&self, vnode: Vnode) {
        if let Some(object) = vnode.object {
            self.vm.name_losses(object, vnode.node.attributes.ino.0);
            self.vm.destroy_object(object);
        }
    }

    /// A vnode whose pages nobody wants, clean or not. Pages that are lent out are of files that nobody writes, and clean.
    fn gone(&self, vnode: Vnode) {
        if let Some(object) = vnode.object.filter(|_| vnode.is_written) {
            self.vm.discard(object, PageIndex(0));
        }
        self.recycled(vnode);
    }

    /// References the vnode of `node` for reading its pages; `None` if there is no room for it (VN-3).
    pub(crate) fn reference(&self, mount: u32, node: &Node) -> Option<VnodeRef<'_>> {
        let mut cache = self.cache.lock();
        let item = self.find_or_insert(&mut cache, mount, node)?;
        let vnode = cache.get_mut(item);
        let object = match vnode.object {
            Some(object) => object,
            None => self.vm.create_object().ok()?,
        };
        vnode.object = Some(object);
        vnode.references += 1;
        Some(VnodeRef { table: self, item, object })
    }

    /// Forgets all vnodes of a mount that goes, whose pages nobody writes any more. Nobody references one: operations hold the mount.
    pub(crate) fn forget_mount(&self, mount: u32) {
        self.cache.lock().take_all(|vnode| vnode.mount == mount, |vnode| self.gone(vnode));
    }
}

fn find(cache: &mut Cache<Vnode>, mount: u32, ino: InodeNo) -> Option<ItemNo> {
    cache.find(hash(mount, ino), |v| v.mount == mount && v.node.attributes.ino == ino)
}

impl VnodeRef<'_> {
    pub(crate) fn object(&self) -> ObjectId {
        self.object
    }

    /// Its pages are about to be changed (VN-4).
    pub(crate) fn will_be_written(&self) {
        self.table.cache.lock().get_mut(self.item).is_written = true;
    }
}

impl Drop for VnodeRef<'_> {
    fn drop(&mut self) {
        self.table.cache.lock().get_mut(self.item).references -= 1;
    }
}

impl Reclaim for VnodeTable {
    fn give_back_empty(&self) -> u64 {
        self.cache.try_lock().map_or(0, |mut cache| cache.give_back_empty())
    }

    fn reclaim(&self) -> u64 {
        let Some(mut cache) = self.cache.try_lock() else { return 0 };
        let idle = core::iter::from_fn(|| cache.take_oldest_idle(&self.vm)).take(RECLAIM_ITEMS);
        idle.map(|vnode| self.recycled(vnode)).count() as u64
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
        let cache = VnodeTable::new(&vm);
        let _held = cache.cache.lock();
        assert_eq!((cache.give_back_empty(), cache.reclaim()), (0, 0));
    }
}
