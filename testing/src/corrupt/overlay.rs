//! [`DamagedImage`]: a shared image in memory with changes of its own on top: thousands cost no more than their changes.

use rumpcap::block::BlockDevice;
use rumpcap::{Error, Result};
use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

const PAGE: usize = 4096;

/// A shared image with changes on top. A block device that cannot be written.
#[derive(Clone)]
pub struct DamagedImage {
    base: Arc<Vec<u8>>,
    pages: BTreeMap<usize, Box<[u8; PAGE]>>,
    len: usize,
}

impl DamagedImage {
    /// The image as it is.
    pub fn new(base: Arc<Vec<u8>>) -> DamagedImage {
        let len = base.len();
        DamagedImage { base, pages: BTreeMap::new(), len }
    }

    /// Cuts it to `len` bytes.
    pub fn truncate(&mut self, len: u64) {
        self.len = self.len.min(len as usize);
    }

    /// `len` bytes from `offset` on; what is behind the end is left out.
    pub fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        let end = (offset + len).min(self.base.len());
        let mut bytes = vec![0; end.saturating_sub(offset)];
        if !bytes.is_empty() {
            self.copy_to(offset, &mut bytes);
        }
        bytes
    }

    /// Changes the bytes from `offset` on; what is behind the end is left out.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate().take(self.base.len().saturating_sub(offset)) {
            let at = offset + n;
            let page = self.pages.entry(at / PAGE).or_insert_with(|| {
                let mut page = Box::new([0; PAGE]);
                let start = at - at % PAGE;
                let end = (start + PAGE).min(self.base.len());
                page[..end - start].copy_from_slice(&self.base[start..end]);
                page
            });
            page[at % PAGE] = *byte;
        }
    }

    /// The whole image, for keeping one that breaks something.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.get(0, self.len)
    }

    pub(super) fn base(&self) -> &[u8] {
        &self.base
    }

    fn copy_to(&self, offset: usize, buf: &mut [u8]) {
        buf.copy_from_slice(&self.base[offset..offset + buf.len()]);
        let end = offset + buf.len();
        for (number, page) in self.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let start = number * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            buf[from - offset..to - offset].copy_from_slice(&page[from - start..to - start]);
        }
    }
}

impl BlockDevice for DamagedImage {
    fn len_bytes(&self) -> u64 {
        self.len as u64
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let wanted: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        let need = offset.saturating_add(wanted);
        if need > self.len as u64 {
            return Err(Error::ShortDevice { need, have: self.len as u64 });
        }
        let mut at = offset as usize;
        for buf in bufs {
            self.copy_to(at, buf);
            at += buf.len();
        }
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bufs: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
