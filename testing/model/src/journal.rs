//! Transactions: close, commit, checkpoint. The plan for writing; nothing of it is in the kernel yet.
//!
//! JR-1. Commit begins when no handle of its transaction is open; handles wait for I/O only, and nobody who has one
//! waits for a commit. JR-2. Commit writes from the frames themselves, and its own block through the daemon's reserve:
//! it takes no frame. JR-3. The journal has room for every transaction that runs, because the gate has counted it.
//! JR-4. A block of the journal is free again when every page that it has a copy of is in place, or in a later one.

use crate::config::{Config, Daemon, JOURNAL_BLOCKS};
use crate::mutation::Mutation;
use crate::state::{Kind, Round, State, broken};

impl State {
    /// The running transaction takes no more handles and is committed as soon as it can be.
    pub(crate) fn close(&mut self, config: &Config) {
        self.is_closed = true;
        self.commit(config);
    }

    /// Starts the commit of a closed transaction, if no handle is open.
    pub(crate) fn commit(&mut self, config: &Config) {
        if self.open_handles() > 0 {
            let waits = match config.daemon {
                Daemon::Thread => config.has(Mutation::CommitBlocks),
                Daemon::Inline => config.has(Mutation::CommitInside),
            };
            self.daemon = if waits { Round::OnHandles } else { self.daemon };
            return;
        }
        let pages = self.count(Kind::Running);
        if pages == 0 {
            self.is_closed = false;
            return self.notify_first();
        }
        if self.journal_used() + pages + 1 > JOURNAL_BLOCKS {
            return self.note(broken::JOURNAL_FULL);
        }
        let needs_memory = [Mutation::CommitNeedsMemory, Mutation::NoReserve, Mutation::ReserveOnlyCounted];
        if needs_memory.into_iter().any(|mutation| config.has(mutation)) && !self.take_for_daemon() {
            return;
        }
        let running = self.frames.iter_mut().filter(|frame| frame.kind == Kind::Running);
        running.for_each(|frame| frame.kind = Kind::Committing);
        self.committing = pages + 1;
        self.credits = 0;
        self.is_closed = false;
        self.daemon = Round::Journal;
    }

    /// The commit's block is on the device: from now on I/O alone frees these pages, and their frames are the gate's again.
    pub(crate) fn committed(&mut self, config: &Config) {
        let slot = self.journal.iter().position(|blocks| *blocks == 0);
        let slot = slot.expect("the journal has fewer transactions than blocks");
        self.journal[slot] = self.committing;
        self.committing = 0;
        for at in 0..self.frames.len() {
            if self.frames[at].kind == Kind::Committing {
                let wanted = self.frames[at].wanted;
                self.frames[at].kind = Kind::Committed;
                self.frames[at].logged = slot as u8 + 1;
                self.frames[at].wanted = 0;
                self.wake_wanted(config, wanted);
                self.available += i8::from(!config.has(Mutation::CreditsNotCounted));
            }
        }
        self.trim_journal();
    }

    /// Gives the space of the oldest transactions back (JR-4).
    pub(crate) fn trim_journal(&mut self) {
        while self.journal[0] > 0 && self.find(|frame| frame.logged == 1).is_none() {
            self.journal.rotate_left(1);
            self.journal[self.journal.len() - 1] = 0;
            self.frames.iter_mut().for_each(|frame| frame.logged = frame.logged.saturating_sub(1));
        }
    }
}
