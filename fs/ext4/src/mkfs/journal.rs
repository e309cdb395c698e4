//! The journal of a new file system: an empty log in inode 8.
//!
//! Who calls it: `Maker::new`. Its super block says that there is nothing to replay; which checksums the log has, whoever mounts
//! it for writing first decides, as with mke2fs.

use super::inode::Attributes;
use super::maker::Maker;
use crate::journal::new_super_block;
use rumpcap_host::Result;

/// Inode of the journal.
pub(super) const JOURNAL_INODE: u32 = 8;

impl Maker<'_> {
    /// Writes the journal, zeros behind its super block where there may be something else.
    pub(super) fn make_journal(&mut self) -> Result<()> {
        let blocks = self.image.g.journal_blocks;
        if blocks == 0 {
            return Ok(());
        }
        let seed = self.image.inode_seed(JOURNAL_INODE);
        self.map.begin(seed);
        let mut logical = 0;
        while logical < blocks {
            let taken = self.image.space.blocks(blocks - logical)?;
            self.image.clear(taken.start, u64::from(taken.len))?;
            self.map.add(&mut self.image, logical, taken.start, taken.len)?;
            if logical == 0 {
                let head = new_super_block(self.image.g.block_size, blocks);
                self.image.blocks.flush(self.image.device)?;
                self.image.put_bytes(taken.start, &head)?;
            }
            logical += taken.len;
        }
        let root = self.map.finish(&mut self.image)?;
        self.image.journal_words = root.words;
        let mut attributes = Attributes::made_at(self.image.time, 0o100_600);
        attributes.size_bytes = u64::from(blocks) << self.image.g.block_log;
        self.put_inode(JOURNAL_INODE, &attributes, &root, 0, &[])
    }
}
