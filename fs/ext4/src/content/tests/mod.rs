//! Files that are written, cut, punched and allocated on images of mke2fs, against a model; e2fsck and debugfs say whether it is right.

mod clusters;
mod damage;
mod inline;
mod model;
mod random;
mod shapes;
mod spread;
mod versions;

use crate::Ext4;
use crate::alloc::tests::{Image, Mounted, NOW};
use rumpcap_block::BlockDevice;
use rumpcap_host::Result;
use rumpcap_vfs::{Allocate, Change, Extent, FileSystem, InodeNo, Node, Placed, Written};
use std::io::{IoSlice, IoSliceMut, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// First inode that a directory can name.
const FIRST_INODE: u64 = 12;

/// An image with empty files `f0`, `f1` ..., whose inodes are given.
fn image_with_files(kind: (&str, &str), count: u64) -> Option<(Image, Vec<InodeNo>)> {
    let image = Image::make(kind)?;
    let script: String = (0..count).map(|file| format!("write /dev/null f{file}\n")).collect();
    debugfs(&image.path(), &script);
    Some((image, (FIRST_INODE..).take(count as usize).map(InodeNo).collect()))
}

/// Runs commands of debugfs, and gives what it prints.
fn debugfs(path: &Path, script: &str) -> String {
    let mut child = Command::new("debugfs")
        .args(["-w", "-f", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the kernel would do above the file system, past all pages.
impl Mounted {
    fn device(&self) -> &dyn BlockDevice {
        &**self.fs.device().device()
    }

    fn file(&self, ino: InodeNo) -> Node {
        self.fs.read_node(&self.vm.reserve(crate::MAX_PINS), ino, 0).unwrap()
    }

    /// One step of a write.
    fn write_some(&self, ino: InodeNo, offset: u64, data: &[u8]) -> Result<Written> {
        let block = u64::from(self.fs.sb.block_size);
        let mut store = |placed: Placed| {
            let data = &data[..placed.len_bytes];
            assert_eq!(placed.offset % block, offset % block);
            if !placed.is_new {
                return self.device().write_at(placed.offset, &mut [IoSlice::new(data)]);
            }
            let within = (placed.offset % block) as usize;
            let mut blocks = vec![0; (within + data.len()).next_multiple_of(block as usize)];
            blocks[within..within + data.len()].copy_from_slice(data);
            self.device().write_at(placed.offset - within as u64, &mut [IoSlice::new(&blocks)])
        };
        self.fs.write(&self.vm.reserve(crate::MAX_PINS), ino, offset, data, NOW, &mut store)
    }

    /// Writes all of `data`.
    fn write(&self, ino: InodeNo, offset: u64, data: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < data.len() {
            let written = self.write_some(ino, offset + done as u64, &data[done..])?;
            assert!(written.len_bytes > 0 && written.len_bytes <= data.len() - done);
            assert!(written.node.attributes.size_bytes >= offset + (done + written.len_bytes) as u64);
            done += written.len_bytes;
        }
        Ok(())
    }

    /// Makes bytes zeros that are mapped.
    fn zero(&self, ino: InodeNo, range: core::ops::Range<u64>) {
        let (node, mut at) = (self.file(ino), range.start);
        while at < range.end {
            let extent = self.fs.map(&self.vm.reserve(crate::MAX_PINS), &node, at).unwrap();
            at = match extent {
                Extent::Device { offset, len_bytes } => {
                    let len = len_bytes.min(range.end - at);
                    self.device().write_at(offset, &mut [IoSlice::new(&vec![0; len as usize])]).unwrap();
                    at + len
                }
                Extent::Hole { len_bytes } => at.saturating_add(len_bytes),
                Extent::Inline => return,
            };
        }
    }

    fn set_size(&self, ino: InodeNo, size: u64) -> Result<()> {
        let old = self.file(ino).attributes.size_bytes;
        let block = u64::from(self.fs.sb.block_size);
        self.zero(ino, size..size.next_multiple_of(block).min(old));
        loop {
            let step = self.fs.set_size(&self.vm.reserve(crate::MAX_PINS), ino, size, NOW)?;
            assert_eq!(step.node.attributes.size_bytes, size);
            if step.is_done {
                return Ok(());
            }
        }
    }

    fn punch(&self, ino: InodeNo, range: core::ops::Range<u64>) -> Result<()> {
        let size = self.file(ino).attributes.size_bytes;
        let block = u64::from(self.fs.sb.block_size);
        self.zero(ino, range.start..range.start.next_multiple_of(block).min(range.end));
        self.zero(ino, (range.end / block * block).max(range.start)..range.end);
        loop {
            let step = Change::punch(&self.fs, &self.vm.reserve(crate::MAX_PINS), ino, range.clone(), NOW)?;
            assert_eq!(step.node.attributes.size_bytes, size);
            if step.is_done {
                return Ok(());
            }
        }
    }

    fn allocate(&self, ino: InodeNo, range: core::ops::Range<u64>, how: Allocate) -> Result<()> {
        loop {
            let reservation = self.vm.reserve(crate::MAX_PINS);
            let step = Change::allocate(&self.fs, &reservation, ino, range.clone(), how, NOW)?;
            if step.is_done {
                return Ok(());
            }
        }
    }

    /// What is in `range` of a file.
    fn read(&self, ino: InodeNo, range: core::ops::Range<u64>) -> Vec<u8> {
        let node = self.file(ino);
        let end = range.end.min(node.attributes.size_bytes);
        let mut content = vec![0; end.saturating_sub(range.start) as usize];
        let (mut at, mut rest) = (range.start, &mut content[..]);
        while !rest.is_empty() {
            let len = match self.fs.map(&self.vm.reserve(crate::MAX_PINS), &node, at).unwrap() {
                Extent::Device { offset, len_bytes } => {
                    let len = rest.len().min(len_bytes as usize);
                    self.device().read_at(offset, &mut [IoSliceMut::new(&mut rest[..len])]).unwrap();
                    len
                }
                Extent::Hole { len_bytes } => rest.len().min(len_bytes.min(1 << 40) as usize),
                Extent::Inline => {
                    self.fs.read_inline(&self.vm.reserve(crate::MAX_PINS), &node, at, rest).unwrap()
                }
            };
            at += len as u64;
            rest = &mut rest[len..];
        }
        content
    }
}

fn free_blocks(fs: &Ext4) -> u64 {
    fs.counts_now().unwrap().blocks_free
}
