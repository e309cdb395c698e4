//! Recovery of a JBD2 journal: brings a file system that was not unmounted cleanly to the state that a mounted
//! kernel would show, in memory that does not grow with the journal.

use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};

/// Consecutive blocks of the device that hold consecutive blocks of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block on the device.
    pub first_block: u64,
    /// How many, at least 1.
    pub len_blocks: u32,
}

/// Where the blocks of the journal are: the block map of the journal's inode.
///
/// Must give the same answers during a whole recovery, so read it through the device that recovery does not write
/// to, or through pages that were read before.
pub trait JournalMap {
    /// The run that begins with the journal's block `logical`. A run of one block is always right; longer ones save
    /// calls. A hole is an error.
    ///
    /// # Errors
    /// Whatever reading the map gives.
    fn run(&mut self, logical: u32) -> Result<Run>;
}

impl<F: FnMut(u32) -> Result<Run>> JournalMap for F {
    fn run(&mut self, logical: u32) -> Result<Run> {
        self(logical)
    }
}

/// What recovery must know of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a block, 1024 to 65536.
    pub block_size_bytes: u32,
    /// Blocks of the file system: every target of a replay is below.
    pub blocks: u64,
    /// Blocks of the journal: the size of its inode in blocks.
    pub journal_blocks: u32,
}

/// What recovery found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether there was anything to recover.
    pub was_dirty: bool,
    /// Complete transactions.
    pub transactions: u32,
    /// Id of the last complete transaction.
    pub last_transaction: u32,
    /// Blocks written to the device.
    pub blocks_replayed: u64,
    /// Blocks of the log left out because a later or the same transaction revoked them.
    pub blocks_revoked: u64,
    /// Revoke records read.
    pub revoke_records: u64,
    /// Passes over the log for replay: more than 1 when not all revoke records fitted into the scratch.
    pub passes: u32,
    /// Fast commits behind the last transaction that were not replayed.
    pub fast_commits: u32,
}

/// The smallest scratch that any journal can be recovered in.
pub const MIN_SCRATCH_BYTES: usize = 4096;

/// Replays the journal into `device`, which should be an overlay: it is written to.
///
/// # Errors
/// `InvalidInput` for a scratch below [`MIN_SCRATCH_BYTES`]; `Unsupported`, `UnknownFeature`, `Corrupt`, `Checksum`,
/// `Io`, `ShortDevice`.
pub fn recover(
    device: &dyn BlockDevice,
    map: &mut dyn JournalMap,
    geometry: &Geometry,
    scratch: &mut [u8],
) -> Result<Recovery> {
    let _ = (device, map, geometry, scratch);
    Err(Error::Unsupported { what: "recovery of a journal (in work)" })
}
