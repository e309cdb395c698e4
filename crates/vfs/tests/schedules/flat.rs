//! A file system of one directory, without anything on a disk but the content of its files: a device whose every page begins
//! with the number of the file that it is of, and which switches threads in the middle of a request.

use core::ops::ControlFlow;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{
    Attributes, DirCookie, DirEntry, DirSink, Extent, FileKind, FileSystem, InodeNo, Node, StatFs, Timestamp,
    XattrSink,
};
use rumpcap_vm::{DeviceObject, PAGE_SIZE, Reservation, Vm};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// Files in the directory; their names are their numbers.
pub const FILES: u64 = 4;

/// Pages of a file.
const FILE_PAGES: u64 = 4;

const ROOT: InodeNo = InodeNo(1);
const FIRST_INO: u64 = 10;

/// The file system: files `first_file` and on, in inodes whose numbers are the same for every one.
pub struct Flat {
    device: DeviceObject,
    first_file: u64,
}

struct Disk {
    first_file: u64,
}

impl BlockDevice for Disk {
    fn len_bytes(&self) -> u64 {
        FILES * FILE_PAGES * PAGE_SIZE as u64
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        shuttle::thread::yield_now();
        let mut page = offset / PAGE_SIZE as u64;
        for buf in bufs {
            for chunk in buf.chunks_mut(PAGE_SIZE) {
                chunk[..8].copy_from_slice(&(self.first_file + page / FILE_PAGES).to_le_bytes());
                page += 1;
            }
        }
        Ok(())
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

impl Flat {
    pub fn new(vm: &Arc<Vm>, first_file: u64) -> Flat {
        let device = DeviceObject::attach(vm, Arc::new(Disk { first_file })).unwrap();
        Flat { device, first_file }
    }

    fn file(&self, ino: InodeNo) -> Result<u64> {
        ino.0.checked_sub(FIRST_INO).filter(|file| *file < FILES).ok_or(Error::NotFound)
    }
}

impl FileSystem for Flat {
    fn max_pins(&self) -> u32 {
        2
    }

    fn device(&self) -> &DeviceObject {
        &self.device
    }

    fn inodes(&self) -> u64 {
        FIRST_INO + FILES
    }

    fn root(&self) -> InodeNo {
        ROOT
    }

    fn stat_fs(&self, _: &Reservation<'_>) -> Result<StatFs> {
        Err(Error::WrongType)
    }

    /// Reads the first page of the file's content, as if the inode were there.
    fn read_node(&self, r: &Reservation<'_>, ino: InodeNo, ahead: u32) -> Result<Node> {
        let size_bytes = if ino == ROOT { 0 } else { FILE_PAGES * PAGE_SIZE as u64 };
        if ino != ROOT {
            let page = self.device.page(r, self.file(ino)? * size_bytes, ahead)?;
            assert_eq!(page[..8], (self.first_file + self.file(ino)?).to_le_bytes());
        }
        let attributes = Attributes {
            ino,
            generation: 0,
            mode: if ino == ROOT { 0o040_755 } else { 0o100_644 },
            nlink: 1,
            uid: 0,
            gid: 0,
            size_bytes,
            blocks_512: size_bytes / 512,
            rdev: (0, 0),
            flags: 0,
            project: 0,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            crtime: None,
        };
        Ok(Node { attributes, private: [0; 20] })
    }

    fn lookup(&self, _: &Reservation<'_>, _: &Node, name: &[u8]) -> Result<InodeNo> {
        let number: u64 =
            core::str::from_utf8(name).ok().and_then(|n| n.parse().ok()).ok_or(Error::NotFound)?;
        let file = number.checked_sub(self.first_file).filter(|file| *file < FILES).ok_or(Error::NotFound)?;
        Ok(InodeNo(FIRST_INO + file))
    }

    fn read_dir(&self, _: &Reservation<'_>, _: &Node, from: DirCookie, sink: &mut DirSink<'_>) -> Result<()> {
        for file in from.0..FILES {
            let (name, ino) = ((self.first_file + file).to_string(), InodeNo(FIRST_INO + file));
            let kind = FileKind::Regular;
            let entry = DirEntry { name: name.as_bytes(), ino, kind, next: DirCookie(file + 1) };
            if sink(entry) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn map(&self, _: &Reservation<'_>, node: &Node, offset: u64) -> Result<Extent> {
        let size_bytes = node.attributes.size_bytes;
        let start = self.file(node.attributes.ino)? * size_bytes;
        match size_bytes.checked_sub(offset) {
            None | Some(0) => Ok(Extent::Hole { len_bytes: u64::MAX }),
            Some(len_bytes) => Ok(Extent::Device { offset: start + offset, len_bytes }),
        }
    }

    fn read_inline(&self, _: &Reservation<'_>, _: &Node, _: u64, _: &mut [u8]) -> Result<usize> {
        Err(Error::WrongType)
    }

    fn read_link(&self, _: &Reservation<'_>, _: &Node, _: &mut [u8]) -> Result<usize> {
        Err(Error::WrongType)
    }

    fn list_xattr(&self, _: &Reservation<'_>, _: &Node, _: &mut XattrSink<'_>) -> Result<()> {
        Ok(())
    }

    fn get_xattr(&self, _: &Reservation<'_>, _: &Node, _: &[u8], _: &mut [u8]) -> Result<usize> {
        Err(Error::NoAttribute)
    }
}
