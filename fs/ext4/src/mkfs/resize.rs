//! The resize inode: it owns the blocks behind the descriptors, so that nothing else takes them until descriptors need them.
//!
//! Who calls it: `Maker::new`. Its map is peculiar: a doubly indirect block points to each reserved block of group 0, at the slot
//! that its number has among all descriptor blocks; each of these in turn is a block of pointers to its copies in the other groups that
//! have super blocks.
//!
//! Memory: two of the directory's blocks.

use super::inode::Attributes;
use super::maker::Maker;
use super::mapping::Root;
use rumpcap_host::Result;

/// Inode of the space for more descriptors.
const RESIZE_INODE: u32 = 7;
/// Word of the map that leads to the doubly indirect block.
const DOUBLY_INDIRECT: usize = 13;

impl Maker<'_> {
    /// Writes the inode and its blocks of pointers.
    pub(super) fn make_resize_inode(&mut self) -> Result<()> {
        let g = self.image.g;
        if !g.features.has_resize_inode() {
            return Ok(());
        }
        let slots = u64::from(g.block_size / 4);
        let doubly = self.image.space.blocks(1)?.start;
        let mut top = vec![0; g.block_size as usize].into_boxed_slice();
        let mut copies = top.clone();
        let mut blocks = 1;
        for n in 0..g.reserved_desc_blocks {
            let index = g.desc_blocks + n;
            let block = g.first_data_block + 1 + u64::from(index);
            put(&mut top, u64::from(index) % slots, block);
            let backups = (1..g.group_count).filter(|&group| g.has_super_block(group));
            let mut count = 0;
            for group in backups.take(slots as usize) {
                put(&mut copies, count, block + u64::from(group) * u64::from(g.blocks_per_group));
                count += 1;
            }
            self.image.put_block(block, &copies)?;
            blocks += 1 + count;
        }
        self.image.put_block(doubly, &top)?;
        let mut root = Root { blocks, ..Root::default() };
        root.words[DOUBLY_INDIRECT] = doubly as u32;
        let mut attributes = Attributes::made_at(self.image.time, 0o100_600);
        // As far as two levels reach.
        attributes.size_bytes = (slots * slots + slots + 12) << g.block_log;
        self.put_inode(RESIZE_INODE, &attributes, &root, 0, &[])
    }
}

fn put(bytes: &mut [u8], slot: u64, block: u64) {
    let at = slot as usize * 4;
    bytes[at..at + 4].copy_from_slice(&(block as u32).to_le_bytes());
}
