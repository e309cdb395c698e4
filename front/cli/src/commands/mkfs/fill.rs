//! Filling a new file system from an archive: it is mounted to be written, and `tar -x` does the rest.
//!
//! Who calls it: `mkfs`, when the file system has been made, empty. Whom it calls: `rumpcap_ext4::mkfs::Aside`, the library, `tar::extract`.
//! The archive is read once, from its beginning to its end.
//!
//! F-1. Nothing has to last before the end, so nothing is flushed before it, and there is no journal meanwhile.
//! F-2. What is made follows from the archive, the options and the time alone.
//!
//! Memory: the kernel's, under its limit, and that of `tar -x`.
//! Failure: members that fail are named, to the last; then, as behind any other error or a signal, nothing is left that is known as a file
//! system.

use super::failed;
use super::image::NewImage;
use super::options::Wanted;
use crate::commands::tar::extract::{self, How, Xattrs};
use crate::image_tree::Freed;
use crate::outcome::{Run, Stop};
use crate::session::Session;
use crate::target_dir::Existing;
use rumpcap::block::BlockDevice;
use rumpcap::{Access, Mount, MountOptions, SetAttributes, Timestamp};
use rumpcap_ext4::mkfs::{Aside, ROOT_INODE};
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Fills the file system on `image` from `archive`, or standard input.
///
/// # Errors
/// The file system is gone then.
pub fn fill(session: &mut Session, archive: Option<&Path>, wanted: &Wanted, image: &NewImage) -> Run {
    if archive.is_none() && session.input_is_script() {
        return Stop::usage("mkfs: standard input is the script; name the archive");
    }
    session.watch_signals()?;
    let of_image = |e| failed(image.path(), &e);
    let aside = Aside::put(&**image.device()).map_err(of_image)?;
    match through_mount(session, archive, wanted, image) {
        Ok(()) => aside.bring_back().map_err(of_image),
        Err(why) => {
            aside.erase().map_err(of_image)?;
            Err(why)
        }
    }
}

fn through_mount(session: &mut Session, archive: Option<&Path>, wanted: &Wanted, image: &NewImage) -> Run {
    let of_image = |e: rumpcap::Error| failed(image.path(), &e);
    let seconds = |seconds: u64| Timestamp { seconds: seconds.cast_signed(), nanoseconds: 0 };
    let latest = wanted.latest.map(seconds);
    let commit_interval = latest.map(|_| Duration::MAX);
    let options =
        MountOptions { access: Access::Write, time: latest, commit_interval, ..MountOptions::default() };
    let device = Arc::new(Unflushed(Arc::clone(image.device())));
    let mount = session.kernel()?.mount(device, &options).map_err(of_image)?;
    if let Some(reason) = mount.read_only_reason() {
        return Err(failed(image.path(), &format_args!("such a file system cannot be filled: {reason}")));
    }
    let how = How {
        strip_components: 0,
        existing: Existing::Replace,
        freed: Freed::AtOnce,
        owner: None,
        xattrs: Xattrs::Keep,
        latest,
    };
    let failures = session.failures();
    let done = extract::archive(session, archive, (&mount, u64::from(ROOT_INODE)), how)
        .and_then(|()| root_owner(&mount, wanted).map_err(of_image));
    // Also behind an error, of which it then says nothing new.
    let ended = mount.unmount().map_err(of_image);
    done.and(ended)?;
    match session.failures() - failures {
        0 => Ok(()),
        1 => Err(failed(image.path(), &"not made: a member of the archive failed")),
        count => Err(failed(image.path(), &format_args!("not made: {count} members of the archive failed"))),
    }
}

fn root_owner(mount: &Mount, wanted: &Wanted) -> rumpcap::Result<()> {
    let Some((uid, gid)) = wanted.root_owner else { return Ok(()) };
    let set = SetAttributes { uid: Some(uid), gid: Some(gid), ..SetAttributes::default() };
    mount.set_attributes_ino(u64::from(ROOT_INODE), &set).map(drop)
}

/// A device that is not flushed before all is done: F-1.
struct Unflushed(Arc<dyn BlockDevice>);

impl BlockDevice for Unflushed {
    fn len_bytes(&self) -> u64 {
        self.0.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> rumpcap::Result<()> {
        self.0.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> rumpcap::Result<()> {
        self.0.write_at(offset, bufs)
    }

    fn flush(&self) -> rumpcap::Result<()> {
        Ok(())
    }

    fn is_cached_by_host(&self) -> bool {
        self.0.is_cached_by_host()
    }

    fn alignment_bytes(&self) -> usize {
        self.0.alignment_bytes()
    }
}
