//! What recovery does to the super block of the file system itself.
//!
//! A replay may bring back the super block as it was when it was last in a transaction. As a kernel does, the record of
//! errors is kept from before, the mark "needs recovery" is taken away, and an error that the journal knows of is noted.

use super::checksum::crc32c;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Byte of the device where the super block begins, whatever the block size.
const OFFSET: u64 = 1024;
const MAGIC: u16 = 0xEF53;
const STATE_ERRORS: u16 = 2;
const INCOMPAT_NEEDS_RECOVERY: u32 = 4;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// The super block of ext2, ext3 and ext4, as far as recovery looks at it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
struct Raw {
    before_magic: [u8; 0x38],
    magic: U16,
    state: U16,
    before_features: [u8; 0x60 - 0x3C],
    feature_incompat: U32,
    feature_ro_compat: U32,
    before_journal: [u8; 0xE0 - 0x68],
    journal_inode: U32,
    journal_device: U32,
    before_errors: [u8; 0x194 - 0xE8],
    /// From `s_error_count` to the end of `s_last_error_func`'s block.
    errors: [u8; 0x200 - 0x194],
    before_checksum: [u8; 0x3FC - 0x200],
    checksum: U32,
}

const _: () = assert!(size_of::<Raw>() == 1024);

/// Who keeps the super block of the file system up to date: it says there whether the journal must be replayed.
///
/// A log is only looked at where that mark is set; so it is durable before the log begins, and stays until the log
/// is empty. The caller of both methods flushes.
pub trait RecoveryMark {
    /// Sets the mark. An error that was noted in the journal, not 0, is to be noted in the super block too: it is gone
    /// from the journal after.
    ///
    /// # Errors
    /// Whatever writing the super block gives.
    fn set(&mut self, journal_errno: u32) -> Result<()>;

    /// Takes the mark away.
    ///
    /// # Errors
    /// Whatever writing the super block gives.
    fn clear(&mut self) -> Result<()>;
}

/// The mark on a device itself, for an owner that has no super block in memory.
pub struct MarkOnDevice<'a>(pub &'a dyn BlockDevice);

impl RecoveryMark for MarkOnDevice<'_> {
    fn set(&mut self, journal_errno: u32) -> Result<()> {
        let mut raw = read(self.0)?;
        raw.feature_incompat = (raw.feature_incompat.get() | INCOMPAT_NEEDS_RECOVERY).into();
        raw.note(journal_errno);
        write(self.0, raw)
    }

    fn clear(&mut self) -> Result<()> {
        let mut raw = read(self.0)?;
        raw.feature_incompat = (raw.feature_incompat.get() & !INCOMPAT_NEEDS_RECOVERY).into();
        write(self.0, raw)
    }
}

impl Raw {
    /// Notes an error of the journal, if it is one.
    fn note(&mut self, journal_errno: u32) {
        if journal_errno != 0 {
            self.state = (self.state.get() | STATE_ERRORS).into();
        }
    }
}

/// What is kept of the super block from before the replay.
pub(super) struct MountState(Raw);

impl MountState {
    /// Reads the super block.
    ///
    /// # Errors
    /// `NotAFileSystem`; `Unsupported` when the journal is on another device; `Io`, `ShortDevice`.
    pub(super) fn read(device: &dyn BlockDevice) -> Result<MountState> {
        let raw = read(device)?;
        if raw.journal_inode.get() == 0 && raw.journal_device.get() != 0 {
            return Err(Error::Unsupported { what: "external journal" });
        }
        Ok(MountState(raw))
    }

    /// Leaves the super block as that of a file system that needs no recovery.
    ///
    /// # Errors
    /// `Corrupt` when the replay put something else there; `Io`.
    pub(super) fn finish(&self, device: &dyn BlockDevice, journal_errno: u32) -> Result<()> {
        let not_there = Error::Corrupt { what: "super block in the journal", at: OFFSET };
        let mut raw = match read(device) {
            Err(Error::NotAFileSystem) => return Err(not_there),
            read => read?,
        };
        raw.errors = self.0.errors;
        raw.state = (raw.state.get() | self.0.state.get() & STATE_ERRORS).into();
        raw.note(journal_errno);
        raw.feature_incompat = (raw.feature_incompat.get() & !INCOMPAT_NEEDS_RECOVERY).into();
        write(device, raw)
    }
}

/// Writes the super block with its checksum, where it has one.
fn write(device: &dyn BlockDevice, mut raw: Raw) -> Result<()> {
    if raw.feature_ro_compat.get() & RO_COMPAT_METADATA_CSUM != 0 {
        let bytes = raw.as_bytes();
        let summed = bytes.get(..bytes.len().saturating_sub(4)).unwrap_or_default();
        raw.checksum = crc32c(!0, summed).into();
    }
    device.write_at(OFFSET, &mut [IoSlice::new(raw.as_bytes())])
}

fn read(device: &dyn BlockDevice) -> Result<Raw> {
    let mut bytes = [0; size_of::<Raw>()];
    device.read_at(OFFSET, &mut [IoSliceMut::new(&mut bytes)])?;
    let raw: Raw = zerocopy::transmute!(bytes);
    if raw.magic.get() != MAGIC {
        return Err(Error::NotAFileSystem);
    }
    Ok(raw)
}
