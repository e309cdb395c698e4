//! Boot: from a limit to a kernel's memory.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: `plan` for the sizes, `region` for the memory.
//!
//! Lock ranks, outermost first: daemon · callbacks · caches of other layers (vnodes, names) · one of the leaves: gate
//! turns, resident, a wait channel. The gate is entered holding none.

use crate::counters::Counters;
use crate::dirty::Devices;
use crate::frames::Frames;
use crate::gate::{Gate, Reservation};
use crate::object::{Content, ObjectId, Objects};
use crate::page_table::PageTable;
use crate::pagedaemon::{Callbacks, Pagedaemon, RESERVE_FRAMES};
use crate::plan::Plan;
use crate::policy::{Policy, PolicyKind, Touch};
use crate::region::Cutter;
use crate::resident::Resident;
use crate::trace::{Trace, TraceEvent};
use crate::wait::BusyWait;
use core::sync::atomic::Ordering::Release;
use rumpcap_host::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use rumpcap_host::sync::{Arc, Condvar, Mutex};
use rumpcap_host::{Error, Result, memory};

/// Who runs the pagedaemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Daemon {
    /// A thread of the kernel's own.
    #[default]
    Thread,
    /// The thread that needs the memory: for processes with very many kernels.
    Inline,
}

/// What a kernel's memory is booted with.
#[derive(Clone, Default)]
pub struct BootOptions {
    /// The limit in bytes; without it, half of the host's memory, committed as it is used.
    pub limit_bytes: Option<u64>,
    /// The order of eviction.
    pub policy: PolicyKind,
    /// Who runs the pagedaemon.
    pub daemon: Daemon,
    /// Told of every access to a page.
    pub trace: Option<Trace>,
}

/// The memory of one kernel.
pub struct Vm {
    pub(crate) plan: Plan,
    pub(crate) gate: Gate,
    pub(crate) frames: Frames,
    pub(crate) table: PageTable,
    pub(crate) touch: Touch,
    pub(crate) resident: Mutex<Resident>,
    pub(crate) busy: BusyWait,
    pub(crate) frame_freed: Condvar,
    pub(crate) frame_waiters: AtomicU32,
    /// Pages under I/O.
    pub(crate) in_flight: AtomicU32,
    /// Objects that were destroyed: the clock of hints (HI-3). Changes under the resident lock.
    pub(crate) objects_destroyed: AtomicU64,
    pub(crate) hungry: AtomicBool,
    pub(crate) callbacks: Mutex<Callbacks>,
    pub(crate) daemon: Mutex<Option<Pagedaemon>>,
    /// Where dirty pages go.
    pub(crate) devices: Mutex<Devices>,
    pub(crate) counters: Counters,
    pub(crate) trace: Option<Trace>,
    pub(crate) limited: bool,
}

// The charge for structures outside the region is honest (see `BOOT_CHARGE_BYTES`).
// The model checkers' locks are of other sizes than the host's.
#[cfg(not(any(feature = "shuttle", feature = "loom")))]
const _: () = assert!(size_of::<Vm>() <= crate::plan::BOOT_CHARGE_BYTES / 2);

impl Vm {
    /// Boots a kernel's memory.
    ///
    /// # Errors
    /// `LimitTooSmall` with the number that would do; `Host` when the host refuses memory or a thread.
    pub fn boot(options: BootOptions) -> Result<Arc<Vm>> {
        let limit_bytes = options.limit_bytes.unwrap_or_else(|| memory::host_memory_bytes() / 2);
        let plan = Plan::new(limit_bytes)?;
        let mut cutter = Cutter::new(plan.region_bytes)?;
        let frames = plan.frames as usize;
        let pages = cutter.table(frames);
        let links = cutter.table(frames);
        let buckets = cutter.table(plan.buckets as usize);
        let ghosts = cutter.table(plan.ghosts as usize);
        let objects = Objects::new(cutter.table(plan.objects as usize));
        let policy = Policy::new(options.policy, plan.frames, ghosts);
        let vm = Arc::new(Vm {
            gate: Gate::new(plan.frames - RESERVE_FRAMES),
            frames: Frames::new(cutter.rest(frames), plan.frames),
            table: PageTable::new(pages, buckets),
            touch: Touch::new(options.policy, plan.frames),
            resident: Mutex::new(Resident::new(links, objects, policy, plan.object_share)),
            busy: BusyWait::default(),
            frame_freed: Condvar::new(),
            frame_waiters: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            objects_destroyed: AtomicU64::new(0),
            hungry: AtomicBool::new(false),
            callbacks: Mutex::new(Callbacks::default()),
            daemon: Mutex::new(None),
            devices: Mutex::new(Devices::default()),
            counters: Counters::default(),
            trace: options.trace,
            limited: options.limit_bytes.is_some(),
            plan,
        });
        if options.daemon == Daemon::Thread {
            *vm.daemon.lock() = Some(Pagedaemon::start(Arc::downgrade(&vm))?);
        }
        Ok(vm)
    }

    /// Enters the gate with the right to pin `frames` pages at once, at most 12. Waits, first come first served; the
    /// caller holds no lock, page or reservation (F1).
    pub fn reserve(&self, frames: u32) -> Reservation<'_> {
        Reservation::new(self, frames)
    }

    /// The sizes that this kernel works with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A new object without pages.
    ///
    /// # Errors
    /// `NoMemory` when the table of objects is full.
    pub fn create_object(&self) -> Result<ObjectId> {
        self.create_object_of(Content::Data)
    }

    pub(crate) fn create_object_of(&self, content: Content) -> Result<ObjectId> {
        let none = Error::NoMemory { what: "objects", need: 1, have: 0 };
        let object = self.resident.lock().objects.create(content).ok_or(none)?;
        if content == Content::Metadata {
            self.trace(TraceEvent::Device { object: object.0 });
        }
        Ok(object)
    }

    /// Evicts an object's pages and gives its identity back. A page that somebody holds or reads stays for those who wait
    /// for it, until the policy evicts it; a page that is not there is `Stale` to whoever asks for it from now on.
    pub fn destroy_object(&self, object: ObjectId) {
        self.trace(TraceEvent::Gone { object: object.0 });
        let mut resident = self.resident.lock();
        self.objects_destroyed.fetch_add(1, Release);
        resident.destroy(&self.table, object);
    }
}
