//! Mounting: from a device to an [`Ext4`], through the journal where it holds what is not yet in its place.
//!
//! Who calls it: the kernel's API. Whom it calls: `super_block`, `journal`, `block` for the overlay.
//!
//! Reads the super block, and what the journal needs if it must be replayed; nothing else. An image that is mounted to be read is
//! never written: a replay goes into an overlay, in temporary files of the host. `mount_write` is about the others.
//!
//! Memory: the scratch of a replay is wired from the kernel's memory and given back; the overlay takes
//! `Overlay::MEMORY_BYTES` of heap, once.

use crate::journal::{self, Geometry, MIN_SCRATCH_BYTES, Recovery};
use crate::layout::{SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::map::Run;
use crate::{Ext4, MAX_PINS, SuperBlock};
use core::time::Duration;
use rumpcap_block::{BlockDevice, Overlay};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Access, DataMode, InodeNo, Timestamp};
use rumpcap_vm::{DeviceObject, PAGE_SIZE, Reservation, Vm, WiredRun};
use std::path::PathBuf;
use std::sync::Arc;

/// Most frames of scratch for a replay: 256 KiB hold tens of thousands of revoked block numbers and make large requests.
const SCRATCH_FRAMES_MAX: u32 = 64;
/// A replay's scratch takes at most this share of a kernel's frames: the rest is for the pages of the journal's map.
const SCRATCH_SHARE: u32 = 8;

/// How a file system is mounted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Look at the file system as it is on the device, without its journal.
    pub ignore_journal: bool,
    /// Where the overlay that a journal is replayed into is made; the host's default if `None`.
    pub temporary_directory: Option<PathBuf>,
    /// Whether it may be changed.
    pub access: Access,
    /// In which order content reaches the device.
    pub data: DataMode,
    /// Time of the mount, for one to be written.
    pub now: Timestamp,
    /// The age at which what was changed is committed; five seconds if `None`, never for its age if it is the longest duration.
    pub commit_interval: Option<Duration>,
    /// Byte of the device of the super block to use, for one whose primary is lost; `None` for the primary.
    pub super_block_offset: Option<u64>,
}

impl Options {
    pub(crate) fn commit_interval_ns(&self) -> u64 {
        let ns = |interval: Duration| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.commit_interval.map_or(journal::write::INTERVAL_NS, ns)
    }
}

impl Ext4 {
    /// Mounts the file system on `device` under the kernel `vm`, for reading or, where that can be
    /// ([`rumpcap_vfs::FileSystem::read_only_reason`]), for writing.
    ///
    /// # Errors
    /// `NotAFileSystem`; `Unsupported` for a feature or journal that is known and cannot be read, `UnknownFeature`;
    /// `ShortDevice`; `Corrupt`, `Checksum`; `Io`; `Host` when there is no room for the overlay.
    pub fn mount(vm: &Arc<Vm>, device: Arc<dyn BlockDevice>, options: &Options) -> Result<Ext4> {
        if options.access == Access::Write {
            return Ext4::mount_to_write(vm, device, options, options.now);
        }
        let fs = Ext4::over(vm, Arc::clone(&device), options)?;
        if options.ignore_journal || !fs.sb.features.has_needs_recovery() {
            return Ok(fs);
        }
        if fs.sb.journal_inode == 0 {
            return Err(Error::Unsupported { what: "external journal device" });
        }
        let directory =
            options.temporary_directory.clone().unwrap_or_else(rumpcap_host::file::temporary_directory);
        let overlay = Arc::new(Overlay::new(device, &directory)?);
        let recovery = fs.recover_into(vm, &*overlay)?;
        drop(fs);
        Ok(Ext4 { recovery: Some(recovery), ..Ext4::over(vm, overlay, options)? })
    }

    /// The file system as it is on `device`.
    pub(crate) fn over(vm: &Arc<Vm>, device: Arc<dyn BlockDevice>, options: &Options) -> Result<Ext4> {
        let device = DeviceObject::attach(vm, device)?;
        let offset = options.super_block_offset.unwrap_or(SUPER_BLOCK_OFFSET);
        let have = device.len_bytes();
        if offset.checked_add(SUPER_BLOCK_BYTES as u64).is_none_or(|end| end > have) {
            return Err(Error::NotAFileSystem);
        }
        let mut bytes = [0; SUPER_BLOCK_BYTES];
        device.copy(&vm.reserve(1), offset, &mut bytes)?;
        let sb = SuperBlock::parse(&bytes, offset)?;
        let need = sb.len_bytes();
        if need > have {
            return Err(Error::ShortDevice { need, have });
        }
        let (recovery, writer, read_only_reason) = Default::default();
        Ok(Ext4 { device, sb, super_block_offset: offset, recovery, writer, read_only_reason })
    }

    /// Replays the journal of this file system, which is over the untouched device, into `device`: an overlay, or itself.
    pub(crate) fn recover_into(&self, vm: &Arc<Vm>, device: &dyn BlockDevice) -> Result<Recovery> {
        let mut scratch = scratch(vm)?;
        let r = vm.reserve(MAX_PINS);
        let (geometry, mut map) = self.journal_runs(&r)?;
        journal::recover(device, &mut map, &geometry, &mut scratch)
    }

    /// The shape of the journal inside, and where its blocks are.
    pub(crate) fn journal_runs<'a>(
        &'a self,
        r: &'a Reservation<'_>,
    ) -> Result<(Geometry, impl FnMut(u32) -> Result<journal::Run> + 'a)> {
        let node = self.inode(r, InodeNo(u64::from(self.sb.journal_inode)), 0)?;
        let blocks = node.attributes.size_bytes >> self.sb.block_log;
        let geometry = Geometry {
            block_size_bytes: self.sb.block_size,
            blocks: self.sb.blocks_count,
            journal_blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
        };
        let map = move |logical: u32| match self.run(r, &node, u64::from(logical))? {
            Run::Blocks { first, count } => {
                let len_blocks = u32::try_from(count).unwrap_or(u32::MAX);
                Ok(journal::Run { first_block: first, len_blocks })
            }
            Run::Hole { .. } => Err(Error::Corrupt { what: "journal: hole", at: u64::from(logical) }),
        };
        Ok((geometry, map))
    }
}

/// As much scratch as its share of the kernel's memory allows, less where so much cannot be wired.
fn scratch(vm: &Arc<Vm>) -> Result<WiredRun> {
    const FRAMES_MIN: u32 = MIN_SCRATCH_BYTES.div_ceil(PAGE_SIZE) as u32;
    let mut frames = (vm.plan().frames / SCRATCH_SHARE).clamp(FRAMES_MIN, SCRATCH_FRAMES_MAX);
    loop {
        match WiredRun::buffer(vm, frames, "journal recovery") {
            Err(Error::NoMemory { .. }) if frames > FRAMES_MIN => frames = (frames / 2).max(FRAMES_MIN),
            result => return result,
        }
    }
}
