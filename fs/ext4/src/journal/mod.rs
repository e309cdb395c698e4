//! The JBD2 journal: recovery of a log, here, and the writing of one, in [`mod@write`].
//!
//! Recovery brings a file system that was not unmounted cleanly to the state that a mounted kernel would show, in
//! memory that does not grow with the journal.
//!
//! Who calls it: mount, when the super block says that recovery is needed, with an overlay as the device, or the device
//! itself if it is to be written to. (A kernel that finds a log but not that mark throws the log away; so mount does
//! not call then.) Whom it calls: the device and, for the place of the journal's blocks, the [`JournalMap`]. Pages of
//! the kernel are not used, since recovery writes below them: what was read through pages before must be forgotten
//! after.
//!
//! In order, each a file: `mount_state` keeps what must outlive the replay · `log` opens the journal · `scan` finds
//! the end of the log · `revoke` and `replay` go over it · `fast_commit` looks behind it · then the log is marked
//! empty and the file system as recovered, so that recovering it again does nothing. A flush lies between these steps: a
//! recovery that is interrupted is begun again.
//!
//! Memory: the caller's scratch, [`MIN_SCRATCH_BYTES`] or more, and under 3 KiB of stack; no heap. Scratch is cut into a
//! window for tags and records, a buffer for content, and the table of revoked blocks. Nothing of it must hold a
//! whole block: with blocks larger than the buffer, content goes through in pieces.
//!
//! Bounds: one walk passes over each block of the ring at most once; scan is one walk; each pass of replay two. Passes:
//! see `revoke`.
//!
//! Failure: an error leaves a part of the replay: an overlay is to be thrown away, a device needs recovery as before.
//!
//! Source: the Linux kernel's documentation of the format; which damage ends the log and which is an error
//! is as the kernel has it, see `scan`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod checksum;
mod copies;
mod fast_commit;
pub(crate) mod format;
mod log;
mod mount_state;
mod replay;
mod revoke;
mod scan;
mod tags;
mod walk;
pub mod write;

pub use format::Tid;
pub use mount_state::{MarkOnDevice, RecoveryMark};

use copies::Copies;
use log::Log;
use mount_state::MountState;
use revoke::RevokeTable;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use walk::Window;
use zerocopy::FromZeros;

/// The super block of a new, empty journal of `len_blocks`: nothing to replay, and no features yet; whoever mounts it
/// for writing first sets those that suit the file system.
pub(crate) fn new_super_block(block_size: u32, len_blocks: u32) -> [u8; format::SUPER_BLOCK_BYTES] {
    let mut sb = format::SuperBlock::new_zeroed();
    sb.magic.set(format::MAGIC);
    sb.block_type.set(format::Header::SUPER_BLOCK_V2);
    sb.block_size.set(block_size);
    sb.max_len.set(len_blocks);
    sb.first.set(1);
    sb.sequence.set(1);
    sb.users.set(1);
    zerocopy::transmute!(sb)
}

/// Consecutive blocks of the device that hold consecutive blocks of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block on the device.
    pub first_block: u64,
    /// How many, at least 1.
    pub len_blocks: u32,
}

impl Run {
    /// Whether `next` lies directly behind this one.
    fn joins(&self, next: Run) -> bool {
        self.first_block.checked_add(u64::from(self.len_blocks)) == Some(next.first_block)
    }
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
    /// Whether the log was not empty.
    pub was_dirty: bool,
    /// Complete transactions.
    pub transactions: u32,
    /// Id of the last complete transaction; where there is none, of the one before the log.
    pub last_transaction: u32,
    /// Blocks written to the device, a block in several transactions counted in each.
    pub blocks_replayed: u64,
    /// Copies in the log that were left out because the same or a later transaction revoked their block.
    pub blocks_revoked: u64,
    /// Revoke records in complete transactions.
    pub revoke_records: u64,
    /// Passes over the log for replay: more than 1 when not all revoke records fitted into the scratch.
    pub passes: u32,
    /// Fast commits on top of the last transaction: known of, not replayed.
    pub fast_commits: u32,
    /// The error that a kernel noted in the journal when it gave up, 0 if none.
    pub journal_errno: u32,
}

/// The smallest scratch that any journal can be recovered in: 1 KiB of window, 1 KiB of content, and 170 revoked
/// blocks a pass. More makes fewer passes and larger reads; 64 KiB do for most journals in one.
pub const MIN_SCRATCH_BYTES: usize = 4096;

/// Window and content buffer of the smallest scratch.
const MIN_BUFFER_BYTES: usize = 1024;
/// More content than this at a time is no faster.
const MAX_CONTENT_BYTES: usize = 64 * 1024;

/// Replays the journal into `device`, which is written to: an overlay, or a device that is mounted for writing.
///
/// Call it for a file system whose super block says that recovery is needed. Blocks in the host's reads and writes.
///
/// # Errors
/// `InvalidInput` for a scratch below [`MIN_SCRATCH_BYTES`], a block size out of range, or a device that takes only
/// aligned requests; `Unsupported` for an external journal; `UnknownFeature`; `Checksum` and `Corrupt` for a damaged
/// log, where a kernel refuses to mount too; `Io`, `ShortDevice`.
pub fn recover(
    device: &dyn BlockDevice,
    map: &mut dyn JournalMap,
    geometry: &Geometry,
    scratch: &mut [u8],
) -> Result<Recovery> {
    check_arguments(device, geometry, scratch)?;
    let state = MountState::read(device)?;
    let mut log = Log::open(device, map, geometry)?;
    let mut recovery = Recovery { journal_errno: log.errno(), ..Recovery::default() };
    if log.start().is_some() {
        replay_log(&mut log, scratch, &mut recovery)?;
    }
    // A log that is marked empty while the mark "needs recovery" is gone: never the other way round.
    device.flush()?;
    state.finish(device, recovery.journal_errno)?;
    device.flush()?;
    Ok(recovery)
}

fn check_arguments(device: &dyn BlockDevice, geometry: &Geometry, scratch: &[u8]) -> Result<()> {
    if scratch.len() < MIN_SCRATCH_BYTES {
        return Err(Error::InvalidInput { what: "scratch for a journal: too small" });
    }
    check_device(device, geometry)
}

fn check_device(device: &dyn BlockDevice, geometry: &Geometry) -> Result<()> {
    let size = geometry.block_size_bytes;
    if !size.is_power_of_two() || !(1024..=65536).contains(&size) {
        return Err(Error::InvalidInput { what: "block size" });
    }
    if device.alignment_bytes() != 1 {
        return Err(Error::InvalidInput { what: "device for a journal: takes only aligned requests" });
    }
    let need = u64::from(size).saturating_mul(geometry.blocks);
    let have = device.len_bytes();
    if need > have { Err(Error::ShortDevice { need, have }) } else { Ok(()) }
}

/// Replays a log that is not empty.
fn replay_log(log: &mut Log<'_>, scratch: &mut [u8], recovery: &mut Recovery) -> Result<()> {
    let Some((start, first)) = log.start() else { return Ok(()) };
    let [window, content, table] = cut(scratch, log.block_size());
    let mut window = Window::new(window);
    let mut copies = Copies::new(content);
    let mut table = RevokeTable::new(table);

    log.find_own_blocks()?;
    let extent = scan::scan(log, &mut window, &mut copies, start, first)?;
    recovery.was_dirty = true;
    recovery.transactions = extent.transactions();
    recovery.last_transaction = extent.end.0.wrapping_sub(1);
    recovery.revoke_records = extent.revoke_records;
    replay::replay(log, &mut window, &mut copies, &mut table, &extent, recovery)?;
    recovery.fast_commits = fast_commit::count(log, &mut window, extent.end)?;
    // What was replayed must be durable before the log is forgotten: the device need not be an overlay.
    log.device().flush()?;
    log.write_empty(extent.end.next())
}

/// Cuts the scratch into window, content and table: an eighth, a quarter and the rest.
fn cut(scratch: &mut [u8], block_size: usize) -> [&mut [u8]; 3] {
    let sectors = |bytes: usize| bytes & !511;
    let window = sectors(scratch.len() >> 3).clamp(MIN_BUFFER_BYTES, block_size);
    let content = sectors(scratch.len() >> 2).clamp(MIN_BUFFER_BYTES, MAX_CONTENT_BYTES);
    let (window, rest) = scratch.split_at_mut(window);
    let (content, table) = rest.split_at_mut(content.min(rest.len()));
    [window, content, table]
}
