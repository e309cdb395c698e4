//! A block device under a kernel: its object and its pager. All metadata of a file system is pages of this object, and
//! there is no other cache of blocks.
//!
//! Who calls it: file systems, and `vfs` for requests that pass by the pages. Whom it calls: `fault`, `block`.

use crate::boot::Vm;
use crate::fault::{BusyPages, Pager, Wanted};
use crate::frames::PageRef;
use crate::gate::Reservation;
use crate::object::{Content, ObjectId};
use crate::page::{PAGE_SIZE, PageIndex};
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_block::BlockDevice;
use rumpcap_host::sync::Arc;
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};

/// A block device under a kernel.
pub struct DeviceObject {
    vm: Arc<Vm>,
    device: std::sync::Arc<dyn BlockDevice>,
    object: ObjectId,
    len_bytes: u64,
}

impl DeviceObject {
    /// Puts `device` under the kernel `vm`.
    ///
    /// # Errors
    /// `NoMemory` when the kernel has no object left.
    pub fn attach(vm: &Arc<Vm>, device: std::sync::Arc<dyn BlockDevice>) -> Result<DeviceObject> {
        let (object, len_bytes) = (vm.create_object_of(Content::Metadata)?, device.len_bytes());
        Ok(DeviceObject { vm: vm.clone(), device, object, len_bytes })
    }

    /// The kernel's memory that it is under.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// The device itself, for requests that pass by the pages and are not counted.
    pub fn device(&self) -> &std::sync::Arc<dyn BlockDevice> {
        &self.device
    }

    /// Length of the device in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The page that holds byte `offset`, read if need be, together with up to `ahead` pages behind it if memory allows
    /// (a hint: the kernel bounds it by a share of the limit). Bytes behind the end of the device read as zeros. May
    /// block for I/O.
    ///
    /// # Errors
    /// `ShortDevice` when `offset` is past the end, `Io`.
    #[inline]
    pub fn page<'r>(&self, r: &'r Reservation<'_>, offset: u64, ahead: u32) -> Result<PageRef<'r>> {
        if offset >= self.len_bytes {
            return Err(Error::ShortDevice { need: offset.saturating_add(1), have: self.len_bytes });
        }
        let index = PageIndex::of(offset);
        match self.vm.resident_page(r, self.object, index) {
            Some(page) => Ok(page),
            None => self.read_page(r, offset, ahead),
        }
    }

    /// The page at byte `offset`, which is the first of it, to be overwritten whole: not read, but filled by `pager` if it is not there.
    ///
    /// # Errors
    /// As [`DeviceObject::page`].
    pub fn page_for_overwrite<'r>(
        &self,
        r: &'r Reservation<'_>,
        offset: u64,
        pager: &dyn Pager,
    ) -> Result<PageRef<'r>> {
        if offset >= self.len_bytes {
            return Err(Error::ShortDevice { need: offset.saturating_add(1), have: self.len_bytes });
        }
        self.vm.page(r, self.object, PageIndex::of(offset), 0, pager)
    }

    fn read_page<'r>(&self, r: &'r Reservation<'_>, offset: u64, ahead: u32) -> Result<PageRef<'r>> {
        let index = PageIndex::of(offset);
        let behind = PageIndex::of(self.len_bytes - 1).0 - index.0;
        let ahead = ahead.min(u32::try_from(behind).unwrap_or(u32::MAX));
        self.vm.page_in(r, Wanted { object: self.object, index, ahead }, self)
    }

    /// Copies `buf.len()` bytes from byte `offset` on, through the pages, one pinned at a time.
    ///
    /// # Errors
    /// As [`DeviceObject::page`].
    pub fn copy(&self, r: &Reservation<'_>, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let page = self.page(r, at, 0)?;
            let within = (at % PAGE_SIZE as u64) as usize;
            let len = (PAGE_SIZE - within).min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&page[within..within + len]);
            rest = later;
            at = at.saturating_add(len as u64);
        }
        Ok(())
    }

    /// Reads straight into the caller's buffers, past the pages. May block for I/O.
    ///
    /// # Errors
    /// `ShortDevice`, `Io`.
    pub fn read_direct(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let len_bytes = bufs.iter().map(|b| b.len() as u64).sum();
        self.vm.counters.count_read(len_bytes);
        self.vm.counters.direct_read_bytes.fetch_add(len_bytes, Relaxed);
        self.device.read_at(offset, bufs)
    }

    /// Writes straight from the caller's buffers, past the pages: there is none of what is written, or the caller sees to them. May block
    /// for I/O.
    ///
    /// # Errors
    /// `ReadOnly`, `ShortDevice`, `Io`.
    pub fn write_direct(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        self.vm.counters.count_write(bufs.iter().map(|b| b.len() as u64).sum());
        self.device.write_at(offset, bufs)
    }

    /// Fills a part of a page of another object (a file's) from byte `offset` of the device.
    ///
    /// # Errors
    /// `ShortDevice`, `Io`.
    pub fn read_into(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.vm.counters.count_read(bufs.iter().map(|b| b.len() as u64).sum());
        self.device.read_at(offset, bufs)
    }
}

impl Pager for DeviceObject {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        let offset = pages.first().offset();
        let there = self.len_bytes.saturating_sub(offset).min(pages.len_bytes() as u64) as usize;
        self.vm.counters.count_read(there as u64);
        self.device.read_at(offset, &mut pages.slices(there))
    }
}

impl Drop for DeviceObject {
    fn drop(&mut self) {
        self.vm.destroy_object(self.object);
    }
}
