//! [`Vfs`]: what the mounts of a kernel share: its memory, its vnodes, its names.

use crate::namecache::Namecache;
use crate::vnode::VnodeTable;
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::sync::Arc;
use rumpcap_host::sync::atomic::AtomicU32;
use rumpcap_vm::Vm;

/// The virtual file system of one kernel.
pub struct Vfs {
    pub(crate) vm: Arc<Vm>,
    pub(crate) vnodes: Arc<VnodeTable>,
    pub(crate) names: Arc<Namecache>,
    next_mount: AtomicU32,
}

impl Vfs {
    /// The virtual file system over a kernel's memory. Allocates: at boot only.
    pub fn new(vm: Arc<Vm>) -> Arc<Vfs> {
        let (vnodes, names) = (Arc::new(VnodeTable::new(&vm)), Arc::new(Namecache::new(&vm)));
        let caches: [std::sync::Weak<dyn rumpcap_vm::Reclaim>; 2] =
            [Arc::downgrade(&(names.clone() as _)), Arc::downgrade(&(vnodes.clone() as _))];
        caches.into_iter().for_each(|cache| vm.register_reclaim(cache));
        Arc::new(Vfs { vm, vnodes, names, next_mount: AtomicU32::new(1) })
    }

    /// The kernel's memory.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// A number for a mount, never given twice.
    pub(crate) fn mount_number(&self) -> u32 {
        self.next_mount.fetch_add(1, Relaxed)
    }
}
