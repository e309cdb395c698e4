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
//!
//! Memory: one page pinned at a time; places of one page on the stack. Failure: bytes before the error were copied, and
//! the error is returned.

use crate::file_system::Extent;
use crate::mount::Mount;
use crate::node::{FileKind, Node};
use crate::vnode::VnodeRef;
use arrayvec::ArrayVec;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{BusyPages, DeviceObject, PAGE_SIZE, PageIndex, PageLease, PageRef, Pager, Reservation};
use std::io::IoSliceMut;

/// Pieces of at least this many contiguous bytes are read straight into the caller's buffer. Four pages: there, one copy
/// more and the frames' bookkeeping cost as much as what a cached page could save.
pub const DIRECT_READ_BYTES: usize = 4 * PAGE_SIZE;

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
}

impl Pager for FilePager<'_> {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
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

impl Mount {
    /// Reads at `offset`; gives the bytes read: short only at the end of the file. `ahead`: pages behind a small request
    /// that the caller expects to read next.
    ///
    /// # Errors
    /// `IsADirectory`, `WrongType`, `Encrypted`, `Corrupt`, `Checksum`, `Io`, `ShortDevice`.
    pub fn read_at(
        &self,
        r: &Reservation<'_>,
        node: &Node,
        offset: u64,
        buf: &mut [u8],
        ahead: u32,
    ) -> Result<usize> {
        require_regular(node)?;
        let left = node.attributes.size_bytes.saturating_sub(offset);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (mut done, mut vnode) = (0, None);
        while done < len {
            done += self.read_piece(r, node, offset + done as u64, &mut buf[done..len], ahead, &mut vnode)?;
        }
        Ok(len)
    }

    /// Reads one piece; at least one byte.
    fn read_piece<'a>(
        &'a self,
        r: &Reservation<'_>,
        node: &Node,
        offset: u64,
        buf: &mut [u8],
        ahead: u32,
        vnode: &mut Option<VnodeRef<'a>>,
    ) -> Result<usize> {
        let within = (offset % PAGE_SIZE as u64) as usize;
        let in_page = buf.len().min(PAGE_SIZE - within);
        if buf.len() < DIRECT_READ_BYTES {
            if vnode.is_none() {
                *vnode = self.vfs.vnodes.reference(self.number, node);
            }
            let resident =
                |vnode: &VnodeRef<'_>| self.vfs.vm.resident_page(r, vnode.object(), PageIndex::of(offset));
            if let Some(page) = vnode.as_ref().and_then(resident) {
                buf[..in_page].copy_from_slice(&page[within..within + in_page]);
                return Ok(in_page);
            }
        }
        match self.fs.map(r, node, offset)? {
            Extent::Inline => Ok(self.fs.read_inline(r, node, offset, buf)?.max(1)),
            Extent::Hole { len_bytes } => {
                let len = cut(len_bytes, buf.len());
                buf[..len].fill(0);
                Ok(len)
            }
            Extent::Device { offset: at, len_bytes } => {
                let contiguous = cut(len_bytes, buf.len());
                match vnode {
                    Some(vnode) if buf.len() < DIRECT_READ_BYTES => {
                        let page = self.data_page(r, node, vnode, PageIndex::of(offset), ahead)?;
                        buf[..in_page].copy_from_slice(&page[within..within + in_page]);
                        Ok(in_page)
                    }
                    _ => {
                        let piece = &mut buf[..contiguous];
                        self.fs.device().read_direct(at, &mut [IoSliceMut::new(piece)])?;
                        Ok(contiguous)
                    }
                }
            }
        }
    }

    /// Page `index` of a file, pinned; read if need be.
    fn data_page<'r>(
        &self,
        r: &'r Reservation<'_>,
        node: &Node,
        vnode: &VnodeRef<'_>,
        index: PageIndex,
        ahead: u32,
    ) -> Result<PageRef<'r>> {
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
        let pager = FilePager { device: self.fs.device(), parts };
        self.vfs.vm.page(r, vnode.object(), index, ahead, &pager)
    }

    /// Lends the page that holds `offset`, without copying. `None` where the file system keeps no page of it: behind the
    /// end, in a hole that is a whole page, in an inode.
    ///
    /// # Errors
    /// As [`Mount::read_at`]; `NoMemory` when so much is lent out that operations would starve, or no vnode is free.
    pub fn lend(&self, r: &Reservation<'_>, node: &Node, offset: u64) -> Result<Option<PageLease>> {
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
            None => self.data_page(r, node, &vnode, index, 0)?,
        };
        PageLease::new(&self.vfs.vm, &page).map(Some)
    }
}

fn cut(len: u64, most: usize) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(most)
}

fn require_regular(node: &Node) -> Result<()> {
    match node.kind() {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Error::IsADirectory),
        _ => Err(Error::WrongType),
    }
}
