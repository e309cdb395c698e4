//! [`Kernel`]: one instance, with its own limit. There is no global state: a process may have thousands.

use crate::{Mount, MountOptions};
use rumpcap_block::BlockDevice;
use rumpcap_host::Result;
use rumpcap_vfs::Vfs;
use rumpcap_vm::{BootOptions, Daemon, MemoryReport, PolicyKind, Trace, Vm};
use std::sync::Arc;

/// One kernel. Cheap to clone; with the last clone, mount and file of it all its memory goes back to the host.
///
/// ```
/// let kernel = rumpcap::Kernel::builder().memory_limit(256 << 10).boot()?;
/// assert!(kernel.memory_report().in_use_bytes <= 256 << 10);
/// # Ok::<(), rumpcap::Error>(())
/// ```
#[derive(Clone)]
pub struct Kernel {
    vfs: Arc<Vfs>,
}

/// What a kernel is booted with.
///
/// ```
/// use rumpcap::{Daemon, Kernel, PolicyKind};
/// let builder = Kernel::builder().memory_limit(512 << 10).policy(PolicyKind::Lru).daemon(Daemon::Inline);
/// assert_eq!(builder.boot()?.memory_report().limit_bytes, 512 << 10);
/// # Ok::<(), rumpcap::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Builder {
    options: BootOptions,
}

impl Builder {
    /// The hard limit in bytes on all memory of the kernel. Without it, half of the host's memory, taken as it is used.
    pub fn memory_limit(mut self, bytes: u64) -> Builder {
        self.options.limit_bytes = Some(bytes);
        self
    }

    /// Which page goes when memory is needed.
    pub fn policy(mut self, policy: PolicyKind) -> Builder {
        self.options.policy = policy;
        self
    }

    /// Who runs the pagedaemon: a thread of the kernel's own (the default), or the threads that need memory, for
    /// processes with very many kernels.
    pub fn daemon(mut self, daemon: Daemon) -> Builder {
        self.options.daemon = daemon;
        self
    }

    /// Has every access to a page told to `trace`. For the study of policies; it is called in the middle of things, by any
    /// thread, and must be quick.
    pub fn trace(mut self, trace: Trace) -> Builder {
        self.options.trace = Some(trace);
        self
    }

    /// Boots.
    ///
    /// # Errors
    /// `LimitTooSmall` with the number that would do; `Host` when the host refuses memory or a thread.
    ///
    /// ```
    /// use rumpcap::{Error, Kernel};
    /// let Err(Error::LimitTooSmall { need, .. }) = Kernel::builder().memory_limit(10_000).boot() else { panic!() };
    /// assert!(Kernel::builder().memory_limit(need).boot().is_ok());
    /// ```
    pub fn boot(self) -> Result<Kernel> {
        Ok(Kernel { vfs: Vfs::new(Vm::boot(self.options)?) })
    }
}

impl Kernel {
    /// A kernel to configure.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Mounts the file system on `device`. To be read, which is the default, a journal that needs recovery is replayed into a temporary
    /// file, and the device is not written. To be written ([`MountOptions::access`]), it is replayed in place; what cannot be written
    /// is mounted to be read, and says why ([`Mount::read_only_reason`]).
    ///
    /// # Errors
    /// `NotAFileSystem`; `Unsupported`, `UnknownFeature` by name; `Corrupt`, `Checksum`; `Io`; `ShortDevice` when the
    /// device ends before the file system; `NoMemory`.
    ///
    /// ```no_run
    /// use rumpcap::{Kernel, MountOptions, block::FileDevice};
    /// use std::{path::Path, sync::Arc};
    /// let kernel = Kernel::builder().memory_limit(600 << 10).boot()?;
    /// let device = FileDevice::open(Path::new("disk.img"))?;
    /// let mount = kernel.mount(Arc::new(device), &MountOptions::default())?;
    /// println!("{} bytes", mount.metadata("/etc/hostname")?.len());
    /// # Ok::<(), rumpcap::Error>(())
    /// ```
    pub fn mount(&self, device: Arc<dyn BlockDevice>, options: &MountOptions) -> Result<Mount> {
        Mount::new(self.clone(), &self.vfs, device, options)
    }

    /// Has the pagedaemon make a round, as if memory were short: for the simulation.
    #[cfg(feature = "shuttle")]
    #[doc(hidden)]
    pub fn ask_daemon(&self) {
        self.vfs.vm().ask_daemon();
    }

    /// A picture of the kernel's memory.
    pub fn memory_report(&self) -> MemoryReport {
        self.vfs.vm().report()
    }

    /// As [`Kernel::memory_report`], in constant time: for looking many times a second. Of a kernel that holds more than
    /// 16 MiB of pages, those that operations hold are not told from the others ([`MemoryReport::pinned_counted`]).
    ///
    /// ```
    /// let kernel = rumpcap::Kernel::builder().memory_limit(256 << 10).boot()?;
    /// assert_eq!(kernel.memory_sample(), kernel.memory_report());
    /// # Ok::<(), rumpcap::Error>(())
    /// ```
    pub fn memory_sample(&self) -> MemoryReport {
        self.vfs.vm().sample()
    }
}
