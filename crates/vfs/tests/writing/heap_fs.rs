//! A file system whose metadata are on the heap and whose content is on a device: blocks of 1, 2 or 4 KiB, scattered at random, holes,
//! space that is allocated and not written, small files in their inodes.
//!
//! It watches its caller: a write to a block that belongs to no file is noted, a block that is free holds garbage, and a new one
//! still does when its content is to be stored.

use core::ops::{ControlFlow, Range};
use rumpcap_block::{BlockDevice, MemoryDevice};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::*;
use rumpcap_vm::{DeviceObject, Dirty, DirtyDevice, PAGE_SIZE, Reservation, Vm, Writeback};
use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

/// Blocks of the device, and those at its beginning that stand for metadata.
const BLOCKS: u64 = 640;
const METADATA_BLOCKS: u64 = 64;

/// Longest file that stays in its inode.
const INLINE_BYTES: u64 = 60;

/// Blocks that one step frees or allocates.
const STEP_BLOCKS: usize = 3;

pub const ROOT: InodeNo = InodeNo(2);

/// The device: fails when told, and notes writes that belong to nobody.
pub struct Disk {
    memory: MemoryDevice,
    block: u64,
    used: Mutex<Vec<bool>>,
    pub fails: AtomicBool,
    pub stray_writes: AtomicU64,
}

impl BlockDevice for Disk {
    fn len_bytes(&self) -> u64 {
        self.memory.len_bytes()
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.memory.read_at(offset, bufs)
    }
    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let len: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        let used = self.used.lock().unwrap();
        for block in offset / self.block..(offset + len).div_ceil(self.block) {
            if !used[block as usize] {
                self.stray_writes.fetch_add(1, SeqCst);
            }
        }
        drop(used);
        if self.fails.load(SeqCst) {
            return Err(Error::Io { errno: 5, at: offset });
        }
        rumpcap_host::thread::yield_now();
        self.memory.write_at(offset, bufs)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    fn is_cached_by_host(&self) -> bool {
        true
    }
}

impl Writeback for Disk {
    fn write(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        self.write_at(offset, bufs)
    }
}

#[derive(Clone, Default)]
struct Inode {
    mode: u32,
    nlink: u32,
    size: u64,
    mtime: Timestamp,
    /// Blocks of the device, and whether they were written.
    blocks: BTreeMap<u64, (u64, bool)>,
    inline: Option<Vec<u8>>,
    entries: BTreeMap<Vec<u8>, u64>,
    target: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    random: u64,
    /// Blocks that may be allocated still.
    room: u64,
    operations: u64,
}

pub struct HeapFs {
    device: DeviceObject,
    pub disk: Arc<Disk>,
    dirty: DirtyDevice,
    block: u64,
    inline: bool,
    /// The next allocation fails.
    pub is_full: AtomicBool,
    state: Mutex<State>,
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }
    fn inode(&mut self, ino: InodeNo) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino.0).ok_or(Error::NotFound)
    }
    fn dir(&mut self, ino: InodeNo) -> Result<&mut Inode> {
        let inode = self.inode(ino)?;
        if inode.mode & 0o170_000 == 0o040_000 { Ok(inode) } else { Err(Error::NotADirectory) }
    }
    fn regular(&mut self, ino: InodeNo) -> Result<&mut Inode> {
        let inode = self.inode(ino)?;
        if inode.mode & 0o170_000 == 0o100_000 { Ok(inode) } else { Err(Error::WrongType) }
    }
    fn node(&mut self, ino: InodeNo) -> Result<Node> {
        let inode = self.inode(ino)?;
        Ok(Node {
            attributes: Attributes {
                ino,
                generation: 0,
                mode: inode.mode,
                nlink: inode.nlink,
                uid: 0,
                gid: 0,
                size_bytes: inode.size,
                blocks_512: inode.blocks.len() as u64,
                rdev: (0, 0),
                flags: 0,
                project: 0,
                atime: inode.mtime,
                mtime: inode.mtime,
                ctime: inode.mtime,
                crtime: None,
            },
            private: [0; 20],
        })
    }
}

impl HeapFs {
    pub fn new(vm: &Arc<Vm>, block: u64, inline: bool, seed: u64) -> Arc<HeapFs> {
        let memory = MemoryDevice::from_bytes(&vec![0xee; (BLOCKS * block) as usize]);
        let mut used = vec![false; BLOCKS as usize];
        used[..METADATA_BLOCKS as usize].fill(true);
        let (used, fails, stray_writes) = (Mutex::new(used), AtomicBool::new(false), AtomicU64::new(0));
        let disk = Arc::new(Disk { memory, block, used, fails, stray_writes });
        let writeback: Arc<dyn Writeback> = disk.clone();
        let dirty = vm.add_dirty_device(&writeback).unwrap();
        let device = DeviceObject::attach(vm, disk.clone()).unwrap();
        let root = Inode { mode: 0o040_755, nlink: 2, ..Inode::default() };
        let state = State {
            inodes: BTreeMap::from([(ROOT.0, root)]),
            random: seed,
            room: BLOCKS - METADATA_BLOCKS,
            operations: 0,
        };
        let is_full = AtomicBool::new(false);
        Arc::new(HeapFs { device, disk, dirty, block, inline, is_full, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Blocks that no file has.
    pub fn free_blocks(&self) -> u64 {
        self.state().room
    }

    /// Number of inodes, the root's included.
    pub fn inode_count(&self) -> usize {
        self.state().inodes.len()
    }

    /// Looks at metadata, as a real file system does.
    fn look(&self, r: &Reservation<'_>) -> Result<()> {
        let mut state = self.state();
        state.operations += 1;
        let (a, b) = (state.random(METADATA_BLOCKS), state.random(METADATA_BLOCKS));
        drop(state);
        let first = self.device.page(r, a * self.block, 0)?;
        let second = self.device.page(r, b * self.block, 0)?;
        assert_eq!(first[0], second[0]);
        Ok(())
    }

    /// Blocks in a row, at most `most`.
    fn take_blocks(&self, state: &mut State, most: u64) -> Result<(u64, u64)> {
        if state.room == 0 || self.is_full.swap(false, SeqCst) {
            return Err(Error::NoSpace { what: "blocks" });
        }
        let mut used = self.disk.used.lock().unwrap();
        let mut first = METADATA_BLOCKS + state.random(BLOCKS - METADATA_BLOCKS);
        while used[first as usize] {
            first = if first + 1 == BLOCKS { METADATA_BLOCKS } else { first + 1 };
        }
        let most = 1 + state.random(most.min(12));
        let mut count = 0;
        while count < most && first + count < BLOCKS && !used[(first + count) as usize] {
            used[(first + count) as usize] = true;
            count += 1;
        }
        state.room -= count;
        Ok((first, count))
    }

    fn give_back(&self, state: &mut State, block: u64) {
        let garbage = vec![0xee; self.block as usize];
        self.disk.memory.write_at(block * self.block, &mut [IoSlice::new(&garbage)]).unwrap();
        let was = core::mem::replace(&mut self.disk.used.lock().unwrap()[block as usize], false);
        assert!(was, "a block was freed twice");
        state.room += 1;
    }

    /// Frees some blocks of `range` (of blocks); whether none is left.
    fn free_some(&self, state: &mut State, ino: InodeNo, range: Range<u64>) -> Result<bool> {
        let inode = state.inode(ino)?;
        let mut some: Vec<u64> = inode.blocks.range(range).map(|(at, _)| *at).take(STEP_BLOCKS + 1).collect();
        let is_done = some.len() <= STEP_BLOCKS;
        some.truncate(STEP_BLOCKS);
        let freed: Vec<u64> = some.iter().map(|at| inode.blocks.remove(at).unwrap().0).collect();
        freed.into_iter().for_each(|block| self.give_back(state, block));
        Ok(is_done)
    }

    /// Moves a file out of its inode.
    fn grow_out(&self, state: &mut State, ino: InodeNo) -> Result<()> {
        let Some(mut bytes) = state.inode(ino)?.inline.clone() else { return Ok(()) };
        if !bytes.is_empty() {
            let (block, _) = self.take_blocks(state, 1)?;
            bytes.resize(self.block as usize, 0);
            if let Err(error) = self.disk.write_at(block * self.block, &mut [IoSlice::new(&bytes)]) {
                self.give_back(state, block);
                return Err(error);
            }
            state.inode(ino)?.blocks.insert(0, (block, true));
        }
        state.inode(ino)?.inline = None;
        Ok(())
    }

    fn delete_inode(&self, state: &mut State, ino: InodeNo) -> Result<()> {
        while !self.free_some(state, ino, 0..u64::MAX)? {}
        state.inodes.remove(&ino.0);
        Ok(())
    }

    fn unlink_inode(&self, state: &mut State, ino: InodeNo, in_use: &InUse<'_>) -> Result<Removed> {
        let inode = state.inode(ino)?;
        let names = if inode.mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        inode.nlink -= names;
        let node = state.node(ino)?;
        let is_nameless = node.attributes.nlink == 0;
        if is_nameless && !in_use(ino) {
            self.delete_inode(state, ino)?;
        }
        Ok(Removed { node, is_nameless, is_left: false })
    }
}

impl FileSystem for HeapFs {
    fn max_pins(&self) -> u32 {
        2
    }
    fn change(&self) -> Option<&dyn Change> {
        Some(self)
    }
    fn device(&self) -> &DeviceObject {
        &self.device
    }
    fn inodes(&self) -> u64 {
        1000
    }
    fn root(&self) -> InodeNo {
        ROOT
    }
    fn stat_fs(&self, _: &Reservation<'_>) -> Result<StatFs> {
        Err(Error::Unsupported { what: "sizes" })
    }
    fn read_node(&self, r: &Reservation<'_>, ino: InodeNo, _: u32) -> Result<Node> {
        self.look(r)?;
        self.state().node(ino)
    }
    fn lookup(&self, r: &Reservation<'_>, dir: &Node, name: &[u8]) -> Result<InodeNo> {
        self.look(r)?;
        let mut state = self.state();
        let entry = state.dir(dir.attributes.ino)?.entries.get(name).copied();
        entry.map(InodeNo).ok_or(Error::NotFound)
    }
    fn read_dir(
        &self,
        _: &Reservation<'_>,
        dir: &Node,
        from: DirCookie,
        sink: &mut DirSink<'_>,
    ) -> Result<()> {
        let entries = self.state().dir(dir.attributes.ino)?.entries.clone();
        for (at, (name, ino)) in entries.iter().enumerate().skip(from.0 as usize) {
            let (ino, next) = (InodeNo(*ino), DirCookie(at as u64 + 1));
            if sink(DirEntry { name, ino, kind: FileKind::Unknown, next }) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
    fn map(&self, r: &Reservation<'_>, node: &Node, offset: u64) -> Result<Extent> {
        self.look(r)?;
        let mut state = self.state();
        let inode = state.inode(node.attributes.ino)?;
        if inode.inline.is_some() {
            return Ok(Extent::Inline);
        }
        let (first, within) = (offset / self.block, offset % self.block);
        let Some((start, true)) = inode.blocks.get(&first).copied() else {
            let next = inode.blocks.range(first..).find(|(_, (_, written))| *written);
            let len = next.map_or(u64::MAX, |(next, _)| next * self.block - offset);
            return Ok(Extent::Hole { len_bytes: len });
        };
        let count = (0..).take_while(|n| inode.blocks.get(&(first + n)) == Some(&(start + n, true))).count();
        Ok(Extent::Device {
            offset: start * self.block + within,
            len_bytes: count as u64 * self.block - within,
        })
    }
    fn read_inline(&self, _: &Reservation<'_>, node: &Node, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut state = self.state();
        let inode = state.inode(node.attributes.ino)?;
        let bytes = inode.inline.as_deref().ok_or(Error::WrongType)?;
        let byte = |at| bytes.get(at as usize).copied().unwrap_or(0);
        buf.iter_mut().zip(offset..).for_each(|(to, at)| *to = byte(at));
        Ok(buf.len())
    }
    fn read_link(&self, _: &Reservation<'_>, node: &Node, buf: &mut [u8]) -> Result<usize> {
        let target = self.state().inode(node.attributes.ino)?.target.clone();
        buf[..target.len()].copy_from_slice(&target);
        Ok(target.len())
    }
    fn list_xattr(&self, _: &Reservation<'_>, node: &Node, sink: &mut XattrSink<'_>) -> Result<()> {
        let xattrs = self.state().inode(node.attributes.ino)?.xattrs.clone();
        let _ = xattrs.iter().try_for_each(|(name, value)| sink(name, value.len() as u64));
        Ok(())
    }
    fn get_xattr(&self, _: &Reservation<'_>, node: &Node, name: &[u8], buf: &mut [u8]) -> Result<usize> {
        let mut state = self.state();
        let value = state.inode(node.attributes.ino)?.xattrs.get(name).ok_or(Error::NoAttribute)?;
        if !buf.is_empty() {
            buf[..value.len()].copy_from_slice(value);
        }
        Ok(value.len())
    }
}

impl Change for HeapFs {
    fn dirty_device(&self) -> DirtyDevice {
        self.dirty
    }
    fn block_bytes(&self) -> u64 {
        self.block
    }
    fn create(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        let mut state = self.state();
        if state.dir(at.dir)?.entries.contains_key(at.name) {
            return Err(Error::Exists);
        }
        drop(state);
        let node = self.create_nameless(r, at.dir, new, now)?;
        let mut state = self.state();
        let ino = node.attributes.ino;
        let is_dir = new.kind == FileKind::Directory;
        state.inode(ino)?.nlink = if is_dir { 2 } else { 1 };
        if is_dir {
            state.inode(ino)?.entries.insert(b"..".to_vec(), at.dir.0);
            state.inode(at.dir)?.nlink += 1;
        }
        state.dir(at.dir)?.entries.insert(at.name.to_vec(), ino.0);
        state.node(ino)
    }
    fn create_nameless(
        &self,
        r: &Reservation<'_>,
        _: InodeNo,
        new: &NewFile<'_>,
        now: Timestamp,
    ) -> Result<Node> {
        self.look(r)?;
        let mut state = self.state();
        // The lowest that is free: numbers come again at once.
        let ino = (10..).find(|ino| !state.inodes.contains_key(ino)).unwrap();
        let kind = match new.kind {
            FileKind::Directory => 0o040_000,
            FileKind::Symlink => 0o120_000,
            _ => 0o100_000,
        };
        let inline = (self.inline && new.kind == FileKind::Regular).then(Vec::new);
        let (mode, target) = (kind | new.mode, new.target.to_vec());
        state.inodes.insert(ino, Inode { mode, inline, target, mtime: now, ..Inode::default() });
        state.node(InodeNo(ino))
    }
    fn link(&self, _: &Reservation<'_>, ino: InodeNo, at: EntryName<'_>, _: Timestamp) -> Result<Node> {
        let mut state = self.state();
        if state.dir(at.dir)?.entries.contains_key(at.name) {
            return Err(Error::Exists);
        }
        state.inode(ino)?.nlink += 1;
        state.dir(at.dir)?.entries.insert(at.name.to_vec(), ino.0);
        state.node(ino)
    }
    fn remove(
        &self,
        r: &Reservation<'_>,
        at: EntryName<'_>,
        what: Remove,
        in_use: &InUse<'_>,
        _: Timestamp,
    ) -> Result<Removed> {
        self.look(r)?;
        let mut state = self.state();
        let ino = InodeNo(*state.dir(at.dir)?.entries.get(at.name).ok_or(Error::NotFound)?);
        let inode = state.inode(ino)?;
        match (inode.mode & 0o170_000 == 0o040_000, what) {
            (true, Remove::File) => return Err(Error::IsADirectory),
            (false, Remove::Directory) => return Err(Error::NotADirectory),
            (true, Remove::Directory) if inode.entries.len() > 1 => return Err(Error::NotEmpty),
            (true, Remove::Directory) => state.inode(at.dir)?.nlink -= 1,
            (false, Remove::File) => {}
        }
        state.dir(at.dir)?.entries.remove(at.name);
        self.unlink_inode(&mut state, ino, in_use)
    }
    fn delete_step(&self, _: &Reservation<'_>, ino: InodeNo, _: Timestamp) -> Result<bool> {
        let mut state = self.state();
        if state.inode(ino)?.nlink > 0 {
            return Err(Error::Busy { what: "names" });
        }
        self.delete_inode(&mut state, ino)?;
        Ok(true)
    }
    fn rename(
        &self,
        _: &Reservation<'_>,
        from: EntryName<'_>,
        to: EntryName<'_>,
        how: Rename,
        in_use: &InUse<'_>,
        _: Timestamp,
    ) -> Result<Renamed> {
        let mut state = self.state();
        let ino = InodeNo(*state.dir(from.dir)?.entries.get(from.name).ok_or(Error::NotFound)?);
        let other = state.dir(to.dir)?.entries.get(to.name).copied().map(InodeNo);
        if how == Rename::Exchange && other.is_none() {
            return Err(Error::NotFound);
        }
        state.dir(from.dir)?.entries.remove(from.name);
        state.dir(to.dir)?.entries.insert(to.name.to_vec(), ino.0);
        let is_dir = |inode: &Inode| inode.mode & 0o170_000 == 0o040_000;
        for (moved, dir) in [(Some(ino), to.dir), (other.filter(|_| how == Rename::Exchange), from.dir)] {
            let Some(inode) =
                moved.map(|moved| state.inode(moved)).transpose()?.filter(|inode| is_dir(inode))
            else {
                continue;
            };
            inode.entries.insert(b"..".to_vec(), dir.0);
        }
        let other = match other {
            Some(other) if how == Rename::Exchange => {
                state.dir(from.dir)?.entries.insert(from.name.to_vec(), other.0);
                Some(Removed { node: state.node(other)?, is_nameless: false, is_left: false })
            }
            Some(other) => Some(self.unlink_inode(&mut state, other, in_use)?),
            None => None,
        };
        let dirs = [state.node(from.dir)?, state.node(to.dir)?];
        Ok(Renamed { moved: state.node(ino)?, other, dirs })
    }
    fn set_attributes(
        &self,
        _: &Reservation<'_>,
        ino: InodeNo,
        set: &SetAttributes,
        now: Timestamp,
    ) -> Result<Node> {
        let mut state = self.state();
        let inode = state.inode(ino)?;
        inode.mtime = set.mtime.unwrap_or(now);
        if let Some(mode) = set.mode {
            inode.mode = inode.mode & 0o170_000 | mode;
        }
        state.node(ino)
    }
    fn write(
        &self,
        r: &Reservation<'_>,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
        now: Timestamp,
        store: &mut Store<'_>,
    ) -> Result<Written> {
        self.look(r)?;
        let mut state = self.state();
        let end = offset + data.len() as u64;
        let inode = state.regular(ino)?;
        if let Some(bytes) = inode.inline.as_mut().filter(|_| end <= INLINE_BYTES) {
            bytes.resize(bytes.len().max(end as usize), 0);
            bytes[offset as usize..end as usize].copy_from_slice(data);
            (inode.size, inode.mtime) = (inode.size.max(end), now);
            return Ok(Written { len_bytes: data.len(), node: state.node(ino)? });
        }
        self.grow_out(&mut state, ino)?;
        let inode = state.regular(ino)?;
        let (first, within) = (offset / self.block, offset % self.block);
        let want = end.div_ceil(self.block) - first;
        let there = inode.blocks.get(&first).copied();
        let (start, count, is_new) = match there {
            Some((start, written)) => {
                let same = |n: &u64| inode.blocks.get(&(first + n)) == Some(&(start + n, written));
                (start, (0..want).take_while(same).count() as u64, !written)
            }
            None => {
                let holes = (0..want).take_while(|n| !inode.blocks.contains_key(&(first + n))).count() as u64;
                let (start, count) = self.take_blocks(&mut state, holes)?;
                (start, count, true)
            }
        };
        let len_bytes = (count * self.block - within).min(data.len() as u64) as usize;
        let placed = Placed { offset: start * self.block + within, len_bytes, is_new };
        drop(state);
        let stored = store(placed);
        let mut state = self.state();
        if let Err(error) = stored {
            if there.is_none() {
                (start..start + count).for_each(|block| self.give_back(&mut state, block));
            }
            return Err(error);
        }
        // Of space that was not written, only what was stored.
        let inode = state.regular(ino)?;
        for n in 0..count {
            inode.blocks.insert(first + n, (start + n, true));
        }
        (inode.size, inode.mtime) = (inode.size.max(offset + len_bytes as u64), now);
        Ok(Written { len_bytes, node: state.node(ino)? })
    }
    fn set_size(&self, r: &Reservation<'_>, ino: InodeNo, size: u64, now: Timestamp) -> Result<Step> {
        self.look(r)?;
        let mut state = self.state();
        if size > INLINE_BYTES {
            self.grow_out(&mut state, ino)?;
        }
        let inode = state.regular(ino)?;
        if let Some(bytes) = &mut inode.inline {
            bytes.resize(size as usize, 0);
        }
        let cuts = size <= inode.size;
        (inode.size, inode.mtime) = (size, now);
        let is_done = !cuts || self.free_some(&mut state, ino, size.div_ceil(self.block)..u64::MAX)?;
        Ok(Step { node: state.node(ino)?, is_done })
    }
    fn punch(&self, _: &Reservation<'_>, ino: InodeNo, range: Range<u64>, _: Timestamp) -> Result<Step> {
        let mut state = self.state();
        state.regular(ino)?;
        let (first, last) = (range.start.div_ceil(self.block), range.end / self.block);
        let is_done = first >= last || self.free_some(&mut state, ino, first..last)?;
        Ok(Step { node: state.node(ino)?, is_done })
    }
    fn allocate(
        &self,
        _: &Reservation<'_>,
        ino: InodeNo,
        range: Range<u64>,
        how: Allocate,
        _: Timestamp,
    ) -> Result<Step> {
        let mut state = self.state();
        self.grow_out(&mut state, ino)?;
        let inode = state.regular(ino)?;
        let missing: Vec<u64> = (range.start / self.block..range.end.div_ceil(self.block))
            .filter(|at| !inode.blocks.contains_key(at))
            .take(STEP_BLOCKS)
            .collect();
        let is_done = missing.is_empty();
        if is_done && how == Allocate::Extend {
            inode.size = inode.size.max(range.end);
        }
        for at in missing {
            let (block, _) = self.take_blocks(&mut state, 1)?;
            state.regular(ino)?.blocks.insert(at, (block, false));
        }
        Ok(Step { node: state.node(ino)?, is_done })
    }
    fn set_xattr(
        &self,
        _: &Reservation<'_>,
        ino: InodeNo,
        name: &[u8],
        value: Option<&[u8]>,
        _: SetXattr,
        _: Timestamp,
    ) -> Result<Node> {
        let mut state = self.state();
        let xattrs = &mut state.inode(ino)?.xattrs;
        match value {
            Some(value) => drop(xattrs.insert(name.to_vec(), value.to_vec())),
            None => drop(xattrs.remove(name).ok_or(Error::NoAttribute)?),
        }
        state.node(ino)
    }
    fn commit(&self, _: &Reservation<'_>, _: Commit, _: Timestamp) -> Result<()> {
        Ok(())
    }
    fn is_committed(&self, _: InodeNo, _: SyncFile) -> Option<Committed> {
        None
    }
    fn commit_file(&self, _: &Reservation<'_>, _: InodeNo, _: SyncFile, _: Timestamp) -> Result<Committed> {
        Ok(Committed::default())
    }
    fn make_durable(&self, _: Committed, _: Timestamp) -> Result<()> {
        self.device.device().flush()
    }
    fn sync(&self, _: &Reservation<'_>, _: Timestamp) -> Result<()> {
        self.device.vm().write_back(Dirty::For(self.dirty));
        self.device.vm().loss_on(self.dirty)
    }
    fn unmount(&self, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
        self.sync(r, now)
    }
}

const _: () = assert!(PAGE_SIZE == 4096);
