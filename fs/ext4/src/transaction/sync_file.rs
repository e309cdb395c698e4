//! Making one file durable: `fsync` and `fdatasync`.
//!
//! Who calls it: `vnops_change`. Whom it calls: `commit`, the journal, the device.
//!
//! The file's dirty pages were written before. What is left: the running transaction is committed if it has changed the file, and whatever
//! was committed and written is flushed, with the mount's lock given back. Who comes while the device flushes is served by the next flush,
//! which is that of all who came meanwhile.
//!
//! SF-1. A commit takes all operations before it along, so the names of a new file, of its directory, and what was renamed before are
//! durable with it.

use super::Writer;
use crate::Ext4;
use crate::journal::format::Tid;
use rumpcap_host::Result;
use rumpcap_vfs::{Committed, InodeNo, SyncFile, Timestamp};
use rumpcap_vm::Reservation;

impl Ext4 {
    /// A file was changed (LC-2).
    pub(crate) fn note_changed(&self, ino: InodeNo, what: SyncFile) {
        if let Some(writer) = &self.writer {
            writer.last_change.note(ino, what);
        }
    }

    /// See `Change::is_committed`.
    pub(crate) fn is_file_committed(&self, ino: InodeNo, what: SyncFile) -> Option<Committed> {
        let last = &self.writer.as_ref()?.last_change;
        last.is_durable(last.transaction(ino, what)).then_some(Committed::default())
    }

    /// See `Change::commit_file`.
    pub(crate) fn commit_file_now(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        what: SyncFile,
        now: Timestamp,
    ) -> Result<Committed> {
        let writer = self.writer()?;
        let mut tx = writer.tx.lock();
        if tx.damage.is_some() {
            return Ok(Committed::default());
        }
        tx.stopped.map_or(Ok(()), Err)?;
        let last = &writer.last_change;
        if last.transaction(ino, what) == last.running() {
            self.commit_transaction(r, writer, &mut tx, now)?;
            if last.transaction(ino, what) == last.running() {
                // It was empty: what was noted with its number is of the one before (LC-1).
                last.begin_next();
            }
        }
        let number = last.running().saturating_sub(1);
        Ok(Committed { number, place: tx.committed.map(|tid| tid.0) })
    }

    /// See `Change::make_durable`.
    pub(crate) fn make_file_durable(&self, what: Committed, now: Timestamp) -> Result<()> {
        let writer = self.writer()?;
        let done = self.flush_committed(writer, what, now);
        if let Err(error) = done {
            self.stop_writing(error);
        }
        writer.last_change.note_durable(if done.is_ok() { what.number } else { 0 });
        done
    }

    fn flush_committed(&self, writer: &Writer, what: Committed, now: Timestamp) -> Result<()> {
        match &writer.journal {
            // Content is in the log too, in whatever transaction is open.
            Some(journal) if writer.in_journal.is_some() => journal.sync(now),
            Some(journal) => journal.make_durable(what.place.map(Tid), now),
            None => self.device.device().flush(),
        }
    }
}
