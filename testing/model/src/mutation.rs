//! Mutations of the model: each takes one rule away, and at least one property must then fail (`tests/mutations.rs`).

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Operations enter without a reservation.
    NoGate,
    /// An operation that fits passes those that wait.
    NoFifo,
    /// The daemon has no frame of its own.
    NoReserve,
    /// The gate does not give the reserve out, but pages may fill the frames of it. That is enough for reading.
    ReserveOnlyCounted,
    /// Who leaves the gate wakes nobody.
    NoGateWake,
    /// Who ends the I/O of a wanted page wakes nobody.
    NoBusyWake,
    /// Who unpins or fills a page wakes nobody that waits for a frame.
    NoFrameWake,
    /// Who is woken between asking the daemon and falling asleep sleeps all the same.
    ForgetsWake,
    /// The end of the daemon's round, or of its I/O, wakes nobody that waits for a frame.
    NoDaemonWake,
    /// The daemon waits for the lock of a cache.
    BlockingLock,
    /// The gate does not count the metadata pages that a transaction dirties.
    CreditsNotCounted,
    /// The gate does not count the journal's space.
    JournalNotCounted,
    /// Commit takes its block's frame where operations take theirs.
    CommitNeedsMemory,
    /// The daemon, once it has begun a commit, waits for the open handles and does nothing else.
    CommitBlocks,
    /// Who finds no frame inside commits, with its own handle open (daemon inline).
    CommitInside,
    /// Nobody at the gate asks for a commit when frames are short.
    NoCommitForFrames,
    /// The daemon writes pages of the running transaction in place.
    WritesRunning,
    /// A page may be modified while the journal's copy of it is written.
    ModifiesCommitting,
    /// Eviction does not look at pins.
    NoPinCheck,
    /// An object over its share takes others' pages.
    NoSelfRecycling,
    /// The daemon looks for I/O in flight after it has looked for frames, not before.
    LateJudgement,
    /// A round that has freed nothing while somebody waits makes another.
    EndlessRound,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 22] = [
        Mutation::NoGate,
        Mutation::NoFifo,
        Mutation::NoReserve,
        Mutation::ReserveOnlyCounted,
        Mutation::NoGateWake,
        Mutation::NoBusyWake,
        Mutation::NoFrameWake,
        Mutation::ForgetsWake,
        Mutation::NoDaemonWake,
        Mutation::BlockingLock,
        Mutation::CreditsNotCounted,
        Mutation::JournalNotCounted,
        Mutation::CommitNeedsMemory,
        Mutation::CommitBlocks,
        Mutation::CommitInside,
        Mutation::NoCommitForFrames,
        Mutation::WritesRunning,
        Mutation::ModifiesCommitting,
        Mutation::NoPinCheck,
        Mutation::NoSelfRecycling,
        Mutation::LateJudgement,
        Mutation::EndlessRound,
    ];
}
