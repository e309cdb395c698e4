//! This project as the third teller: describes a mounted image through the library's public interface.

use super::description::{Description, Entry};
use super::digest::{Content, PAGE, PageDigest};
use rumpcap::block::{BlockDevice, FileDevice};
use rumpcap::{Error, File, Kernel, Metadata, Mount, MountOptions, Result, Timestamp, WalkError};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

/// Files up to that size are read whole, holes included; larger ones segment by segment.
const READ_WHOLE_BYTES: u64 = 80 << 20;

/// An image under the library.
pub struct Library {
    /// The mount.
    pub mount: Mount,
}

impl Library {
    /// Mounts `image` in a kernel of its own with `limit_bytes`, or without a limit.
    ///
    /// # Errors
    /// Those of boot and mount.
    pub fn open(image: &Path, limit_bytes: Option<u64>) -> Result<Library> {
        Library::open_device(Arc::new(FileDevice::open(image)?), limit_bytes)
    }

    /// Mounts `device` in a kernel of its own.
    ///
    /// # Errors
    /// Those of boot and mount.
    pub fn open_device(device: Arc<dyn BlockDevice>, limit_bytes: Option<u64>) -> Result<Library> {
        let mut builder = Kernel::builder();
        if let Some(bytes) = limit_bytes {
            builder = builder.memory_limit(bytes);
        }
        let mount = builder.boot()?.mount(device, &MountOptions::default())?;
        Ok(Library { mount })
    }

    /// Fails the test when the kernel used more memory than its limit, or could not go on for lack of it.
    ///
    /// # Panics
    /// When it did.
    pub fn assert_bounded(&self, limit_bytes: Option<u64>) {
        let report = self.mount.kernel().memory_report();
        if let Some(limit) = limit_bytes {
            assert!(
                report.limited && report.limit_bytes <= limit,
                "the limit is not the one given: {report:?}"
            );
            assert!(report.peak_bytes <= limit, "peak {} above the limit {limit}", report.peak_bytes);
        }
        assert!(report.peak_bytes > 0, "nothing was counted: {report:?}");
        assert_eq!(report.stuck, 0, "the pagedaemon was stuck: {report:?}");
    }
}

/// Describes `image` as read within `limit_bytes`.
///
/// # Errors
/// Those of boot and mount.
///
/// # Panics
/// When a path of the image cannot be read.
pub fn describe(image: &Path, limit_bytes: Option<u64>) -> Result<Description> {
    let library = Library::open(image, limit_bytes)?;
    let (description, errors) = describe_mount(&library.mount);
    assert!(errors.is_empty(), "{} paths cannot be read, the first: {:?}", errors.len(), errors[0]);
    library.assert_bounded(limit_bytes);
    Ok(description)
}

/// Describes what `mount` shows, together with what it could not show. That encrypted things are refused is no error:
/// such entries are marked.
pub fn describe_mount(mount: &Mount) -> (Description, Vec<WalkError>) {
    let mut description = Description::default();
    let mut errors = Vec::new();
    let mut walk = match mount.walk("/") {
        Ok(walk) => walk,
        Err(error) => return (description, vec![WalkError { path: "/".into(), error }]),
    };
    loop {
        match walk.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                let path = entry.path().as_os_str().as_bytes();
                let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
                let read = describe_inode(mount, entry.metadata());
                match read {
                    Ok(described) => {
                        let before = description.entries.insert(path.clone(), described);
                        assert!(before.is_none(), "{:?} was visited twice", entry.path());
                    }
                    Err(error) => errors.push(WalkError { path: entry.path().to_owned(), error }),
                }
            }
            Err(WalkError { path, error: Error::Encrypted }) => {
                let path = path.as_os_str().as_bytes();
                let path = path.strip_prefix(b"/").unwrap_or(path);
                if let Some(entry) = description.entries.get_mut(path) {
                    entry.encrypted = true;
                }
            }
            Err(error) => errors.push(error),
        }
    }
    (description, errors)
}

/// Everything about one inode.
///
/// # Errors
/// Those of reading it.
pub fn describe_inode(mount: &Mount, metadata: &Metadata) -> Result<Entry> {
    let ino = metadata.ino();
    let mut entry = from_metadata(metadata);
    if metadata.flags() & super::description::FLAG_ENCRYPTED == 0 {
        entry.xattrs = Some(mount.xattrs_ino(ino)?.into_iter().collect());
    }
    if metadata.is_symlink() {
        entry.target = Some(mount.read_link_ino(ino)?.into_os_string().into_vec());
    }
    if metadata.is_file() {
        match content(&mount.open_ino(ino)?, metadata.len()) {
            Ok(content) => entry.content = Some(content),
            Err(Error::Encrypted) => entry.encrypted = true,
            Err(e) => return Err(e),
        }
    }
    Ok(entry)
}

fn time(t: Timestamp) -> (i64, u32) {
    (t.seconds, t.nanoseconds)
}

fn from_metadata(metadata: &Metadata) -> Entry {
    Entry {
        ino: metadata.ino(),
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.len(),
        nlink: metadata.nlink(),
        rdev: metadata.rdev(),
        blocks: Some(metadata.blocks()),
        atime: Some(time(metadata.accessed())),
        mtime: time(metadata.modified()),
        ctime: time(metadata.changed()),
        crtime: Some(metadata.created().map(time)),
        flags: Some(metadata.flags()),
        generation: Some(metadata.generation()),
        project: Some(metadata.project()),
        ..Entry::default()
    }
}

/// Reads a file: by its segments, and as a whole too where that ends; both must agree.
fn content(file: &File, size: u64) -> Result<Content> {
    let by_segments = content_by_segments(file, size)?;
    if size <= READ_WHOLE_BYTES {
        let mut digest = PageDigest::default();
        read_range(file, 0, size, &mut digest)?;
        assert_eq!(digest.finish(), by_segments, "a file's segments leave out some of its data");
    }
    Ok(by_segments)
}

fn content_by_segments(file: &File, size: u64) -> Result<Content> {
    let mut digest = PageDigest::default();
    // Pages that end in one segment and begin in the next are read once: `done` is the end of what was read.
    let (mut at, mut done) = (0, 0);
    while at < size {
        let segment = file.segment_at(at)?.expect("a segment before the end of the file");
        assert!(segment.len_bytes > 0, "an empty segment at {at}");
        assert!(segment.offset <= at, "the segment of {at} begins behind it: {segment:?}");
        let end = segment.offset + segment.len_bytes;
        assert!(end > at && end <= size, "the segment of {at} of {size} is {segment:?}");
        if segment.hole {
            check_hole(file, at, end)?;
        } else {
            let from = (at - at % PAGE as u64).max(done);
            let to = end.next_multiple_of(PAGE as u64).min(size);
            if from < to {
                read_range(file, from, to, &mut digest)?;
                done = to;
            }
        }
        at = end;
    }
    assert_eq!(file.segment_at(size)?, None, "a segment behind the end");
    Ok(digest.finish())
}

/// The first and last bytes of a hole read as zeros.
fn check_hole(file: &File, from: u64, to: u64) -> Result<()> {
    for at in [from, to.saturating_sub(100).max(from)] {
        let mut buffer = [0xaa; 100];
        let len = 100.min((to - at) as usize);
        let read = file.read_at(&mut buffer[..len], at)?;
        assert_eq!(read, len, "a short read in a hole at {at}");
        assert!(buffer[..len].iter().all(|byte| *byte == 0), "a hole at {at} holds something");
    }
    Ok(())
}

fn read_range(file: &File, from: u64, to: u64, digest: &mut PageDigest) -> Result<()> {
    let mut buffer = vec![0xaa; 16 * PAGE];
    let mut at = from;
    while at < to {
        let len = buffer.len().min((to - at) as usize);
        let read = file.read_at(&mut buffer[..len], at)?;
        assert_eq!(read, len, "a short read at {at} of {to}");
        digest.add(at, &buffer[..len]);
        at += len as u64;
    }
    let mut behind = [0; 10];
    if to == file.metadata()?.len() {
        assert_eq!(file.read_at(&mut behind, to)?, 0, "bytes behind the end");
    }
    Ok(())
}
