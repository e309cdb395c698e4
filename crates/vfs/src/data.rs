//! Reading files: through pages when the request is small, past them when it is large.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: [`crate::FileSystem::map`] for places, `vm` for pages, the device for
//! large requests.
//!
//! A request is cut into pieces that are of one kind: resident page (copied), hole (zeroed), inline (copied by the file
//! system), large and contiguous (read straight into the caller's buffer, nothing cached), small (its page is read,
//! together with pages behind it if the caller reads in sequence, and copied).
//!
//! DA-1. Where a page's bytes are is found out before a frame is taken for it, so that filling waits for the device
//! alone (FA-1). DA-2. Bytes behind the end of the file are never given.
//! DA-3. Where the host caches the device, a page that is asked for whole is read past the pages the first time, and gets
//! a frame when it is asked for again while the policy remembers it: reading at random then costs one copy, not two, and
//! pushes nothing out.
//! DA-4. A file with dirty pages is read past the pages when these have been written, with the mount's lock shared, so that none
//! becomes dirty.
//!
//! Memory: one page pinned at a time; places of one page on the stack. Failure: bytes before the error were copied, and
//! the error is returned.

use crate::file_system::Extent;
use crate::mount::Mount;
use crate::node::{FileKind, InodeNo, Node};
use crate::open_file::OpenFile;
use crate::vnode::VnodeRef;
use crate::writing::{Inside, Writing};
use arrayvec::ArrayVec;
use core::cell::Cell;
use core::ops::Deref;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{
    BusyPages, DeviceObject, Dirty, ObjectId, PAGE_SIZE, PageIndex, PageLease, PageRef, Pager, Reservation,
    WiredRun,
};
use std::io::IoSliceMut;

/// Pieces of at least this many contiguous bytes are read straight into the caller's buffer. Four pages: a
/// request of several pages is a copy or a scan more often than a structure that is looked at again.
pub const DIRECT_READ_BYTES: usize = 4 * PAGE_SIZE;

/// Pages that a small read in sequence asks to be read ahead: 128 KiB in all, as Linux does; the kernel bounds it by a
/// share of its limit.
const READ_AHEAD_PAGES: u32 = 31;

/// Parts of one page: its blocks are at least 1 KiB.
const PARTS: usize = PAGE_SIZE / 1024;

/// Where the bytes of a page, or of a run of pages, are. A hole's offset is `None`.
#[derive(Clone, Copy)]
struct Part {
    offset: Option<u64>,
    len_bytes: usize,
}

/// Fills pages of a file whose places are known.
struct FilePager<'a> {
    device: &'a DeviceObject,
    parts: ArrayVec<Part, PARTS>,
    /// Pages that were filled.
    pages: Cell<u64>,
}

impl Pager for FilePager<'_> {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        self.pages.set(pages.len() as u64);
        if let [Part { offset: Some(offset), len_bytes }] = self.parts[..] {
            let there = len_bytes.min(pages.len_bytes());
            return self.device.read_into(offset, &mut pages.slices(there));
        }
        let mut rest = pages.page_mut(0);
        for part in &self.parts {
            let (now, later) = rest.split_at_mut(part.len_bytes.min(rest.len()));
            match part.offset {
                Some(offset) => self.device.read_into(offset, &mut [IoSliceMut::new(now)])?,
                None => now.fill(0),
            }
            rest = later;
        }
        rest.fill(0);
        Ok(())
    }
}

/// One request in progress.
struct Request<'a, 'r> {
    mount: &'a Mount,
    r: &'r Reservation<'r>,
    node: &'a Node,
    /// What the caller's handle remembers.
    open: &'a OpenFile,
    /// Past the pages, whatever the size.
    direct: bool,
    /// The file's vnode, from the first small piece on.
    vnode: Option<VnodeRef<'a>>,
}

impl Request<'_, '_> {
    /// Reads one piece; gives its length, at least one byte.
    fn piece(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let small = buf.len() < DIRECT_READ_BYTES && !self.direct;
        if small && self.vnode.is_none() {
            self.vnode = self.mount.vfs.vnodes.reference(self.mount.number, self.node);
            if let Some(vnode) = &self.vnode {
                self.open.remember(self.mount.vfs.vm.hint(vnode.object()));
            }
        }
        if let Some(object) = self.object().filter(|_| small) {
            let resident = self.mount.vfs.vm.resident_page(self.r, object, PageIndex::of(offset));
            if let Some(page) = resident {
                return Ok(copy_from_page(&page, offset, buf));
            }
        }
        match self.mount.fs.map(self.r, self.node, offset)? {
            Extent::Inline => Ok(self.mount.fs.read_inline(self.r, self.node, offset, buf)?.max(1)),
            Extent::Hole { len_bytes } => {
                let len = cut(len_bytes, buf.len());
                buf[..len].fill(0);
                Ok(len)
            }
            Extent::Device { offset: at, len_bytes } => {
                let contiguous = cut(len_bytes, buf.len());
                let piece = &mut buf[..contiguous];
                let index = PageIndex::of(offset);
                let ahead = if self.open.is_next(index) { READ_AHEAD_PAGES } else { 0 };
                match &self.vnode {
                    Some(vnode) if small && !self.is_not_worth_a_frame(vnode, offset, piece.len(), ahead) => {
                        let (page, pages) = self.mount.data_page(self.r, self.node, vnode, index, ahead)?;
                        self.open.was_read(index, pages);
                        Ok(copy_from_page(&page, offset, buf))
                    }
                    _ => {
                        let whole = if small { piece.len().min(PAGE_SIZE) } else { piece.len() };
                        let piece = &mut piece[..whole];
                        self.mount.fs.device().read_direct(at, &mut [IoSliceMut::new(piece)])?;
                        self.open.was_read(index, (whole / PAGE_SIZE) as u64);
                        Ok(whole)
                    }
                }
            }
        }
    }

    /// Whether the page that was not found may be there nevertheless, newer than the device: a look without the lock is a guess.
    fn may_be_dirty(&self, object: ObjectId) -> bool {
        self.mount.writing.is_some() && self.mount.vfs.vm.is_dirty(object)
    }

    fn object(&self) -> Option<ObjectId> {
        self.vnode.as_ref().map(VnodeRef::object)
    }

    /// A whole page, asked for out of sequence and for the first time, of a device that the host caches (DA-3).
    fn is_not_worth_a_frame(&self, vnode: &VnodeRef<'_>, offset: u64, len: usize, ahead: u32) -> bool {
        ahead == 0
            && offset.is_multiple_of(PAGE_SIZE as u64)
            && len >= PAGE_SIZE
            && self.mount.fs.device().device().is_cached_by_host()
            && !self.may_be_dirty(vnode.object())
            && !self.mount.vfs.vm.asked_lately(vnode.object(), PageIndex::of(offset))
    }
}

/// Copies from the page of `offset` what `buf` takes of it; gives the length.
fn copy_from_page(page: &[u8; PAGE_SIZE], offset: u64, buf: &mut [u8]) -> usize {
    let within = (offset % PAGE_SIZE as u64) as usize;
    let len = buf.len().min(PAGE_SIZE - within);
    buf[..len].copy_from_slice(&page[within..within + len]);
    len
}

impl Mount {
    /// Reads at `offset`; gives the bytes read: short only at the end of the file. May block for I/O.
    ///
    /// What is resident of a small request is copied without entering the gate: no lock and no reservation, see
    /// [`Vm::copy_resident`](rumpcap_vm::Vm::copy_resident).
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`, `Encrypted`, `Corrupt`, `Checksum`, `Io`, `ShortDevice`.
    pub fn read_at(&self, open: &OpenFile, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if let Some(writing) = self.writing.as_deref() {
            return self.read_changing(writing, open, offset, buf);
        }
        let len = cut(open.node().attributes.size_bytes.saturating_sub(offset), buf.len());
        let buf = &mut buf[..len];
        let done = if len < DIRECT_READ_BYTES { self.read_resident(open, offset, buf) } else { 0 };
        if done == 0 || done < len {
            self.read_missing(&self.enter(), open, open.node(), offset + done as u64, &mut buf[done..])?;
        }
        Ok(len)
    }

    /// As [`Mount::read_at`], of a file that may change.
    fn read_changing(
        &self,
        writing: &Writing,
        open: &OpenFile,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        if let Some(len) = self.read_unchanged(writing, open, offset, buf) {
            return Ok(len);
        }
        let r = self.enter();
        let node = self.node(&r, open.ino())?;
        let len = cut(node.attributes.size_bytes.saturating_sub(offset), buf.len());
        self.read_missing(&r, open, &node, offset, &mut buf[..len])?;
        if let Some(age) = writing.age(open.ino()) {
            open.note_size(age, node.attributes.size_bytes);
        }
        Ok(len)
    }

    /// Copies what is resident of a small request, if all of it is and the file did not change meanwhile (WR-2).
    fn read_unchanged(
        &self,
        writing: &Writing,
        open: &OpenFile,
        offset: u64,
        buf: &mut [u8],
    ) -> Option<usize> {
        let age = writing.age(open.ino())?;
        let len = cut(open.size_at(age)?.saturating_sub(offset), buf.len());
        let is_all = len < DIRECT_READ_BYTES && self.read_resident(open, offset, &mut buf[..len]) == len;
        (is_all && writing.age(open.ino()) == Some(age)).then_some(len)
    }

    /// Copies what is resident, from the beginning on; gives the bytes copied.
    fn read_resident(&self, open: &OpenFile, offset: u64, buf: &mut [u8]) -> usize {
        let hint = open.hint();
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let within = (at % PAGE_SIZE as u64) as usize;
            let end = buf.len().min(done + PAGE_SIZE - within);
            if !self.vfs.vm.copy_resident(hint, PageIndex::of(at), within, &mut buf[done..end]) {
                break;
            }
            done = end;
        }
        done
    }

    /// Fills `buf`, which ends with the file at the latest.
    fn read_missing(
        &self,
        r: &Reservation<'_>,
        open: &OpenFile,
        node: &Node,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<()> {
        require_regular(node)?;
        // A small file that is read whole is not read again soon (DA-3).
        let whole = offset == 0 && buf.len() as u64 == node.attributes.size_bytes;
        let direct = whole && self.fs.device().device().is_cached_by_host();
        if direct || buf.len() >= DIRECT_READ_BYTES {
            self.write_dirty_pages_of(node.attributes.ino);
        }
        let mut request = Request { mount: self, r, node, open, direct, vnode: None };
        let mut done = 0;
        while done < buf.len() {
            done += request.piece(offset + done as u64, &mut buf[done..])?;
        }
        Ok(())
    }

    /// Writes the dirty pages of a file (DA-4). An error is kept for the next who syncs.
    pub(crate) fn write_dirty_pages_of(&self, ino: InodeNo) {
        let vnode = self.writing.as_ref().and_then(|_| self.vfs.vnodes.with_pages(self.number, ino));
        if let Some(vnode) = vnode {
            self.vfs.vm.write_back(Dirty::Of(vnode.object()));
        }
    }

    /// Page `index` of a file, pinned, and how many pages were read for it.
    pub(crate) fn data_page<'r>(
        &self,
        r: &'r Reservation<'_>,
        node: &Node,
        vnode: &VnodeRef<'_>,
        index: PageIndex,
        ahead: u32,
    ) -> Result<(PageRef<'r>, u64)> {
        let mut parts = ArrayVec::new();
        let mut found = 0;
        while found < PAGE_SIZE && !parts.is_full() {
            let offset = index.offset() + found as u64;
            let (place, len_bytes) = match self.fs.map(r, node, offset)? {
                Extent::Device { offset, len_bytes } => (Some(offset), len_bytes),
                Extent::Hole { len_bytes } => (None, len_bytes),
                Extent::Inline => return Err(Error::WrongType),
            };
            let len_bytes = usize::try_from(len_bytes).unwrap_or(usize::MAX);
            parts.push(Part { offset: place, len_bytes });
            found = found.saturating_add(len_bytes.max(1));
        }
        let whole_pages = if parts.len() == 1 { found / PAGE_SIZE } else { 1 };
        let to_end = node.attributes.size_bytes.div_ceil(PAGE_SIZE as u64).saturating_sub(index.0 + 1);
        let ahead = cut(to_end, whole_pages.saturating_sub(1)).min(ahead as usize) as u32;
        let pager = FilePager { device: self.fs.device(), parts, pages: Cell::new(0) };
        let page = self.vfs.vm.page(r, vnode.object(), index, ahead, &pager)?;
        Ok((page, pager.pages.get()))
    }

    /// Lends the page that holds `offset`, without copying, or a copy of it on a mount that is written: who changes a page waits for those
    /// who hold it. `None` where the file system keeps no page of it: behind the end, in a hole that is a whole page, in an inode.
    ///
    /// # Errors
    /// As [`Mount::read_at`]; `NoMemory` when so much is lent out that operations would starve, or no vnode is free.
    pub fn lend(&self, r: &Inside<'_>, node: &Node, offset: u64) -> Result<Option<LentPage>> {
        require_regular(node)?;
        let index = PageIndex::of(offset);
        if offset >= node.attributes.size_bytes {
            return Ok(None);
        }
        match self.fs.map(r, node, index.offset())? {
            Extent::Inline => return Ok(None),
            Extent::Hole { len_bytes } if len_bytes >= PAGE_SIZE as u64 => return Ok(None),
            _ => {}
        }
        let none = Error::NoMemory { what: "vnodes", need: 1, have: 0 };
        let vnode = self.vfs.vnodes.reference(self.number, node).ok_or(none)?;
        let page = match self.vfs.vm.resident_page(r, vnode.object(), index) {
            Some(page) => page,
            None => self.data_page(r, node, &vnode, index, 0)?.0,
        };
        if self.writing.is_none() {
            return PageLease::new(&self.vfs.vm, &page).map(|page| Some(LentPage::Shared(page)));
        }
        let mut copy = WiredRun::buffer(&self.vfs.vm, 1, "a lent page")?;
        copy.copy_from_slice(&page[..]);
        Ok(Some(LentPage::Copied(copy)))
    }
}

/// A page's bytes, lent out beyond the operation. They count as wired memory for as long as they are held.
pub enum LentPage {
    /// The page itself.
    Shared(PageLease),
    /// A copy.
    Copied(WiredRun),
}

impl Deref for LentPage {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            LentPage::Shared(page) => &page[..],
            LentPage::Copied(copy) => copy,
        }
    }
}

pub(crate) fn cut(len: u64, most: usize) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(most)
}

pub(crate) fn require_regular(node: &Node) -> Result<()> {
    match node.kind() {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Error::IsADirectory),
        _ => Err(Error::WrongType),
    }
}
