//! [`Slots`]: what directories say of a window of inodes: their links, their parents.
//!
//! Who calls it: `pass2`. Pure memory.
//!
//! A window is a row of inodes in the order of their numbers, of which only those have a slot that are in the used part of
//! their group's table. A base for each group of the window leads from a number to its slot.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::Context;
use core::ops::Range;
use rumpcap_host::Result;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a slot.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

/// What is known of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Slot {
    /// The directory with the entry that names this directory; 0 for none.
    pub parent: u32,
    /// What this directory's `..` names.
    pub dotdot: u32,
    /// Entries that name it.
    pub found: u16,
    /// `i_links_count`.
    pub stored: u16,
    /// [`state`].
    pub state: u8,
    /// File type that entries must have.
    pub file_type: u8,
    pub spare: u16,
}

/// Bits of a slot.
pub(super) mod state {
    /// In use.
    pub const USED: u8 = 1;
    pub const DIRECTORY: u8 = 2;
    /// Entries may name it, and must.
    pub const FILE: u8 = 4;
    /// On the way up that is being followed.
    pub const ON_THE_WAY: u8 = 8;
    /// Its way up has been followed before.
    pub const DONE: u8 = 16;
}

/// The slots of a window.
pub(super) struct Slots<'w> {
    slots: &'w mut [Slot],
    /// Number of the first slot of each group of the window, and behind the last.
    bases: &'w mut [u32],
    first_group: u32,
    /// Inodes of the first group that belong to the window before.
    skipped: u32,
    inodes_per_group: u32,
}

/// Where a window begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub group: u32,
    pub index: u32,
}

impl<'w> Slots<'w> {
    /// The window that begins at `start` and is as long as `map` allows; gives where the next one begins.
    pub fn new(cx: &Context<'_, '_>, map: &'w mut [u8], start: Start) -> Result<(Slots<'w>, Option<Start>)> {
        map.fill(0);
        // Bases come from the front, a word for each group and one more; slots fill the rest.
        let total = (map.len() / SLOT_BYTES) as u32;
        let groups = cx.sb.group_count.saturating_sub(start.group);
        let bases_most = (map.len() / 8 / 4).max(2).min((groups as usize).saturating_add(1));
        let bases_bytes = bases_most.saturating_mul(4).next_multiple_of(SLOT_BYTES);
        let (bases, slots) = map.split_at_mut(bases_bytes.min(map.len()));
        let bases = <[u32]>::mut_from_bytes(bases).unwrap_or_default();
        let slots_len = slots.len() & !(SLOT_BYTES.saturating_sub(1));
        let slots =
            <[Slot]>::mut_from_bytes(slots.get_mut(..slots_len).unwrap_or_default()).unwrap_or_default();
        let room = (slots.len() as u32).min(total);
        let (mut used, mut group, mut index, mut at) = (0_u32, start.group, start.index, 0_usize);
        let mut next = None;
        while group < cx.sb.group_count {
            let in_group = cx.used_inodes(&cx.group(group)?).saturating_sub(index);
            let fits = in_group.min(room.saturating_sub(used));
            let Some(base) = bases.get_mut(at).filter(|_| at.saturating_add(1) < bases_most) else {
                next = Some(Start { group, index });
                break;
            };
            *base = used;
            at = at.saturating_add(1);
            used = used.saturating_add(fits);
            if fits < in_group {
                next = Some(Start { group, index: index.saturating_add(fits) });
                break;
            }
            (group, index) = (group.saturating_add(1), 0);
        }
        if let Some(end) = bases.get_mut(at) {
            *end = used;
        }
        let bases = bases.get_mut(..at.saturating_add(1)).unwrap_or_default();
        let (first_group, skipped) = (start.group, start.index);
        let inodes_per_group = cx.sb.inodes_per_group;
        Ok((Slots { slots, bases, first_group, skipped, inodes_per_group }, next))
    }

    /// Groups of the window.
    pub fn groups(&self) -> Range<u32> {
        let count = self.bases.len().saturating_sub(1) as u32;
        self.first_group..self.first_group.saturating_add(count)
    }

    /// The part of `group`'s table that the window has.
    pub fn part(&self, group: u32) -> Range<u32> {
        let at = group.saturating_sub(self.first_group) as usize;
        let base = self.bases.get(at).copied().unwrap_or(0);
        let end = self.bases.get(at.saturating_add(1)).copied().unwrap_or(base);
        let skipped = if at == 0 { self.skipped } else { 0 };
        skipped..skipped.saturating_add(end.saturating_sub(base))
    }

    /// The slot of `ino`; `None` where it is in another window, or never used.
    pub fn of(&mut self, ino: u32) -> Option<&mut Slot> {
        let number = ino.checked_sub(1)?;
        let group = number.checked_div(self.inodes_per_group)?;
        let index = number.checked_rem(self.inodes_per_group)?;
        let at = group.checked_sub(self.first_group)? as usize;
        let part = self.part(group);
        let base = self.bases.get(at).copied().filter(|_| at.saturating_add(1) < self.bases.len())?;
        let within = part.contains(&index).then(|| index.saturating_sub(part.start))?;
        self.slots.get_mut(base.saturating_add(within) as usize)
    }
}
