//! [`Durable`]: changes made durable for many at once, and the verifier by which clients know what they must send again.
//!
//! Who calls it: `procedures`, after a change, holding no lock. Whom it calls: `Mount::sync`.
//!
//! DU-1. Who asks gets the outcome of a sync that began after he asked. Those who ask while one runs share the next: one of them does it.
//! DU-2. The verifier is another one before anybody is told of a sync that failed, and whoever was told of one that worked got the verifier
//! of that moment. So data that were written under an old verifier, and may be lost, are never taken for durable.
//! DU-3. A verifier is random, so that of a server that was started again is another one.
//!
//! A mount tells an error of writing back once. It is told here, to all who share that sync; the others see the verifier.

use crate::error::KeyError;
use crate::key::random;
use rumpcap::{Error, Mount};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes by which a client tells one time of this server from another.
pub type Verifier = [u8; 8];

/// What makes durable.
pub struct Durable {
    state: Mutex<State>,
    done: Condvar,
}

struct State {
    verifier: Verifier,
    /// Syncs that have begun, and those that are done.
    begun: u64,
    done: u64,
    /// The last one that failed, and why.
    failed: Option<(u64, Error)>,
}

impl Durable {
    /// With a verifier of its own.
    ///
    /// # Errors
    /// Where the host has no random numbers.
    pub fn new() -> Result<Durable, KeyError> {
        let state = State { verifier: random()?, begun: 0, done: 0, failed: None };
        Ok(Durable { state: Mutex::new(state), done: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The verifier now: for what is written from now on.
    pub fn verifier(&self) -> Verifier {
        self.state().verifier
    }

    /// Makes all that was changed before durable.
    ///
    /// # Errors
    /// What could not be written.
    pub fn sync(&self, mount: &Mount) -> Result<Verifier, Error> {
        self.sync_by(&mut || mount.sync())
    }

    fn sync_by(&self, sync: &mut dyn FnMut() -> Result<(), Error>) -> Result<Verifier, Error> {
        let mut state = self.state();
        // One that runs may have passed over what the caller changed.
        let mine = state.begun + 1;
        while state.done < mine {
            if state.begun > state.done {
                state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.begun += 1;
            drop(state);
            let outcome = sync();
            state = self.state();
            state.done = state.begun;
            if let Err(error) = outcome {
                state.failed = Some((state.done, error));
                state.verifier = another(state.verifier);
            }
            self.done.notify_all();
        }
        match state.failed {
            Some((failed, error)) if failed >= mine => Err(error),
            _ => Ok(state.verifier),
        }
    }
}

/// A verifier that was not used yet.
fn another(verifier: Verifier) -> Verifier {
    u64::from_ne_bytes(verifier).wrapping_add(1).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[test]
    fn a_failure_changes_the_verifier_once() {
        let durable = Durable::new().unwrap();
        let first = durable.verifier();
        assert_eq!(durable.sync_by(&mut || Ok(())), Ok(first));
        assert_eq!(durable.sync_by(&mut || Err(Error::ReadOnly)), Err(Error::ReadOnly));
        let second = durable.verifier();
        assert_ne!(first, second);
        assert_eq!(durable.sync_by(&mut || Ok(())), Ok(second));
        assert_ne!(first, Durable::new().unwrap().verifier(), "another server");
    }

    #[test]
    fn what_was_changed_before_is_in_the_sync_that_is_waited_for() {
        let (durable, written, durably) = (Durable::new().unwrap(), AtomicU64::new(0), AtomicU64::new(0));
        let syncs = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mine = written.fetch_add(1, SeqCst) + 1;
                        let done = durable.sync_by(&mut || {
                            syncs.fetch_add(1, SeqCst);
                            let now = written.load(SeqCst);
                            std::thread::yield_now();
                            durably.fetch_max(now, SeqCst);
                            Ok(())
                        });
                        assert!(done.is_ok() && durably.load(SeqCst) >= mine);
                    }
                });
            }
        });
        assert!(syncs.load(SeqCst) <= 800);
    }
}
