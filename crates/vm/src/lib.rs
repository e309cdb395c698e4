//! The memory of the kernel. (Interface of the first step; the real thing replaces the bodies.)

mod report;

pub use report::MemoryReport;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use std::cell::Cell;
use std::io::IoSliceMut;
use std::sync::Arc;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a frame and of a page.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// The right to frames, taken at the gate by one operation.
pub struct Reservation<'vm> {
    vm: &'vm Vm,
    frames: u32,
    pinned: Cell<u32>,
}

/// One kernel's memory.
pub struct Vm {}

impl Vm {
    /// Boots with a limit in bytes; `None` is without limit.
    pub fn boot(_limit_bytes: Option<u64>) -> Result<Arc<Vm>> {
        Ok(Arc::new(Vm {}))
    }

    /// Enters the gate with the right to pin `frames` pages at once. Waits, first come first served.
    pub fn reserve(&self, frames: u32) -> Reservation<'_> {
        Reservation { vm: self, frames, pinned: Cell::new(0) }
    }
}

/// A page, pinned: its content stays where it is and as it is until this is dropped.
pub struct PageRef<'r> {
    pinned: &'r Cell<u32>,
    data: Box<[u8; PAGE_SIZE]>,
    checked: Cell<u8>,
}

impl PageRef<'_> {
    /// Whether the caller's check (a checksum) of 1 KiB unit `unit` (0 to 3) has been noted since the page was read.
    pub fn is_checked(&self, unit: u32) -> bool {
        self.checked.get() & (1 << unit) != 0
    }

    /// Notes that unit `unit` has been checked; forgotten when the page is evicted.
    pub fn set_checked(&self, unit: u32) {
        self.checked.set(self.checked.get() | (1 << unit));
    }
}

impl std::ops::Deref for PageRef<'_> {
    type Target = [u8; PAGE_SIZE];
    fn deref(&self) -> &Self::Target {
        &self.data
    }
}

impl Drop for PageRef<'_> {
    fn drop(&mut self) {
        self.pinned.set(self.pinned.get() - 1);
    }
}

/// A block device under a kernel: its object and pager. All metadata of a file system is pages of this.
pub struct DeviceObject {
    device: Arc<dyn BlockDevice>,
}

impl DeviceObject {
    /// Puts `device` under the kernel `vm`.
    pub fn attach(_vm: &Arc<Vm>, device: Arc<dyn BlockDevice>) -> Result<DeviceObject> {
        Ok(DeviceObject { device })
    }

    /// The device itself, for requests that pass by the pages.
    pub fn device(&self) -> &dyn BlockDevice {
        &*self.device
    }

    /// Length of the device in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    /// The page that holds byte `offset`, read if need be, together with up to `ahead` pages behind it if they are
    /// to be read too and memory allows (a hint: the kernel bounds it by a share of the limit).
    ///
    /// # Errors
    /// `ShortDevice` when `offset` is past the end, `Io`.
    pub fn page<'r>(&self, r: &'r Reservation<'_>, offset: u64, _ahead: u32) -> Result<PageRef<'r>> {
        let _ = r.vm;
        let start = offset & !(PAGE_SIZE as u64 - 1);
        if offset >= self.device.len_bytes() {
            return Err(Error::ShortDevice { need: offset + 1, have: self.device.len_bytes() });
        }
        assert!(r.pinned.get() < r.frames, "operation pins more than it reserved");
        let mut data = Box::new([0u8; PAGE_SIZE]);
        let len = (self.device.len_bytes() - start).min(PAGE_SIZE as u64) as usize;
        self.device.read_at(start, &mut [IoSliceMut::new(&mut data[..len])])?;
        r.pinned.set(r.pinned.get() + 1);
        Ok(PageRef { pinned: &r.pinned, data, checked: Cell::new(0) })
    }

    /// Copies `buf.len()` bytes from byte `offset` on, through the pages, one pinned at a time.
    ///
    /// # Errors
    /// As [`DeviceObject::page`].
    pub fn copy(&self, r: &Reservation<'_>, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let page = self.page(r, at, 0)?;
            let within = (at % PAGE_SIZE as u64) as usize;
            let n = (PAGE_SIZE - within).min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&page[within..within + n]);
            done += n;
        }
        Ok(())
    }
}
