//! GUID partition tables.
//!
//! A header in the second sector, its backup in the last; each names an array of entries. Header and array have a
//! CRC-32 each. A header is believed when both match and it says where it stands.
//!
//! Source: UEFI specification 2.10, chapter 5.

use super::guid::Guid;
use super::{MAX_PARTITIONS, Partition, PartitionType, Scheme, Table};
use crate::BlockDevice;
use crc::{CRC_32_ISO_HDLC, Crc};
use rumpcap_host::{Error, Result};
use std::io::IoSliceMut;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Sector sizes in use, the more common first.
const SECTOR_SIZES: [u32; 2] = [512, 4096];
/// An array of entries larger than this is not read: a thousand times the usual size.
const MAX_ARRAY_BYTES: u64 = 4 << 20;
/// Entries may be larger than their fields.
const ENTRY_SIZES: std::ops::RangeInclusive<u32> = 128..=4096;
/// Attribute: a legacy BIOS boots from it.
const LEGACY_BOOTABLE: u64 = 4;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 8],
    revision: U32,
    header_bytes: U32,
    crc: U32,
    reserved: U32,
    own_sector: U64,
    other_sector: U64,
    first_usable: U64,
    last_usable: U64,
    disk: [u8; 16],
    entries_sector: U64,
    entries: U32,
    entry_bytes: U32,
    entries_crc: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    kind: Guid,
    id: Guid,
    first_sector: U64,
    last_sector: U64,
    attributes: U64,
    name: [U16; 36],
}

/// Reads the table, primary or backup. `None` if there is none and none is `expected`.
pub(super) fn read(device: &dyn BlockDevice, expected: bool) -> Result<Option<Table>> {
    let mut broken = None;
    for sector_bytes in SECTOR_SIZES {
        match read_at(device, sector_bytes, 1) {
            Ok(Some(table)) => return Ok(Some(table)),
            Ok(None) => {}
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    // Without a sign of a table in front, one at the end is left from an earlier use of the disk.
    if !expected && broken.is_none() {
        return Ok(None);
    }
    for sector_bytes in SECTOR_SIZES {
        let last = (device.len_bytes() >> sector_bytes.trailing_zeros()).saturating_sub(1);
        if let Ok(Some(table)) = read_at(device, sector_bytes, last) {
            return Ok(Some(Table { is_backup: true, ..table }));
        }
    }
    if expected {
        Err(broken.unwrap_or(Error::Corrupt { what: "GPT: no header", at: 512 }))
    } else {
        Ok(None)
    }
}

/// The table whose header is in `sector`; `None` if there is no header.
fn read_at(device: &dyn BlockDevice, sector_bytes: u32, sector: u64) -> Result<Option<Table>> {
    let at = sector.saturating_mul(u64::from(sector_bytes));
    let mut bytes = vec![0; sector_bytes as usize];
    match device.read_at(at, &mut [IoSliceMut::new(&mut bytes)]) {
        Err(Error::ShortDevice { .. }) => return Ok(None),
        read => read?,
    }
    let Ok((header, _)) = Header::read_from_prefix(&bytes) else { return Ok(None) };
    if header.signature != *SIGNATURE {
        return Ok(None);
    }
    check_header(&header, &bytes, sector, at)?;
    let entries = read_entries(device, &header, sector_bytes, at)?;
    let size = header.entry_bytes.get() as usize;
    let numbered = (1..).zip(entries.chunks_exact(size));
    let used = numbered.filter_map(|(number, entry)| partition(number, entry, sector_bytes));
    let id = Guid::read_from_bytes(&header.disk).map(|guid| guid.to_string()).unwrap_or_default();
    let partitions = used.take(MAX_PARTITIONS).collect();
    Ok(Some(Table { scheme: Scheme::Gpt, sector_bytes, id, is_backup: false, partitions }))
}

fn check_header(header: &Header, sector_content: &[u8], sector: u64, at: u64) -> Result<()> {
    let len = header.header_bytes.get() as usize;
    let Some(summed) = sector_content.get(..len).filter(|_| len >= size_of::<Header>()) else {
        return Err(Error::Corrupt { what: "GPT: size of the header", at });
    };
    let mut summed = summed.to_vec();
    let crc_field = core::mem::offset_of!(Header, crc);
    if let Some(field) = summed.get_mut(crc_field..crc_field.saturating_add(4)) {
        field.fill(0);
    }
    if CRC32.checksum(&summed) != header.crc.get() {
        return Err(Error::Checksum { what: "GPT: header", at });
    }
    if header.own_sector.get() != sector {
        return Err(Error::Corrupt { what: "GPT: header is not where it says", at });
    }
    if !ENTRY_SIZES.contains(&header.entry_bytes.get()) {
        return Err(Error::Corrupt { what: "GPT: size of an entry", at });
    }
    Ok(())
}

/// The bytes of all entries, checked.
fn read_entries(device: &dyn BlockDevice, header: &Header, sector_bytes: u32, at: u64) -> Result<Vec<u8>> {
    let len = u64::from(header.entries.get()).saturating_mul(u64::from(header.entry_bytes.get()));
    if len > MAX_ARRAY_BYTES {
        return Err(Error::Corrupt { what: "GPT: number of entries", at });
    }
    let mut entries = vec![0; len as usize];
    let offset = header.entries_sector.get().saturating_mul(u64::from(sector_bytes));
    device.read_at(offset, &mut [IoSliceMut::new(&mut entries)])?;
    if CRC32.checksum(&entries) != header.entries_crc.get() {
        return Err(Error::Checksum { what: "GPT: entries", at: offset });
    }
    Ok(entries)
}

/// The partition of an entry; `None` for one that is not in use, or ends before it begins.
fn partition(number: u32, entry: &[u8], sector_bytes: u32) -> Option<Partition> {
    let (entry, _) = Entry::ref_from_prefix(entry).ok()?;
    let (first, last) = (entry.first_sector.get(), entry.last_sector.get());
    if entry.kind.is_zero() {
        return None;
    }
    let sectors = last.checked_sub(first)?.checked_add(1)?;
    Some(Partition {
        number,
        offset: first.checked_mul(u64::from(sector_bytes))?,
        len_bytes: sectors.checked_mul(u64::from(sector_bytes))?,
        kind: PartitionType::Guid(entry.kind.to_string()),
        id: entry.id.to_string(),
        name: name(&entry.name),
        is_bootable: entry.attributes.get() & LEGACY_BOOTABLE != 0,
    })
}

fn name(units: &[U16]) -> String {
    let units = units.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
