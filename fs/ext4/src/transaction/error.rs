//! What the super block is told of errors, and what it says is to be done: `errors=` of tune2fs.
//!
//! Who calls it: `mod`, behind an operation that failed and was taken back. Whom it calls: `commit`.
//!
//! Only what says that the file system is damaged counts (`Corrupt`, `Checksum`). "Continue" goes on; "remount read-only", and
//! "panic" too, which in a library can mean no more, stop writing when the note is durable. From then on nothing can be changed, and nothing is
//! lost: who syncs or unmounts first is told of the damage, for whoever made the change may not have said so, and the next are not. Source: `ext4_handle_error` of Linux.

use super::{Transaction, Writer};
use crate::Ext4;
use crate::layout::{RawSuperBlock, STATE_ERRORS, SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::super_block::seal_super_block;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::Timestamp;
use rumpcap_vm::{HeldAs, Reservation};
use zerocopy::FromBytes;

/// `s_errors`: go on.
const ERRORS_CONTINUE: u16 = 1;

/// `s_last_error_errcode` and its like: EFSCORRUPTED, EFSBADCRC.
const CODE_CORRUPT: u8 = 13;
const CODE_BAD_CHECKSUM: u8 = 14;

/// What damage stopped writing, all that was done before being durable.
#[derive(Clone, Copy)]
pub(super) enum Damage {
    /// Nobody who syncs was told yet.
    Untold(Error),
    Told,
}

impl Damage {
    /// Tells who syncs, once.
    pub(super) fn tell(&mut self) -> Result<()> {
        match core::mem::replace(self, Damage::Told) {
            Damage::Untold(error) => Err(error),
            Damage::Told => Ok(()),
        }
    }
}

impl Ext4 {
    /// Notes in the super block that the file system is damaged, if `error` says so, and does what it wants done then.
    pub(super) fn note_error(
        &self,
        r: &Reservation<'_>,
        writer: &Writer,
        tx: &mut Transaction,
        error: Error,
        now: Timestamp,
    ) {
        let (Error::Corrupt { .. } | Error::Checksum { .. }) = error else { return };
        let noted = self.store_error(r, tx, error, now);
        let Ok(what_to_do) = noted else { return };
        if what_to_do != ERRORS_CONTINUE {
            // The error that the caller gets is the one that was noted; whether the note arrived does not change it.
            if self.sync_transaction(r, writer, tx, now).is_ok() {
                tx.damage.get_or_insert(Damage::Untold(error));
            }
            tx.stopped.get_or_insert(Error::ReadOnly);
        }
    }

    /// Whether damage has stopped writing.
    pub(crate) fn is_damaged(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.tx.lock().damage.is_some())
    }

    /// Gives `s_errors`.
    fn store_error(
        &self,
        r: &Reservation<'_>,
        tx: &mut Transaction,
        error: Error,
        now: Timestamp,
    ) -> Result<u16> {
        let page = self.device.page(r, SUPER_BLOCK_OFFSET, 0)?;
        tx.begin();
        let what_to_do = tx.change(page, SUPER_BLOCK_OFFSET, SUPER_BLOCK_BYTES, HeldAs::Changed, |bytes| {
            let Ok(raw) = RawSuperBlock::mut_from_bytes(bytes) else { return ERRORS_CONTINUE };
            note(raw, error, now);
            seal_super_block(raw);
            raw.errors.get()
        });
        tx.done();
        Ok(what_to_do)
    }
}

fn note(raw: &mut RawSuperBlock, error: Error, now: Timestamp) {
    let (code, at) = match error {
        Error::Checksum { at, .. } => (CODE_BAD_CHECKSUM, at),
        Error::Corrupt { at, .. } => (CODE_CORRUPT, at),
        _ => (0, 0),
    };
    let (seconds, seconds_hi) = (now.seconds as u32, (now.seconds >> 32) as u8);
    raw.state = (raw.state.get() | STATE_ERRORS).into();
    raw.error_count = raw.error_count.get().saturating_add(1).into();
    if raw.first_error_time.get() == 0 {
        (raw.first_error_time, raw.first_error_time_hi) = (seconds.into(), seconds_hi);
        (raw.first_error_code, raw.first_error_block) = (code, at.into());
    }
    (raw.last_error_time, raw.last_error_time_hi) = (seconds.into(), seconds_hi);
    (raw.last_error_code, raw.last_error_block) = (code, at.into());
}
