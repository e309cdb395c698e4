//! The changes: bits, words, known fields set to values at the edges, loops, blocks wiped or mixed up.

use super::structures::u16_at;
use super::{Base, DamagedImage, Place, Structure};
use crate::seed::Random;

/// A field: byte within the structure, and bytes.
type Field = (usize, usize);

/// Makes one change in the structure at `place`; gives it in words.
pub fn edit(image: &mut DamagedImage, place: &Place, base: &Base, random: &mut Random) -> String {
    let done = match random.below(12) {
        0 => flip(image, place, random),
        1 => random_word(image, place, random),
        2 => wipe(image, place, random),
        3 => swap_in(image, place, base, random),
        4 | 5 => edge_word(image, place, base, random),
        _ => known_field(image, place, base, random),
    };
    format!("{:?} of {} at {}: {done}", place.structure, place.owner, place.offset)
}

fn flip(image: &mut DamagedImage, place: &Place, random: &mut Random) -> String {
    let mut done = "flipped".to_owned();
    for _ in 0..=random.below(4) {
        let (at, bit) = (random.below(place.len as u64) as usize, random.below(8));
        let byte = image.get(place.offset + at, 1)[0] ^ (1 << bit);
        image.put(place.offset + at, &[byte]);
        done += &format!(" {at:#x}.{bit}");
    }
    done
}

fn random_word(image: &mut DamagedImage, place: &Place, random: &mut Random) -> String {
    let width = 1 << random.below(4);
    let at = random.below((place.len / width) as u64) as usize * width;
    let bytes = random.bytes(width);
    image.put(place.offset + at, &bytes);
    format!("{at:#x} = {bytes:02x?}")
}

fn wipe(image: &mut DamagedImage, place: &Place, random: &mut Random) -> String {
    let from = if random.one_in(2) { 0 } else { random.below(place.len as u64) as usize };
    let len = place.len - from;
    let fill = random.below(3);
    let bytes = match fill {
        0 => vec![0; len],
        1 => vec![0xff; len],
        _ => random.bytes(len),
    };
    image.put(place.offset + from, &bytes);
    format!("from {from:#x} on filled with {}", ["zeros", "ones", "noise"][fill as usize])
}

/// Another structure of the kind, or of any, in its place.
fn swap_in(image: &mut DamagedImage, place: &Place, base: &Base, random: &mut Random) -> String {
    let same = !random.one_in(4);
    let fits = |other: &&Place| !same || other.structure == place.structure;
    let others: Vec<&Place> = base.places().iter().filter(fits).collect();
    let other = **random.pick(&others);
    let bytes = image.get(other.offset, place.len.min(other.len));
    image.put(place.offset, &bytes);
    format!("replaced by {:?} of {} at {}", other.structure, other.owner, other.offset)
}

/// Values at which limits are tested, and block and inode numbers that lead in circles.
fn edge_value(place: &Place, base: &Base, random: &mut Random) -> u64 {
    let geometry = base.geometry();
    let other = random.pick(base.places());
    *random.pick(&[
        0,
        1,
        2,
        8,
        11,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0x8001,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        u64::MAX,
        geometry.block as u64,
        geometry.block as u64 - 12,
        geometry.block as u64 - 4,
        geometry.blocks - 1,
        geometry.blocks,
        geometry.blocks + 1,
        u64::from(geometry.inodes_per_group),
        u64::from(geometry.inodes_per_group) * u64::from(geometry.groups),
        u64::from(geometry.inodes_per_group) * u64::from(geometry.groups) + 1,
        u64::from(place.owner),
        u64::from(other.owner),
        (place.offset / geometry.block) as u64,
        (other.offset / geometry.block) as u64,
    ])
}

fn set(image: &mut DamagedImage, place: &Place, field: Field, value: u64) -> String {
    let mut bytes = value.to_le_bytes()[..field.1].to_vec();
    if place.structure == Structure::JournalBlock {
        bytes.reverse();
    }
    image.put(place.offset + field.0, &bytes);
    format!("{:#x} ({} bytes) = {value:#x}", field.0, field.1)
}

fn edge_word(image: &mut DamagedImage, place: &Place, base: &Base, random: &mut Random) -> String {
    let width = *random.pick(&[2, 4, 4, 8]);
    let at = random.below((place.len / width) as u64) as usize * width;
    let value = edge_value(place, base, random);
    set(image, place, (at, width), value)
}

/// A field that is known to matter: to an edge, or by a little up or down.
fn known_field(image: &mut DamagedImage, place: &Place, base: &Base, random: &mut Random) -> String {
    let fields = fields(image, place);
    let field = *random.pick(&fields);
    if field.0 + field.1 > place.len {
        return flip(image, place, random);
    }
    let mut old = [0; 8];
    old[..field.1].copy_from_slice(&image.get(place.offset + field.0, field.1));
    if place.structure == Structure::JournalBlock {
        old[..field.1].reverse();
    }
    let old = u64::from_le_bytes(old);
    let value = match random.below(6) {
        0 => old.wrapping_add(1 + random.below(8)),
        1 => old.wrapping_sub(1 + random.below(8)),
        2 => old ^ (1 << random.below(8 * field.1 as u64)),
        _ => edge_value(place, base, random),
    };
    set(image, place, field, value)
}

const SUPER_BLOCK: &[Field] = &[
    (0x0, 4),
    (0x4, 4),
    (0x8, 4),
    (0xc, 4),
    (0x10, 4),
    (0x14, 4),
    (0x18, 4),
    (0x1c, 4),
    (0x20, 4),
    (0x24, 4),
    (0x28, 4),
    (0x3a, 2),
    (0x4c, 4),
    (0x54, 4),
    (0x58, 2),
    (0x5c, 4),
    (0x60, 4),
    (0x64, 4),
    (0xce, 2),
    (0xe0, 4),
    (0xe8, 4),
    (0xfc, 1),
    (0xfe, 2),
    (0x104, 4),
    (0x10c, 4),
    (0x150, 4),
    (0x15c, 2),
    (0x15e, 2),
    (0x160, 4),
    (0x174, 1),
    (0x175, 1),
    (0x24c, 4),
    (0x254, 4),
    (0x270, 4),
    (0x27c, 2),
    (0x27e, 2),
    (0x280, 4),
];
const DESCRIPTOR: &[Field] =
    &[(0, 4), (4, 4), (8, 4), (0xc, 2), (0xe, 2), (0x12, 2), (0x1c, 2), (0x20, 4), (0x28, 4)];
const INODE: &[Field] = &[
    (0x0, 2),
    (0x4, 4),
    (0x6c, 4),
    (0x1a, 2),
    (0x1c, 4),
    (0x20, 4),
    (0x28, 2),
    (0x2a, 2),
    (0x2c, 2),
    (0x2e, 2),
    (0x34, 4),
    (0x38, 2),
    (0x3a, 2),
    (0x3c, 4),
    (0x40, 4),
    (0x44, 2),
    (0x48, 4),
    (0x58, 4),
    (0x5c, 4),
    (0x60, 4),
    (0x64, 4),
    (0x68, 4),
    (0x74, 2),
    (0x76, 2),
    (0x80, 2),
    (0xa0, 4),
    (0xa4, 1),
    (0xa5, 1),
    (0xa6, 2),
    (0xa8, 4),
    (0xac, 4),
];
const INDEX: &[Field] = &[
    (0, 4),
    (4, 2),
    (8, 2),
    (10, 2),
    (0x10, 2),
    (0x12, 2),
    (0x18, 4),
    (0x1c, 1),
    (0x1d, 1),
    (0x1e, 1),
    (0x1f, 1),
    (0x20, 2),
    (0x22, 2),
    (0x24, 4),
    (0x28, 4),
    (0x2c, 4),
    (0x30, 4),
    (0x34, 4),
];
const ATTRIBUTES: &[Field] = &[
    (0, 4),
    (4, 4),
    (8, 4),
    (0xc, 4),
    (0x20, 1),
    (0x21, 1),
    (0x22, 2),
    (0x24, 4),
    (0x28, 4),
    (0x2c, 4),
    (0x34, 1),
    (0x36, 2),
    (0x38, 4),
    (0x3c, 4),
];
const JOURNAL: &[Field] = &[
    (0, 4),
    (4, 4),
    (8, 4),
    (0xc, 4),
    (0x10, 4),
    (0x14, 4),
    (0x18, 4),
    (0x1c, 4),
    (0x20, 4),
    (0x24, 4),
    (0x28, 4),
    (0x2c, 4),
    (0x50, 1),
    (0x54, 4),
    (0x58, 4),
];

fn fields(image: &DamagedImage, place: &Place) -> Vec<Field> {
    match place.structure {
        Structure::SuperBlock => SUPER_BLOCK.to_vec(),
        Structure::GroupDescriptor => DESCRIPTOR.to_vec(),
        Structure::Inode => INODE.to_vec(),
        Structure::IndexBlock => INDEX.to_vec(),
        Structure::AttributeBlock => ATTRIBUTES.to_vec(),
        Structure::JournalBlock => JOURNAL.to_vec(),
        Structure::ExtentBlock => {
            (0..6).flat_map(extent_entry).chain([(0, 2), (2, 2), (4, 2), (6, 2)]).collect()
        }
        Structure::IndirectBlock => (0..place.len.min(256) / 4).map(|n| (4 * n, 4)).collect(),
        Structure::Bitmap => vec![(0, 8), (8, 8)],
        Structure::DirectoryBlock => directory_fields(image, place),
    }
}

/// Logical block, length, upper and lower half of the block on the device; as an index, block and upper half.
fn extent_entry(n: usize) -> [Field; 4] {
    let at = 12 + 12 * n;
    [(at, 4), (at + 4, 2), (at + 6, 2), (at + 8, 4)]
}

/// Inode, length of the entry, length of the name, type, and the name's first byte, of every entry.
fn directory_fields(image: &DamagedImage, place: &Place) -> Vec<Field> {
    let bytes = image.get(place.offset, place.len);
    let (mut fields, mut at) = (vec![(0, 4)], 0);
    while at + 12 <= bytes.len() {
        fields.extend([(at, 4), (at + 4, 2), (at + 6, 1), (at + 7, 1), (at + 8, 1)]);
        at += usize::from(u16_at(&bytes, at + 4)).max(12);
    }
    fields
}
