//! Writes the copies in the log where they belong, oldest first, but those that were revoked.

use super::copies::{Copies, bad_copy};
use super::format::{Kind, Tid};
use super::log::{Log, LogBlock};
use super::revoke::{RevokeTable, changed};
use super::scan::Extent;
use super::tags::Tags;
use super::walk::{Walk, Window};
use super::{Recovery, revoke};
use rumpcap_host::Result;

/// Replays `extent`, in as many passes as its revoke records need.
///
/// # Errors
/// `Checksum`, `Corrupt`; errors of device and map. What was replayed before stays.
pub(super) fn replay<'s>(
    log: &mut Log<'_>,
    window: &mut Window<'s>,
    copies: &mut Copies<'s>,
    table: &mut RevokeTable<'s>,
    extent: &Extent,
    recovery: &mut Recovery,
) -> Result<()> {
    let mut from = 0;
    loop {
        table.begin(from);
        if extent.revoke_records > 0 {
            revoke::collect(log, window, extent, table)?;
        }
        if table.end() != u64::MAX {
            copies.stop_reading_ahead();
        }
        pass(log, window, copies, table, extent, recovery)?;
        recovery.passes = recovery.passes.saturating_add(1);
        // RV-1: the end is above the start, so that this ends.
        from = table.end();
        if from == u64::MAX {
            return Ok(());
        }
    }
}

/// One pass over the log, for the blocks that `table` covers.
fn pass<'s>(
    log: &mut Log<'_>,
    window: &mut Window<'s>,
    copies: &mut Copies<'s>,
    table: &RevokeTable<'s>,
    extent: &Extent,
    recovery: &mut Recovery,
) -> Result<()> {
    let mut walk = Walk::new(extent.start);
    let mut tid = extent.first;
    while tid != extent.end {
        let Some((block, kind)) = walk.block(log, window, tid)? else { return Err(changed(tid)) };
        match kind {
            Kind::Revoke => {}
            Kind::Commit => tid = tid.next(),
            Kind::Descriptor => {
                let age = tid.since(extent.first);
                let mut pass = Pass { log, window, copies, table, recovery, tid, age };
                pass.descriptor(&mut walk, block)?;
            }
        }
    }
    Ok(())
}

/// One transaction of one pass.
struct Pass<'p, 'l, 's> {
    log: &'p mut Log<'l>,
    window: &'p mut Window<'s>,
    copies: &'p mut Copies<'s>,
    table: &'p RevokeTable<'s>,
    recovery: &'p mut Recovery,
    tid: Tid,
    age: u32,
}

impl Pass<'_, '_, '_> {
    fn descriptor(&mut self, walk: &mut Walk, block: LogBlock) -> Result<()> {
        let mut tags = Tags::of(block);
        while let Some(tag) = tags.next(self.log, self.window)? {
            let Some(copy) = walk.copy(self.log) else { return Err(changed(self.tid)) };
            if !self.table.covers(tag.target) {
                continue;
            }
            if self.table.is_revoked(tag.target, self.age) {
                self.recovery.blocks_revoked = self.recovery.blocks_revoked.saturating_add(1);
                continue;
            }
            if !self.copies.matches_tag(self.log, copy, &tag, self.tid)? {
                return Err(bad_copy(&tag));
            }
            self.copies.replay(self.log, copy, &tag)?;
            self.recovery.blocks_replayed = self.recovery.blocks_replayed.saturating_add(1);
        }
        Ok(())
    }
}
