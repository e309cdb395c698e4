//! [`Writing`]: what a mount that can be written has besides: its locks, the ages of its files, and which are open.
//!
//! Who calls it: `mount`, and the modules of changes: `tree`, `attributes`, `write`, `resize`, `durable`.
//!
//! An operation that changes something takes the mount's *turn*, makes room among the dirty pages, enters the gate, and takes the lock alone; one that
//! reads enters the gate and shares the lock. So one writer of a mount is at the gate at a time, and whoever waits for the lock
//! has its reservation already and holds no page: those inside wait for I/O alone, as F2 wants it.
//!
//! What takes many steps gives everything back between them ([`Mount::let_others_in`]), and marks its file: who would write that waits.
//!
//! WR-1. Who has a [`Changing`] sees the file system at rest, and nobody else sees it before the change is whole, caches included. The
//! one exception are copies of resident pages without the lock (`data::read_resident`), which look at the file's age before and after.
//! WR-2. A file's age is odd while its content or length changes, and another one afterwards. Files share ages: it is only
//! ever too often that one seems changed.
//!
//! Locks, outermost first: turn, gate, lock, then those of the caches. Memory: fixed, made at mount.

use crate::alarm::Alarm;
use crate::change::Change;
use crate::mount::Mount;
use crate::node::InodeNo;
use crate::open::OpenTable;
use core::ops::Deref;
use core::sync::atomic::Ordering::SeqCst;
use rumpcap_host::sync::atomic::{AtomicU32, AtomicU64};
use rumpcap_host::sync::{Arc, Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard};
use rumpcap_host::{Error, Result, thread};
use rumpcap_vm::{Reservation, Vm};

/// Ages of files: with more, fewer readers look at their file again because another one was changed.
const AGES: usize = 32;

/// Times that the processor is offered to those who were woken: far more than it takes; they may wait for something else.
const MOST_YIELDS: u32 = 1000;

/// Locks and ages of a mount that can be written.
pub(crate) struct Writing {
    turn: Mutex<()>,
    lock: RwLock<()>,
    /// Operations that wait for the turn or the lock, and those that got it.
    waiting: AtomicU32,
    admitted: AtomicU32,
    ages: [AtomicU64; AGES],
    pub(crate) opens: Arc<OpenTable>,
    pub(crate) alarm: Arc<Alarm>,
}

/// An operation inside the gate, and inside the mount: nothing changes while it lasts.
pub struct Inside<'m> {
    _shared: Option<ReadGuard<'m, ()>>,
    reservation: Reservation<'m>,
}

impl<'m> Inside<'m> {
    pub(crate) fn new(shared: Option<ReadGuard<'m, ()>>, reservation: Reservation<'m>) -> Inside<'m> {
        Inside { _shared: shared, reservation }
    }
}

impl<'m> Deref for Inside<'m> {
    type Target = Reservation<'m>;
    fn deref(&self) -> &Reservation<'m> {
        &self.reservation
    }
}

/// An operation alone inside the mount, to change something (WR-1).
pub(crate) struct Changing<'m> {
    pub(crate) fs: &'m dyn Change,
    pub(crate) opens: &'m OpenTable,
    alarm: &'m Alarm,
    _alone: WriteGuard<'m, ()>,
    reservation: Reservation<'m>,
    _turn: MutexGuard<'m, ()>,
}

impl<'m> Deref for Changing<'m> {
    type Target = Reservation<'m>;
    fn deref(&self) -> &Reservation<'m> {
        &self.reservation
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if self.fs.wants_background() {
            self.alarm.ring();
        }
    }
}

/// The content or length of a file changes until this is dropped (WR-2).
pub(crate) struct Aging<'m>(&'m AtomicU64);

impl Drop for Aging<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Writing {
    pub(crate) fn new(vm: &Arc<Vm>) -> Writing {
        let ages = core::array::from_fn(|_| AtomicU64::new(0));
        let (turn, lock, opens) = (Mutex::new(()), RwLock::new(()), OpenTable::new(vm));
        Writing {
            turn,
            lock,
            waiting: AtomicU32::new(0),
            admitted: AtomicU32::new(0),
            ages,
            opens,
            alarm: Arc::default(),
        }
    }

    pub(crate) fn share(&self) -> ReadGuard<'_, ()> {
        self.lock.try_read().unwrap_or_else(|| self.wait(|| self.lock.read()))
    }

    /// Does `take`, which may wait, as one whom others know to be waiting.
    fn wait<T>(&self, take: impl FnOnce() -> T) -> T {
        self.waiting.fetch_add(1, SeqCst);
        let taken = take();
        self.waiting.fetch_sub(1, SeqCst);
        self.admitted.fetch_add(1, SeqCst);
        taken
    }

    fn slot(&self, ino: InodeNo) -> &AtomicU64 {
        &self.ages[(ino.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % AGES]
    }

    /// The age of a file; `None` while it changes.
    pub(crate) fn age(&self, ino: InodeNo) -> Option<u64> {
        Some(self.slot(ino).load(SeqCst)).filter(|age| age.is_multiple_of(2))
    }
}

impl Mount {
    /// Enters alone, for one change. Waits for its turn, at the gate, and for those who read; the caller holds nothing.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn change(&self) -> Result<Changing<'_>> {
        let (fs, writing) = self.writable()?;
        let turn = writing.turn.try_lock().unwrap_or_else(|| writing.wait(|| writing.turn.lock()));
        self.vfs.vm.throttle();
        let reservation = self.vfs.vm.reserve(self.frames);
        let (opens, alarm) = (&*writing.opens, &*writing.alarm);
        Ok(Changing { fs, opens, alarm, _alone: writing.lock.write(), reservation, _turn: turn })
    }

    /// As [`Mount::change`], for one who changes the content or length of a file: also waits while that is changed in steps.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn change_file(&self, ino: InodeNo) -> Result<Changing<'_>> {
        loop {
            let change = self.change()?;
            if !change.opens.is_changing(ino) {
                return Ok(change);
            }
            let opens = change.opens;
            drop(change);
            opens.wait_until_changed(ino);
        }
    }

    /// Called between two steps, holding nothing: lets somebody in who waits, if there is one. Whoever gives a lock back and takes it again
    /// at once mostly gets it, and those that were woken for it find it taken.
    pub(crate) fn let_others_in(&self) {
        let Some(writing) = self.writing.as_deref() else { return };
        let admitted = writing.admitted.load(SeqCst);
        for _ in 0..MOST_YIELDS {
            if writing.waiting.load(SeqCst) == 0 || writing.admitted.load(SeqCst) != admitted {
                return;
            }
            thread::yield_now();
        }
    }

    pub(crate) fn writable(&self) -> Result<(&dyn Change, &Writing)> {
        self.fs.change().zip(self.writing.as_deref()).ok_or(Error::ReadOnly)
    }

    /// Notes that a file's content or length is about to change (WR-2). The caller has a [`Changing`].
    pub(crate) fn aging(&self, ino: InodeNo) -> Option<Aging<'_>> {
        let slot = self.writing.as_ref()?.slot(ino);
        slot.fetch_add(1, SeqCst);
        Some(Aging(slot))
    }
}
