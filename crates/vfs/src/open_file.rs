//! [`OpenFile`]: what a caller keeps of an open file between operations. It holds nothing of the kernel: no page, no vnode.
//!
//! Who makes it: `rumpcap` (the library), one for each of its handles. Who reads and writes it: `data`.
//!
//! It remembers what made the last operations cheap, in atomics that are written when a page was missing and only read
//! when it was there, so that threads that read through one handle do not disturb each other.

use crate::node::Node;
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::sync::atomic::AtomicU64;
use rumpcap_vm::{ObjectHint, PageIndex};

/// An open file, between operations.
pub struct OpenFile {
    node: Node,
    /// Where its pages were found.
    hint: AtomicU64,
    /// The page behind the last that was read from the device: if that is missing next, the file is read in sequence.
    next_page: AtomicU64,
}

impl OpenFile {
    /// A file that has just been opened.
    pub fn new(node: Node) -> OpenFile {
        let hint = AtomicU64::new(ObjectHint::NONE.to_bits());
        OpenFile { node, hint, next_page: AtomicU64::new(0) }
    }

    /// The file's node, as it was when it was opened.
    pub fn node(&self) -> &Node {
        &self.node
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
