//! Writing files: through pages when the piece is small, past them when it is large.
//!
//! Who calls it: `rumpcap` (the library). Whom it calls: [`crate::Change::write`] for places, `vm` for pages, the device for large pieces.
//!
//! A request is cut into pieces, each a change of its own: whole pages in a row (stored straight from the caller's buffer), or a part of
//! one page, which is made resident as the file is *before* the change, and changed when the file system has placed it.
//!
//! WT-1. Storing is the last step that can fail, and fails before a page has changed. So behind an error no page is dirty for blocks
//! that the file system takes back, and none holds what the file does not.
//! WT-2. A new block is stored whole: what the piece leaves of it is zeros, as its page says, or as is written around the piece.
//! WT-3. What is dirty of a page lies in one row on the device, and all of that row is the page's. With blocks as large as pages that is
//! always so; a piece that would leave a gap is stored through.
//! WT-4. A file that is in its inode has no pages.
//! WT-5. Bytes behind the end of a file are zeros, on the device and in its last page: who cuts a file sees to it, and who makes one longer
//! that others may have written (`resize`).
//!
//! Memory: one page pinned. Failure: pieces before the error are written.

use crate::DIRECT_READ_BYTES;
use crate::change::{Change, Placed, Written};
use crate::data::require_regular;
use crate::file_system::Extent;
use crate::mount::Mount;
use crate::node::{InodeNo, Node, Timestamp};
use crate::open_file::OpenFile;
use crate::vnode::VnodeRef;
use crate::writing::Changing;
use core::cell::Cell;
use core::ops::Range;
use rumpcap_host::{Error, Result};
use rumpcap_vm::{BusyPages, Dirty, Due, PAGE_SIZE, PageIndex, PageRef, Pager, UNIT_BYTES};
use std::io::IoSlice;

/// The most bytes of one piece: as long as it is stored, others wait.
const PIECE_BYTES: usize = 256 * PAGE_SIZE;

/// The most bytes of a file, as the host's offsets have it.
const FILE_BYTES: u64 = i64::MAX as u64;

/// A page of zeros.
pub(crate) const ZEROS: &[u8; PAGE_SIZE] = &[0; PAGE_SIZE];

/// Fills a page that is about to be overwritten as a whole.
struct Blank {
    /// It was not there before.
    is_used: Cell<bool>,
}

impl Pager for Blank {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        self.is_used.set(true);
        pages.page_mut(0).fill(0);
        Ok(())
    }
}

/// A part of a file that is written in one change.
struct Piece<'a> {
    ino: InodeNo,
    offset: u64,
    data: &'a [u8],
    now: Timestamp,
}

impl Mount {
    /// Writes all of `data` at `offset`; short only behind an error after some bytes. May block for I/O.
    ///
    /// # Errors
    /// `ReadOnly`; those of [`Change::write`] and of the device.
    pub fn write_at(&self, open: &OpenFile, offset: u64, data: &[u8], now: Timestamp) -> Result<usize> {
        self.writable()?;
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > FILE_BYTES) {
            return Err(Error::FileTooLarge);
        }
        let mut done = 0;
        while done < data.len() {
            let piece = Piece { ino: open.ino(), offset: offset + done as u64, data: &data[done..], now };
            match self.write_piece(piece) {
                Ok(len) => done += len,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Writes a beginning of the piece, in one change; gives its length.
    fn write_piece(&self, piece: Piece<'_>) -> Result<usize> {
        let change = self.change_file(piece.ino)?;
        let node = self.node(&change, piece.ino)?;
        require_regular(&node)?;
        let _aging = self.aging(piece.ino);
        self.clear_behind_end(&change, &node, piece.offset)?;
        let within = (piece.offset % PAGE_SIZE as u64) as usize;
        let written = if within == 0 && piece.data.len() >= DIRECT_READ_BYTES {
            let len = piece.data.len().min(PIECE_BYTES) / PAGE_SIZE * PAGE_SIZE;
            self.write_pages(&change, &Piece { data: &piece.data[..len], ..piece })
        } else {
            let len = piece.data.len().min(PAGE_SIZE - within);
            self.write_in_page(&change, &node, &Piece { data: &piece.data[..len], ..piece })
        };
        self.changed(piece.ino, written.as_ref().ok().map(|written| &written.node));
        Ok(written?.len_bytes)
    }

    /// Writes whole pages straight from the caller's buffer.
    fn write_pages(&self, change: &Changing<'_>, piece: &Piece<'_>) -> Result<Written> {
        change.fs.write(change, piece.ino, piece.offset, piece.data, piece.now, &mut |placed| {
            self.forget_overwritten(piece.ino, piece.offset..piece.offset + placed.len_bytes as u64);
            self.store_through(change.fs, &placed, piece.data)
        })
    }

    /// Forgets the pages of what is about to be overwritten on the device. Those that are dirty are written first: the device may refuse
    /// what is to come, and what was written before must be there then.
    fn forget_overwritten(&self, ino: InodeNo, range: Range<u64>) {
        let Some(vnode) = self.vfs.vnodes.with_pages(self.number, ino) else { return };
        let (first, end) = (PageIndex::of(range.start), PageIndex(range.end.div_ceil(PAGE_SIZE as u64)));
        self.vfs.vm.write_back(Dirty::In(vnode.object(), first, end));
        self.vfs.vm.discard_range(vnode.object(), first..end);
    }

    /// Writes a part of a page, or all of it, through the page.
    fn write_in_page(&self, change: &Changing<'_>, node: &Node, piece: &Piece<'_>) -> Result<Written> {
        let Some(vnode) = self.vnode_to_write(node) else { return self.write_past(change, piece) };
        vnode.will_be_written();
        let index = PageIndex::of(piece.offset);
        let blank = Blank { is_used: Cell::new(false) };
        let is_whole = piece.data.len() == PAGE_SIZE && change.fs.block_bytes() == PAGE_SIZE as u64;
        let page = match self.vfs.vm.resident_page(change, vnode.object(), index) {
            Some(page) => page,
            // WT-4.
            None if matches!(self.fs.map(change, node, piece.offset)?, Extent::Inline) => {
                return self.write_past(change, piece);
            }
            None if is_whole => self.vfs.vm.page(change, vnode.object(), index, 0, &blank)?,
            None => self.data_page(change, node, &vnode, index, 0)?.0,
        };
        let mut page = Some(page);
        let written =
            change.fs.write(change, piece.ino, piece.offset, piece.data, piece.now, &mut |placed| {
                let page = page.take().expect("content is stored at most once");
                // What makes the file longer is not there before its bytes are.
                let grows = piece.offset + placed.len_bytes as u64 > node.attributes.size_bytes;
                let due = if placed.is_new || grows { Due::BeforeCommit } else { Due::Anytime };
                self.store_in_page(change.fs, page, piece, &placed, due)
            });
        // Nothing of it is what the file holds.
        if page.take().is_some() && blank.is_used.get() {
            self.vfs.vm.discard_range(vnode.object(), index..PageIndex(index.0 + 1));
        }
        written
    }

    /// The vnode of a file that is written; `None` if there is none even when nothing is dirty (VN-4).
    pub(crate) fn vnode_to_write(&self, node: &Node) -> Option<VnodeRef<'_>> {
        let reference = || self.vfs.vnodes.reference(self.number, node);
        reference().or_else(|| {
            self.write_dirty_pages();
            reference()
        })
    }

    /// Writes a piece of a file that has no pages.
    fn write_past(&self, change: &Changing<'_>, piece: &Piece<'_>) -> Result<Written> {
        change.fs.write(change, piece.ino, piece.offset, piece.data, piece.now, &mut |placed| {
            self.store_through(change.fs, &placed, piece.data)
        })
    }

    /// Puts the piece into its page, and makes it dirty, or stores it at once (WT-3).
    fn store_in_page(
        &self,
        fs: &dyn Change,
        page: PageRef<'_>,
        piece: &Piece<'_>,
        placed: &Placed,
        due: Due,
    ) -> Result<()> {
        let data = &piece.data[..placed.len_bytes];
        let start = (piece.offset % PAGE_SIZE as u64) as usize;
        let bytes = start..start + data.len();
        let block = if placed.is_new { fs.block_bytes() as usize } else { UNIT_BYTES };
        let units = bytes.start / block * block / UNIT_BYTES..bytes.end.next_multiple_of(block) / UNIT_BYTES;
        let place = placed.offset.checked_sub(start as u64).filter(|place| {
            fs.block_bytes() == PAGE_SIZE as u64
                || page.is_dirty_in_a_row_with(fs.dirty_device(), *place, &units)
        });
        if place.is_none() {
            self.store_through(fs, placed, data)?;
        }
        let mut page = page.modify();
        page[bytes].copy_from_slice(data);
        match place {
            Some(place) => drop(page.dirty(fs.dirty_device(), place, units, due)),
            None => drop(page.finish()),
        }
        Ok(())
    }

    /// Writes the beginning of `data` that is placed, and zeros to both ends of new blocks (WT-2).
    fn store_through(&self, fs: &dyn Change, placed: &Placed, data: &[u8]) -> Result<()> {
        let data = &data[..placed.len_bytes];
        if !placed.is_new {
            return self.fs.device().write_direct(placed.offset, &mut [IoSlice::new(data)]);
        }
        let (block, end) = (fs.block_bytes(), placed.offset + data.len() as u64);
        let before = &ZEROS[..(placed.offset % block) as usize];
        let behind = &ZEROS[..(end.next_multiple_of(block) - end) as usize];
        let start = placed.offset - before.len() as u64;
        self.fs.device().write_direct(start, &mut [before, data, behind].map(IoSlice::new))
    }
}
