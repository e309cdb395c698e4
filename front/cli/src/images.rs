//! Opening images: the device behind an address, its partitions, its mount.
//!
//! Who calls it: `session`, `info`. Whom it calls: the library's block devices and partition tables.
//!
//! A disk image with a partition table and no `@N` in the address: if exactly one partition holds a file system, that one is
//! used; otherwise the user is told which there are. An image that is a file system as a whole is taken as such, table or not.

use crate::args::WriteArgs;
use crate::outcome::{Run, Stop};
use crate::quote;
use crate::session::Session;
use crate::units::human;
use rumpcap::block::partition::{self, Partition, PartitionType, Table};
use rumpcap::block::{BlockDevice, FileDevice, Slice};
use rumpcap::{Access, Error, Kernel, Mount, MountOptions, Timestamp};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What an image holds.
pub struct Survey {
    /// Bytes of the image, behind the offset.
    pub len_bytes: u64,
    /// Its partition table, if it has one and no partition was named.
    pub table: Option<Table>,
    /// The file systems, with the partition that each is on.
    pub mounts: Vec<(Option<u32>, Mount)>,
    /// Partitions, or the whole, that hold something which cannot be mounted.
    pub broken: Vec<(Option<u32>, Error)>,
}

/// Mounts partition `partition` of `image`, or the whole, or its only file system.
///
/// # Errors
/// `Fatal` when it cannot be opened or mounted; `Usage` when a partition must be named.
pub fn mount(session: &mut Session, kernel: &Kernel, image: &Path, partition: Option<u32>) -> Run<Mount> {
    let mounted = mount_or_broken(session, kernel, image, partition)?;
    mounted.map_err(|(number, error)| failed(image, number, &error))
}

/// As [`mount`]; what there is and cannot be mounted is part of the answer, with its partition.
///
/// # Errors
/// `Fatal` when it cannot be opened; `Usage` when a partition must be named.
pub fn mount_or_broken(
    session: &mut Session,
    kernel: &Kernel,
    image: &Path,
    partition: Option<u32>,
) -> Run<Result<Mount, (Option<u32>, Error)>> {
    let mut found = survey(session, kernel, image, partition)?;
    match (found.mounts.len(), found.broken.first()) {
        (1, _) => {}
        (0, Some(broken)) => return Ok(Err(*broken)),
        (0, None) => return Ok(Err((partition, Error::NotAFileSystem))),
        _ => return Err(several(image, &found)),
    }
    let (number, mount) = found.mounts.remove(0);
    if partition.is_none()
        && let Some(number) = number
        && session.options().verbose > 0
    {
        session.say(format_args!("{}: partition {number} is used", show(image)));
    }
    Ok(Ok(mount))
}

/// The device of `image`, or of its partition `partition`.
///
/// # Errors
/// `Fatal` when it cannot be opened, or has no such partition.
pub fn device(session: &Session, image: &Path, partition: Option<u32>) -> Run<Arc<dyn BlockDevice>> {
    let device = open(session, image, rumpcap_host::file::OpenOptions::default())?;
    match partition {
        Some(number) => one_partition(image, &device, number),
        None => Ok(device),
    }
}

/// Mounts partition `partition` of `image`, or the whole, or its only file system, to be written. What is not meant is not touched:
/// which it is, is found out by reading.
///
/// # Errors
/// As [`mount`]; `Fatal` with the reason where the file system can be read only.
pub fn mount_to_write(
    session: &mut Session,
    kernel: &Kernel,
    image: &Path,
    partition: Option<u32>,
    args: WriteArgs,
) -> Run<Mount> {
    let partition = match partition {
        Some(number) => Some(number),
        None => {
            let found = survey(session, kernel, image, None)?;
            match found.mounts.as_slice() {
                [(number, _)] => *number,
                // Says what is wrong.
                _ => return mount(session, kernel, image, None),
            }
        }
    };
    let options = rumpcap_host::file::OpenOptions { write: true, direct: false };
    let device = open(session, image, options)?;
    let device = match partition {
        Some(number) => one_partition(image, &device, number)?,
        None => device,
    };
    let time = args.time.map(|seconds| Timestamp { seconds, nanoseconds: 0 });
    // Who fixes the time wants equal bytes for equal changes, however long they take.
    let commit_interval = time.map(|_| Duration::MAX);
    let access = Access::Write;
    let options = MountOptions { access, time, data: args.data, commit_interval, ..MountOptions::default() };
    let mount = kernel.mount(device, &options).map_err(|e| failed(image, partition, &e))?;
    match mount.read_only_reason() {
        Some(reason) => Stop::fatal(format!("{}: cannot be written: {reason}", show(image))),
        None => Ok(mount),
    }
}

/// Finds all that `image`, or its partition `partition`, holds.
///
/// # Errors
/// `Fatal` when it cannot be opened, or has no such partition; that something cannot be mounted is part of the answer.
pub fn survey(session: &Session, kernel: &Kernel, image: &Path, partition: Option<u32>) -> Run<Survey> {
    let device = open(session, image, rumpcap_host::file::OpenOptions::default())?;
    let mut survey =
        Survey { len_bytes: device.len_bytes(), table: None, mounts: Vec::new(), broken: Vec::new() };
    let options =
        MountOptions { ignore_journal: session.options().ignore_journal, ..MountOptions::default() };
    if let Some(number) = partition {
        let slice = one_partition(image, &device, number)?;
        survey.try_mount(kernel, Some(number), slice, &options);
        return Ok(survey);
    }
    survey.try_mount(kernel, None, device.clone(), &options);
    if survey.mounts.is_empty() && survey.broken.is_empty() {
        survey.table = partition::table(&*device).map_err(|e| failed(image, None, &e))?;
        let parts = survey.table.as_ref().map(|t| t.partitions.clone()).unwrap_or_default();
        for part in &parts {
            match part.open(device.clone()) {
                Ok(slice) => survey.try_mount(kernel, Some(part.number), Arc::new(slice), &options),
                Err(e) => survey.broken.push((Some(part.number), e)),
            }
        }
    }
    Ok(survey)
}

impl Survey {
    fn try_mount(
        &mut self,
        kernel: &Kernel,
        number: Option<u32>,
        device: Arc<dyn BlockDevice>,
        options: &MountOptions,
    ) {
        match kernel.mount(device, options) {
            Ok(mount) => self.mounts.push((number, mount)),
            Err(Error::NotAFileSystem) => {}
            Err(e) => self.broken.push((number, e)),
        }
    }
}

/// The device behind partition `number`.
fn one_partition(image: &Path, device: &Arc<dyn BlockDevice>, number: u32) -> Run<Arc<dyn BlockDevice>> {
    let table = partition::table(&**device).map_err(|e| failed(image, None, &e))?;
    let Some(table) = table else {
        return Stop::fatal(format!("{}: no partition table, so no partition {number}", show(image)));
    };
    let Some(part) = table.partition(number) else {
        let there: Vec<String> = table.partitions.iter().map(|p| p.number.to_string()).collect();
        return Stop::fatal(format!("{}: no partition {number}; there are {}", show(image), there.join(" ")));
    };
    Ok(Arc::new(part.open(device.clone()).map_err(|e| failed(image, Some(number), &e))?))
}

/// What a partition's type is called.
pub fn type_name(part: &Partition) -> String {
    match (part.type_name(), &part.kind) {
        (Some(name), _) => name.to_owned(),
        (None, PartitionType::Guid(guid)) => guid.clone(),
        (None, PartitionType::Byte(byte)) => format!("{byte:#04x}"),
    }
}

fn several(image: &Path, found: &Survey) -> Stop {
    let mut text = format!("{}: several partitions hold a file system; name one:", show(image));
    let parts = found.table.iter().flat_map(|t| &t.partitions);
    for part in parts.filter(|p| found.mounts.iter().any(|(n, _)| *n == Some(p.number))) {
        let size = human(part.len_bytes);
        let label = quote::for_message(part.name.as_bytes());
        let label = if part.name.is_empty() { String::new() } else { format!(" {label}") };
        text.push_str(&format!("\n  {}@{}  {size} {}{label}", show(image), part.number, type_name(part)));
    }
    Stop::Usage(text)
}

fn open(
    session: &Session,
    image: &Path,
    options: rumpcap_host::file::OpenOptions,
) -> Run<Arc<dyn BlockDevice>> {
    let device: Arc<dyn BlockDevice> =
        Arc::new(FileDevice::open_with(image, options).map_err(|e| failed(image, None, &e))?);
    match session.options().offset {
        Some(offset) => {
            Ok(Arc::new(Slice::from_offset(device, offset).map_err(|e| failed(image, None, &e))?))
        }
        None => Ok(device),
    }
}

/// The message for an image, or a partition of it, that failed.
pub fn failed(image: &Path, partition: Option<u32>, error: &Error) -> Stop {
    let partition = partition.map(|n| format!("@{n}")).unwrap_or_default();
    Stop::Fatal(format!("{}{partition}: {error}", show(image)))
}

fn show(image: &Path) -> String {
    quote::for_message(image.as_os_str().as_bytes())
}
