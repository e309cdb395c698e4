//! The tags of a descriptor block, one after the other.

use super::format::{HEADER_BYTES, Tag, UUID_BYTES};
use super::log::{Log, LogBlock};
use super::walk::Window;
use rumpcap_host::Result;

/// Where a reader of tags is. Ends at the tag that says so, or at the end of the block.
pub(super) struct Tags {
    block: LogBlock,
    at: usize,
}

impl Tags {
    /// The tags of the descriptor block `block`.
    pub(super) fn of(block: LogBlock) -> Tags {
        Tags { block, at: HEADER_BYTES }
    }

    /// The next tag; `None` behind the last.
    pub(super) fn next(&mut self, log: &mut Log<'_>, window: &mut Window<'_>) -> Result<Option<Tag>> {
        let features = *log.features();
        let end = log.block_size().saturating_sub(features.tail_bytes());
        let tag_end = self.at.saturating_add(features.tag_bytes());
        if tag_end > end {
            return Ok(None);
        }
        let bytes = window.bytes(log, self.block, self.at, features.tag_bytes())?;
        let tag = Tag::parse(bytes, &features);
        self.at = match tag {
            Some(tag) if tag.is_last => end,
            Some(tag) if !tag.has_same_uuid => tag_end.saturating_add(UUID_BYTES),
            _ => tag_end,
        };
        Ok(tag)
    }

    /// How many tags `block` has: at most its bytes over 8.
    pub(super) fn count(log: &mut Log<'_>, window: &mut Window<'_>, block: LogBlock) -> Result<u32> {
        let mut tags = Tags::of(block);
        let mut count = 0u32;
        while tags.next(log, window)?.is_some() {
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}
