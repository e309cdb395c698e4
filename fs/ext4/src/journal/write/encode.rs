//! The blocks of the log that are no copies, in the making: descriptor, revoke and commit blocks.
//!
//! Who calls it: `compound`, with the one buffer of the writer. Each begins with zeros, so that no old bytes get out.

use super::super::checksum::crc32c;
use super::super::format::{
    CommitBlock, Features, HEADER_BYTES, Header, Kind, TAIL_BYTES, Tag, Tid, UUID_BYTES,
};
use rumpcap_vfs::Timestamp;
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32;

/// Bytes in front of the records of a revoke block: the header and their length in bytes, header included.
const RECORDS_OFFSET: usize = HEADER_BYTES + 4;

/// What all blocks of a log have in common.
#[derive(Clone, Copy)]
pub(super) struct Codec {
    pub(super) features: Features,
    pub(super) checksum_seed: u32,
    pub(super) uuid: [u8; UUID_BYTES],
    pub(super) block_size: usize,
}

impl Codec {
    fn begin(&self, block: &mut [u8], kind: Kind, tid: Tid) {
        block.fill(0);
        let is_stored = Header::new(kind, tid).write_to_prefix(block).is_ok();
        debug_assert!(is_stored, "a block is larger than its header");
    }

    /// Sums a descriptor or revoke block, whose last bytes are zero, into them.
    fn seal(&self, block: &mut [u8]) {
        if !self.features.has_block_checksums() {
            return;
        }
        let sum = crc32c(self.checksum_seed, block);
        let tail = block.len().saturating_sub(TAIL_BYTES);
        if let Some(tail) = block.get_mut(tail..) {
            tail.copy_from_slice(&sum.to_be_bytes());
        }
    }

    /// Tags in a descriptor block. The first is followed by the journal's UUID.
    pub(super) fn tags_per_descriptor(&self) -> u32 {
        let fixed = HEADER_BYTES.saturating_add(UUID_BYTES).saturating_add(self.features.tail_bytes());
        let tags = self.block_size.saturating_sub(fixed).checked_div(self.features.tag_bytes());
        tags.and_then(|tags| u32::try_from(tags).ok()).unwrap_or(0)
    }

    /// Records in a revoke block.
    pub(super) fn records_per_revoke_block(&self) -> usize {
        let fixed = RECORDS_OFFSET.saturating_add(self.features.tail_bytes());
        let records = self.block_size.saturating_sub(fixed).checked_div(self.features.revoke_bytes());
        records.unwrap_or(0)
    }

    /// What a tag of transaction `tid` says of a copy, given in pieces; 0 where tags have no checksums.
    pub(super) fn copy_checksum(&self, tid: Tid, pieces: [&[u8]; 2]) -> u32 {
        if !self.features.has_block_checksums() {
            return 0;
        }
        let seed = crc32c(self.checksum_seed, &tid.0.to_be_bytes());
        pieces.into_iter().fold(seed, crc32c)
    }

    /// Makes `block` the revoke block of some of `homes`, at most [`Codec::records_per_revoke_block`] of them.
    pub(super) fn revoke(&self, block: &mut [u8], tid: Tid, homes: impl Iterator<Item = u64>) {
        self.begin(block, Kind::Revoke, tid);
        let mut end = RECORDS_OFFSET;
        for home in homes.take(self.records_per_revoke_block()) {
            let next = end.saturating_add(self.features.revoke_bytes());
            let bytes = home.to_be_bytes();
            let from = bytes.len().saturating_sub(self.features.revoke_bytes());
            if let (Some(record), Some(low)) = (block.get_mut(end..next), bytes.get(from..)) {
                record.copy_from_slice(low);
            }
            end = next;
        }
        let used = U32::new(u32::try_from(end).unwrap_or(0));
        if let Some(count) = block.get_mut(HEADER_BYTES..RECORDS_OFFSET) {
            count.copy_from_slice(used.as_bytes());
        }
        self.seal(block);
    }

    /// Makes `block` the commit block of `tid`.
    pub(super) fn commit(&self, block: &mut [u8], tid: Tid, time: Timestamp) {
        block.fill(0);
        let mut commit = CommitBlock {
            header: Header::new(Kind::Commit, tid),
            checksum_type: 0,
            checksum_bytes: 0,
            padding: [0; 2],
            checksum: [U32::ZERO; 8],
            seconds: u64::try_from(time.seconds).unwrap_or(0).into(),
            nanoseconds: time.nanoseconds.into(),
        };
        let mut is_stored = commit.write_to_prefix(block).is_ok();
        if self.features.has_block_checksums() {
            if let Some(first) = commit.checksum.first_mut() {
                *first = crc32c(self.checksum_seed, block).into();
            }
            is_stored = commit.write_to_prefix(block).is_ok();
        }
        debug_assert!(is_stored, "a block is larger than its fields");
    }
}

/// A descriptor block in the making, in a buffer of the caller's.
pub(super) struct Descriptor {
    /// Byte behind the last tag.
    end: usize,
    /// The last tag and its byte; it is marked as such when no other follows.
    last: Option<(usize, Tag)>,
}

impl Descriptor {
    /// Begins a descriptor of transaction `tid` in `block`.
    pub(super) fn begin(codec: &Codec, block: &mut [u8], tid: Tid) -> Descriptor {
        codec.begin(block, Kind::Descriptor, tid);
        Descriptor { end: HEADER_BYTES, last: None }
    }

    /// Adds the tag of the next copy.
    pub(super) fn push(
        &mut self,
        codec: &Codec,
        block: &mut [u8],
        target: u64,
        checksum: u32,
        is_escaped: bool,
    ) {
        let has_same_uuid = self.last.is_some();
        let tag = Tag { target, checksum, is_escaped, has_same_uuid, is_last: false };
        tag.store(block.get_mut(self.end..).unwrap_or_default(), &codec.features);
        self.last = Some((self.end, tag));
        self.end = self.end.saturating_add(codec.features.tag_bytes());
        if !has_same_uuid {
            let uuid_end = self.end.saturating_add(UUID_BYTES);
            if let Some(uuid) = block.get_mut(self.end..uuid_end) {
                uuid.copy_from_slice(&codec.uuid);
            }
            self.end = uuid_end;
        }
    }

    /// Marks the last tag and sums the block.
    pub(super) fn finish(self, codec: &Codec, block: &mut [u8]) {
        if let Some((at, tag)) = self.last {
            Tag { is_last: true, ..tag }.store(block.get_mut(at..).unwrap_or_default(), &codec.features);
        }
        codec.seal(block);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::super::super::format::ChecksumVersion;
    use super::*;

    #[test]
    fn tags_are_read_as_they_were_written() {
        for checksum in [ChecksumVersion::None, ChecksumVersion::V2, ChecksumVersion::V3] {
            for is_64bit in [false, true] {
                let features =
                    Features { checksum, is_64bit, has_async_commit: false, has_fast_commit: false };
                let codec = Codec { features, checksum_seed: 7, uuid: [9; 16], block_size: 1024 };
                let mut block = [0xFF; 1024];
                let mut descriptor = Descriptor::begin(&codec, &mut block, Tid(5));
                let count = codec.tags_per_descriptor();
                for n in 0..count {
                    descriptor.push(&codec, &mut block, 1000 + u64::from(n), 0x1234_5678, n % 3 == 0);
                }
                assert!(descriptor.end <= 1024 - features.tail_bytes());
                assert!(descriptor.end + features.tag_bytes() > 1024 - features.tail_bytes());
                descriptor.finish(&codec, &mut block);
                let mut at = HEADER_BYTES;
                for n in 0..count {
                    let tag = Tag::parse(&block[at..], &features).unwrap();
                    let sum = match checksum {
                        ChecksumVersion::V3 => 0x1234_5678,
                        _ => 0x5678,
                    };
                    let flags = (tag.is_escaped, tag.has_same_uuid, tag.is_last);
                    assert_eq!((tag.target, tag.checksum), (1000 + u64::from(n), sum));
                    assert_eq!(flags, (n % 3 == 0, n > 0, n + 1 == count));
                    at += features.tag_bytes() + if n == 0 { 16 } else { 0 };
                }
            }
        }
    }
}
