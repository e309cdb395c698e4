//! [`ImageLock`]: one writer at a time, over processes.
//!
//! Who calls it: `session`, for every image that it mounts; `mkfs`. The lock is the host's `flock` on the image: exclusive for who writes,
//! shared for who reads, gone with the process however it ends. It is that which udev honours on block devices.
//!
//! L-1. Two commands never write one image at once, and nobody begins to write while somebody reads: he is refused, and told who it is.
//! L-2. Who reads is never refused. Beside a writer he is warned: what he sees may be of two moments.
//! L-3. Locks of other kinds (virtual machines take them on the images of their disks) refuse a writer as well, and so does the
//!      kernel, where it has the image mounted or attached to a loop device that can be written.
//!
//! Failure: a host that keeps no locks for the image's file system lets everybody in.

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a lock is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read: with other readers.
    Read,
    /// To write: alone.
    Write,
}

/// A lock on an image, as long as it lives.
pub struct ImageLock {
    /// Device and inode number of the image.
    pub identity: (u64, u64),
    _fd: OwnedFd,
    /// Of a block device that is written: while it is open, nobody can mount it.
    _exclusive: Option<OwnedFd>,
}

/// Whoever has an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    /// Processes, as far as they are known.
    Processes(Vec<i32>),
    /// The host's kernel, by a loop device or a mount.
    Kernel(String),
}

/// Takes the lock of `image`.
///
/// # Errors
/// The inner one says who has it; the outer is the host's.
pub fn take(image: &Path, purpose: Purpose) -> Result<Result<ImageLock, Holder>, Errno> {
    // For writing where that is wanted: some network file systems let nobody else have an exclusive lock.
    let access = if purpose == Purpose::Write { OFlags::RDWR } else { OFlags::RDONLY };
    let fd =
        rustix::fs::open(image, access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    let identity = (stat.st_dev, stat.st_ino);
    let operation = match purpose {
        Purpose::Read => FlockOperation::NonBlockingLockShared,
        Purpose::Write => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::fs::flock(&fd, operation) {
        Err(Errno::WOULDBLOCK) => return Ok(Err(Holder::Processes(holders(identity, Kind::Flock)))),
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) | Ok(()) => {}
        Err(e) => return Err(e),
    }
    if purpose == Purpose::Read {
        return Ok(Ok(ImageLock { identity, _fd: fd, _exclusive: None }));
    }
    let others = holders(identity, Kind::Ranges);
    if !others.is_empty() {
        return Ok(Err(Holder::Processes(others)));
    }
    if let Some(device) = loop_device(identity) {
        return Ok(Err(Holder::Kernel(device)));
    }
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    let exclusive = if is_device { claim(image).map(Some) } else { Ok(None) };
    match exclusive {
        Err(Errno::BUSY) => Ok(Err(Holder::Kernel(crate::quote::for_message(image.as_os_str().as_bytes())))),
        exclusive => Ok(Ok(ImageLock { identity, _fd: fd, _exclusive: exclusive? })),
    }
}

/// Keeps a block device from being mounted.
///
/// # Errors
/// `BUSY` where it is.
fn claim(device: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(device, OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty())
}

/// A loop device of the host that can write to the file.
fn loop_device(identity: (u64, u64)) -> Option<String> {
    let devices = std::fs::read_dir("/sys/block").ok()?;
    devices.filter_map(Result::ok).find_map(|device| {
        let backing = std::fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        let file = std::fs::metadata(backing.strip_suffix('\n').unwrap_or(&backing)).ok()?;
        let is_read_only = std::fs::read_to_string(device.path().join("ro")).is_ok_and(|ro| ro.trim() == "1");
        let is_it = (file.dev(), file.ino()) == identity && !is_read_only;
        is_it.then(|| format!("/dev/{}", device.file_name().display()))
    })
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pids = match self {
            Holder::Kernel(device) => return write!(f, "the kernel, by {device}"),
            Holder::Processes(pids) => pids,
        };
        let known = pids.iter().filter(|pid| **pid > 0);
        let texts: Vec<String> = known.map(|pid| process(*pid)).collect();
        match texts.len() {
            0 => f.write_str("another process"),
            1 => write!(f, "process {}", texts.concat()),
            _ => write!(f, "processes {}", texts.join(", ")),
        }
    }
}

/// Number and name of a process.
fn process(pid: i32) -> String {
    if u32::try_from(pid) == Ok(std::process::id()) {
        return format!("{pid}, which is this one");
    }
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{pid} ({})", crate::quote::for_message(name.trim_end().as_bytes())),
        Err(_) => pid.to_string(),
    }
}

/// Kinds of locks of the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// On the whole file: ours.
    Flock,
    /// On ranges of bytes.
    Ranges,
}

/// Who has locks of `kind` on a file, as far as the host says it.
fn holders(identity: (u64, u64), kind: Kind) -> Vec<i32> {
    let list = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    parse(&list, identity, kind)
}

/// From `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`, devices in hexadecimal; `->` in front of who waits.
fn parse(list: &str, (device, ino): (u64, u64), kind: Kind) -> Vec<i32> {
    let device = format!("{:02x}:{:02x}:{ino}", rustix::fs::major(device), rustix::fs::minor(device));
    let found = list.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_flock = match words.next()? {
            "FLOCK" => true,
            "POSIX" | "OFDLCK" => false,
            _ => return None,
        };
        let pid = words.nth(2)?.parse().ok()?;
        (is_flock == (kind == Kind::Flock) && words.next()? == device).then_some(pid)
    });
    let mut pids: Vec<i32> = found.collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_or_many_readers() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let get = |purpose| take(image.path(), purpose).unwrap();
        let (first, second) = (get(Purpose::Read), get(Purpose::Read));
        assert!(first.is_ok() && second.is_ok());
        assert!(get(Purpose::Write).is_err());
        drop((first, second));
        let writer = get(Purpose::Write);
        assert!(writer.is_ok());
        let Err(holder) = get(Purpose::Write) else { panic!("two writers") };
        // A container may hide the numbers of processes, or the list.
        let me = Holder::Processes(vec![i32::try_from(std::process::id()).unwrap()]);
        assert!(holder == Holder::Processes(vec![]) || holder == me, "{holder}");
        assert!(get(Purpose::Read).is_err());
        drop(writer);
        assert!(get(Purpose::Write).is_ok());
    }

    #[test]
    fn the_list_of_locks() {
        let list = "1: FLOCK  ADVISORY  WRITE 12 08:01:77 0 EOF\n2: POSIX  ADVISORY  READ 13 08:01:77 100 101\n\
                    2: -> FLOCK  ADVISORY  WRITE 15 08:01:77 0 EOF\n3: OFDLCK ADVISORY  READ -1 08:01:77 0 EOF\n\
                    4: FLOCK  ADVISORY  WRITE 16 08:01:78 0 EOF\n5: LEASE ACTIVE READ 17 08:01:77 0 EOF\nbad\n";
        let file = (rustix::fs::makedev(8, 1), 77);
        assert_eq!(parse(list, file, Kind::Flock), [12]);
        assert_eq!(parse(list, file, Kind::Ranges), [-1, 13]);
        assert_eq!(Holder::Processes(vec![]).to_string(), "another process");
    }
}
