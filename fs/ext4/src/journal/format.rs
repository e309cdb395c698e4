//! The bytes of a JBD2 journal: all big-endian, whatever the file system around it is.
//!
//! Source: the journal's documentation in the Linux kernel, `filesystems/ext4/journal`.

use rumpcap_host::{Error, Result};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First four bytes of every block of the log that is not a copy of a block of the file system.
pub(super) const MAGIC: u32 = 0xC03B_3998;
/// [`MAGIC`] as it is on the device: what an escaped block begins with.
pub(super) const MAGIC_BYTES: [u8; 4] = MAGIC.to_be_bytes();

/// Bytes of a super block that mean something.
pub(super) const SUPER_BLOCK_BYTES: usize = 1024;
/// Bytes of the header of all blocks of the log.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();
/// Bytes of the checksum at the end of descriptor and revoke blocks.
pub(super) const TAIL_BYTES: usize = 4;
/// Bytes of the UUID that follows a tag which does not say that it is the same as the last.
pub(super) const UUID_BYTES: usize = 16;

/// Id of a transaction in the log. Counts up and wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tid(pub(crate) u32);

impl Tid {
    /// The id of the transaction behind.
    pub(super) fn next(self) -> Tid {
        Tid(self.0.wrapping_add(1))
    }

    /// How many transactions lie between `first` and this one, which is not before it.
    pub(super) fn since(self, first: Tid) -> u32 {
        self.0.wrapping_sub(first.0)
    }

    /// Whether this is `other` or behind it; the two lie within half of all ids.
    pub(super) fn is_at_least(self, other: Tid) -> bool {
        self.since(other) < 1 << 31
    }
}

/// What begins every block of the log.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: U32,
    pub(super) block_type: U32,
    pub(super) sequence: U32,
}

/// The kinds of block in the log, by their `block_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Descriptor,
    Commit,
    Revoke,
}

impl Header {
    pub(super) const SUPER_BLOCK_V1: u32 = 3;
    pub(super) const SUPER_BLOCK_V2: u32 = 4;

    pub(super) fn new(kind: Kind, tid: Tid) -> Header {
        let block_type: u32 = match kind {
            Kind::Descriptor => 1,
            Kind::Commit => 2,
            Kind::Revoke => 5,
        };
        Header { magic: MAGIC.into(), block_type: block_type.into(), sequence: tid.0.into() }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self.block_type.get() {
            1 => Some(Kind::Descriptor),
            2 => Some(Kind::Commit),
            5 => Some(Kind::Revoke),
            _ => None,
        }
    }
}

/// The journal's super block. Version 1 ends before `feature_compat`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SuperBlock {
    pub(super) magic: U32,
    pub(super) block_type: U32,
    pub(super) header_sequence: U32,
    pub(super) block_size: U32,
    pub(super) max_len: U32,
    pub(super) first: U32,
    pub(super) sequence: U32,
    /// Block that the log begins with, 0 if it is empty.
    pub(super) start: U32,
    pub(super) errno: U32,
    pub(super) feature_compat: U32,
    pub(super) feature_incompat: U32,
    pub(super) feature_ro_compat: U32,
    pub(super) uuid: [u8; 16],
    pub(super) users: U32,
    pub(super) dynamic_super: U32,
    pub(super) max_transaction: U32,
    pub(super) max_transaction_data: U32,
    pub(super) checksum_type: u8,
    pub(super) padding: [u8; 3],
    pub(super) fast_commit_blocks: U32,
    pub(super) head: U32,
    pub(super) padding2: [u8; 160],
    pub(super) checksum: U32,
    pub(super) user_ids: [u8; 768],
}

const _: () = assert!(size_of::<SuperBlock>() == SUPER_BLOCK_BYTES);

/// What begins a commit block.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct CommitBlock {
    pub(super) header: Header,
    pub(super) checksum_type: u8,
    pub(super) checksum_bytes: u8,
    pub(super) padding: [u8; 2],
    pub(super) checksum: [U32; 8],
    pub(super) seconds: U64,
    pub(super) nanoseconds: U32,
}

impl CommitBlock {
    /// `checksum_type` of a checksum version 1: CRC-32.
    pub(super) const CRC32: u8 = 1;
    /// Offset of the first checksum: it counts as zero when versions 2 and 3 are calculated.
    pub(super) const CHECKSUM_OFFSET: usize = 16;
    /// Bytes that count in a commit block of which only the first sector was written: the fields, up to a multiple of 8.
    pub(super) const FIELD_BYTES: usize = 64;
}

/// Version of the checksums in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChecksumVersion {
    None,
    /// One CRC-32 over all of a transaction, in the commit block.
    V1,
    /// CRC-32C of each block, 16 bits of it in the tag.
    V2,
    /// CRC-32C of each block, in a wider tag.
    V3,
}

/// The journal's features, as far as they change how it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) checksum: ChecksumVersion,
    pub(super) is_64bit: bool,
    pub(super) has_async_commit: bool,
    pub(super) has_fast_commit: bool,
}

const COMPAT_CHECKSUM: u32 = 1;
const INCOMPAT_REVOKE: u32 = 1;
const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_ASYNC_COMMIT: u32 = 4;
const INCOMPAT_CSUM_V2: u32 = 8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const INCOMPAT_KNOWN: u32 = 0x3F;
const CHECKSUM_TYPE_CRC32C: u8 = 4;

impl Features {
    /// Reads the features, none for version 1.
    ///
    /// # Errors
    /// `UnknownFeature`; `Corrupt` for checksums of several versions at once; `Unsupported` for an algorithm.
    pub(super) fn of(sb: &SuperBlock) -> Result<Features> {
        if sb.block_type.get() == Header::SUPER_BLOCK_V1 {
            let checksum = ChecksumVersion::None;
            return Ok(Features {
                checksum,
                is_64bit: false,
                has_async_commit: false,
                has_fast_commit: false,
            });
        }
        let incompat = sb.feature_incompat.get();
        let unknown = incompat & !INCOMPAT_KNOWN | sb.feature_ro_compat.get();
        if unknown != 0 {
            return Err(Error::UnknownFeature { bits: unknown });
        }
        // INCOMPAT_REVOKE says that there may be revoke blocks; they are read with or without it.
        let _ = INCOMPAT_REVOKE;
        Ok(Features {
            checksum: Features::checksum_version(sb, incompat)?,
            is_64bit: incompat & INCOMPAT_64BIT != 0,
            has_async_commit: incompat & INCOMPAT_ASYNC_COMMIT != 0,
            has_fast_commit: incompat & INCOMPAT_FAST_COMMIT != 0,
        })
    }

    /// Puts these features into `sb`, as those of a log that is written from now on: commits are synchronous.
    ///
    /// `checksum` is none of version 1, which nobody writes here.
    pub(super) fn store(&self, sb: &mut SuperBlock) {
        const CHANGED: u32 = INCOMPAT_64BIT | INCOMPAT_ASYNC_COMMIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
        let (checksum, algorithm) = match self.checksum {
            ChecksumVersion::None | ChecksumVersion::V1 => (0, 0),
            ChecksumVersion::V2 => (INCOMPAT_CSUM_V2, CHECKSUM_TYPE_CRC32C),
            ChecksumVersion::V3 => (INCOMPAT_CSUM_V3, CHECKSUM_TYPE_CRC32C),
        };
        let wide = if self.is_64bit { INCOMPAT_64BIT } else { 0 };
        let kept = sb.feature_incompat.get() & !CHANGED;
        sb.feature_incompat = (kept | INCOMPAT_REVOKE | checksum | wide).into();
        sb.feature_compat = (sb.feature_compat.get() & !COMPAT_CHECKSUM).into();
        sb.checksum_type = algorithm;
    }

    fn checksum_version(sb: &SuperBlock, incompat: u32) -> Result<ChecksumVersion> {
        let v1 = sb.feature_compat.get() & COMPAT_CHECKSUM != 0;
        let version = match (v1, incompat & INCOMPAT_CSUM_V2 != 0, incompat & INCOMPAT_CSUM_V3 != 0) {
            (false, false, false) => return Ok(ChecksumVersion::None),
            (true, false, false) => return Ok(ChecksumVersion::V1),
            (false, true, false) => ChecksumVersion::V2,
            (false, false, true) => ChecksumVersion::V3,
            _ => {
                return Err(Error::Corrupt { what: "journal super block: checksums of two versions", at: 0 });
            }
        };
        if sb.checksum_type != CHECKSUM_TYPE_CRC32C {
            return Err(Error::Unsupported { what: "algorithm of the journal's checksums" });
        }
        Ok(version)
    }

    /// Whether every block has a CRC-32C of its own.
    pub(super) fn has_block_checksums(&self) -> bool {
        matches!(self.checksum, ChecksumVersion::V2 | ChecksumVersion::V3)
    }

    /// Bytes at the end of a descriptor or revoke block that hold no tags.
    pub(super) fn tail_bytes(&self) -> usize {
        if self.has_block_checksums() { TAIL_BYTES } else { 0 }
    }

    /// Bytes of a tag without its UUID. Version 2 made them two bytes longer than the fields are.
    pub(super) fn tag_bytes(&self) -> usize {
        match (self.checksum, self.is_64bit) {
            (ChecksumVersion::V3, _) => 16,
            (ChecksumVersion::V2, true) => 14,
            (ChecksumVersion::V2, false) => 10,
            (_, true) => 12,
            (_, false) => 8,
        }
    }

    /// Bytes of a record in a revoke block.
    pub(super) fn revoke_bytes(&self) -> usize {
        if self.is_64bit { 8 } else { 4 }
    }
}

/// One entry of a descriptor block: a block of the log is the copy of a block of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Block of the file system.
    pub(super) target: u64,
    /// Low 16 bits or all of the CRC-32C, by version.
    pub(super) checksum: u32,
    /// The copy begins with zeros where the block has the journal's own magic.
    pub(super) is_escaped: bool,
    /// No UUID follows.
    pub(super) has_same_uuid: bool,
    /// No tag follows.
    pub(super) is_last: bool,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTag {
    block: U32,
    checksum: U16,
    flags: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTag3 {
    block: U32,
    flags: U32,
    block_high: U32,
    checksum: U32,
}

impl Tag {
    /// Writes the tag into its [`Features::tag_bytes`] bytes; what has no field there is left as it is.
    pub(super) fn store(&self, bytes: &mut [u8], features: &Features) {
        let flags =
            u16::from(self.is_escaped) | u16::from(self.has_same_uuid) << 1 | u16::from(self.is_last) << 3;
        let (low, high) = (self.target as u32, (self.target >> 32) as u32);
        let high = if features.is_64bit { high } else { 0 };
        let stored = if features.checksum == ChecksumVersion::V3 {
            RawTag3 {
                block: low.into(),
                flags: u32::from(flags).into(),
                block_high: high.into(),
                checksum: self.checksum.into(),
            }
            .write_to_prefix(bytes)
            .is_ok()
        } else {
            let tag =
                RawTag { block: low.into(), checksum: (self.checksum as u16).into(), flags: flags.into() };
            let is_low_stored = tag.write_to_prefix(bytes).is_ok();
            let rest = bytes.get_mut(size_of::<RawTag>()..).unwrap_or_default();
            is_low_stored && (!features.is_64bit || U32::new(high).write_to_prefix(rest).is_ok())
        };
        debug_assert!(stored, "a tag passes its block");
    }

    /// Reads a tag from its [`Features::tag_bytes`] bytes; `None` if there are fewer.
    pub(super) fn parse(bytes: &[u8], features: &Features) -> Option<Tag> {
        let (low, high, flags, checksum) = if features.checksum == ChecksumVersion::V3 {
            let (tag, _) = RawTag3::ref_from_prefix(bytes).ok()?;
            (tag.block.get(), tag.block_high.get(), tag.flags.get(), tag.checksum.get())
        } else {
            let (tag, rest) = RawTag::ref_from_prefix(bytes).ok()?;
            let high = if features.is_64bit { U32::ref_from_prefix(rest).ok()?.0.get() } else { 0 };
            (tag.block.get(), high, u32::from(tag.flags.get()), u32::from(tag.checksum.get()))
        };
        let high = if features.is_64bit { u64::from(high) << 32 } else { 0 };
        Some(Tag {
            target: high | u64::from(low),
            checksum,
            is_escaped: flags & 1 != 0,
            has_same_uuid: flags & 2 != 0,
            is_last: flags & 8 != 0,
        })
    }
}
