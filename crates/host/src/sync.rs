//! Locks, condition variables and atomics of the host.
//!
//! One place to exchange them: with the feature `shuttle` a model checker's own stand in, so that the real code of gate,
//! page allocation and pagedaemon runs under every schedule that it cares to try. Its atomics are those of the
//! standard library with a point of schedule before each access, because tables of them are cut from zeroed memory.
//! With the feature `loom` it is another checker, which also reorders memory as the language allows, for the small
//! atomics alone.
//!
//! A panic while a lock is held leaves the lock usable: the kernel's asserts stop the thread that broke an
//! invariant, and the others report what they find rather than a poisoned lock.

#[cfg(feature = "loom")]
use loom::sync as imp;
#[cfg(feature = "shuttle")]
use shuttle::sync as imp;
#[cfg(not(any(feature = "shuttle", feature = "loom")))]
use std::sync as imp;
use std::sync::TryLockError;
pub use std::sync::{Arc, Weak};

#[cfg(feature = "loom")]
#[path = "sync/ordered.rs"]
pub mod atomic;
#[cfg(feature = "shuttle")]
#[path = "sync/scheduled.rs"]
pub mod atomic;
#[cfg(not(any(feature = "shuttle", feature = "loom")))]
pub use std::sync::atomic;

#[cfg(all(feature = "shuttle", feature = "loom"))]
compile_error!("one model checker at a time");

/// The guard of a locked [`Mutex`].
pub type MutexGuard<'a, T> = imp::MutexGuard<'a, T>;

/// Mutual exclusion, without poisoning.
#[derive(Default)]
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    /// A new, free lock around `value`.
    pub fn new(value: T) -> Self {
        Mutex(imp::Mutex::new(value))
    }

    /// Takes the lock; may sleep.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The guard of a lock that is shared with other readers.
pub type ReadGuard<'a, T> = imp::RwLockReadGuard<'a, T>;

/// The guard of a lock that is held alone.
pub type WriteGuard<'a, T> = imp::RwLockWriteGuard<'a, T>;

/// Many readers or one writer, without poisoning.
#[derive(Default)]
pub struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    /// A new, free lock around `value`.
    pub fn new(value: T) -> Self {
        RwLock(imp::RwLock::new(value))
    }

    /// Shares the lock with other readers; may sleep. Not twice in one thread: a writer may wait between.
    pub fn read(&self) -> ReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Shares the lock if nobody has it, or wants it, alone.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        match self.0.try_read() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the lock alone; may sleep.
    pub fn write(&self) -> WriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A condition variable.
#[derive(Default)]
pub struct Condvar(imp::Condvar);

impl Condvar {
    /// A new condition variable.
    pub fn new() -> Self {
        Condvar(imp::Condvar::new())
    }

    /// Sleeps until notified; may wake without cause, so call it in a loop.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// As [`Condvar::wait`], for at most about so long. Under a model checker it does not end by itself.
    pub fn wait_at_most<'a, T>(&self, guard: MutexGuard<'a, T>, nanoseconds: u64) -> MutexGuard<'a, T> {
        #[cfg(not(any(feature = "shuttle", feature = "loom")))]
        {
            let most = std::time::Duration::from_nanos(nanoseconds);
            self.0.wait_timeout(guard, most).unwrap_or_else(|poisoned| poisoned.into_inner()).0
        }
        #[cfg(any(feature = "shuttle", feature = "loom"))]
        {
            let _ = nanoseconds;
            self.wait(guard)
        }
    }

    /// Wakes one sleeper.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all sleepers.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Gives the processor to another thread.
pub fn yield_now() {
    #[cfg(feature = "loom")]
    loom::thread::yield_now();
    #[cfg(feature = "shuttle")]
    shuttle::thread::yield_now();
    #[cfg(not(any(feature = "shuttle", feature = "loom")))]
    std::thread::yield_now();
}
