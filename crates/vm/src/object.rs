//! Objects: sets of pages with one owner, and the table of them.
//!
//! Who calls it: `resident`, under its lock. An object is an entry in a table of fixed size; its identity carries a
//! generation, so that a stale one finds no page.
//!
//! OB-1. An object's list holds exactly the pages whose identity names it.
//! OB-2. An identity is used again only after 2^15 uses of its slot.
//! OB-3. An object that was destroyed gets no new page: its slot is given back with the last one that it has.
//!
//! Memory: 28 bytes an object, in the region.

use crate::list::{Link, List};

/// Bits of an [`ObjectId`] that are the slot; the others are the generation.
const SLOT_BITS: u32 = 17;

/// Times that a slot is used before an identity comes again.
pub(crate) const GENERATIONS: u32 = 1 << (32 - SLOT_BITS);

/// Identity of an object within its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId(pub(crate) u32);

impl ObjectId {
    /// As a number, for traces and reports.
    pub fn number(self) -> u32 {
        self.0
    }

    fn new(slot: u32, generation: u32) -> ObjectId {
        ObjectId(generation << SLOT_BITS | slot)
    }

    fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }
}

/// What an object's pages hold, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file's data.
    Data,
    /// Blocks of a device.
    Metadata,
}

/// One object.
#[derive(zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct Object {
    /// Its pages, oldest first.
    pub(crate) pages: List,
    generation: u32,
    next_free: Link,
    /// Destroyed: from then on until its slot is used again (OB-3).
    doomed: u16,
    /// 1 for a device's object, whose pages are metadata.
    metadata: u16,
    /// Pages that are dirty or being written.
    pub(crate) dirty: u32,
}

impl Object {
    /// 1 for a page of metadata, 0 for one of data.
    pub(crate) fn metadata_pages(&self) -> u32 {
        self.metadata.into()
    }
}

/// The table of objects.
pub(crate) struct Objects {
    table: crate::region::Table<Object>,
    free: Link,
    /// Slots from here on were never used.
    fresh: u32,
}

impl Objects {
    pub(crate) fn new(table: crate::region::Table<Object>) -> Objects {
        assert!(table.len() <= 1 << SLOT_BITS, "OB-2: more objects than slots");
        Objects { table, free: Link::NONE, fresh: 0 }
    }

    /// A new object without pages; `None` when all are in use.
    pub(crate) fn create(&mut self, content: Content) -> Option<ObjectId> {
        let slot = match self.free.get() {
            Some(slot) => {
                self.free = self.table[slot as usize].next_free;
                slot
            }
            None if (self.fresh as usize) < self.table.len() => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        let object = &mut self.table[slot as usize];
        object.doomed = 0;
        object.generation = (object.generation + 1) % GENERATIONS;
        object.metadata = u16::from(content == Content::Metadata);
        Some(ObjectId::new(slot, object.generation))
    }

    /// Whether the pages of the object are metadata.
    pub(crate) fn is_metadata(&mut self, id: ObjectId) -> bool {
        self.get(id).metadata != 0
    }

    /// Gives back an object: now, or with the last of the pages that somebody still holds.
    pub(crate) fn destroy(&mut self, id: ObjectId) {
        let object = self.get(id);
        assert!(object.doomed == 0, "OB-3: an object was destroyed twice");
        object.doomed = 1;
        self.page_gone(id);
    }

    /// Whether pages may be asked for: `id` is neither destroyed nor of an earlier use of its slot (OB-3).
    pub(crate) fn is_live(&self, id: ObjectId) -> bool {
        let object = &self.table[id.slot() as usize];
        object.doomed == 0 && ObjectId::new(id.slot(), object.generation) == id
    }

    /// A page may have left the object.
    pub(crate) fn page_gone(&mut self, id: ObjectId) {
        let object = self.get(id);
        if object.doomed != 0 && object.pages.len() == 0 {
            self.release(id);
        }
    }

    fn release(&mut self, id: ObjectId) {
        let next = self.free;
        let object = self.get(id);
        object.next_free = next;
        self.free = Link::to(id.slot());
    }

    /// The object `id`, which must be in use.
    pub(crate) fn get(&mut self, id: ObjectId) -> &mut Object {
        let object = &mut self.table[id.slot() as usize];
        assert!(ObjectId::new(id.slot(), object.generation) == id, "OB-2: a stale object");
        object
    }
}
