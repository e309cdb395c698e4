//! Checking a file system: what is inconsistent in it, in bounded memory, without a change.
//!
//! Who calls it: the kernel's API. Whom it calls: the readers of this crate where they can be trusted to fail well; its own
//! walks where it must go on behind damage.
//!
//! Reading order: `finding` (what is told) → `context` → `memory` → `live` (inodes, right or wrong) → `mapping` → the passes.
//!
//! | pass | walks | what is held in the map |
//! |---|---|---|
//! | 0 (`pass0`, `journal`, `orphans`) | super blocks and descriptors once | nothing |
//! | 1 (`pass1`: `inode`, `space`, `attributes`, `metadata`, `bitmaps`) | all inode tables, with the maps of all inodes, once for each window of blocks | two bits for each cluster of the window |
//! | 2 (`pass2`: `directory`, `index`, `slots`) | the tables and all directories once for each window of inodes; the tables of the window once more before | 16 bytes for each inode of the window |
//!
//! With enough memory each pass has one window. The map is at most half of the kernel's frames (`memory`): with half of
//! 512 KiB a window of blocks is some 3 GiB of 4 KiB blocks, one of inodes some 13,000; with half of 8 MiB 55 GiB and 250,000.
//!
//! Invariants:
//! - CK-1 nothing is written, and no structure is trusted before it was checked: whatever the bytes are, a check ends
//!   without a panic; each module says what bounds it.
//! - CK-2 an undamaged file system gives no [`Severity::Error`].
//!
//! Memory: `memory`, wired for as long as the check takes; one reservation of [`MAX_PINS`]. Failure: what the device cannot
//! read ends the check with its error; all that was told until then holds.
//!
//! Source: "ext4 Data Structures and Algorithms" in the kernel's documentation.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod attributes;
mod bitmaps;
mod claims;
mod context;
mod directory;
mod finding;
mod index;
mod inode;
mod journal;
mod live;
mod mapping;
mod memory;
mod metadata;
mod orphans;
mod pass0;
mod pass1;
mod pass2;
mod slots;
mod space;

pub use context::{Event, Sink};
pub use finding::{Detail, Finding, Place, Severity};

use crate::{Ext4, MAX_PINS};
use context::Context;
use memory::Memory;
use pass0::Geometry;
use rumpcap_host::Result;

/// What a check came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Findings that are errors.
    pub errors: u64,
    /// Findings that are worth knowing.
    pub notes: u64,
    /// Inodes in use.
    pub inodes_used: u64,
    /// All inodes.
    pub inodes: u64,
    /// Blocks in use.
    pub blocks_used: u64,
    /// All blocks.
    pub blocks: u64,
    /// Directories.
    pub directories: u64,
    /// How often all inodes were walked for their blocks.
    pub windows_of_blocks: u32,
    /// How often all directories were scanned.
    pub windows_of_inodes: u32,
}

impl Ext4 {
    /// Checks the whole file system and tells `sink` what is inconsistent. Writes nothing.
    ///
    /// # Errors
    /// `NoMemory` when the smallest window does not fit the kernel's memory; `Io`, `ShortDevice`.
    pub fn check(&self, sink: &mut Sink<'_>) -> Result<Summary> {
        let vm = self.device.vm();
        let mut memory = {
            let r = vm.reserve(MAX_PINS);
            Memory::wire(vm, &Context::new(self, &r, &mut |_| core::ops::ControlFlow::Continue(()))?)?
        };
        let r = vm.reserve(MAX_PINS);
        let mut sink = |event: Event<'_>| sink(event);
        let mut cx = Context::new(self, &r, &mut sink)?;
        let (mut scratch, map) = memory.cut(&cx);
        let mut summary = Summary {
            inodes: self.sb.inodes_count.into(),
            blocks: self.sb.blocks_count,
            ..Summary::default()
        };
        if pass0::super_blocks(&mut cx)? == Geometry::Usable {
            pass0::groups(&mut cx)?;
            journal::check(&mut cx, &mut scratch)?;
            orphans::check(&mut cx, &mut scratch)?;
            let totals = pass1::run(&mut cx, &mut scratch, map)?;
            pass0::totals(&mut cx, &totals);
            summary.windows_of_inodes = pass2::run(&mut cx, &mut scratch, map)?;
            summary.windows_of_blocks = totals.windows;
            summary.directories = totals.directories;
            summary.inodes_used = summary.inodes.saturating_sub(totals.free_inodes);
            summary.blocks_used = summary.blocks.saturating_sub(totals.free_clusters << self.sb.cluster_log);
        }
        Ok(Summary { errors: cx.errors, notes: cx.notes, ..summary })
    }
}
