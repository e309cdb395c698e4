//! [`Kernel`]: one instance, with its own limit.

use crate::{Mount, MountOptions};
use rumpcap_block::BlockDevice;
use rumpcap_host::Result;
use rumpcap_vm::{BootOptions, MemoryReport, Vm};
use std::sync::Arc;

/// One kernel. Cheap to clone; the last clone gives back all its memory.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) vm: Arc<Vm>,
}

/// What a kernel is booted with.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    limit_bytes: Option<u64>,
}

impl Builder {
    /// The hard limit in bytes on all memory of the kernel. Without it, what the host allows.
    pub fn memory_limit(mut self, bytes: u64) -> Builder {
        self.limit_bytes = Some(bytes);
        self
    }

    /// Boots.
    ///
    /// # Errors
    /// `LimitTooSmall` with the number that would do; `Host`.
    pub fn boot(self) -> Result<Kernel> {
        Ok(Kernel { vm: Vm::boot(BootOptions { limit_bytes: self.limit_bytes, ..BootOptions::default() })? })
    }
}

impl Kernel {
    /// A kernel to configure.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Mounts the file system on `device`.
    ///
    /// # Errors
    /// `NotAFileSystem`, `Unsupported`, `UnknownFeature`, `Corrupt`, `Checksum`, `Io`, `ShortDevice`, `LimitTooSmall`.
    pub fn mount(&self, device: Arc<dyn BlockDevice>, options: &MountOptions) -> Result<Mount> {
        Mount::new(self.clone(), device, options)
    }

    /// A picture of the kernel's memory.
    pub fn memory_report(&self) -> MemoryReport {
        self.vm.report()
    }
}
