//! Writing a JBD2 journal: transactions go into the log, reads find their blocks there, a checkpoint brings them home.
//!
//! Who calls it: the mount that writes, through [`JournaledDevice`]. Whom it calls: the device below. Pages are not
//! known here; content comes as slices and leaves as slices.
//!
//! By file: `device` the device that reads see, and the calls of the owner · `writer` state, super block, flushes,
//! errors · `compound` appends to the log and closes what was appended · `checkpoint` brings blocks home, `background` some at a time ·
//! `placement` where the next block of the log goes · `log_map` which block is where · `encode` the blocks of the log.
//!
//! # Few flushes, and never a torn transaction
//! The log is written without flushes between, so after a power cut any subset of what was not flushed may be on the
//! device, in pieces of sectors. A commit block that is there although a block of its transaction is not makes a
//! *torn* transaction. Without checksums nobody notices, and garbage is replayed. With checksums of each block Linux
//! and e2fsck notice, and take it for damage: a mount fails, e2fsck skips the block and replays the others. (To end
//! the log there quietly is only done for `async_commit`.) So checksums do not help: a flush must lie between the
//! blocks and the commit block.
//!
//! A small memory hands over its blocks often, and a flush each time would be its end. So what is handed over (a
//! *commit* of the mount) is appended to a *compound transaction* that is still open: it is readable through the map
//! and its frames can be given away, but it has no commit block yet. The compound is *recorded*, and becomes one JBD2
//! transaction, when durability is asked for, when it is older than [`INTERVAL_NS`], or when map or log are
//! full:
//!
//! ```text
//!            append ...            record                 flush
//!   empty ───────────► compound ───────────► recorded ───────────► durable ──► checkpoint
//!                                flush, then                (also the flush of the next record)
//!                                the commit block
//! ```
//!
//! After a power cut the log ends behind a recorded compound at or after the last durable one; a process that is killed
//! loses the compound that is open, as it would with a kernel that commits every five seconds.
//!
//! # Invariants
//! - LW-1 Between the checkpoint that makes it free and the next, no block of the ring is written twice, but for the place
//!   of the commit block: a checkpoint in the background makes a part of it free again, and only what is free is written. So what the map says can be read as long as it says so, and a commit that failed leaves
//!   what was readable before.
//! - LW-2 A commit block is written after a flush that followed all of its transaction. Its place is zeros until
//!   then, so that a commit block of which only the first sector arrived is whole.
//! - LW-3 A block is written home only when the compound that it is from, and all before it, are durable.
//! - LW-4 The tail moves in the journal's super block only after a flush that followed the writes home; the blocks
//!   behind the old tail are used again only after a flush that followed the super block.
//! - LW-5 Records of revoked blocks are kept in the map until the compound is recorded: a block that is logged again
//!   in the same transaction must not be in its revoke blocks, since readers take the record for younger than every
//!   copy in it. Copies of one block in one transaction are replayed in their order, so the last counts.
//! - LW-6 Every block that has a copy in the log and may not be replayed has a record behind it. A block that the map
//!   does not have needs none: its copies are behind the tail, which is durable before the next commit block is, or
//!   have a record already.
//! - LW-7 A write of the file system's own super block is not torn. Its checksum is in another sector than its
//!   features, so no order of writes helps where sectors are smaller; Linux relies on it too, and e2fsck mends it
//!   from a backup.
//!
//! What follows for the owner: a freed block may be used for data, which is written in place, only when the compound
//! that freed it [is durable](JournaledDevice::is_durable). Data in place that a transaction refers to is to be written
//! before the commit that refers to it: the flush of the record covers both. The super block's mark is kept by a
//! [`RecoveryMark`](super::RecoveryMark).
//!
//! # Memory
//! Two runs of bytes from the owner, wired: the *buffer* takes a descriptor, revoke or commit block in the making,
//! and blocks on their way home; the *map* takes 16 bytes for each piece of the journal's inode and 12 for each block
//! in the log. The map's capacity bounds how many distinct blocks lie in the log before a checkpoint; records of
//! revoked blocks are entries of the map too, so there is no other bound. No heap after `open`.
//!
//! # Locks
//! `writer` (a mutex) is held for a whole commit or checkpoint, across I/O; `map` (many readers) inside it, alone
//! only for moments without I/O. The background gives `writer` back between portions, and waits while a commit wants it. A read that finds blocks in the log keeps `map` shared until it is done, so that a
//! checkpoint does not give these blocks away under it. A reader never waits for a commit's I/O.
//!
//! # Failure
//! An error of the device in a commit, a record or a checkpoint *aborts* the journal: no more is written but the
//! error in the journal's super block, where possible, and all later calls return it. What was readable stays
//! readable. A flush that failed is not tried again: the host may have dropped what it could not write, and say that
//! all is well. After an abort before the commit block was written, the compound is not replayed; after, it may or
//! may not be.
//!
//! # What is not written
//! Checksums of version 1, asynchronous commits and fast commits: a journal that has the first two is changed, as
//! Linux does when it mounts; the area of the third is left alone. External journals and super blocks of version
//! 1 are refused.

mod background;
mod checkpoint;
mod compound;
mod device;
mod encode;
mod log_map;
mod placement;
mod writer;

pub use background::Background;
pub use compound::LoggedBlock;
pub use device::{JournaledDevice, Memory, Usage};
pub use writer::{BlockNumbers, Checksums, Form};

/// A compound is recorded when it is this old at the next call, in nanoseconds of the host's clock: the interval at which Linux commits.
pub const INTERVAL_NS: u64 = 5_000_000_000;

/// Fewest entries that the map must have room for.
pub const MIN_MAP_ENTRIES: usize = 64;
