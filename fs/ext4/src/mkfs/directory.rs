//! Directories: written whole, in blocks of entries in a row, with a hash tree above where they take more than one block.
//!
//! Who calls it: `Maker`. Entries are sorted in place, by name or by hash, so that the order in which they came does not show.
//!
//! A tree's blocks are in the order root, then for each node the node and its leaves (a tree of one level has no nodes). Leaves are
//! written as they fill; a node behind its last leaf; the root at the end.
//!
//! Memory: three blocks: leaf, node, root.

use super::geometry::Geometry;
use super::maker::Image;
use super::mapping::{Mapping, Root};
use crate::checksum::crc32c;
use crate::hash::NameHasher;
use crate::layout::DIR_TAIL_FILE_TYPE;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::FileKind;

/// Bytes of an entry before its name.
const HEAD: usize = 8;
/// Bytes of the fake last entry with the checksum, and of a node's checksum.
const TAIL: usize = 12;
const NODE_TAIL: usize = 8;
/// Bytes of a pointer of a tree; offsets of the pointers in the root and in a node.
const POINTER: usize = 8;
const ROOT_POINTERS: usize = 32;
const NODE_POINTERS: usize = 8;
/// What the root says of the tree: half MD4, eight bytes long.
const HALF_MD4: u8 = 1;
const ROOT_INFO_LEN: u8 = 8;

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    name: &'a [u8],
    ino: u32,
    kind: FileKind,
    hash: u32,
}

impl<'a> Entry<'a> {
    /// `name` for inode `ino`, which is of `kind`.
    pub fn new(name: &'a [u8], ino: u32, kind: FileKind) -> Entry<'a> {
        Entry { name, ino, kind, hash: 0 }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    fn record_len(&self) -> usize {
        record_len(self.name)
    }
}

fn record_len(name: &[u8]) -> usize {
    (HEAD + name.len()).next_multiple_of(4)
}

/// Which directory is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub ino: u32,
    pub parent: u32,
    /// Seed of its blocks' checksums.
    pub seed: u32,
    /// Blocks that it has at least, empty ones behind the others.
    pub blocks_min: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub root: Root,
    pub blocks: u32,
    pub has_index: bool,
}

/// The blocks that are open.
pub(super) struct Directory {
    leaf: Box<[u8]>,
    node: Box<[u8]>,
    top: Box<[u8]>,
}

/// How the blocks of this file system are laid out.
#[derive(Clone, Copy)]
struct Rules {
    /// Bytes that records may fill.
    usable: usize,
    has_csum: bool,
    has_filetype: bool,
}

impl Rules {
    fn of(g: &Geometry) -> Rules {
        let has_csum = g.features.has_metadata_csum();
        let usable = g.block_size as usize - if has_csum { TAIL } else { 0 };
        Rules { usable, has_csum, has_filetype: g.features.has_filetype() }
    }

    /// Pointers that a block has room for behind `offset`.
    fn pointers(&self, block_size: usize, offset: usize) -> usize {
        (block_size - offset - if self.has_csum { NODE_TAIL } else { 0 }) / POINTER
    }
}

impl Directory {
    pub(super) fn new(block_size: u32) -> Directory {
        let block = || vec![0; block_size as usize].into_boxed_slice();
        Directory { leaf: block(), node: block(), top: block() }
    }

    /// Writes a directory of `entries`.
    ///
    /// # Errors
    /// `InvalidInput` for a name that cannot be or is there twice; `NoSpace`, `Io`.
    pub(super) fn make(
        &mut self,
        image: &mut Image<'_>,
        map: &mut Mapping,
        id: Identity,
        entries: &mut [Entry<'_>],
    ) -> Result<Made> {
        if entries.iter().any(|e| e.name.is_empty() || e.name.len() > 255 || e.name.contains(&b'/')) {
            return Err(Error::InvalidInput { what: "name of a file" });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(b.name));
        if entries.iter().zip(entries.iter().skip(1)).any(|(a, b)| a.name == b.name) {
            return Err(Error::InvalidInput { what: "name that is twice in a directory" });
        }
        map.begin(id.seed);
        let rules = Rules::of(&image.g);
        let linear: usize = entries.iter().map(Entry::record_len).sum();
        let mut writer = Writer { image, map, rules, seed: id.seed, next: 0 };
        if linear + 24 > rules.usable && writer.image.g.features.has_dir_index() {
            sort_by_hash(entries, &writer.image.hasher);
            if let Some(levels) = writer.levels(entries) {
                self.indexed(&mut writer, id, entries, levels)?;
                let blocks = writer.next;
                return Ok(Made { root: map.finish(image)?, blocks, has_index: true });
            }
            entries.sort_unstable_by(|a, b| a.name.cmp(b.name));
        }
        self.linear(&mut writer, id, entries)?;
        let blocks = writer.next;
        Ok(Made { root: map.finish(image)?, blocks, has_index: false })
    }

    fn linear(&mut self, writer: &mut Writer<'_, '_>, id: Identity, entries: &[Entry<'_>]) -> Result<()> {
        let mut leaf = Leaf::new(&mut self.leaf, writer.rules);
        leaf.put(&Entry::new(b".", id.ino, FileKind::Directory));
        leaf.put(&Entry::new(b"..", id.parent, FileKind::Directory));
        for entry in entries {
            if !leaf.fits(entry) {
                writer.append(leaf.close(writer.seed))?;
                leaf = Leaf::new(&mut self.leaf, writer.rules);
            }
            leaf.put(entry);
        }
        writer.append(leaf.close(writer.seed))?;
        while writer.next < id.blocks_min {
            writer.append(Leaf::new(&mut self.leaf, writer.rules).close(writer.seed))?;
        }
        Ok(())
    }

    fn indexed(
        &mut self,
        writer: &mut Writer<'_, '_>,
        id: Identity,
        entries: &[Entry<'_>],
        levels: u8,
    ) -> Result<()> {
        let rules = writer.rules;
        let root_block = writer.take()?;
        let mut root = Node::root(&mut self.top, rules, id, levels);
        // Hash with which the next leaf begins: that of the first one is not said.
        let mut first = 0;
        let mut rest = entries;
        while !rest.is_empty() {
            if levels == 0 {
                root.put(first, writer.next);
                (rest, first) = writer.leaf(&mut self.leaf, rest)?;
                continue;
            }
            root.put(first, writer.next);
            let node_block = writer.take()?;
            let mut node = Node::inner(&mut self.node, rules);
            while !rest.is_empty() && !node.is_full() {
                node.put(first, writer.next);
                (rest, first) = writer.leaf(&mut self.leaf, rest)?;
            }
            writer.image.put_block(node_block, node.close(writer.seed))?;
        }
        writer.image.put_block(root_block, root.close(writer.seed))
    }
}

fn sort_by_hash(entries: &mut [Entry<'_>], hasher: &NameHasher) {
    for entry in entries.iter_mut() {
        entry.hash = hasher.hash(entry.name);
    }
    entries.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then_with(|| a.name.cmp(b.name)));
}

/// Appends blocks to the directory.
struct Writer<'w, 'd> {
    image: &'w mut Image<'d>,
    map: &'w mut Mapping,
    rules: Rules,
    seed: u32,
    /// Number in the directory of the next block.
    next: u32,
}

impl Writer<'_, '_> {
    /// Takes the next block, which is written later.
    fn take(&mut self) -> Result<u64> {
        let start = self.image.space.blocks(1)?.start;
        self.map.add(self.image, self.next, start, 1)?;
        self.next += 1;
        Ok(start)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let block = self.take()?;
        self.image.put_block(block, bytes)
    }

    /// Levels of nodes between the root and the leaves; `None` when there are more leaves than two can point to.
    fn levels(&self, entries: &[Entry<'_>]) -> Option<u8> {
        let size = self.image.g.block_size as usize;
        let in_root = self.rules.pointers(size, ROOT_POINTERS);
        let (mut leaves, mut used) = (1, 0);
        for entry in entries {
            if used + entry.record_len() > self.rules.usable {
                leaves += 1;
                used = 0;
            }
            used += entry.record_len();
        }
        match leaves {
            n if n <= in_root => Some(0),
            n if n <= in_root * self.rules.pointers(size, NODE_POINTERS) => Some(1),
            _ => None,
        }
    }

    /// Writes a leaf with the first of `entries`; gives the rest, and the hash with which it begins, marked if the leaf ends with
    /// the same.
    fn leaf<'e, 'n>(
        &mut self,
        buffer: &mut [u8],
        entries: &'e [Entry<'n>],
    ) -> Result<(&'e [Entry<'n>], u32)> {
        let mut leaf = Leaf::new(buffer, self.rules);
        let count = entries.iter().take_while(|entry| leaf.fits(entry) && leaf.put(entry)).count();
        self.append(leaf.close(self.seed))?;
        let (done, rest) = entries.split_at(count);
        let next = match (done.last(), rest.first()) {
            (Some(last), Some(first)) => first.hash | u32::from(last.hash == first.hash),
            _ => 0,
        };
        Ok((rest, next))
    }
}

/// A block of entries in a row.
struct Leaf<'b> {
    bytes: &'b mut [u8],
    rules: Rules,
    at: usize,
    /// Where the last record is, if there is any.
    last: Option<usize>,
}

impl<'b> Leaf<'b> {
    fn new(bytes: &'b mut [u8], rules: Rules) -> Leaf<'b> {
        bytes.fill(0);
        Leaf { bytes, rules, at: 0, last: None }
    }

    fn fits(&self, entry: &Entry<'_>) -> bool {
        self.at + entry.record_len() <= self.rules.usable
    }

    /// Puts an entry that fits. True, for chains of conditions.
    fn put(&mut self, entry: &Entry<'_>) -> bool {
        let (at, len) = (self.at, entry.record_len());
        let file_type = if self.rules.has_filetype { type_of(entry.kind) } else { 0 };
        put_record(self.bytes, at, entry.ino, len, entry.name, file_type);
        self.last = Some(at);
        self.at += len;
        true
    }

    /// Lets the last record reach to the end, and sums up the block.
    fn close(self, seed: u32) -> &'b [u8] {
        // Without any, a record for nothing fills the block.
        let last = self.last.unwrap_or(0);
        put_len(self.bytes, last, self.rules.usable - last);
        if self.rules.has_csum {
            let tail = self.rules.usable;
            put_record(self.bytes, tail, 0, TAIL, b"", DIR_TAIL_FILE_TYPE);
            let sum = crc32c(seed, &self.bytes[..tail]);
            self.bytes[tail + HEAD..tail + TAIL].copy_from_slice(&sum.to_le_bytes());
        }
        self.bytes
    }
}

fn put_record(bytes: &mut [u8], at: usize, ino: u32, len: usize, name: &[u8], file_type: u8) {
    bytes[at..at + 4].copy_from_slice(&ino.to_le_bytes());
    put_len(bytes, at, len);
    bytes[at + 6] = name.len() as u8;
    bytes[at + 7] = file_type;
    bytes[at + HEAD..at + HEAD + name.len()].copy_from_slice(name);
}

/// The length of the record at `at`; 64 KiB, which 16 bits cannot tell, is all ones.
fn put_len(bytes: &mut [u8], at: usize, len: usize) {
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    bytes[at + 4..at + 6].copy_from_slice(&len.to_le_bytes());
}

fn type_of(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
        FileKind::Unknown => 0,
    }
}

/// A block of pointers.
struct Node<'b> {
    bytes: &'b mut [u8],
    has_csum: bool,
    /// Offset of the pointers; the first one's hash is replaced by the counts.
    pointers: usize,
    limit: usize,
    count: usize,
}

impl<'b> Node<'b> {
    fn root(bytes: &'b mut [u8], rules: Rules, id: Identity, levels: u8) -> Node<'b> {
        bytes.fill(0);
        let size = bytes.len();
        let file_type = if rules.has_filetype { type_of(FileKind::Directory) } else { 0 };
        put_record(bytes, 0, id.ino, 12, b".", file_type);
        put_record(bytes, 12, id.parent, size - 12, b"..", file_type);
        bytes[28..31].copy_from_slice(&[HALF_MD4, ROOT_INFO_LEN, levels]);
        Node::new(bytes, rules, ROOT_POINTERS)
    }

    fn inner(bytes: &'b mut [u8], rules: Rules) -> Node<'b> {
        bytes.fill(0);
        put_len(bytes, 0, bytes.len());
        Node::new(bytes, rules, NODE_POINTERS)
    }

    fn new(bytes: &'b mut [u8], rules: Rules, pointers: usize) -> Node<'b> {
        let limit = rules.pointers(bytes.len(), pointers);
        Node { bytes, has_csum: rules.has_csum, pointers, limit, count: 0 }
    }

    fn is_full(&self) -> bool {
        self.count == self.limit
    }

    fn put(&mut self, hash: u32, block: u32) {
        let at = self.pointers + self.count * POINTER;
        self.bytes[at..at + 4].copy_from_slice(&hash.to_le_bytes());
        self.bytes[at + 4..at + POINTER].copy_from_slice(&block.to_le_bytes());
        self.count += 1;
    }

    fn close(self, seed: u32) -> &'b [u8] {
        let at = self.pointers;
        self.bytes[at..at + 2].copy_from_slice(&(self.limit as u16).to_le_bytes());
        self.bytes[at + 2..at + 4].copy_from_slice(&(self.count as u16).to_le_bytes());
        if self.has_csum {
            let used = at + self.count * POINTER;
            let tail = at + self.limit * POINTER;
            let sum = crc32c(crc32c(seed, &self.bytes[..used]), &[0; NODE_TAIL]);
            self.bytes[tail + 4..tail + NODE_TAIL].copy_from_slice(&sum.to_le_bytes());
        }
        self.bytes
    }
}
