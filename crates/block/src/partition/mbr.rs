//! Master boot records: four entries, of which one may be an extended partition that holds a chain of logical ones.
//!
//! Each link of the chain is a sector like the first: its data entry counts from that sector, the entry for the next link
//! from the start of the extended partition. Logical partitions are numbered from 5 in the order of the chain, as
//! Linux does.
//!
//! Bounds: [`MAX_LINKS`] links, so that a chain that loops ends.

use super::{Partition, PartitionType, Scheme, Table};
use crate::BlockDevice;
use rumpcap_host::{Error, Result};
use std::io::IoSliceMut;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const BOOT_RECORD_BYTES: usize = 512;
const SIGNATURE: u16 = 0xAA55;
const PROTECTIVE: u8 = 0xEE;
/// CHS, LBA and Linux's own.
const EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];
/// Links followed: as many partitions as Linux names on one disk.
const MAX_LINKS: u32 = 256;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Entry {
    boot: u8,
    first_chs: [u8; 3],
    kind: u8,
    last_chs: [u8; 3],
    first_sector: U32,
    sectors: U32,
}

impl Entry {
    fn is_used(&self) -> bool {
        self.kind != 0 && self.sectors.get() != 0
    }

    fn is_extended(&self) -> bool {
        self.is_used() && EXTENDED.contains(&self.kind)
    }
}

/// The first sector of a disk or of a link.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootRecord {
    code: [u8; 440],
    disk: U32,
    reserved: U16,
    entries: [Entry; 4],
    signature: U16,
}

const _: () = assert!(size_of::<BootRecord>() == BOOT_RECORD_BYTES);

impl BootRecord {
    /// The boot record at byte `at`; `None` if there is none.
    pub(super) fn read(device: &dyn BlockDevice, at: u64) -> Result<Option<BootRecord>> {
        let mut bytes = [0; BOOT_RECORD_BYTES];
        match device.read_at(at, &mut [IoSliceMut::new(&mut bytes)]) {
            Err(Error::ShortDevice { .. }) => return Ok(None),
            read => read?,
        }
        let record: BootRecord = zerocopy::transmute!(bytes);
        Ok(Some(record).filter(|record| record.signature.get() == SIGNATURE))
    }

    /// Whether it says that the disk has a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == PROTECTIVE)
    }

    /// Whether its entries can be a table: code of a boot sector in their place cannot, but by rare chance.
    fn is_table(&self) -> bool {
        let makes_sense = |entry: &Entry| {
            let is_empty = !entry.is_used();
            entry.boot & 0x7F == 0 && (is_empty || entry.first_sector.get() != 0)
        };
        self.entries.iter().all(makes_sense) && self.entries.iter().any(Entry::is_used)
    }

    /// The table; `None` if it is a boot sector of another kind.
    pub(super) fn table(&self, device: &dyn BlockDevice, sector_bytes: u32) -> Result<Option<Table>> {
        if !self.is_table() {
            return Ok(None);
        }
        let mut reader = Reader { device, sector_bytes, disk: self.disk.get(), partitions: Vec::new() };
        for (number, entry) in (1..).zip(&self.entries).filter(|(_, entry)| entry.is_used()) {
            reader.push(number, entry, 0);
        }
        let extended = self.entries.iter().filter(|entry| entry.is_extended());
        let mut number = 5;
        for entry in extended {
            number = reader.chain(entry.first_sector.get(), number)?;
        }
        let id = format!("{:#010x}", self.disk);
        let partitions = reader.partitions;
        Ok(Some(Table { scheme: Scheme::Mbr, sector_bytes, id, is_backup: false, partitions }))
    }
}

struct Reader<'d> {
    device: &'d dyn BlockDevice,
    sector_bytes: u32,
    disk: u32,
    partitions: Vec<Partition>,
}

impl Reader<'_> {
    fn push(&mut self, number: u32, entry: &Entry, relative_to: u32) {
        let bytes = |sectors: u64| sectors.saturating_mul(u64::from(self.sector_bytes));
        let first = u64::from(relative_to).saturating_add(u64::from(entry.first_sector.get()));
        self.partitions.push(Partition {
            number,
            offset: bytes(first),
            len_bytes: bytes(entry.sectors.get().into()),
            kind: PartitionType::Byte(entry.kind),
            id: format!("{:08x}-{number:02x}", self.disk),
            name: String::new(),
            is_bootable: entry.boot & 0x80 != 0,
        });
    }

    /// Follows the chain of the extended partition that begins at sector `start`, with numbers from `number` on; the
    /// number behind its last.
    fn chain(&mut self, start: u32, mut number: u32) -> Result<u32> {
        let mut link = start;
        for _ in 0..MAX_LINKS {
            let at = u64::from(link).saturating_mul(u64::from(self.sector_bytes));
            // A chain that leaves the device or its format ends there; what it has given so far is kept.
            let Some(record) = BootRecord::read(self.device, at)? else { break };
            for entry in record.entries.iter().filter(|entry| entry.is_used() && !entry.is_extended()) {
                if number >= MAX_LINKS {
                    return Ok(number);
                }
                self.push(number, entry, link);
                number = number.saturating_add(1);
            }
            let Some(next) = record.entries.iter().find(|entry| entry.is_extended()) else { break };
            link = start.saturating_add(next.first_sector.get());
            if link == start {
                break;
            }
        }
        Ok(number)
    }
}
