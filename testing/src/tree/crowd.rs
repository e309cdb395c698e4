//! Files whose every byte is known without keeping it: for threads in great number, each of which checks what it reads.
//!
//! Who calls it: [`crate::images`], to make the files; tests, to know what is in them.

use super::make_directory;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the large file. Most of it is holes.
pub const LARGE_BYTES: u64 = 1 << 30;
/// Where the large file is.
pub const LARGE_PATH: &str = "/large";
/// Files of a few pages each.
pub const OWN_FILES: u64 = 1000;

/// Islands of data in the large file: one in each stretch of so many bytes, 128 of them, more than an inode has room for.
const STRETCH_BYTES: u64 = 8 << 20;
const ISLAND_BYTES: u64 = 64 << 10;

/// A byte that neither is on a block's boundary nor is the same in each stretch.
fn island(stretch: u64) -> core::ops::Range<u64> {
    let start = stretch * STRETCH_BYTES + stretch * 1001;
    start..start + ISLAND_BYTES
}

/// A place of the large file that is in an island or near it.
pub fn near_an_island(random: u64) -> u64 {
    let island = island(random % (LARGE_BYTES / STRETCH_BYTES));
    island.start.saturating_sub(1000) + (random >> 32) % (ISLAND_BYTES + 2000)
}

/// Where the file with this number, below [`OWN_FILES`], is.
pub fn own_path(number: u64) -> PathBuf {
    PathBuf::from(format!("/own/{number}"))
}

/// Bytes of the file with this number: from a part of a page to a few.
pub fn own_bytes(number: u64) -> u64 {
    2000 + number % 7 * 3000
}

/// What the file with this number holds from `offset` on.
pub fn own_content(number: u64, offset: u64, buf: &mut [u8]) {
    fill(number + 1, offset, buf);
}

/// What the large file holds from `offset` on.
pub fn large_content(offset: u64, buf: &mut [u8]) {
    let end = offset + buf.len() as u64;
    fill(0, offset, buf);
    for (at, byte) in (offset..end).zip(buf) {
        if !island(at / STRETCH_BYTES).contains(&at) {
            *byte = 0;
        }
    }
}

/// Bytes that depend on the file and their place in it.
fn fill(file: u64, offset: u64, buf: &mut [u8]) {
    for (at, byte) in (offset..).zip(buf) {
        let word = (at / 8 + (file << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *byte = (word ^ (word >> 29)).to_le_bytes()[(at % 8) as usize];
    }
}

pub(super) fn make(top: &Path) {
    let large = File::create(top.join("large")).expect("a large file");
    large.set_len(LARGE_BYTES).expect("a sparse file");
    for stretch in 0..LARGE_BYTES / STRETCH_BYTES {
        let mut content = [0; ISLAND_BYTES as usize];
        fill(0, island(stretch).start, &mut content);
        large.write_all_at(&content, island(stretch).start).expect("writing an island");
    }
    make_directory(&top.join("own"));
    for number in 0..OWN_FILES {
        let mut content = vec![0; own_bytes(number) as usize];
        own_content(number, 0, &mut content);
        super::write_file(&top.join("own").join(number.to_string()), &content);
    }
}
