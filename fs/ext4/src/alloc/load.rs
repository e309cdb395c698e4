//! Bitmaps on the device: verified when their page is first seen, made when they were never written, changed.
//!
//! Who calls it: `blocks`, `inodes`. Whom it calls: `bitmap`, `descriptor`, `zone`, `transaction`.
//!
//! LO-1. A bitmap that was verified says the zones of its group in use, and as many bits free as the descriptor does; so no zone is ever
//! handed out, and a count never wraps.
//! LO-2. A bitmap that was never written is made in a buffer on the stack to be searched, and on the device when a bit of it changes:
//! looking changes nothing.
//!
//! Memory: one page pinned; a block on the stack for LO-2.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::bitmap::{self, To, bytes_of, count_free, first_free, first_used};
use super::descriptor::{Descriptor, Map};
use crate::block::{UNIT_SHIFT, within_page};
use crate::checksum::crc32c;
use crate::transaction::Handle;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{PAGE_SIZE, PageRef};

/// A bitmap in a page.
pub(super) struct Loaded<'r> {
    page: PageRef<'r>,
    within: usize,
    len: usize,
}

impl Loaded<'_> {
    /// Its bytes, a block of them.
    pub fn bytes(&self) -> &[u8] {
        self.page.get(self.within..).and_then(|bytes| bytes.get(..self.len)).unwrap_or_default()
    }
}

impl Handle<'_> {
    /// Has `look` look at a bitmap.
    ///
    /// # Errors
    /// As [`Handle::load_bitmap`], and what `look` gives.
    pub(super) fn look_at_bitmap<T>(
        &self,
        descriptor: &Descriptor,
        map: Map,
        look: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        if descriptor.is_uninit(&self.fs.sb, map) {
            return self.look_at_made_bitmap(descriptor, map, look);
        }
        look(self.load_bitmap(descriptor, map)?.bytes())
    }

    /// For bitmaps that were never written (LO-2); a function of its own for the sake of the stack.
    #[inline(never)]
    fn look_at_made_bitmap<T>(
        &self,
        descriptor: &Descriptor,
        map: Map,
        look: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let mut buffer = [0; PAGE_SIZE];
        look(self.make_bitmap(descriptor, map, &mut buffer)?)
    }

    /// A bitmap that is on the device, verified.
    ///
    /// # Errors
    /// `Checksum`, `Corrupt` (at: the group); `Io`.
    fn load_bitmap(&self, descriptor: &Descriptor, map: Map) -> Result<Loaded<'_>> {
        let fs = self.fs;
        let block = descriptor.bitmap(map);
        let page = fs.block_page(self.r, block, 0)?;
        let len = fs.sb.block_size as usize;
        let within = within_page(block << fs.sb.block_log);
        let loaded = Loaded { page, within, len };
        let note = (within >> UNIT_SHIFT) as u32;
        if !loaded.page.is_checked(note) {
            self.verify_bitmap(descriptor, map, loaded.bytes())?;
            loaded.page.set_checked(note);
        }
        Ok(loaded)
    }

    /// See LO-1.
    fn verify_bitmap(&self, descriptor: &Descriptor, map: Map, bytes: &[u8]) -> Result<()> {
        let sb = &self.fs.sb;
        let at = u64::from(descriptor.group);
        if let Some(sum) = self.bitmap_checksum(map, bytes)
            && !descriptor.is_checksum(sb, map, sum)
        {
            return Err(Error::Checksum { what: map.name(), at });
        }
        let bits = map.bits(sb, descriptor.group);
        if count_free(bytes, bits) != descriptor.free(map) {
            let what = match map {
                Map::Blocks => "block bitmap: free blocks are not as many as the descriptor says",
                Map::Inodes => "inode bitmap: free inodes are not as many as the descriptor says",
            };
            return Err(Error::Corrupt { what, at });
        }
        match map {
            Map::Blocks => self.zones(descriptor.group, &mut |zone| {
                let bits = self.bits_of(&zone);
                if first_free(bytes, bits.start, bits.end) < bits.end {
                    return Err(Error::Corrupt { what: "block bitmap: metadata are said to be free", at });
                }
                Ok(())
            }),
            Map::Inodes => {
                let used = sb.inodes_per_group.saturating_sub(descriptor.unused_inodes(sb));
                if first_used(bytes, used, bits) < bits {
                    return Err(Error::Corrupt {
                        what: "inode bitmap: an unused inode is said to be used",
                        at,
                    });
                }
                Ok(())
            }
        }
    }

    /// Clusters of the blocks `blocks` of a group.
    pub(super) fn bits_of(&self, blocks: &Range<u32>) -> Range<u32> {
        let log = self.fs.sb.cluster_log;
        blocks.start >> log..blocks.end.div_ceil(1 << log)
    }

    fn bitmap_checksum(&self, map: Map, bytes: &[u8]) -> Option<u32> {
        let sb = &self.fs.sb;
        let covered = bytes.get(..(map.covered_bits(sb) / 8) as usize).unwrap_or(bytes);
        sb.features.has_metadata_csum().then(|| crc32c(sb.csum_seed, covered))
    }

    /// Makes a bitmap that was never written in `buffer`: what follows from the geometry.
    fn make_bitmap<'b>(
        &self,
        descriptor: &Descriptor,
        map: Map,
        buffer: &'b mut [u8; PAGE_SIZE],
    ) -> Result<&'b [u8]> {
        let sb = &self.fs.sb;
        let at = u64::from(descriptor.group);
        let bytes = buffer.get_mut(..sb.block_size as usize).unwrap_or_default();
        let bits = map.bits(sb, descriptor.group);
        bitmap::change(bytes, bits..sb.block_size.saturating_mul(8), To::Used);
        if map == Map::Blocks {
            self.zones(descriptor.group, &mut |zone| {
                bitmap::change(bytes, self.bits_of(&zone), To::Used);
                Ok(())
            })?;
        }
        if count_free(bytes, bits) != descriptor.free(map) {
            return Err(Error::Corrupt { what: "group descriptor: free count of what was never used", at });
        }
        Ok(bytes)
    }

    /// Changes `bits` of a bitmap, all of which are the opposite, and what the descriptor says of it. The descriptor is not put.
    ///
    /// # Errors
    /// As [`Handle::load_bitmap`], [`Handle::edit`].
    pub(super) fn change_bits(
        &mut self,
        descriptor: &mut Descriptor,
        map: Map,
        bits: Range<u32>,
        to: To,
    ) -> Result<()> {
        let count = bits.end.saturating_sub(bits.start);
        let free = descriptor.free(map);
        let sum = if descriptor.is_uninit(&self.fs.sb, map) {
            self.create_changed_bitmap(descriptor, map, bits, to)?
        } else {
            self.edit_changed_bitmap(descriptor, map, bits, to)?
        };
        descriptor.set_init(map);
        if let Some(sum) = sum {
            descriptor.set_checksum(map, sum);
        }
        descriptor.set_free(
            map,
            match to {
                To::Used => free.saturating_sub(count),
                To::Free => free.saturating_add(count),
            },
        );
        Ok(())
    }

    fn edit_changed_bitmap(
        &mut self,
        descriptor: &Descriptor,
        map: Map,
        bits: Range<u32>,
        to: To,
    ) -> Result<Option<u32>> {
        let sb = &self.fs.sb;
        let covered = (map.covered_bits(sb) / 8) as usize;
        let has_sum = sb.features.has_metadata_csum();
        self.edit(descriptor.bitmap(map), &[bytes_of(&bits)], |bytes| {
            bitmap::change(bytes, bits, to);
            has_sum.then(|| crc32c(sb.csum_seed, bytes.get(..covered).unwrap_or(bytes)))
        })
    }

    /// The first change of a bitmap that was never written (LO-2); a function of its own for the sake of the stack.
    #[inline(never)]
    fn create_changed_bitmap(
        &mut self,
        descriptor: &Descriptor,
        map: Map,
        bits: Range<u32>,
        to: To,
    ) -> Result<Option<u32>> {
        let mut buffer = [0; PAGE_SIZE];
        self.make_bitmap(descriptor, map, &mut buffer)?;
        bitmap::change(&mut buffer, bits, to);
        let len = self.fs.sb.block_size as usize;
        let made = buffer.get(..len).unwrap_or_default();
        self.create_block(descriptor.bitmap(map), |bytes| bytes.copy_from_slice(made))?;
        Ok(self.bitmap_checksum(map, made))
    }
}
