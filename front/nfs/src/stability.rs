//! [`Durable`]: files made durable, and the verifier by which clients know what they must send again.
//!
//! Who calls it: `procedures`, after a change, holding no stripe. Whom it calls: [`File::sync`]: it commits the transaction that the change is in, with
//! all before it, so that a directory's is enough for what was made in it.
//!
//! DU-1. An error of writing a file's content is told once, to whoever syncs the file next. So one at a time syncs a file, and the verifier is
//! another one before the next of them is answered: whoever is told that all is durable gets the verifier of that moment.
//! Data that were written under an old verifier, and may be lost, are never taken for durable.
//! DU-2. A verifier is random, so that of a server that was started again is another one.

use crate::error::KeyError;
use crate::key::random;
use crate::stripes::Stripes;
use rumpcap::{Error, File};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes by which a client tells one time of this server from another.
pub type Verifier = [u8; 8];

/// What makes durable.
pub struct Durable {
    verifier: Mutex<Verifier>,
    /// Whose turn it is to sync a file.
    turns: Stripes,
}

impl Durable {
    /// With a verifier of its own.
    ///
    /// # Errors
    /// Where the host has no random numbers.
    pub fn new() -> Result<Durable, KeyError> {
        Ok(Durable { verifier: Mutex::new(random()?), turns: Stripes::new() })
    }

    fn current(&self) -> MutexGuard<'_, Verifier> {
        self.verifier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The verifier now: for what is written from now on.
    pub fn verifier(&self) -> Verifier {
        *self.current()
    }

    /// Makes a file, or a directory and what was made in it, durable.
    ///
    /// # Errors
    /// What could not be written.
    pub fn sync(&self, file: &File) -> Result<Verifier, Error> {
        self.sync_by(file.ino(), || file.sync())
    }

    /// As [`Durable::sync`], for content and what it takes to read it.
    ///
    /// # Errors
    /// What could not be written.
    pub fn sync_data(&self, file: &File) -> Result<Verifier, Error> {
        self.sync_by(file.ino(), || file.sync_data())
    }

    fn sync_by(&self, ino: u64, sync: impl FnOnce() -> Result<(), Error>) -> Result<Verifier, Error> {
        let _turn = self.turns.one(ino);
        let outcome = sync();
        let mut verifier = self.current();
        if outcome.is_err() {
            *verifier = another(*verifier);
        }
        outcome.map(|()| *verifier)
    }
}

/// A verifier that was not used yet.
fn another(verifier: Verifier) -> Verifier {
    u64::from_ne_bytes(verifier).wrapping_add(1).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_failure_changes_the_verifier() {
        let durable = Durable::new().unwrap();
        let first = durable.verifier();
        assert_eq!(durable.sync_by(1, || Ok(())), Ok(first));
        assert_eq!(durable.sync_by(1, || Err(Error::ReadOnly)), Err(Error::ReadOnly));
        let second = durable.verifier();
        assert_ne!(first, second);
        assert_eq!(durable.sync_by(1, || Ok(())), Ok(second));
        assert_ne!(first, Durable::new().unwrap().verifier(), "another server");
    }

    /// A file that loses what was written to it at every fifth sync, and tells it once.
    #[derive(Default)]
    struct Lossy {
        pending: Vec<u32>,
        lost: BTreeSet<u32>,
        syncs: u32,
    }

    #[test]
    fn what_is_lost_is_never_under_the_verifier_that_it_was_written_under() {
        let (durable, file) = (Durable::new().unwrap(), Mutex::new(Lossy::default()));
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let (durable, file) = (&durable, &file);
                scope.spawn(move || {
                    for i in 0..500 {
                        let (mine, before) = (thread * 1_000 + i, durable.verifier());
                        file.lock().unwrap().pending.push(mine);
                        let after = durable.sync_by(1, || {
                            let mut file = file.lock().unwrap();
                            let pending = std::mem::take(&mut file.pending);
                            file.syncs += 1;
                            if file.syncs.is_multiple_of(5) && !pending.is_empty() {
                                file.lost.extend(pending);
                                return Err(Error::Io { errno: 5, at: 0 });
                            }
                            drop(file);
                            std::thread::yield_now();
                            Ok(())
                        });
                        let is_lost = file.lock().unwrap().lost.contains(&mine);
                        assert!(!is_lost || after != Ok(before), "lost and taken for durable");
                    }
                });
            }
        });
        assert!(!file.lock().unwrap().lost.is_empty());
    }
}
