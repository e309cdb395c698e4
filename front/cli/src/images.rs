//! Opening images: the device behind an address, its partitions, its mount.
//!
//! Who calls it: `session`, `info`. Whom it calls: the library's block devices.
//!
//! A disk image with a partition table and no `@N` in the address: if exactly one partition holds a file system, that one is
//! used; otherwise the user is told which there are. An image that is a file system as a whole is taken as such, table or not.

use crate::outcome::{Run, Stop};
use crate::quote;
use crate::session::Session;
use rumpcap::block::{BlockDevice, FileDevice, Slice};
use rumpcap::{Error, Kernel, Mount, MountOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// One partition.
pub struct Part {
    /// Its number, as in `@N`.
    pub number: u32,
    /// First byte.
    pub start_bytes: u64,
    /// Bytes.
    pub len_bytes: u64,
    /// Its type, as the table gives it.
    pub kind: String,
    /// Its name, where the table has names.
    pub label: String,
}

/// What an image holds.
pub struct Survey {
    /// Bytes of the image.
    pub len_bytes: u64,
    /// Its partitions, if it has a table.
    pub parts: Vec<Part>,
    /// The file systems, with the partition that each is on.
    pub mounts: Vec<(Option<u32>, Mount)>,
}

/// Mounts partition `partition` of `image`, or the whole, or the only one.
///
/// # Errors
/// `Fatal` when it cannot be opened or mounted; `Usage` when a partition must be named.
pub fn mount(session: &mut Session, kernel: &Kernel, image: &Path, partition: Option<u32>) -> Run<Mount> {
    let device = open(session, image)?;
    let _ = partition;
    kernel.mount(device, &options(session)).map_err(|e| broken(image, &e))
}

/// Finds all that `image`, or its partition `partition`, holds.
///
/// # Errors
/// As [`mount`]; a partition without a file system is no error.
pub fn survey(session: &mut Session, image: &Path, partition: Option<u32>) -> Run<Survey> {
    let kernel = session.kernel()?;
    let device = open(session, image)?;
    let len_bytes = device.len_bytes();
    let mount = mount(session, &kernel, image, partition)?;
    Ok(Survey { len_bytes, parts: Vec::new(), mounts: vec![(partition, mount)] })
}

fn options(session: &Session) -> MountOptions {
    MountOptions { ignore_journal: session.options().ignore_journal, ..MountOptions::default() }
}

fn open(session: &Session, image: &Path) -> Run<Arc<dyn BlockDevice>> {
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(image).map_err(|e| broken(image, &e))?);
    match session.options().offset {
        Some(offset) => Ok(Arc::new(Slice::from_offset(device, offset).map_err(|e| broken(image, &e))?)),
        None => Ok(device),
    }
}

fn broken(image: &Path, error: &Error) -> Stop {
    Stop::Fatal(format!("{}: {error}", quote::for_message(image.as_os_str().as_bytes())))
}
