//! Partition tables: GPT, and MBR with logical partitions.
//!
//! Who calls it: front ends, to list partitions and to open `image@2:`. Whom it calls: the device. It uses the heap, as front
//! ends may; what it takes is bounded by [`MAX_PARTITIONS`] and 4 MiB, whatever the image says.
//!
//! Where to look, in order: a GPT whose header is in the second sector, of 512 or of 4096 bytes; if the first sector says
//! that there is one and it is broken, its backup in the last sector; a MBR. A boot sector that is not a table
//! (of a FAT or NTFS without partitions) is told by its entries, which then make no sense.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod gpt;
mod guid;
mod mbr;
mod types;

use crate::{BlockDevice, Slice};
use rumpcap_host::{Error, Result};
use std::sync::Arc;

/// Partitions read of one table; others are left out. A GPT usually has room for 128, Linux names up to 256.
pub const MAX_PARTITIONS: usize = 1024;

/// What a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// GUID partition table.
    Gpt,
    /// Master boot record, with or without logical partitions.
    Mbr,
}

impl Scheme {
    /// The name that sfdisk gives it.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Gpt => "gpt",
            Scheme::Mbr => "dos",
        }
    }
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is.
    pub scheme: Scheme,
    /// Bytes of the sectors that it counts in.
    pub sector_bytes: u32,
    /// Identifier of the disk: a GUID, or `0x` and eight digits.
    pub id: String,
    /// Whether it was read from the backup because the primary is broken.
    pub is_backup: bool,
    /// The partitions in use, by number.
    pub partitions: Vec<Partition>,
}

/// The type of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionType {
    /// Of a GPT: a GUID in its usual spelling, upper case.
    Guid(String),
    /// Of a MBR.
    Byte(u8),
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Number, from 1; from 5 for logical partitions of a MBR. Numbers may be missing.
    pub number: u32,
    /// First byte on the device.
    pub offset: u64,
    /// Bytes. May pass the end of a device that was cut.
    pub len_bytes: u64,
    /// The type.
    pub kind: PartitionType,
    /// Its own identifier: a GUID, or of a MBR the disk's and the number.
    pub id: String,
    /// Its name, empty if it has none; of a MBR always.
    pub name: String,
    /// Whether it is marked as the one to boot.
    pub is_bootable: bool,
}

impl Partition {
    /// What its type is called, where it is a common one.
    pub fn type_name(&self) -> Option<&'static str> {
        types::name(&self.kind)
    }

    /// Its bytes as a device; what there is of them where the device was cut.
    ///
    /// # Errors
    /// `ShortDevice` when it begins past the end.
    pub fn open(&self, device: Arc<dyn BlockDevice>) -> Result<Slice> {
        Slice::clipped(device, self.offset, self.len_bytes)
    }
}

impl Table {
    /// The partition with this number.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }
}

/// Reads the partition table of a device; `None` if it has none.
///
/// A MBR does not tell the size of its sectors: 512 bytes are assumed. See [`table_in_sectors`].
///
/// # Errors
/// `Corrupt` or `Checksum` for a GPT of which both copies are broken; `Io`.
///
/// ```no_run
/// use rumpcap_block::{FileDevice, partition};
/// use std::sync::Arc;
///
/// let disk = Arc::new(FileDevice::open("disk.img".as_ref())?);
/// if let Some(table) = partition::table(&*disk)? {
///     for partition in &table.partitions {
///         println!("{}: {} bytes at {}", partition.number, partition.len_bytes, partition.offset);
///     }
///     let second = table.partition(2).map(|partition| partition.open(disk.clone()));
/// }
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub fn table(device: &dyn BlockDevice) -> Result<Option<Table>> {
    table_in_sectors(device, 512)
}

/// As [`table`], for a disk whose sectors are known: those that a MBR counts in. A GPT tells its own.
///
/// # Errors
/// As [`table`]; `InvalidInput` for a size that is no power of two from 512 to 4096.
pub fn table_in_sectors(device: &dyn BlockDevice, sector_bytes: u32) -> Result<Option<Table>> {
    if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
        return Err(Error::InvalidInput { what: "sector size" });
    }
    let mbr = mbr::BootRecord::read(device, 0)?;
    let is_protective = mbr.as_ref().is_some_and(mbr::BootRecord::is_protective);
    if let Some(table) = gpt::read(device, is_protective)? {
        return Ok(Some(table));
    }
    match mbr {
        Some(mbr) => mbr.table(device, sector_bytes),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
