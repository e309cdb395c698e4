//! What could not be written, until somebody was told.
//!
//! Who calls it: `dirty`, under the lock of the devices.
//!
//! Two ask: who syncs a whole device, and who syncs one file. Each is told once, whatever the other was told: a program that syncs its
//! file must not depend on nobody else having asked before.
//!
//! LO-1. No error is dropped before it was told to who syncs all. LO-2. An error is told to who syncs its file; where there are more such
//! files than there is room for, to who syncs any file, until somebody syncs all. So one may be told too often, never too seldom.
//!
//! A page knows its object, which goes when its vnode is wanted for another file: `name` then notes whose it was.
//!
//! Memory: fixed, and a device's own, made when it is added. Source: `errseq_t` of Linux, with one reader for each file and one for all.

use crate::object::ObjectId;
use arrayvec::ArrayVec;
use rumpcap_host::{Error, Result};

/// Files whose errors are told apart.
const FILES: usize = 8;

/// Whose pages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The file that has this object.
    Object(ObjectId),
    /// The file that had an object, by the name that its owner has for it.
    Owner(u64),
}

/// The losses of one device.
#[derive(Default)]
pub(crate) struct Losses {
    /// The first that who syncs all was not told of.
    any: Option<Error>,
    files: ArrayVec<(Whose, Error), FILES>,
    /// The first of a file that is not in `files`.
    others: Option<Error>,
}

impl Losses {
    /// A page of `object` could not be written.
    pub(crate) fn keep(&mut self, object: ObjectId, error: Error) {
        self.any.get_or_insert(error);
        let whose = Whose::Object(object);
        if self.files.iter().all(|(file, _)| *file != whose) && self.files.try_push((whose, error)).is_err() {
            self.others.get_or_insert(error);
        }
    }

    /// What `object` has lost, `owner` has.
    pub(crate) fn name(&mut self, object: ObjectId, owner: u64) {
        let files = self.files.iter_mut().filter(|(file, _)| *file == Whose::Object(object));
        files.for_each(|(file, _)| *file = Whose::Owner(owner));
    }

    /// Tells who syncs all (LO-1).
    pub(crate) fn tell_any(&mut self) -> Result<()> {
        self.others = None;
        self.any.take().map_or(Ok(()), Err)
    }

    /// Tells who syncs the file of `object`, that is called `owner` (LO-2).
    pub(crate) fn tell_of(&mut self, object: Option<ObjectId>, owner: u64) -> Result<()> {
        let mut told = self.others;
        self.files.retain(|(file, error)| {
            let is_its = *file == Whose::Owner(owner) || object.is_some_and(|of| *file == Whose::Object(of));
            if is_its {
                told = Some(*error);
            }
            !is_its
        });
        told.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(at: u64) -> Error {
        Error::Io { errno: 5, at }
    }

    #[test]
    fn who_syncs_a_file_and_who_syncs_all_are_told_once_each() {
        let mut losses = Losses::default();
        let [a, b] = [ObjectId(1), ObjectId(2)];
        losses.keep(a, error(7));
        losses.keep(a, error(8));
        assert_eq!(losses.tell_of(Some(b), 20), Ok(()));
        assert_eq!(losses.tell_any(), Err(error(7)));
        assert_eq!(losses.tell_any(), Ok(()));
        assert_eq!(losses.tell_of(Some(a), 10), Err(error(7)));
        assert_eq!(losses.tell_of(Some(a), 10), Ok(()));
        losses.keep(b, error(9));
        assert_eq!(losses.tell_of(Some(b), 20), Err(error(9)));
        assert_eq!(losses.tell_any(), Err(error(9)));
    }

    #[test]
    fn an_error_outlives_the_object() {
        let mut losses = Losses::default();
        losses.keep(ObjectId(1), error(7));
        losses.name(ObjectId(1), 10);
        assert_eq!(losses.tell_of(Some(ObjectId(1)), 11), Ok(()));
        assert_eq!(losses.tell_of(None, 10), Err(error(7)));
        assert_eq!(losses.tell_of(None, 10), Ok(()));
    }

    #[test]
    fn with_too_many_files_all_are_told_until_somebody_syncs_all() {
        let mut losses = Losses::default();
        (0..=FILES as u32).for_each(|file| losses.keep(ObjectId(file), error(file.into())));
        for file in [FILES as u32, 77, FILES as u32] {
            assert_eq!(losses.tell_of(Some(ObjectId(file)), 99), Err(error(FILES as u64)));
        }
        assert_eq!(losses.tell_any(), Err(error(0)));
        assert_eq!(losses.tell_of(Some(ObjectId(77)), 99), Ok(()));
        assert_eq!(losses.tell_of(Some(ObjectId(0)), 99), Err(error(0)));
    }
}
