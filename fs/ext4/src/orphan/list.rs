//! The list of orphans: `s_last_orphan` is its first inode, `i_dtime` of each the next one's number, 0 at the end.
//!
//! Who calls it: `mod`, `finish`.
//!
//! LI-1. A walk ends, whatever is on the device: a list that meets itself is found by an inode that it passes twice, at the latest after
//! thrice its length (Brent).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::inode_edit::Inode;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::InodeNo;

/// Finds out whether a walk has come back to where it was.
struct Loop {
    seen: u32,
    steps: u32,
    until: u32,
}

impl Loop {
    fn new() -> Loop {
        Loop { seen: 0, steps: 0, until: 1 }
    }

    /// Notes that the walk is at `ino`; whether it was before.
    fn is_at(&mut self, ino: u32) -> bool {
        if ino == self.seen {
            return true;
        }
        self.steps = self.steps.saturating_add(1);
        if self.steps >= self.until {
            (self.seen, self.steps, self.until) = (ino, 0, self.until.saturating_mul(2));
        }
        false
    }
}

impl Handle<'_> {
    /// The first inode of the list, 0 if it is empty.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn first_orphan(&self) -> Result<u32> {
        Ok(self.super_block()?.last_orphan.get())
    }

    pub(super) fn set_first_orphan(&mut self, ino: u32) -> Result<()> {
        self.edit_super(|raw| raw.last_orphan = ino.into())
    }

    /// Whether `inode` is in the list.
    pub(super) fn is_listed_orphan(&mut self, inode: &Inode) -> Result<bool> {
        let first = self.first_orphan()?;
        let ino = inode.ino.0 as u32;
        if first == 0 || first == ino {
            return Ok(first == ino);
        }
        if inode.raw.dtime.get() == 0
            && let Some(tail) = self.hints().orphans.tail
        {
            return Ok(tail == ino);
        }
        Ok(self.orphan_before(first, ino)?.is_some())
    }

    /// The inode of the list before `ino`, which is not the first; the last one's number is remembered when the end is reached.
    fn orphan_before(&mut self, first: u32, ino: u32) -> Result<Option<Inode>> {
        let mut met = Loop::new();
        let mut at = first;
        loop {
            if met.is_at(at) {
                return Err(Error::Corrupt { what: "orphan list: a loop", at: u64::from(at) });
            }
            let inode = self.listed_orphan(at)?;
            match inode.raw.dtime.get() {
                0 => {
                    self.hints().orphans.tail = Some(at);
                    return Ok(None);
                }
                next if next == ino => return Ok(Some(inode)),
                next => at = next,
            }
        }
    }

    /// Inode `ino`, which the list names.
    pub(super) fn listed_orphan(&self, ino: u32) -> Result<Inode> {
        let corrupt = Error::Corrupt { what: "orphan list: an inode that is none", at: u64::from(ino) };
        if ino < self.fs.sb.first_inode {
            return Err(corrupt);
        }
        self.inode_even_nameless(InodeNo(u64::from(ino))).map_err(|error| match error {
            Error::NotFound => corrupt,
            error => error,
        })
    }

    pub(super) fn add_to_orphan_list(&mut self, inode: &mut Inode) -> Result<()> {
        let ino = inode.ino.0 as u32;
        let first = self.first_orphan()?;
        inode.raw.dtime = first.into();
        self.put_inode(inode)?;
        if first == 0 {
            self.hints().orphans.tail = Some(ino);
        }
        self.set_first_orphan(ino)
    }

    /// Takes `inode` out, which is in the list.
    pub(super) fn remove_from_orphan_list(&mut self, inode: &mut Inode) -> Result<()> {
        let first = self.first_orphan()?;
        let ino = inode.ino.0 as u32;
        let next = inode.raw.dtime.get();
        let mut tail = None;
        if first == ino {
            self.set_first_orphan(next)?;
        } else {
            let corrupt = Error::Corrupt { what: "orphan list: an inode that is not in it", at: inode.ino.0 };
            let mut before = self.orphan_before(first, ino)?.ok_or(corrupt)?;
            before.raw.dtime = next.into();
            self.put_inode(&before)?;
            tail = Some(before.ino.0 as u32);
        }
        let orphans = &mut self.hints().orphans;
        if orphans.tail == Some(ino) {
            orphans.tail = tail;
        }
        inode.raw.dtime = 0.into();
        self.put_inode(inode)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_is_found_soon_and_nothing_else() {
        for before in 0..20u32 {
            for len in 1..20u32 {
                let mut met = Loop::new();
                let place = |step: u32| if step < before { step } else { before + (step - before) % len };
                let found = (0u32..).find(|&step| met.is_at(place(step) + 1)).unwrap();
                assert!(found >= before + len && found <= 3 * (before + len), "{before} {len}: {found}");
            }
        }
        let mut met = Loop::new();
        assert!((1..1000).all(|ino| !met.is_at(ino)));
    }
}
