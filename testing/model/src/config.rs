//! What is checked: a configuration of the model, and the sweep over all of them.
//!
//! Sizes are scaled down: a reservation is at most [`LARGEST`] frames, the daemon's reserve is [`RESERVE`]. What matters
//! is that both are met exactly: that one operation more does not fit, and that the daemon has just what it needs.

use crate::mutation::Mutation;

/// Threads of the largest configuration.
pub const MAX_THREADS: usize = 4;
/// Objects of the largest configuration.
pub const MAX_OBJECTS: usize = 3;
/// Frames of the largest configuration, the daemon's reserve included.
pub const MAX_FRAMES: usize = 6;
/// The most frames that one operation reserves, pins and credits together.
pub const LARGEST: u8 = 2;
/// Frames that only the daemon has.
pub const RESERVE: u8 = 1;
/// Metadata pages that one transaction may dirty.
pub const TRANSACTION_LIMIT: u8 = 2;
/// Blocks of the journal: one transaction of the largest size, or two of the smallest. The least that has both a
/// transaction that waits for its checkpoint and one that runs.
pub const JOURNAL_BLOCKS: u8 = 4;

/// Who runs the pagedaemon, as `boot::Daemon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// A thread of its own.
    Thread,
    /// Whoever needs it: inside, an operation that finds no frame; at the gate, the first of the queue.
    Inline,
}

/// What operations there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Reading alone, as the kernel is today.
    Reads,
    /// Reading and writing of data.
    Data,
    /// Reading and transactions.
    Transactions,
    /// Everything.
    All,
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Threads, 1 to [`MAX_THREADS`].
    pub threads: u8,
    /// Objects, 1 to [`MAX_OBJECTS`]; the first is the device's, whose pages are metadata.
    pub objects: u8,
    /// Frames, the reserve included: from [`Config::FEWEST_FRAMES`] to [`MAX_FRAMES`].
    pub frames: u8,
    /// Who runs the daemon.
    pub daemon: Daemon,
    /// What the threads do.
    pub mix: Mix,
    /// Operations of each thread, one after the other.
    pub operations: u8,
    /// Reads that may fail, in all.
    pub faults: u8,
    /// Frames that a cache may wire, in all.
    pub wires: u8,
    /// Begins with every mixture of free, clean, dirty and logged pages that may be there, rather than with none.
    pub is_aged: bool,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
}

impl Config {
    /// With fewer, boot refuses: the largest reservation and the reserve would not both fit.
    pub const FEWEST_FRAMES: u8 = LARGEST + RESERVE;

    /// A configuration of the sweep.
    pub fn new(threads: u8, objects: u8, frames: u8, daemon: Daemon, mix: Mix) -> Config {
        assert!((1..=MAX_THREADS as u8).contains(&threads) && (1..=MAX_OBJECTS as u8).contains(&objects));
        assert!((Config::FEWEST_FRAMES..=MAX_FRAMES as u8).contains(&frames));
        // One or two threads by themselves meet little: they do more, one after the other.
        let operations = if threads <= 2 { 2 } else { 1 };
        Config {
            threads,
            objects,
            frames,
            daemon,
            mix,
            operations,
            faults: 1,
            wires: 1,
            is_aged: false,
            mutation: None,
        }
    }

    /// All configurations up to 4 threads, 3 objects and 6 frames, both daemons, each with every operation.
    pub fn sweep() -> Vec<Config> {
        let mut all = Vec::new();
        for threads in 1..=MAX_THREADS as u8 {
            for objects in 1..=MAX_OBJECTS as u8 {
                for frames in Config::FEWEST_FRAMES..=MAX_FRAMES as u8 {
                    for daemon in [Daemon::Thread, Daemon::Inline] {
                        all.push(Config::new(threads, objects, frames, daemon, Mix::All));
                    }
                }
            }
        }
        all
    }

    /// The same, broken.
    pub fn with(self, mutation: Mutation) -> Config {
        Config { mutation: Some(mutation), ..self }
    }

    pub(crate) fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Frames that the gate gives out (GA-1).
    pub(crate) fn capacity(&self) -> u8 {
        if self.has(Mutation::NoReserve) { self.frames } else { self.frames - RESERVE }
    }

    /// Frames that pages and wired memory may be in: those that the daemon does not keep for itself.
    pub(crate) fn shared_frames(&self) -> u8 {
        let kept = !self.has(Mutation::NoReserve) && !self.has(Mutation::ReserveOnlyCounted);
        if kept { self.frames - RESERVE } else { self.frames }
    }

    /// Pages that one object may own before it recycles its own (F4): half of the frames, where the code has three
    /// quarters, which of so few frames would be all.
    pub(crate) fn object_share(&self) -> u8 {
        self.frames / 2
    }

    /// Dirty pages of data that there may be before a writer waits at the gate.
    pub(crate) fn dirty_share(&self) -> u8 {
        (self.frames / 3).max(1)
    }
}
