//! The images of a session: opened at the first address that names them, locked as long as they are, unmounted at its end.
//!
//! Normally an address names an image. Within an image ([`Within`]: `shell`, `batch`) an address is a path in it, with or without a
//! leading colon; what does not begin with `/` is relative to the current directory.
//!
//! Failure: what an unmount says is a failure of the command; the image then needs recovery, which its journal has.

use super::{Session, Target};
use crate::address::{self, Address};
use crate::args::WriteArgs;
use crate::images;
use crate::interrupt::Interrupt;
use crate::lock::{self, ImageLock, Purpose};
use crate::outcome::{Run, Stop, plain};
use crate::page;
use crate::quote;
use rumpcap::{Error, Mount, Timestamp};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The images of a session.
#[derive(Default)]
pub struct Mounts {
    mounted: Vec<Mounted>,
    locks: Vec<ImageLock>,
    within: Option<Within>,
    /// The time of all changes, where it is fixed.
    time: Option<i64>,
}

struct Mounted {
    image: PathBuf,
    /// Device and inode number of the image: it may have several names.
    identity: Option<(u64, u64)>,
    partition: Option<u32>,
    mount: Mount,
}

/// The image and directory that addresses are relative to.
#[derive(Clone)]
pub struct Within {
    /// The image, and the current directory in it.
    pub target: Target,
}

impl Mounts {
    /// What a page says of them.
    pub fn pictures(&self) -> Vec<page::Image> {
        self.mounted.iter().map(|m| page::Image::of(&m.image, m.partition, &m.mount)).collect()
    }

    fn find(&self, image: &Path, partition: Option<u32>) -> Run<Option<(usize, &Mount)>> {
        let identity = identity_of(image);
        let mut same = self
            .mounted
            .iter()
            .enumerate()
            .filter(|(_, m)| m.image == image || identity.is_some() && m.identity == identity);
        let mut ambiguous = false;
        let found = same.find(|(_, m)| {
            // What `@N` and no partition mean together is known only when both are mounted: too late for a writer.
            ambiguous |= m.partition.is_some() != partition.is_some() && m.mount.is_writable();
            m.partition == partition
        });
        match found {
            Some((at, m)) => Ok(Some((at, &m.mount))),
            None if ambiguous => {
                Stop::usage("an image that is written must be named with @N everywhere or nowhere")
            }
            None => Ok(None),
        }
    }
}

impl Session {
    /// Reads an address and mounts its image, unless it is already.
    ///
    /// # Errors
    /// `Fatal` when the image cannot be opened or mounted, `Usage` when the address leaves open which partition.
    pub fn target(&mut self, text: &OsStr) -> Run<Target> {
        if let Some(within) = &self.mounts.within {
            return Ok(within.target_of(text));
        }
        let Address { image, partition, path } = address::parse(text);
        if let Some((at, mount)) = self.mounts.find(&image, partition)? {
            return Ok(Target { image: at, mount: mount.clone(), path });
        }
        self.lock_to_read(&image);
        let kernel = self.kernel()?;
        let mount = images::mount(self, &kernel, &image, partition)?;
        self.warn_of(&image, &mount);
        Ok(self.remember(image, partition, mount, path))
    }

    /// All that `texts` mean.
    pub fn targets(&mut self, texts: &[OsString]) -> Run<Vec<Target>> {
        let mut all = Vec::new();
        for text in texts {
            all.extend(self.matching(text)?);
        }
        Ok(all)
    }

    /// As [`Session::target`], to be written. From then on signals end the command in order.
    ///
    /// # Errors
    /// As [`Session::target`]; `Taken` while somebody else has the image; `Fatal` where it can be read only, with the reason.
    pub fn writable(&mut self, text: &OsStr, args: WriteArgs) -> Run<Target> {
        if let Some(within) = &self.mounts.within {
            return must_be_writable(within.target_of(text));
        }
        let Address { image, partition, path } = address::parse(text);
        if let Some((at, mount)) = self.mounts.find(&image, partition)? {
            return must_be_writable(Target { image: at, mount: mount.clone(), path });
        }
        if self.options.ignore_journal {
            return Stop::usage("--ignore-journal is for reading");
        }
        self.lock_to_write(&image)?;
        self.watch_signals()?;
        self.mounts.time = args.time;
        let kernel = self.kernel()?;
        let mount = images::mount_to_write(self, &kernel, &image, partition, args)?;
        self.warn_of(&image, &mount);
        Ok(self.remember(image, partition, mount, path))
    }

    /// All that `texts` mean, to be written.
    pub fn all_writable(&mut self, texts: &[OsString], args: WriteArgs) -> Run<Vec<Target>> {
        let mut all = Vec::new();
        for text in texts {
            let target = self.writable(text, args)?;
            all.extend(self.expand(target));
        }
        Ok(all)
    }

    fn remember(&mut self, image: PathBuf, partition: Option<u32>, mount: Mount, path: PathBuf) -> Target {
        let identity = identity_of(&image);
        self.mounts.mounted.push(Mounted { image, identity, partition, mount: mount.clone() });
        Target { image: self.mounts.mounted.len() - 1, mount, path }
    }

    /// How `target` is named where paths of several sides stand: with its image, within an image with a colon.
    pub fn address_of(&self, target: &Target) -> PathBuf {
        let mut address = OsString::new();
        if self.within().is_none()
            && let Some(mounted) = self.mounts.mounted.get(target.image)
        {
            address.push(&mounted.image);
            if let Some(number) = mounted.partition {
                address.push(format!("@{number}"));
            }
        }
        address.push(":");
        address.push(&target.path);
        PathBuf::from(address)
    }

    /// The time of a change that is made now.
    pub fn now(&self) -> Timestamp {
        match self.mounts.time {
            Some(seconds) => Timestamp { seconds, nanoseconds: 0 },
            None => {
                let now = jiff::Timestamp::now();
                let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
                Timestamp { seconds: now.as_second(), nanoseconds }
            }
        }
    }

    /// From now on signals end the command in order.
    ///
    /// # Errors
    /// `Fatal`, with the host's word.
    pub fn watch_signals(&mut self) -> Run {
        if self.interrupt.is_none() {
            let watched = self.signals.watch().map_err(|e| Stop::Fatal(format!("signals: {}", plain(&e))))?;
            self.interrupt = Some(watched);
        }
        Ok(())
    }

    /// Goes on, unless a signal has come while an image is written.
    ///
    /// # Errors
    /// `Code`, of the signal.
    pub fn check_interrupt(&self) -> Run {
        self.interrupt.as_ref().map_or(Ok(()), Interrupt::check)
    }

    /// What takes note of signals, if an image is written.
    pub fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    /// Addresses are within `target` from now on, or no more.
    pub fn set_within(&mut self, target: Option<Target>) {
        self.mounts.within = target.map(|target| Within { target });
    }

    /// What addresses are within, if they are.
    pub fn within(&self) -> Option<&Within> {
        self.mounts.within.as_ref()
    }

    /// Whether `text` means something in an image where paths of the host may stand as well. Within an image it begins with a colon;
    /// elsewhere it names an image that is there, and has a colon behind it. What exists on the host under the whole name is the host's.
    pub fn is_in_image(&self, text: &OsStr) -> bool {
        if self.mounts.within.is_some() {
            return text.as_bytes().first() == Some(&b':');
        }
        let image = address::parse(text).image;
        let is_address = image.as_os_str() != text && image.metadata().is_ok_and(|m| !m.is_dir());
        is_address && text.as_bytes().contains(&b':') && Path::new(text).symlink_metadata().is_err()
    }

    /// Device and inode number of every image that is open.
    pub fn identities(&self) -> Vec<(u64, u64)> {
        self.mounts.locks.iter().map(|lock| lock.identity).collect()
    }

    /// Who only reads is not kept from it, but told.
    fn lock_to_read(&mut self, image: &Path) {
        match lock::take(image, Purpose::Read) {
            Ok(Ok(lock)) => self.mounts.locks.push(lock),
            Ok(Err(_)) if self.has_lock(image) => {}
            Ok(Err(holder)) => {
                let image = quote::for_message(image.as_os_str().as_bytes());
                self.say(format_args!("{image}: is being written by {holder}: what is read may be torn"));
            }
            // Opening it will say the same.
            Err(_) => {}
        }
    }

    fn lock_to_write(&mut self, image: &Path) -> Run {
        let show = || quote::for_message(image.as_os_str().as_bytes());
        match lock::take(image, Purpose::Write) {
            Ok(Ok(lock)) => self.mounts.locks.push(lock),
            // Another partition of it is written already, or another name of it was given.
            Ok(Err(_)) if self.has_lock(image) => {}
            Ok(Err(holder)) => return Err(Stop::Taken(format!("{}: in use by {holder}", show()))),
            Err(e) => return Stop::fatal(format!("{}: {}", show(), plain(&e.into()))),
        }
        Ok(())
    }

    /// Whether a lock of the session's own is on the image.
    fn has_lock(&self, image: &Path) -> bool {
        identity_of(image)
            .is_some_and(|identity| self.mounts.locks.iter().any(|lock| lock.identity == identity))
    }

    /// Unmounts all images; what cannot be written at the end is a failure of the command.
    pub(super) fn unmount(&mut self) {
        let Mounts { mounted, locks, within, .. } = std::mem::take(&mut self.mounts);
        drop(within);
        for Mounted { image, mount, .. } in mounted {
            if !mount.is_writable() {
                continue;
            }
            if let Err(e) = mount.unmount() {
                self.fail(&image, &format_args!("unmount: {e}"));
            }
        }
        drop(locks);
    }
}

impl Within {
    /// The path that `text` means.
    pub fn target_of(&self, text: &OsStr) -> Target {
        let bytes = text.as_bytes();
        let path = OsStr::from_bytes(bytes.strip_prefix(b":").unwrap_or(bytes));
        let path = if path.is_empty() { self.target.path.clone() } else { self.target.path.join(path) };
        Target { path, ..self.target.clone() }
    }
}

fn identity_of(image: &Path) -> Option<(u64, u64)> {
    image.metadata().ok().map(|m| (m.dev(), m.ino()))
}

fn must_be_writable(target: Target) -> Run<Target> {
    if target.mount.is_writable() {
        return Ok(target);
    }
    Stop::fatal(format!("the image is open for reading: {}", Error::ReadOnly))
}
