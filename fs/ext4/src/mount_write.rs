//! Mounting to be written: recovery in place, the journal's writer, the mark of a mount; and the end of it.
//!
//! Who calls it: `mount`. Whom it calls: `journal`, `transaction`, `orphan`.
//!
//! MW-1. Nothing is written before it is known that the file system can be: else it is mounted to be read, with the reason.
//! MW-2. From the first change to an orderly end the super block tells that the file system needs recovery (with a journal) or was not
//! unmounted (without).
//!
//! Memory: `transaction::Sizes`, wired. Failure: `NoMemory` names the share that could not be wired.

use crate::features::Features;
use crate::journal::MarkOnDevice;
use crate::journal::write::{BlockNumbers, Checksums, Form, JournaledDevice};
use crate::journaled_content::JournaledContent;
use crate::layout::{RawSuperBlock, STATE_VALID, SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::orphan;
use crate::super_block::seal_super_block;
use crate::transaction::{Below, Counts, Sizes, Writer};
use crate::{Ext4, MAX_PINS, Options, SuperBlock};
use rumpcap_block::{BlockDevice, Overlay};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{DataMode, Timestamp};
use rumpcap_vm::{PAGE_SIZE, Vm, WiredRun, Writeback};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use zerocopy::FromBytes;

/// The smallest limit that a file system is written under: below, what is left beside the shares of [`Sizes`] would do for one operation
/// but not for the tables of open files and names.
const SMALLEST_LIMIT_BYTES: usize = 256 << 10;

/// Features that can be read and not written: the bit's word and the bit.
const READ_ONLY: &[(Word, u32, &str)] = &[
    (Word::Incompat, 0x100, "mmp"),
    (Word::RoCompat, 0x100, "quota"),
    (Word::RoCompat, 0x800, "replica"),
    (Word::RoCompat, 0x1000, "read-only"),
    (Word::RoCompat, 0x4000, "shared_blocks"),
    (Word::Compat, 0x100, "snapshot_bitmap"),
];

/// `s_ro_compat` bits that have a name here.
const RO_COMPAT_KNOWN: u32 =
    0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200 | 0x400 | 0x2000 | 0x8000 | 0x1_0000;

enum Word {
    Compat,
    Incompat,
    RoCompat,
}

/// Why a file system with these features and blocks is not written; `None` if it is.
pub(crate) fn reason_to_read_only(sb: &SuperBlock) -> Option<&'static str> {
    let Features { compat, incompat, ro_compat } = sb.features;
    let is_set = |word: &Word, bit: u32| {
        let bits = match word {
            Word::Compat => compat,
            Word::Incompat => incompat,
            Word::RoCompat => ro_compat,
        };
        bits & bit != 0
    };
    let named = READ_ONLY.iter().find(|(word, bit, _)| is_set(word, *bit)).map(|&(_, _, name)| name);
    if named.is_some() {
        return named;
    }
    if ro_compat & !RO_COMPAT_KNOWN != 0 {
        return Some("a feature that is not known, and forbids writing");
    }
    if sb.block_size as usize > PAGE_SIZE {
        return Some("blocks of more than 4 KiB");
    }
    if let Some(reason) = reason_of_clusters(sb) {
        return Some(reason);
    }
    if sb.features.has_journal() {
        return (sb.journal_inode == 0).then_some("external journal");
    }
    // Nobody knows what is on the device; a journal would.
    (sb.state & STATE_VALID == 0)
        .then_some("not unmounted in order, and without a journal: to be checked first")
}

/// What mke2fs does not make of `bigalloc`: groups that do not begin where clusters do, block maps.
fn reason_of_clusters(sb: &SuperBlock) -> Option<&'static str> {
    if !sb.features.has_bigalloc() {
        return None;
    }
    let in_cluster = |block: u64| block & (u64::from(sb.cluster_blocks()) - 1);
    let edges = [sb.first_data_block, u64::from(sb.blocks_per_group), sb.blocks_count];
    if edges.into_iter().any(|block| in_cluster(block) != 0) {
        return Some("bigalloc: a group that ends within a cluster");
    }
    (!sb.features.has_extent()).then_some("bigalloc without extents")
}

/// Dirty pages of files go to the device itself: their blocks are in no transaction.
struct Content(Arc<dyn BlockDevice>);

impl Writeback for Content {
    fn write(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        self.0.write_at(offset, bufs)
    }
}

impl Ext4 {
    /// Mounts to be written; where that cannot be (MW-1), to be read.
    ///
    /// # Errors
    /// As [`Ext4::mount`]; `ReadOnly` when the device is; `LimitTooSmall`; `NoMemory` when other mounts have taken the memory.
    pub(crate) fn mount_to_write(
        vm: &Arc<Vm>,
        device: Arc<dyn BlockDevice>,
        options: &Options,
        now: Timestamp,
    ) -> Result<Ext4> {
        let have = vm.plan().limit_bytes;
        if have < SMALLEST_LIMIT_BYTES {
            return Err(Error::LimitTooSmall { need: SMALLEST_LIMIT_BYTES as u64, have: have as u64 });
        }
        let mut fs = Ext4::over(vm, Arc::clone(&device), options)?;
        // Writing goes on in the first super block, which is not the one that was found good.
        let by_backup =
            (fs.super_block_offset != SUPER_BLOCK_OFFSET).then_some("mounted by a backup of the super block");
        let reason = by_backup.or_else(|| reason_to_read_only(&fs.sb));
        if reason.is_some() {
            let read = Options { access: rumpcap_vfs::Access::Read, ..options.clone() };
            return Ok(Ext4 { read_only_reason: reason, ..Ext4::mount(vm, device, &read)? });
        }
        if options.data == DataMode::Journal && !fs.sb.features.has_journal() {
            return Err(Error::Unsupported { what: "data=journal without a journal" });
        }
        let mut recovery = None;
        if fs.sb.features.has_needs_recovery() {
            if fs.sb.features.has_fast_commit() && fs.fast_commits_to_replay(vm, &device, options)? > 0 {
                let reason = Some("fast commits in the journal, which are not replayed");
                let read = Options { access: rumpcap_vfs::Access::Read, ..options.clone() };
                return Ok(Ext4 { read_only_reason: reason, ..Ext4::mount(vm, device, &read)? });
            }
            recovery = Some(fs.recover_into(vm, &*device)?);
            device.flush()?;
            drop(fs);
            fs = Ext4::over(vm, Arc::clone(&device), options)?;
        }
        let counts = fs.counts_at_mount(vm, recovery.is_some())?;
        let mut sizes = Sizes::of(vm.plan().frames);
        let journal = if fs.sb.features.has_journal() {
            Some(Arc::new(fs.open_journal(vm, &device, &sizes)?))
        } else {
            None
        };
        let block_size = fs.sb.block_size;
        if let Some(journal) = &journal {
            // All blocks of all pages may have been changed, and a commit takes no more than the log and its map do.
            let pages = journal.max_commit_blocks() / (PAGE_SIZE >> fs.sb.block_log).max(1);
            sizes.held = sizes.held.min(u32::try_from(pages).unwrap_or(u32::MAX));
        }
        drop(fs);
        mark_mounted(&*device, now, journal.is_some())?;
        let in_journal = match (&journal, options.data) {
            (Some(journal), DataMode::Journal) => {
                Some(Arc::new(JournaledContent::new(Arc::clone(journal), block_size, now)))
            }
            _ => None,
        };
        let over: Arc<dyn BlockDevice> = match (&in_journal, &journal) {
            (Some(content), _) => Arc::clone(content) as _,
            (None, Some(journal)) => Arc::clone(journal) as _,
            (None, None) => Arc::clone(&device),
        };
        let fs = Ext4::over(vm, Arc::clone(&over), options)?;
        let below = Below { journal, in_journal, writeback: Arc::new(Content(over)) };
        let writer = Writer::new(vm, &fs.sb, &sizes, counts, below, options)?;
        let fs = Ext4 { recovery, writer: Some(Box::new(writer)), ..fs };
        match orphan::finish_all(&fs, &vm.reserve(MAX_PINS), now) {
            // It was damaged, and is not to be changed then: it can be read.
            Ok(()) | Err(Error::ReadOnly) => Ok(fs),
            Err(error) => Err(error),
        }
    }

    /// Fast commits that a replay would leave out; found by one into an overlay, since the device is not to be changed before that is
    /// known.
    fn fast_commits_to_replay(
        &self,
        vm: &Arc<Vm>,
        device: &Arc<dyn BlockDevice>,
        options: &Options,
    ) -> Result<u32> {
        let directory = options.temporary_directory.clone();
        let directory = directory.unwrap_or_else(rumpcap_host::file::temporary_directory);
        let overlay = Overlay::new(Arc::clone(device), &directory)?;
        Ok(self.recover_into(vm, &overlay)?.fast_commits)
    }

    /// The counts of free blocks and inodes: of the super block where it was unmounted in order, else those of all groups.
    fn counts_at_mount(&self, vm: &Arc<Vm>, is_recovered: bool) -> Result<Counts> {
        let sb = &self.sb;
        if sb.state & STATE_VALID != 0 && !is_recovered {
            return Ok(Counts { blocks_free: sb.counts.blocks_free, inodes_free: sb.counts.inodes_free });
        }
        let r = vm.reserve(MAX_PINS);
        let mut counts = Counts { blocks_free: 0, inodes_free: 0 };
        for group in 0..sb.group_count {
            let group = self.group(&r, group)?;
            counts.blocks_free += u64::from(group.clusters_free) << sb.cluster_log;
            counts.inodes_free = counts.inodes_free.saturating_add(group.inodes_free);
        }
        Ok(counts)
    }

    fn open_journal(
        &self,
        vm: &Arc<Vm>,
        device: &Arc<dyn BlockDevice>,
        sizes: &Sizes,
    ) -> Result<JournaledDevice<WiredRun>> {
        let sb = &self.sb;
        let form = Form {
            checksums: if sb.features.has_metadata_csum() { Checksums::V3 } else { Checksums::None },
            block_numbers: if sb.features.has_64bit() { BlockNumbers::Bits64 } else { BlockNumbers::Bits32 },
        };
        let map = WiredRun::buffer(vm, sizes.log_map, "a journal's map")?;
        let buffer = WiredRun::buffer(vm, sizes.log_buffer, "a journal's buffer")?;
        let r = vm.reserve(MAX_PINS);
        let (geometry, mut runs) = self.journal_runs(&r)?;
        let mut mark = MarkOnDevice(&**device);
        JournaledDevice::open(Arc::clone(device), &mut runs, &geometry, form, [map, buffer], &mut mark)
    }

    /// Ends a mount that was written, in order.
    ///
    /// # Errors
    /// The error that stopped writing; `Io`: the file system then needs recovery.
    pub(crate) fn end_writing(&self, r: &rumpcap_vm::Reservation<'_>, now: Timestamp) -> Result<()> {
        let synced = self.sync_now(r, now);
        let writer = self.writer()?;
        let device = self.device.device();
        let closed = match &writer.journal {
            Some(journal) => journal.close(now, &mut MarkOnDevice(&**journal)),
            // As the kernel leaves one that it has made read-only: to be checked.
            None if self.is_damaged() => synced,
            None => synced.and_then(|()| mark_unmounted(&**device)).and_then(|()| device.flush()),
        };
        self.stop_writing(Error::ReadOnly);
        synced.and(closed)
    }
}

/// Notes the mount in the super block: its time, its number; without a journal also that it has not ended.
fn mark_mounted(device: &dyn BlockDevice, now: Timestamp, has_journal: bool) -> Result<()> {
    change_super_block(device, |raw| {
        raw.mount_time = (now.seconds as u32).into();
        raw.mount_time_hi = (now.seconds >> 32) as u8;
        raw.mount_count = raw.mount_count.get().saturating_add(1).into();
        if !has_journal {
            raw.state = (raw.state.get() & !STATE_VALID).into();
        }
    })?;
    device.flush()
}

fn mark_unmounted(device: &dyn BlockDevice) -> Result<()> {
    change_super_block(device, |raw| raw.state = (raw.state.get() | STATE_VALID).into())
}

/// Changes the first super block of a device on which no mount has it.
pub(crate) fn change_super_block(
    device: &dyn BlockDevice,
    change: impl FnOnce(&mut RawSuperBlock),
) -> Result<()> {
    let mut bytes = [0; SUPER_BLOCK_BYTES];
    device.read_at(SUPER_BLOCK_OFFSET, &mut [IoSliceMut::new(&mut bytes)])?;
    let not_there = Error::Corrupt { what: "super block", at: SUPER_BLOCK_OFFSET };
    let raw = RawSuperBlock::mut_from_bytes(&mut bytes).map_err(|_| not_there)?;
    change(raw);
    seal_super_block(raw);
    device.write_at(SUPER_BLOCK_OFFSET, &mut [IoSlice::new(&bytes)])
}
