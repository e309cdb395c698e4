//! Directories: listing and lookup.
//!
//! Who calls it: `vnops`. Whom it calls: `map` for the runs of blocks, `htree` for indexed directories, `xattr` for the end of
//! inline ones, `by_hash` for listings of directories that change, `vm` for pages.
//!
//! A listing goes through the blocks in the order of the directory, whether it is indexed or not: to this reader a
//! node of the tree is a block without entries in use. A cookie is the offset in the directory of the next record; any
//! other value is taken as the first record at or behind it, found from the beginning of its block, so a made-up
//! cookie never shows bytes that are no record. Holes are passed over, as the kernel does; a pointer of the tree into a
//! hole is a broken tree. What a lookup does about a broken tree: see `htree`.
//!
//! DIR-3. In a directory whose entries never move such a cookie stays good while others come and go: an entry keeps its record, and a
//! record that is gone is part of the one before it. Where entries move (splits, the first tree, the way out of the inode), listings of
//! mounts that are written are in the order of hashes, with cookies made of names: `by_hash`, `hash_cookie`.
//!
//! A listing of an encrypted directory gives `.` and `..`, then fails at the first encrypted name.
//!
//! Bounds: the size is checked against the file system's (DIR-1), a scan ends with it, a block's with `dir::entry`.
//! Pins (DIR-2): the page whose entries are handed over, and, while a block larger than a page is verified, one more of
//! it. `map` pins its own while this module pins none. So 2 at most.
//! Failure: entries before the broken record have been handed over; nothing is kept of a listing.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod block;
mod by_hash;
pub(crate) mod checksum;
pub(crate) mod entry;
mod hash_cookie;
mod inline;
mod picks;
mod wanted;

pub(crate) use block::Verdict;
pub(crate) use wanted::Wanted;

use crate::Ext4;
use crate::casefold::Folded;
use crate::htree::{self, Search};
use crate::layout::inode_flags;
use crate::map::Run;
use crate::node::Ext4Node;
use crate::region::Region;
use core::ops::{ControlFlow, Range};
use entry::{Entry, Rules, is_path_component, kind_of};
use hash_cookie::HashCookie;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{DirCookie, DirEntry, DirSink, FileKind, InodeNo, Node};
use rumpcap_vm::{PAGE_SHIFT, Reservation};

/// Longest name in bytes.
pub(crate) const NAME_MAX: usize = 255;
/// Directories have at most so many blocks: the tree's pointers and the extents' have 32 bits.
const BLOCKS_MAX: u64 = 1 << 32;

/// An open directory, for one operation.
pub(crate) struct Dir<'a, 'v> {
    pub fs: &'a Ext4,
    pub r: &'a Reservation<'v>,
    pub node: &'a Node,
    /// DIR-1: blocks of the directory; not more than the file system has. 0 when it is inline.
    pub blocks: u64,
    pub rules: Rules,
}

/// A block of a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlace {
    /// Which of the directory.
    pub logical: u64,
    /// Which of the device.
    pub physical: u64,
    /// Pages behind it that the directory goes on with.
    pub ahead: u32,
}

/// Hands over the entries of `inodes` from `from` on; see [`rumpcap_vfs::FileSystem::read_dir_range`].
pub(crate) fn read_dir(
    fs: &Ext4,
    r: &Reservation<'_>,
    node: &Node,
    from: DirCookie,
    inodes: Range<u64>,
    sink: &mut DirSink<'_>,
) -> Result<()> {
    let dir = Dir::open(fs, r, node)?;
    let mut giver = Giver::new(&dir, sink);
    let (low, width) = (inodes.start, inodes.end.saturating_sub(inodes.start));
    let mut hand_over = |base: u64, entry: Entry<'_>| {
        if u64::from(entry.ino).wrapping_sub(low) >= width {
            return ControlFlow::Continue(());
        }
        giver.give(&entry, base.wrapping_add(u64::from(entry.end)))
    };
    dir.scan_all(from.0, &mut hand_over)?;
    giver.outcome()
}

/// See [`rumpcap_vfs::FileSystem::read_dir_stable`]; the order is chosen where a listing begins, and its cookies keep to it.
pub(crate) fn read_dir_stable(
    fs: &Ext4,
    r: &Reservation<'_>,
    node: &Node,
    from: DirCookie,
    sink: &mut DirSink<'_>,
) -> Result<()> {
    let dir = Dir::open(fs, r, node)?;
    let begins = matches!(from, hash_cookie::START | hash_cookie::BEHIND_DOT);
    let by_hash = match HashCookie::read(from) {
        None if begins && dir.is_kept_by_hash()? => HashCookie::FIRST,
        Some(cookie) => cookie,
        None => return read_dir(fs, r, node, from, 0..u64::MAX, sink),
    };
    let mut giver = Giver::new(&dir, sink);
    let flow = if begins { dir.give_dots(from, &mut giver)? } else { ControlFlow::Continue(()) };
    if flow.is_continue() {
        by_hash::list(&dir, by_hash, &mut giver)?;
    }
    giver.outcome()
}

/// Hands entries to a sink, as far as they may be.
struct Giver<'g, 's> {
    dir: &'g Node,
    has_type: bool,
    encrypted: bool,
    sink: &'g mut DirSink<'s>,
    failure: Option<Error>,
}

impl<'g, 's> Giver<'g, 's> {
    fn new(dir: &Dir<'g, '_>, sink: &'g mut DirSink<'s>) -> Giver<'g, 's> {
        let (has_type, encrypted) = (dir.fs.sb.features.has_filetype(), dir.is_encrypted());
        Giver { dir: dir.node, has_type, encrypted, sink, failure: None }
    }

    #[inline(always)]
    fn give(&mut self, entry: &Entry<'_>, next: u64) -> ControlFlow<()> {
        if self.encrypted && !is_dot(entry.name) {
            // First: an encrypted name may have any bytes, those that a name may not have among them.
            self.failure = Some(Error::Encrypted);
        } else if !is_path_component(entry.name) {
            let at = self.dir.attributes.ino.0;
            self.failure = Some(Error::Corrupt { what: "directory: name of an entry", at });
        } else {
            return (self.sink)(DirEntry {
                name: entry.name,
                ino: InodeNo(u64::from(entry.ino)),
                kind: if self.has_type { kind_of(entry.file_type) } else { FileKind::Unknown },
                next: DirCookie(next),
            });
        }
        ControlFlow::Break(())
    }

    fn outcome(self) -> Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

/// The inode of `name`; see [`rumpcap_vfs::FileSystem::lookup`].
pub(crate) fn lookup(fs: &Ext4, r: &Reservation<'_>, node: &Node, name: &[u8]) -> Result<InodeNo> {
    let dir = Dir::open(fs, r, node)?;
    if name.len() > NAME_MAX {
        return Err(Error::NameTooLong);
    }
    if is_dot(name) {
        // They are in the first block (or the inode), and never encrypted or folded.
        return dir.find(&Wanted::exactly(name), dir.blocks.min(1))?.ok_or(Error::NotFound);
    }
    if dir.is_encrypted() {
        return Err(Error::Encrypted);
    }
    let wanted = dir.wanted(name)?;
    if dir.is_indexed() {
        match htree::search(&dir, &wanted)? {
            Search::Found(ino) => return Ok(ino),
            Search::Absent if !wanted.is_folded() => return Err(Error::NotFound),
            // Whoever wrote the tree may have folded by other tables; the kernel looks again, too.
            Search::Absent | Search::Unusable => {}
        }
    }
    dir.find(&wanted, dir.blocks)?.ok_or(Error::NotFound)
}

impl<'a, 'v> Dir<'a, 'v> {
    pub(crate) fn open(fs: &'a Ext4, r: &'a Reservation<'v>, node: &'a Node) -> Result<Dir<'a, 'v>> {
        if node.kind() != FileKind::Directory {
            return Err(Error::NotADirectory);
        }
        let rules = Rules { limit: fs.sb.block_size, inodes_count: fs.sb.inodes_count };
        let mut dir = Dir { fs, r, node, blocks: 0, rules };
        if !node.is_inline() {
            dir.blocks = dir.checked_blocks()?;
        }
        Ok(dir)
    }

    fn checked_blocks(&self) -> Result<u64> {
        let (size, log) = (self.node.attributes.size_bytes, self.fs.sb.block_log);
        let blocks = size >> log;
        if blocks << log != size || blocks > self.fs.sb.blocks_count.min(BLOCKS_MAX) {
            return Err(self.corrupt("directory: size"));
        }
        Ok(blocks)
    }

    /// An error that names this directory's inode.
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { what, at: self.node.attributes.ino.0 }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.node.has_flag(inode_flags::ENCRYPT)
    }

    /// Whether its blocks are the leaves and nodes of a tree.
    pub(crate) fn is_indexed(&self) -> bool {
        self.fs.sb.features.has_dir_index()
            && self.node.has_flag(inode_flags::INDEX)
            && !self.node.is_inline()
    }

    pub(crate) fn wanted<'n>(&self, name: &'n [u8]) -> Result<Wanted<'n>> {
        if !(self.fs.sb.features.has_casefold() && self.node.has_flag(inode_flags::CASEFOLD)) {
            return Ok(Wanted::exactly(name));
        }
        Wanted::folded(name, self.fs.sb.encoding, self.fs.sb.encoding_flags)
    }

    /// Hands the bytes that a tree's hash of `name`, which is in the directory, is made of to `hash`.
    pub(crate) fn with_hashed_bytes<T>(&self, name: &[u8], hash: impl FnOnce(&[u8]) -> T) -> T {
        let folds = self.fs.sb.features.has_casefold() && self.node.has_flag(inode_flags::CASEFOLD);
        let folded = if folds { Folded::new(name) } else { None };
        hash(folded.as_ref().map_or(name, Folded::as_bytes))
    }

    /// Whether it has no entries but `.` and `..`.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, `Io`.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        let mut is_empty = true;
        let mut visit = |_: u64, entry: Entry<'_>| match is_dot(entry.name) {
            true => ControlFlow::Continue(()),
            false => {
                is_empty = false;
                ControlFlow::Break(())
            }
        };
        self.scan_all(0, &mut visit)?;
        Ok(is_empty)
    }

    /// Looks at all entries of the first `blocks` blocks, or of the inode.
    fn find(&self, wanted: &Wanted<'_>, blocks: u64) -> Result<Option<InodeNo>> {
        let mut found = None;
        let mut visit = |_: u64, entry: Entry<'_>| match wanted.matches(entry.name) {
            true => {
                found = Some(InodeNo(u64::from(entry.ino)));
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        };
        if self.node.is_inline() {
            inline::scan(self, 0, &mut visit)?;
        } else {
            self.scan(0, blocks, &mut visit)?;
        }
        Ok(found)
    }

    /// Hands the entries from position `from` on to `visit`, each with what its place is counted from, until it breaks.
    #[inline]
    fn scan_all<V>(&self, from: u64, visit: &mut V) -> Result<()>
    where
        V: FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    {
        if self.node.is_inline() {
            inline::scan(self, from, visit)
        } else {
            self.scan(from, self.blocks, visit)
        }
    }

    /// Hands the entries from offset `from` of the directory on to `visit`, each with the offset of its block, until it
    /// breaks or `blocks` blocks are done.
    #[inline]
    fn scan<V>(&self, from: u64, blocks: u64, visit: &mut V) -> Result<()>
    where
        V: FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    {
        let log = self.fs.sb.block_log;
        let mut logical = from >> log;
        let mut skip = (from & !(u64::MAX << log)) as u32;
        while logical < blocks {
            let (first, count) = match self.fs.run(self.r, self.node, logical)? {
                Run::Blocks { first, count } => (first, count.min(blocks.saturating_sub(logical))),
                Run::Hole { count } => {
                    logical = logical.saturating_add(count.max(1));
                    skip = 0;
                    continue;
                }
            };
            let end = first.saturating_add(count.max(1));
            for physical in first..end {
                let place = BlockPlace { logical, physical, ahead: self.pages_behind(physical, end) };
                let base = logical << log;
                if self.walk_block(place, skip, |entry| visit(base, entry))?.is_break() {
                    return Ok(());
                }
                logical = logical.saturating_add(1);
                skip = 0;
            }
        }
        Ok(())
    }

    /// Pages behind that of block `physical` which hold blocks before `end`.
    pub(crate) fn pages_behind(&self, physical: u64, end: u64) -> u32 {
        let log = self.fs.sb.block_log;
        let page = (physical << log) >> PAGE_SHIFT;
        let last = (end << log).saturating_sub(1) >> PAGE_SHIFT;
        u32::try_from(last.saturating_sub(page)).unwrap_or(u32::MAX)
    }

    /// The bytes of a block. Its number is the file system's (MAP-1, or checked by `htree`).
    pub(crate) fn region(&self, place: BlockPlace) -> Region {
        Region { start: place.physical << self.fs.sb.block_log, len: self.rules.limit }
    }
}

pub(crate) fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}
