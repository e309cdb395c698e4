//! A regular file or block device of the host.
//!
//! With `direct` the host's cache is bypassed (`O_DIRECT`) by every request whose offset, lengths and addresses are
//! multiples of a page, as all of a kernel's requests for whole pages are. The others, such as the last part of a
//! page at the end of an image, go through the host's cache on a second descriptor; the host keeps the two in step.

use crate::BlockDevice;
use crate::device::check_range;
use rumpcap_host::file::{HostFile, OpenOptions};
use rumpcap_host::{Error, Result};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;

/// What `O_DIRECT` requests are aligned to: a multiple of every sector size in use.
const DIRECT_ALIGNMENT: usize = 4096;

/// A regular file or block device of the host, read-only unless opened for writing.
///
/// ```no_run
/// use rumpcap_block::{BlockDevice, FileDevice};
/// let device = FileDevice::open("disk.img".as_ref())?;
/// println!("{} bytes", device.len_bytes());
/// # Ok::<(), rumpcap_host::Error>(())
/// ```
pub struct FileDevice {
    buffered: HostFile,
    direct: Option<HostFile>,
    options: OpenOptions,
}

impl FileDevice {
    /// Opens `path` read-only. Never waits, whatever `path` is.
    ///
    /// # Errors
    /// As [`HostFile::open`].
    pub fn open(path: &Path) -> Result<FileDevice> {
        FileDevice::open_with(path, OpenOptions::default())
    }

    /// Opens `path` as `options` say.
    ///
    /// # Errors
    /// As [`HostFile::open`]; `Host` with `EINVAL` where the host's file system has no direct requests.
    pub fn open_with(path: &Path, options: OpenOptions) -> Result<FileDevice> {
        let buffered = HostFile::open(path, OpenOptions { direct: false, ..options })?;
        let direct = if options.direct { Some(HostFile::open(path, options)?) } else { None };
        Ok(FileDevice { buffered, direct, options })
    }

    /// Bytes of a sector: what a block device says, 512 for a regular file.
    pub fn sector_bytes(&self) -> u32 {
        self.buffered.sector_bytes()
    }

    /// The descriptor for a request: the direct one if there is one and the request can go there.
    fn file_for<B: std::ops::Deref<Target = [u8]>>(&self, offset: u64, bufs: &[B]) -> &HostFile {
        match &self.direct {
            Some(direct) if offset.is_multiple_of(DIRECT_ALIGNMENT as u64) && bufs.iter().all(is_aligned) => {
                direct
            }
            _ => &self.buffered,
        }
    }
}

fn is_aligned<B: std::ops::Deref<Target = [u8]>>(buf: &B) -> bool {
    buf.len().is_multiple_of(DIRECT_ALIGNMENT) && buf.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT)
}

impl BlockDevice for FileDevice {
    fn is_cached_by_host(&self) -> bool {
        !self.options.direct
    }

    fn len_bytes(&self) -> u64 {
        self.buffered.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(offset, bufs, self.len_bytes())?;
        self.file_for(offset, bufs).read_exact_at(bufs, offset)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        if !self.options.write {
            return Err(Error::ReadOnly);
        }
        check_range(offset, bufs, self.len_bytes())?;
        self.file_for(offset, bufs).write_all_at(bufs, offset)
    }

    fn flush(&self) -> Result<()> {
        if self.options.write { self.buffered.sync() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// An image of 3 pages and a half sector, byte i being i mod 251.
    fn image() -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..3 * 4096 + 256u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    fn expect(device: &FileDevice, offset: u64, buf: &mut [u8]) {
        device.read_at(offset, &mut [IoSliceMut::new(buf)]).unwrap();
        for (i, byte) in buf.iter().enumerate() {
            assert_eq!(u64::from(*byte), (offset + i as u64) % 251, "byte {i} from {offset}");
        }
    }

    #[repr(align(4096))]
    struct Page([u8; 8192]);

    #[test]
    fn direct_requests_of_any_alignment() {
        let image = image();
        let options = OpenOptions { write: true, direct: true };
        let device = match FileDevice::open_with(image.path(), options) {
            Err(Error::Host { errno: 22, .. }) => return eprintln!("no O_DIRECT in the temporary directory"),
            device => device.unwrap(),
        };
        let mut page = Box::new(Page([0; 8192]));
        assert!(std::ptr::eq(device.file_for(4096, &[&page.0[..]]), device.direct.as_ref().unwrap()));
        expect(&device, 4096, &mut page.0[..]);
        expect(&device, 8192, &mut page.0[..4096]);
        expect(&device, 3 * 4096, &mut page.0[..256]);
        expect(&device, 100, &mut page.0[3..400]);
        page.0.fill(9);
        device.write_at(4096, &mut [IoSlice::new(&page.0[..4096])]).unwrap();
        device.write_at(12_300, &mut [IoSlice::new(&[8; 5])]).unwrap();
        device.flush().unwrap();
        let bytes = std::fs::read(image.path()).unwrap();
        assert!(bytes[4096..8192].iter().all(|b| *b == 9));
        assert_eq!(&bytes[12_299..12_306], &[0, 8, 8, 8, 8, 8, 6]);
    }

    #[test]
    fn read_only_unless_asked_for() {
        let image = image();
        let device = FileDevice::open(image.path()).unwrap();
        assert_eq!(device.write_at(0, &mut [IoSlice::new(b"x")]), Err(Error::ReadOnly));
        assert_eq!(device.sector_bytes(), 512);
    }

    #[test]
    fn the_end_is_an_error_with_numbers_and_no_growth() {
        let image = image();
        let device = FileDevice::open_with(image.path(), OpenOptions { write: true, direct: false }).unwrap();
        let short = Err(Error::ShortDevice { need: 12_550, have: 12_544 });
        assert_eq!(device.read_at(12_540, &mut [IoSliceMut::new(&mut [0; 10])]), short);
        assert_eq!(device.write_at(12_540, &mut [IoSlice::new(&[0; 10])]), short);
        assert_eq!(image.as_file().metadata().unwrap().len(), 12_544);
    }
}
