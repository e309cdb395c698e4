//! The journal's own super block.
//!
//! Who calls it: `check`. Whom it calls: `mapping` for where the journal begins.
//!
//! Source: the journal's documentation in the Linux kernel, `filesystems/ext4/journal`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::context::Context;
use super::finding::{Detail, Place};
use super::live;
use super::mapping;
use super::memory::Scratch;
use crate::checksum::crc32c;
use rumpcap_host::Result;

const MAGIC: u32 = 0xC03B_3998;
const VERSION_1: u32 = 3;
const VERSION_2: u32 = 4;
/// Bytes of the super block, and where its checksum is.
const BYTES: usize = 1024;
const CHECKSUM: usize = 0xFC;
/// Checksums of version 2 or 3.
const INCOMPAT_SUMS: u32 = 0x18;
const INCOMPAT_KNOWN: u32 = 0x3F;

/// Checks the journal's super block.
pub(super) fn check(cx: &mut Context<'_, '_>, scratch: &mut Scratch<'_>) -> Result<()> {
    let has_inode = cx.sb.journal_inode != 0;
    if !cx.sb.features.has_journal() {
        if has_inode {
            let place = Place::SuperBlock { group: 0 };
            cx.find(
                place,
                "names a journal, without the feature: inode",
                Detail::Number(cx.sb.journal_inode.into()),
            );
        }
        return Ok(());
    }
    if !has_inode {
        if cx.raw.journal_device.get() == 0 {
            cx.find(Place::Journal, "there is none, in spite of the feature", Detail::Nothing);
        } else {
            cx.note(Place::Journal, "is on another device, and not checked", Detail::Nothing);
        }
        return Ok(());
    }
    let Some(live) = live::one(cx, cx.sb.journal_inode, scratch.inode)? else {
        cx.find(Place::Journal, "its inode cannot be read:", Detail::Number(cx.sb.journal_inode.into()));
        return Ok(());
    };
    let Some(block) = mapping::first_block(cx, &live)? else {
        cx.find(Place::Journal, "has no first block", Detail::Nothing);
        return Ok(());
    };
    let bytes = scratch.block.get_mut(..BYTES).unwrap_or_default();
    cx.read(block, bytes)?;
    super_block(cx, bytes, live.size() >> cx.sb.block_log);
    Ok(())
}

/// The big-endian word at byte `at`.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word))
}

fn super_block(cx: &mut Context<'_, '_>, bytes: &mut [u8], blocks: u64) {
    let version = word(bytes, 4);
    if word(bytes, 0) != MAGIC || !(VERSION_1..=VERSION_2).contains(&version) {
        return cx.find(Place::Journal, "has no super block", Detail::Nothing);
    }
    let (block_size, len, first) = (word(bytes, 12), word(bytes, 16), word(bytes, 20));
    if block_size != cx.sb.block_size {
        let detail = Detail::ShouldBe { is: block_size.into(), should_be: cx.sb.block_size.into() };
        cx.find(Place::Journal, "size of its blocks", detail);
    }
    if u64::from(len) > blocks {
        cx.find(
            Place::Journal,
            "number of its blocks",
            Detail::ShouldBe { is: len.into(), should_be: blocks },
        );
    }
    if first == 0 || first >= len {
        cx.find(Place::Journal, "its first block", Detail::Is(first.into()));
    }
    if version == VERSION_1 {
        return;
    }
    let (incompat, ro_compat) = (word(bytes, 40), word(bytes, 44));
    if ro_compat != 0 {
        cx.find(Place::Journal, "unknown features, to be written:", Detail::Number(ro_compat.into()));
    }
    if incompat & !INCOMPAT_KNOWN != 0 {
        cx.find(Place::Journal, "unknown features:", Detail::Number(incompat.into()));
    }
    if incompat & INCOMPAT_SUMS != 0 {
        let stored = word(bytes, CHECKSUM);
        bytes.get_mut(CHECKSUM..).unwrap_or_default().iter_mut().take(4).for_each(|byte| *byte = 0);
        if crc32c(!0, bytes) != stored {
            cx.find(Place::Journal, "its super block has a wrong checksum", Detail::Nothing);
        }
    }
    if word(bytes, 32) != 0 {
        cx.note(Place::Journal, "an error was noted in it: errno", Detail::Number(word(bytes, 32).into()));
    }
}
