//! The bytes of an inode, from attributes, a map and what is kept behind the fixed fields.
//!
//! Who calls it: `Maker`. Pure: no memory but the caller's buffer.

use super::geometry::Geometry;
use super::mapping::Root;
use crate::checksum::crc32c;
use crate::layout::{BLOCK_WORDS, INODE_BASE_BYTES, RawInode, inode_flags};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, Timestamp};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of the fixed fields behind the first 128.
pub(super) const EXTRA_BYTES: usize = size_of::<RawInode>() - INODE_BASE_BYTES;
/// Seconds that 32 signed bits and two more reach.
const SECONDS: core::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

/// What an inode says of its file beside where the content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Names; of a directory they are counted by the maker.
    pub links: u32,
    /// Length in bytes; of a directory it is the maker's.
    pub size_bytes: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// When the inode was made.
    pub crtime: Timestamp,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
}

impl Attributes {
    /// Attributes of something made at `seconds`, by root, with one name.
    pub fn made_at(seconds: u64, mode: u32) -> Attributes {
        let time = Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanoseconds: 0 };
        Attributes {
            mode,
            uid: 0,
            gid: 0,
            links: 1,
            size_bytes: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            rdev: (0, 0),
        }
    }

    pub(super) fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode)
    }
}

/// The fixed fields of an inode; without checksum.
pub(super) fn raw(g: &Geometry, a: &Attributes, root: &Root, xattr_block: u64) -> Result<RawInode> {
    let mut raw = RawInode::new_zeroed();
    raw.mode.set(a.mode as u16);
    raw.uid_lo.set(a.uid as u16);
    raw.uid_hi.set((a.uid >> 16) as u16);
    raw.gid_lo.set(a.gid as u16);
    raw.gid_hi.set((a.gid >> 16) as u16);
    raw.links.set(links(g, a)?);
    raw.size_lo.set(a.size_bytes as u32);
    raw.size_hi.set((a.size_bytes >> 32) as u32);
    raw.block = root.words.map(Into::into);
    raw.flags.set(root.flags);
    raw.file_acl_lo.set(xattr_block as u32);
    raw.file_acl_hi.set((xattr_block >> 32) as u16);
    set_blocks(g, &mut raw, root.blocks + u64::from(xattr_block != 0))?;
    set_times(g, &mut raw, a);
    Ok(raw)
}

/// Names; more sub-directories than there are numbers for count as one, where the features have that.
fn links(g: &Geometry, a: &Attributes) -> Result<u16> {
    let most = if g.features.has_extent() { 65_000 } else { 32_000 };
    match u16::try_from(a.links) {
        Ok(links) if links <= most => Ok(links),
        _ if a.kind() == FileKind::Directory && g.features.has_dir_nlink() => Ok(1),
        _ => Err(Error::InvalidInput { what: "number of links: more than an inode can count" }),
    }
}

/// Space taken, in units of 512 bytes; where their number does not fit, in blocks.
fn set_blocks(g: &Geometry, raw: &mut RawInode, blocks: u64) -> Result<()> {
    let mut count = blocks << (g.block_log - 9);
    if count > u64::from(u32::MAX) {
        if !g.features.has_huge_file() {
            return Err(Error::InvalidInput { what: "file: 2 TiB and more need the feature huge_file" });
        }
        if count >> 48 != 0 {
            raw.flags.set(raw.flags.get() | inode_flags::HUGE_FILE);
            count = blocks;
        }
        raw.blocks_hi.set((count >> 32) as u16);
    }
    raw.blocks_lo.set(count as u32);
    Ok(())
}

fn set_times(g: &Geometry, raw: &mut RawInode, a: &Attributes) {
    let is_long = g.inode_size as usize > INODE_BASE_BYTES;
    let narrow = |time: Timestamp| {
        let seconds =
            time.seconds.clamp(*SECONDS.start(), if is_long { *SECONDS.end() } else { i64::from(i32::MAX) });
        // What the sign of the lower half says too much or too little, the two bits make good.
        let epoch = ((seconds - i64::from(seconds as i32)) >> 32) as u32 & 3;
        (seconds as u32, epoch | time.nanoseconds.min(999_999_999) << 2)
    };
    let (atime, mtime, ctime, crtime) = (narrow(a.atime), narrow(a.mtime), narrow(a.ctime), narrow(a.crtime));
    raw.atime.set(atime.0);
    raw.mtime.set(mtime.0);
    raw.ctime.set(ctime.0);
    if is_long {
        raw.extra_isize.set(EXTRA_BYTES as u16);
        raw.atime_extra.set(atime.1);
        raw.mtime_extra.set(mtime.1);
        raw.ctime_extra.set(ctime.1);
        raw.crtime.set(crtime.0);
        raw.crtime_extra.set(crtime.1);
    }
}

/// What stands in `i_block` of a device: 8 + 8 bits where they do, else 12 + 20 bits in the second word.
pub(super) fn device_words((major, minor): (u32, u32)) -> [u32; BLOCK_WORDS] {
    let mut words = [0; BLOCK_WORDS];
    if major < 256 && minor < 256 {
        words[0] = major << 8 | minor;
    } else {
        words[1] = minor & 0xFF | (major & 0xFFF) << 8 | (minor & 0xF_FF00) << 12;
    }
    words
}

/// Puts `raw` at the beginning of `bytes`, all of an inode whose rest may hold attributes, and sums it up.
pub(super) fn seal(bytes: &mut [u8], raw: &RawInode, seed: Option<u32>) {
    let fixed = bytes.len().min(size_of::<RawInode>());
    bytes[..fixed].copy_from_slice(&raw.as_bytes()[..fixed]);
    let Some(seed) = seed else { return };
    let sum = crc32c(seed, bytes);
    let mut summed = *raw;
    summed.checksum_lo.set(sum as u16);
    if bytes.len() > INODE_BASE_BYTES {
        summed.checksum_hi.set((sum >> 16) as u16);
    }
    bytes[..fixed].copy_from_slice(&summed.as_bytes()[..fixed]);
}
