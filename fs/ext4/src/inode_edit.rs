//! [`Inode`]: an inode that is being changed: its fixed fields on the stack, from the device and back.
//!
//! Who calls it: everything that changes an inode. Whom it calls: `inode` for place and checksums, `transaction`.
//!
//! IE-1. Fixed fields are those that every inode has (128 bytes) and those that `i_extra_isize` says; what lies behind (attributes) is
//! changed in place by `xattr`, which puts the inode afterwards: the checksum is over all of it.
//! IE-2. One [`Inode`] of a number at a time: what was put is what the next one finds.
#![deny(clippy::indexing_slicing)]

use crate::block::within_page;
use crate::inode::{
    copy_inode, first_page_checksum, has_checksum_hi, inode_seed, is_checksum, is_free, live_node,
};
use crate::layout::{INODE_BASE_BYTES, RawInode, inode_flags};
use crate::transaction::Handle;
use core::mem::offset_of;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Node, Timestamp};
use zerocopy::{FromZeros, IntoBytes};

/// The one reserved inode that is a file as any other.
const ROOT: InodeNo = InodeNo(2);

/// An inode that is being changed.
#[derive(Clone)]
pub(crate) struct Inode {
    /// Its number.
    pub ino: InodeNo,
    /// Byte of the device at which it is.
    pub at: u64,
    /// Its fixed fields; those that it does not have are not stored.
    pub raw: RawInode,
}

impl Handle<'_> {
    /// Inode `ino`, which must be in use: it has links, or is an orphan.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`, `Checksum`, `Io`.
    pub fn inode(&self, ino: InodeNo) -> Result<Inode> {
        let inode = self.inode_even_nameless(ino)?;
        if is_free(&inode.raw, ino) { Err(Error::NotFound) } else { Ok(inode) }
    }

    /// As [`Handle::inode`], but for links: an inode that is to be deleted has none.
    ///
    /// # Errors
    /// As [`Handle::inode`].
    pub fn inode_even_nameless(&self, ino: InodeNo) -> Result<Inode> {
        let fs = self.fs;
        // What they hold is the file system's own; an entry that names one is damage.
        if ino.0 < u64::from(fs.sb.first_inode) && ino != ROOT {
            return Err(Error::Corrupt { what: "reserved inode, as one to be changed", at: ino.0 });
        }
        let at = fs.inode_place(self.r, ino)?.at;
        let page = fs.device.page(self.r, at, 0)?;
        let bytes = page.get(within_page(at)..).unwrap_or_default();
        let bytes = bytes.get(..fs.sb.inode_size as usize).unwrap_or(bytes);
        let raw = copy_inode(bytes);
        if raw.links.get() == 0 && raw.mode.get() == 0 {
            return Err(Error::NotFound);
        }
        if fs.sb.features.has_metadata_csum() {
            let has_hi = has_checksum_hi(&fs.sb, &raw);
            let seed = inode_seed(&fs.sb, ino, raw.generation.get());
            if !is_checksum(&raw, first_page_checksum(seed, bytes, has_hi), has_hi) {
                return Err(Error::Checksum { what: "inode", at: ino.0 });
            }
        }
        Ok(Inode { ino, at, raw })
    }

    /// A new inode with number `ino`, all zeros but what the format wants of every inode: generation, and the bytes that it uses behind
    /// the first 128. Not stored until [`Handle::put_new_inode`].
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn new_inode(&self, ino: InodeNo, generation: u32) -> Result<Inode> {
        let fs = self.fs;
        let mut raw = RawInode::new_zeroed();
        raw.generation = generation.into();
        if fs.sb.inode_size as usize > INODE_BASE_BYTES {
            let want =
                (size_of::<RawInode>() - INODE_BASE_BYTES).min(fs.sb.inode_size as usize - INODE_BASE_BYTES);
            raw.extra_isize = (want as u16).into();
        }
        Ok(Inode { ino, at: fs.inode_place(self.r, ino)?.at, raw })
    }

    /// Stores the fixed fields of an inode, with its checksum.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub fn put_inode(&mut self, inode: &Inode) -> Result<()> {
        let len = inode.fixed_bytes(self.fs.sb.inode_size as usize);
        self.store_inode(inode, len, |_| ())
    }

    /// Stores a new inode: what is behind its fixed fields is zeros.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub fn put_new_inode(&mut self, inode: &Inode) -> Result<()> {
        self.store_inode(inode, self.fs.sb.inode_size as usize, |bytes| bytes.fill(0))
    }

    /// Changes what lies behind the fixed fields of an inode (its own attributes), and stores the fixed fields with it.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub fn edit_inode_area<T>(&mut self, inode: &Inode, change: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        let size = self.fs.sb.inode_size as usize;
        let fixed = inode.fixed_bytes(size);
        self.store_inode(inode, size, |bytes| change(bytes.get_mut(fixed..).unwrap_or_default()))
    }

    /// Stores an inode of which at most the first `changed` bytes change; `change` is done to all of its bytes first.
    fn store_inode<T>(
        &mut self,
        inode: &Inode,
        changed: usize,
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T> {
        let sb = &self.fs.sb;
        let size = sb.inode_size as usize;
        let block = inode.at >> sb.block_log;
        let start = (inode.at & u64::from(sb.block_size - 1)) as usize;
        let mut raw = inode.raw;
        let fixed = inode.fixed_bytes(size);
        let has_sum = sb.features.has_metadata_csum();
        let seed = inode_seed(sb, inode.ino, raw.generation.get());
        let has_hi = has_checksum_hi(sb, &raw);
        let changed = start..start + changed;
        self.edit(block, &[changed], |bytes| {
            let bytes = bytes.get_mut(start..).and_then(|bytes| bytes.get_mut(..size)).unwrap_or_default();
            let value = change(bytes);
            copy_prefix(bytes, &raw, fixed);
            if has_sum {
                let sum = first_page_checksum(seed, bytes, has_hi);
                raw.checksum_lo = (sum as u16).into();
                if has_hi {
                    raw.checksum_hi = ((sum >> 16) as u16).into();
                }
                copy_prefix(bytes, &raw, fixed);
            }
            value
        })
    }

    /// The node of an inode as it is now.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn node(&self, inode: &Inode) -> Result<Node> {
        let sb = &self.fs.sb;
        let seed = inode_seed(sb, inode.ino, inode.raw.generation.get());
        live_node(sb, &inode.raw, inode.ino, inode.at, seed)
    }
}

fn copy_prefix(to: &mut [u8], raw: &RawInode, len: usize) {
    for (to, from) in to.iter_mut().zip(raw.as_bytes()).take(len) {
        *to = *from;
    }
}

/// Seconds that the format can say: of 34 bits, or 32 where the inode lacks the word for more.
const SECONDS: [core::ops::RangeInclusive<i64>; 2] =
    [-0x8000_0000..=0x7FFF_FFFF, -0x8000_0000..=0x3_7FFF_FFFF];

/// Seconds and the word of nanoseconds and epoch bits. A time that cannot be said becomes the nearest that can, as the kernel has it.
fn time_words(time: Timestamp, has_extra: bool) -> (u32, u32) {
    let [short, long] = SECONDS;
    let seconds = if has_extra { long } else { short };
    let (first, last) = (*seconds.start(), *seconds.end());
    let time = if time.seconds <= first || time.seconds >= last {
        Timestamp { seconds: time.seconds.clamp(first, last), nanoseconds: 0 }
    } else {
        time
    };
    let lo = time.seconds as u32;
    let epoch = (time.seconds - i64::from(lo as i32)) >> 32;
    (lo, (epoch as u32 & 3) | time.nanoseconds << 2)
}

impl Inode {
    /// Bytes of the inode that are fixed fields (IE-1).
    fn fixed_bytes(&self, inode_size: usize) -> usize {
        let extra = if inode_size > INODE_BASE_BYTES { usize::from(self.raw.extra_isize.get()) } else { 0 };
        (INODE_BASE_BYTES + extra).min(size_of::<RawInode>()).min(inode_size)
    }

    /// What kind of file it is.
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(u32::from(self.raw.mode.get()))
    }

    /// Whether all bits of `flag` are set.
    pub fn has_flag(&self, flag: u32) -> bool {
        self.raw.flags.get() & flag == flag
    }

    /// Sets or clears bits of the flags.
    pub fn set_flags(&mut self, set: u32, clear: u32) {
        self.raw.flags = (self.raw.flags.get() & !clear | set).into();
    }

    /// Length in bytes.
    pub fn size_bytes(&self) -> u64 {
        let hi = if matches!(self.kind(), FileKind::Regular | FileKind::Directory) {
            self.raw.size_hi.get()
        } else {
            0
        };
        u64::from(self.raw.size_lo.get()) | u64::from(hi) << 32
    }

    /// Sets the length in bytes.
    pub fn set_size_bytes(&mut self, size: u64) {
        self.raw.size_lo = (size as u32).into();
        if matches!(self.kind(), FileKind::Regular | FileKind::Directory) {
            self.raw.size_hi = ((size >> 32) as u32).into();
        }
    }

    /// Sets the time of the last change of the inode, and counts the change (`i_version`), as the kernel does by default.
    pub fn set_ctime(&mut self, sb: &crate::SuperBlock, time: Timestamp) {
        self.count_change(sb);
        let has_extra = self.has_field(offset_of!(RawInode, ctime_extra));
        let (lo, extra) = time_words(time, has_extra);
        self.raw.ctime = lo.into();
        if has_extra {
            self.raw.ctime_extra = extra.into();
        }
    }

    /// Adds one to the number of changes: of 64 bits, where the inode has room.
    fn count_change(&mut self, sb: &crate::SuperBlock) {
        // Those with values count references there.
        if !sb.has_versions || self.has_flag(inode_flags::EA_INODE) {
            return;
        }
        let (lo, is_over) = self.raw.version_lo.get().overflowing_add(1);
        self.raw.version_lo = lo.into();
        if is_over && self.has_field(offset_of!(RawInode, version_hi)) {
            self.raw.version_hi = self.raw.version_hi.get().wrapping_add(1).into();
        }
    }

    /// Sets the time of the last change of the content.
    pub fn set_mtime(&mut self, time: Timestamp) {
        let has_extra = self.has_field(offset_of!(RawInode, mtime_extra));
        let (lo, extra) = time_words(time, has_extra);
        self.raw.mtime = lo.into();
        if has_extra {
            self.raw.mtime_extra = extra.into();
        }
    }

    /// Sets the time of the last access.
    pub fn set_atime(&mut self, time: Timestamp) {
        let has_extra = self.has_field(offset_of!(RawInode, atime_extra));
        let (lo, extra) = time_words(time, has_extra);
        self.raw.atime = lo.into();
        if has_extra {
            self.raw.atime_extra = extra.into();
        }
    }

    /// Sets the time of creation, where the inode has it.
    pub fn set_crtime(&mut self, time: Timestamp) {
        let has_extra = self.has_field(offset_of!(RawInode, crtime_extra));
        let (lo, extra) = time_words(time, has_extra);
        if has_extra {
            (self.raw.crtime, self.raw.crtime_extra) = (lo.into(), extra.into());
        }
    }

    /// Whether the word at `offset` is among its fixed fields (of an inode of more than 128 bytes).
    pub fn has_field(&self, offset: usize) -> bool {
        offset + 4 <= INODE_BASE_BYTES + usize::from(self.raw.extra_isize.get())
    }

    /// Adds to the space taken, in blocks of the file system (whole clusters with bigalloc); `by` may be negative.
    ///
    /// # Errors
    /// `Corrupt` when less than nothing would be left; `FileTooLarge` for more than 48 bits (or 32) can say.
    pub fn add_blocks(&mut self, sb: &crate::SuperBlock, by: i64) -> Result<()> {
        let huge = sb.features.has_huge_file();
        let hi = if huge { u64::from(self.raw.blocks_hi.get()) << 32 } else { 0 };
        let now = u64::from(self.raw.blocks_lo.get()) | hi;
        let in_blocks = huge && self.has_flag(inode_flags::HUGE_FILE);
        let sectors_log = sb.block_log - 9;
        let by = if in_blocks { by } else { by << sectors_log };
        let corrupt = Error::Corrupt { what: "inode: i_blocks", at: self.ino.0 };
        let mut new = now.checked_add_signed(by).ok_or(corrupt)?;
        if huge && !in_blocks && new >= 1 << 48 {
            self.set_flags(inode_flags::HUGE_FILE, 0);
            new >>= sectors_log;
        }
        if new >= if huge { 1 << 48 } else { 1 << 32 } {
            return Err(Error::FileTooLarge);
        }
        self.raw.blocks_lo = (new as u32).into();
        if huge {
            self.raw.blocks_hi = ((new >> 32) as u16).into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_four_centuries() {
        let words = |seconds, nanoseconds| time_words(Timestamp { seconds, nanoseconds }, true);
        assert_eq!(words(-0x8000_0000, 0), (0x8000_0000, 0));
        assert_eq!(words(0x8000_0000, 0), (0x8000_0000, 1));
        assert_eq!(words(0x3_7FFF_FFFE, 999_999_999), (0x7FFF_FFFE, 999_999_999 << 2 | 3));
        assert_eq!(words(i64::MAX, 9), (0x7FFF_FFFF, 3));
        let short = time_words(Timestamp { seconds: i64::MAX, nanoseconds: 9 }, false);
        assert_eq!(short.0, 0x7FFF_FFFF);
        assert_eq!(words(-1, 5), (u32::MAX, 5 << 2));
    }
}
