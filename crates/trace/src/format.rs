//! The trace file: a header, then records in the order in which things happened.
//!
//! Who calls it: `writer`, `reader`.
//!
//! ```text
//! header   "rumptrac", version (1 byte: 1), policy (1 byte: 1 S3-FIFO, 2 LRU), limit in bytes (varint; 0: none),
//!          length of the label (varint, at most 4,096), the label (UTF-8: what was run)
//! record   a tag byte: bits 0-2 the kind, bit 3 "another object", bits 4-7 the distance
//!          1 hit, 2 read, 3 passed   [object: varint, if bit 3] [distance: varint, if bits 4-7 are 15] [read: ahead, varint]
//!          4 device, 5 gone          object: varint
//!          6 wired, 7 unwired        first frame: varint, frames: varint
//! end      a zero byte and the number of hits, reads and passes (varint). A file without it was cut off.
//! ```
//!
//! A varint is LEB128: seven bits a byte, lowest first. Without bit 3 the object is that of the last access. The distance leads
//! from the last page of that object to this one, as a zigzag number (0, -1, 1, -2 ... are 0, 1, 2, 3 ...); 15 in the tag
//! means that it follows. "The last page of that object" is kept for [`OBJECTS`] objects, by the lowest bits of their
//! numbers; one that was displaced begins at page 0 again. So who writes and who reads keep the same small state, a hit beside
//! the last one takes a byte, and a walk's access less than two.
//!
//! The words of the events are those of [`rumpcap_vm::TraceEvent`].

use rumpcap_vm::PolicyKind;

/// The first bytes.
pub const MAGIC: [u8; 8] = *b"rumptrac";
/// The version that this code writes, and the only one that it reads.
pub const VERSION: u8 = 1;
/// Longest label in bytes.
pub const LONGEST_LABEL_BYTES: usize = 4096;
/// Objects whose last page is kept: a walk or a copy touches a handful in turn.
pub const OBJECTS: usize = 64;

pub(crate) const END: u8 = 0;
pub(crate) const HIT: u8 = 1;
pub(crate) const READ: u8 = 2;
pub(crate) const PASSED: u8 = 3;
pub(crate) const DEVICE: u8 = 4;
pub(crate) const GONE: u8 = 5;
pub(crate) const WIRED: u8 = 6;
pub(crate) const UNWIRED: u8 = 7;

pub(crate) const KIND_MASK: u8 = 7;
pub(crate) const OTHER_OBJECT: u8 = 8;
pub(crate) const DISTANCE_SHIFT: u32 = 4;
/// In the tag: the distance is a varint behind it.
pub(crate) const FAR: u8 = 15;

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The limit of the kernel, in bytes; `None`: it had none.
    pub limit_bytes: Option<u64>,
    /// Its policy.
    pub policy: PolicyKind,
    /// What was run, for people.
    pub label: String,
}

/// The byte for a policy.
pub(crate) fn policy_byte(policy: PolicyKind) -> u8 {
    match policy {
        PolicyKind::S3Fifo => 1,
        PolicyKind::Lru => 2,
    }
}

/// The policy of a byte.
pub(crate) fn policy_of(byte: u8) -> Option<PolicyKind> {
    [PolicyKind::S3Fifo, PolicyKind::Lru].into_iter().find(|policy| policy_byte(*policy) == byte)
}

/// The last page of the objects that were accessed lately, and the object of the last access.
pub(crate) struct Places {
    last_object: u32,
    places: [(u32, u64); OBJECTS],
}

impl Places {
    pub(crate) fn new() -> Places {
        Places { last_object: 0, places: [(0, 0); OBJECTS] }
    }

    pub(crate) fn last_object(&self) -> u32 {
        self.last_object
    }

    /// The last page of `object`; 0 if it is not known.
    pub(crate) fn last_page(&self, object: u32) -> u64 {
        let (of, page) = self.places[object as usize % OBJECTS];
        if of == object { page } else { 0 }
    }

    pub(crate) fn note(&mut self, object: u32, page: u64) {
        self.last_object = object;
        self.places[object as usize % OBJECTS] = (object, page);
    }
}

/// A distance as a number that is small when the distance is.
pub(crate) fn zigzag(distance: i64) -> u64 {
    ((distance << 1) ^ (distance >> 63)) as u64
}

/// The distance of such a number.
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
