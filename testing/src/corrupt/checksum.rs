//! Makes the checksums of damaged structures right again, so that what is behind them is reached.
//!
//! Source: "ext4 Data Structures and Algorithms" and "Journal (jbd2)" in the kernel's documentation. That it is right is
//! shown by a test: mending an undamaged image changes nothing.

use super::structures::{u16_at, u32_at};
use super::{DamagedImage, Geometry, Place, Structure};

/// CRC32C as ext4 has it: without the inversions at both ends.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC16 (polynomial 0x8005, reflected) as group descriptors have it.
fn crc16(mut crc: u16, bytes: &[u8]) -> u16 {
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ 0xa001 } else { crc >> 1 };
        }
    }
    crc
}

/// Makes the checksum of the structure at `place` right.
pub fn mend(image: &mut DamagedImage, place: &Place, geometry: &Geometry) {
    let mut bytes = image.get(place.offset, place.len);
    let before = bytes.clone();
    match place.structure {
        Structure::SuperBlock if geometry.metadata_csum() => {
            let sum = crc32c(!0, &bytes[..0x3fc]);
            bytes[0x3fc..0x400].copy_from_slice(&sum.to_le_bytes());
        }
        Structure::GroupDescriptor => descriptor(&mut bytes, place.owner, geometry),
        Structure::JournalBlock => journal(image, &mut bytes, geometry),
        _ if !geometry.metadata_csum() => {}
        Structure::Inode => inode(&mut bytes, place.owner, geometry),
        Structure::ExtentBlock => extents(&mut bytes, inode_seed(image, place.owner, geometry)),
        Structure::DirectoryBlock => directory(&mut bytes, inode_seed(image, place.owner, geometry)),
        Structure::IndexBlock => index(&mut bytes, inode_seed(image, place.owner, geometry)),
        Structure::AttributeBlock => {
            let block = (place.offset / geometry.block) as u64;
            bytes[0x10..0x14].fill(0);
            let sum = crc32c(crc32c(geometry.seed, &block.to_le_bytes()), &bytes);
            bytes[0x10..0x14].copy_from_slice(&sum.to_le_bytes());
        }
        _ => {}
    }
    if bytes != before {
        image.put(place.offset, &bytes);
    }
}

fn descriptor(bytes: &mut [u8], group: u32, geometry: &Geometry) {
    let number = group.to_le_bytes();
    if geometry.metadata_csum() {
        bytes[0x1e..0x20].fill(0);
        let sum = crc32c(crc32c(geometry.seed, &number), bytes);
        bytes[0x1e..0x20].copy_from_slice(&sum.to_le_bytes()[..2]);
    } else if geometry.gdt_csum() {
        let sum = crc16(crc16(crc16(!0, &geometry.uuid), &number), &bytes[..0x1e]);
        let sum = crc16(sum, &bytes[0x20..]);
        bytes[0x1e..0x20].copy_from_slice(&sum.to_le_bytes());
    }
}

fn inode(bytes: &mut [u8], ino: u32, geometry: &Geometry) {
    let has_upper = bytes.len() > 128 && u16_at(bytes, 0x80) >= 4;
    bytes[0x7c..0x7e].fill(0);
    if has_upper {
        bytes[0x82..0x84].fill(0);
    }
    let seed = crc32c(crc32c(geometry.seed, &ino.to_le_bytes()), &bytes[0x64..0x68]);
    let sum = crc32c(seed, bytes).to_le_bytes();
    bytes[0x7c..0x7e].copy_from_slice(&sum[..2]);
    if has_upper {
        bytes[0x82..0x84].copy_from_slice(&sum[2..]);
    }
}

/// What checksums of an inode's blocks begin with.
fn inode_seed(image: &DamagedImage, ino: u32, geometry: &Geometry) -> u32 {
    let at = geometry.inode_at(image.base(), ino);
    let generation = image.get(at + 0x64, 4);
    crc32c(crc32c(geometry.seed, &ino.to_le_bytes()), &generation)
}

fn extents(bytes: &mut [u8], seed: u32) {
    let tail = 12 + 12 * usize::from(u16_at(bytes, 4));
    if tail + 4 <= bytes.len() {
        let sum = crc32c(seed, &bytes[..tail]);
        bytes[tail..tail + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

fn directory(bytes: &mut [u8], seed: u32) {
    let tail = bytes.len() - 12;
    let sum = crc32c(seed, &bytes[..tail]);
    bytes[tail + 8..].copy_from_slice(&sum.to_le_bytes());
}

/// The root of an index keeps limit and count behind `.`, `..` and 8 bytes of its own; other nodes behind one entry.
fn index(bytes: &mut [u8], seed: u32) {
    let counts = if u16_at(bytes, 4) == 12 { 32 } else { 8 };
    let (limit, count) = (usize::from(u16_at(bytes, counts)), usize::from(u16_at(bytes, counts + 2)));
    let (end, tail) = (counts + 8 * count, counts + 8 * limit);
    if end <= bytes.len() && tail + 8 <= bytes.len() {
        let sum = crc32c(seed, &bytes[..end]);
        let sum = crc32c(crc32c(sum, &bytes[tail..tail + 4]), &[0; 4]);
        bytes[tail + 4..tail + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The journal has its own UUID and features, in its super block.
fn journal(image: &DamagedImage, bytes: &mut [u8], geometry: &Geometry) {
    let Some(super_block) = journal_super_block(image, geometry) else { return };
    // Checksums of version 2 and 3.
    if u32::from_be_bytes([super_block[0x28], super_block[0x29], super_block[0x2a], super_block[0x2b]]) & 0x18
        == 0
    {
        return;
    }
    let seed = crc32c(!0, &super_block[0x30..0x40]);
    let len = bytes.len();
    let (at, range, seed) = match bytes[7] {
        3 | 4 => (0xfc, 0x400.min(len), !0),
        1 | 5 => (len - 4, len, seed),
        2 => (0x10, len, seed),
        _ => return,
    };
    bytes[at..at + 4].fill(0);
    let sum = crc32c(seed, &bytes[..range]);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}

fn journal_super_block(image: &DamagedImage, geometry: &Geometry) -> Option<Vec<u8>> {
    let at = geometry.inode_at(image.base(), 8);
    let inode = image.get(at, geometry.inode);
    let first = if u32_at(&inode, 0x20) & 0x8_0000 != 0 {
        u32_at(&inode, 0x28 + 12 + 8)
    } else {
        u32_at(&inode, 0x28)
    };
    let block = image.get(first as usize * geometry.block, geometry.block);
    (block.len() == geometry.block).then_some(block)
}
