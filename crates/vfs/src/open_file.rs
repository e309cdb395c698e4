//! [`OpenFile`]: what a caller keeps of an open file between operations. It holds nothing of the kernel: no page, no vnode; on a
//! mount that can be written it counts as a use of its inode ([`crate::open`]).
//!
//! Who makes it: `rumpcap` (the library), one for each of its handles. Who reads and writes it: `data`.
//!
//! It remembers what made the last operations cheap, in atomics that are written when a page was missing and only read
//! when it was there, so that threads that read through one handle do not disturb each other.
//!
//! OF-1. The length of a file that may change is what it was at the file's age that was noted with it (WR-2).

use crate::node::{InodeNo, Node};
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use rumpcap_host::sync::atomic::AtomicU64;
use rumpcap_vm::{ObjectHint, PageIndex};

/// Age of a length that is being noted, and before one was: no file's, which are even.
const NO_AGE: u64 = u64::MAX;

/// An open file, between operations.
pub struct OpenFile {
    node: Node,
    /// Where its pages were found.
    hint: AtomicU64,
    /// The page behind the last that was read from the device: if that is missing next, the file is read in sequence.
    next_page: AtomicU64,
    /// Its length, and the age that it had it at (OF-1).
    size_bytes: AtomicU64,
    age: AtomicU64,
}

impl OpenFile {
    /// A file that has just been opened.
    pub fn new(node: Node) -> OpenFile {
        let hint = AtomicU64::new(ObjectHint::NONE.to_bits());
        let (next_page, size_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        OpenFile { node, hint, next_page, size_bytes, age: AtomicU64::new(NO_AGE) }
    }

    /// The file's node, as it was when it was opened.
    pub fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn ino(&self) -> InodeNo {
        self.node.attributes.ino
    }

    /// The length that the file has at `age`, if that is known.
    pub(crate) fn size_at(&self, age: u64) -> Option<u64> {
        let is_known = || self.age.load(SeqCst) == age;
        let size = is_known().then(|| self.size_bytes.load(SeqCst))?;
        is_known().then_some(size)
    }

    /// Notes the length that the file has at `age`, unless somebody notes one now.
    pub(crate) fn note_size(&self, age: u64, size_bytes: u64) {
        let known = self.age.swap(NO_AGE, SeqCst);
        if known != age {
            self.size_bytes.store(size_bytes, SeqCst);
        }
        self.age.store(age, SeqCst);
    }

    pub(crate) fn hint(&self) -> ObjectHint {
        ObjectHint::from_bits(self.hint.load(Relaxed))
    }

    pub(crate) fn remember(&self, hint: ObjectHint) {
        if self.hint() != hint {
            self.hint.store(hint.to_bits(), Relaxed);
        }
    }

    /// Whether page `index`, which is missing, is the one that reading in sequence comes to.
    pub(crate) fn is_next(&self, index: PageIndex) -> bool {
        self.next_page.load(Relaxed) == index.0
    }

    /// `pages` pages from `index` on were read from the device.
    pub(crate) fn was_read(&self, index: PageIndex, pages: u64) {
        self.next_page.store(index.0.saturating_add(pages), Relaxed);
    }
}
