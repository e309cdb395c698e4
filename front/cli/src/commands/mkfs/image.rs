//! [`NewImage`]: the file or device on which a file system is made.
//!
//! What it held is looked at before anything is written: without `--force` only nothing but zeros may be there. A regular file, and a
//! device that can, gives its blocks back, so that it is sparse and known to be zeros.

use super::{failed, show};
use crate::lock::{self, ImageLock, Purpose};
use crate::outcome::{Run, Stop, plain};
use rumpcap::block::{BlockDevice, FileDevice, Slice};
use rumpcap_ext4::mkfs::Prior;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of the beginning is looked at: what any file system or partition table is known by is there.
const LOOKED_AT_BYTES: usize = 128 * 1024;

/// Where what is known by, and what it is.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (1080, b"\x53\xEF", "an ext2, ext3 or ext4 file system"),
    (0, b"XFSB", "an XFS file system"),
    (65_600, b"_BHRfS_M", "a btrfs file system"),
    (0, b"hsqs", "a squashfs"),
    (1024, b"\xE2\xE1\xF5\xE0", "an EROFS"),
    (1024, b"\x10\x20\xF5\xF2", "an F2FS"),
    (32_769, b"CD001", "an ISO 9660 file system"),
    (3, b"NTFS", "an NTFS"),
    (54, b"FAT", "a FAT file system"),
    (82, b"FAT32", "a FAT file system"),
    (0, b"LUKS\xBA\xBE", "an encrypted volume"),
    (4086, b"SWAPSPACE2", "a swap area"),
    (536, b"LVM2", "a volume of LVM"),
    (512, b"EFI PART", "a partition table"),
    (510, b"\x55\xAA", "a partition table"),
];

/// What is to be done with data that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Keep it and say so.
    Refuse,
    /// Overwrite it.
    Overwrite,
}

/// The device of a new file system.
pub struct NewImage {
    path: PathBuf,
    device: Arc<dyn BlockDevice>,
    prior: Prior,
    is_new: bool,
    identity: (u64, u64),
    /// Nobody else writes it, reads it or mounts it meanwhile.
    _lock: ImageLock,
}

impl NewImage {
    /// Opens or makes `path`; the file system is to begin at byte `offset` and to have `size` bytes, or all that there are.
    ///
    /// # Errors
    /// `Usage` without a size where one is needed, `Fatal` for the rest. Nothing has been written then.
    pub fn open(path: &Path, offset: u64, size: Option<u64>, force: Force) -> Run<NewImage> {
        let (file, is_new) = match File::options().read(true).write(true).open(path) {
            Ok(file) => (file, false),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if size.is_none() {
                    return Stop::usage(format!(
                        "{}: is not there; to make it, a size is needed",
                        show(path)
                    ));
                }
                let made = File::options().read(true).write(true).create_new(true).open(path);
                (made.map_err(|e| failed(path, &plain(&e)))?, true)
            }
            Err(e) => return Err(failed(path, &plain(&e))),
        };
        NewImage::on(path, &file, is_new, (offset, size), force).inspect_err(|_| {
            if is_new {
                let _ = std::fs::remove_file(path);
            }
        })
    }

    fn on(path: &Path, file: &File, is_new: bool, place: (u64, Option<u64>), force: Force) -> Run<NewImage> {
        let io = |e: std::io::Error| failed(path, &plain(&e));
        let metadata = file.metadata().map_err(io)?;
        let is_device = metadata.file_type().is_block_device();
        if !is_device && !metadata.is_file() {
            return Err(failed(path, &"neither a regular file nor a block device"));
        }
        let lock = claim(path)?;
        let (offset, size) = place;
        if force == Force::Refuse && !is_new {
            refuse_data(path, file, offset)?;
        }
        if let (false, Some(size)) = (is_device, size) {
            let end = offset.checked_add(size).ok_or_else(|| failed(path, &"size: too large"))?;
            if end > metadata.len() {
                file.set_len(end).map_err(io)?;
            }
        }
        let options = rumpcap_host::file::OpenOptions { write: true, direct: false };
        let all: Arc<dyn BlockDevice> =
            Arc::new(FileDevice::open_with(path, options).map_err(|e| failed(path, &e))?);
        let left = all.len_bytes().saturating_sub(offset);
        let len = size.unwrap_or(left);
        let device: Arc<dyn BlockDevice> =
            Arc::new(Slice::new(all, offset, len).map_err(|e| failed(path, &e))?);
        let prior = if is_new { Prior::Zeros } else { give_back(file, offset, len) };
        let identity = (metadata.dev(), metadata.ino());
        Ok(NewImage { path: path.to_owned(), device, prior, is_new, identity, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file system.
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// What they hold.
    pub fn prior(&self) -> Prior {
        self.prior
    }

    /// Device and inode number of the image on the host: it does not go into itself.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Removes an image that was made and did not become a file system.
    pub fn discard(&self, why: Stop) -> Stop {
        if self.is_new
            && let Err(e) = std::fs::remove_file(&self.path)
        {
            return Stop::Fatal(format!("{why:?}; and it could not be removed: {}", plain(&e)));
        }
        why
    }
}

/// Keeps everybody else from the image, or finds who has it.
fn claim(path: &Path) -> Run<ImageLock> {
    match lock::take(path, Purpose::Write) {
        Ok(Ok(lock)) => Ok(lock),
        Ok(Err(holder)) => Err(Stop::Taken(format!("{}: in use by {holder}", show(path)))),
        Err(e) => Err(failed(path, &plain(&e.into()))),
    }
}

/// Refuses what holds anything but zeros where things are known by.
fn refuse_data(path: &Path, file: &File, offset: u64) -> Run {
    let mut bytes = vec![0; LOOKED_AT_BYTES];
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) => return Err(failed(path, &plain(&e))),
        }
    }
    let found = SIGNATURES.iter().find(|(at, magic, _)| bytes[*at..].starts_with(magic));
    let what = match found {
        Some((_, _, what)) => what,
        None if bytes.iter().any(|byte| *byte != 0) => "data",
        None => return Ok(()),
    };
    Stop::fatal(format!("{}: holds {what}; --force makes a file system over it", show(path)))
}

/// Gives the blocks of the range back to the host, so that they read as zeros.
fn give_back(file: &File, offset: u64, len: u64) -> Prior {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, offset, len) {
        Ok(()) => Prior::Zeros,
        Err(_) => Prior::Unknown,
    }
}
