//! [`LibraryTarget`]: operations through the library's public interface, on a device that is mounted to be written.

use super::acl;
use super::model::{Model, SLOTS};
use super::operation::{Handle, Op, crowd_names, data};
use super::permitted::KNOWN;
use crate::oracle::{self, Description};
use crate::writing::{Answer, Target};
use rumpcap::block::BlockDevice;
use rumpcap::{
    Access, DataMode, Error, File, Kernel, Mount, MountOptions, Owner, Result, SetAttributes, SetXattr,
    Timestamp,
};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of memory that a kernel may use; none for as much as the host has.
pub type Limit = Option<u64>;

/// When the first mount's changes happen; each mount that follows is a second later.
pub const FIRST_MOUNT: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };

/// The model of what [`LibraryTarget::new`] mounts.
pub fn first_model() -> Model {
    Model::new(Some(FIRST_MOUNT))
}

/// What a mount to be written is asked for, all of whose changes happen at `time`, and are committed when they must be.
pub fn mount_options(data: DataMode, time: Timestamp) -> MountOptions {
    let (time, commit_interval) = (Some(time), Some(Duration::MAX));
    MountOptions { access: Access::Write, data, time, commit_interval, ..MountOptions::default() }
}

/// A device, mounted by the library.
pub struct LibraryTarget {
    device: Arc<dyn BlockDevice>,
    limit: Limit,
    data: DataMode,
    commit_interval: Duration,
    time: Timestamp,
    slots: [Option<File>; SLOTS],
    mount: Option<Mount>,
    /// Stands before every path.
    top: String,
}

impl LibraryTarget {
    /// Mounts `device` to be written, in a kernel of its own.
    ///
    /// # Errors
    /// Those of boot and mount; `ReadOnly` where it cannot be written.
    pub fn new(device: Arc<dyn BlockDevice>, limit: Limit, data: DataMode) -> Result<LibraryTarget> {
        LibraryTarget::committing(device, limit, data, Duration::MAX)
    }

    /// As [`LibraryTarget::new`], with another age at which changes are committed.
    ///
    /// # Errors
    /// The same.
    pub fn committing(
        device: Arc<dyn BlockDevice>,
        limit: Limit,
        data: DataMode,
        commit_interval: Duration,
    ) -> Result<LibraryTarget> {
        let (time, slots, top) = (FIRST_MOUNT, Default::default(), String::new());
        let mut target =
            LibraryTarget { device, limit, data, commit_interval, time, slots, mount: None, top };
        target.mount_now()?;
        Ok(target)
    }

    /// Works in directory `top` of a mount that others work in too. It must not be asked to remount.
    pub fn within(mount: &Mount, device: Arc<dyn BlockDevice>, top: &str) -> LibraryTarget {
        let (time, slots, mount) = (FIRST_MOUNT, Default::default(), Some(mount.clone()));
        LibraryTarget {
            device,
            limit: None,
            data: DataMode::Ordered,
            commit_interval: Duration::MAX,
            time,
            slots,
            mount,
            top: top.to_owned(),
        }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.top)
    }

    fn mount_now(&mut self) -> Result<()> {
        let mut builder = Kernel::builder();
        if let Some(bytes) = self.limit {
            builder = builder.memory_limit(bytes);
        }
        let commit_interval = Some(self.commit_interval);
        let options = MountOptions { commit_interval, ..mount_options(self.data, self.time) };
        let mount = builder.boot()?.mount(Arc::clone(&self.device), &options)?;
        if !mount.is_writable() {
            eprintln!("not writable: {:?}", mount.read_only_reason());
            return Err(Error::ReadOnly);
        }
        self.mount = Some(mount);
        Ok(())
    }

    /// The mount.
    ///
    /// # Panics
    /// When a remount has failed.
    pub fn mount(&self) -> &Mount {
        self.mount.as_ref().expect("mounted")
    }

    /// Closes all files and unmounts. The kernel must have kept to its limit.
    ///
    /// # Errors
    /// Those of unmounting.
    ///
    /// # Panics
    /// When it has not.
    pub fn unmount(&mut self) -> Result<()> {
        self.slots = Default::default();
        let Some(mount) = self.mount.take() else { return Ok(()) };
        let kernel = mount.kernel().clone();
        let result = mount.unmount();
        let report = kernel.memory_report();
        assert!(self.limit.is_none_or(|limit| report.peak_bytes <= limit), "above the limit: {report:?}");
        assert_eq!((report.stuck, report.pages_pinned), (0, 0), "{report:?}");
        result
    }

    fn with<T>(&self, file: &Handle, act: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        match file {
            Handle::Slot(slot) => act(self.slots[*slot].as_ref().expect("the model knows what is open")),
            Handle::Path(path) => act(&self.mount().open(self.path(path))?),
        }
    }

    fn do_op(&mut self, op: &Op) -> Result<Answer> {
        match op {
            Op::Write { file, offset, len, seed } => {
                let bytes = data(*seed, *len);
                return self.with(file, |file| file.write_at(&bytes, *offset)).map(Answer::Wrote);
            }
            Op::Read { file, offset, len } => {
                let mut bytes = vec![0xaa; *len];
                let n = self.with(file, |file| file.read_at(&mut bytes, *offset))?;
                bytes.truncate(n);
                return Ok(Answer::Bytes(bytes));
            }
            Op::SetLen { file, len } => self.with(file, |file| file.set_len(*len))?,
            Op::Punch { file, range } => self.with(file, |file| file.punch_hole(range.clone()))?,
            Op::ZeroRange { file, range } => self.with(file, |file| file.zero_range(range.clone()))?,
            Op::Allocate { file, range, how } => {
                self.with(file, |file| file.allocate(range.clone(), *how))?;
            }
            Op::Fsync { file } => self.with(file, File::sync)?,
            Op::Open { path, slot } => {
                let file = self.mount().open(self.path(path))?;
                self.slots[*slot] = Some(file);
            }
            Op::Close { slot } => self.slots[*slot] = None,
            Op::MakeNameless { dir, slot, mode, uid, gid } => {
                let dir = self.mount().metadata(format!("{}/", self.path(dir)))?.ino();
                let owner = Owner { mode: *mode, uid: *uid, gid: *gid };
                let file = self.mount().create_nameless(dir, &owner)?;
                self.slots[*slot] = Some(file);
            }
            Op::LinkOpen { slot, new } => {
                let ino = self.slots[*slot].as_ref().expect("the model knows what is open").ino();
                let new = self.path(new);
                let (dir, name) = new.rsplit_once('/').expect("a path from the root");
                let dir = self.mount().metadata(format!("{dir}/"))?.ino();
                self.mount().hard_link_at(ino, dir, name.as_ref()).map(drop)?;
            }
            Op::Sync => self.mount().sync()?,
            Op::Remount => {
                self.unmount()?;
                self.time.seconds += 1;
                self.mount_now()?;
            }
            _ => self.do_name(op)?,
        }
        Ok(Answer::Done)
    }

    fn do_name(&self, op: &Op) -> Result<()> {
        let mount = self.mount();
        match op {
            Op::Create { path, mode, uid, gid } => {
                mount.create(self.path(path), &Owner { mode: *mode, uid: *uid, gid: *gid }).map(drop)
            }
            Op::MakeDir { path, mode, uid, gid } => {
                mount.create_dir(self.path(path), &Owner { mode: *mode, uid: *uid, gid: *gid }).map(drop)
            }
            Op::MakeNode { path, kind, rdev, mode } => {
                mount.create_node(self.path(path), *kind, *rdev, &Owner::with_mode(*mode)).map(drop)
            }
            Op::Symlink { path, target } => {
                mount.symlink(target, self.path(path), &Owner::default()).map(drop)
            }
            Op::Link { existing, new } => mount.hard_link(self.path(existing), self.path(new)).map(drop),
            Op::Unlink { path } => mount.remove_file(self.path(path)),
            Op::RemoveDir { path } => mount.remove_dir(self.path(path)),
            Op::Rename { from, to, how } => mount.rename(self.path(from), self.path(to), *how),
            Op::Crowd { dir, count, name_len } => crowd_names(dir, *count, *name_len).try_for_each(|name| {
                match mount.create(self.path(&name), &Owner::with_mode(0o600)) {
                    Ok(_) | Err(Error::Exists) => Ok(()),
                    Err(error) => Err(error),
                }
            }),
            Op::Thin { dir, count, name_len, step } => crowd_names(dir, *count, *name_len)
                .step_by(*step)
                .try_for_each(|name| match mount.remove_file(self.path(&name)) {
                    Ok(()) | Err(Error::NotFound | Error::IsADirectory) => Ok(()),
                    Err(error) => Err(error),
                }),
            _ => self.do_attribute(op),
        }
    }

    fn do_attribute(&self, op: &Op) -> Result<()> {
        let mount = self.mount();
        let set = |path: &str, set: SetAttributes| mount.set_attributes(self.path(path), &set).map(drop);
        match op {
            Op::SetMode { path, mode } => {
                set(path, SetAttributes { mode: Some(*mode), ..SetAttributes::default() })
            }
            Op::SetOwner { path, uid, gid } => {
                set(path, SetAttributes { uid: Some(*uid), gid: Some(*gid), ..SetAttributes::default() })
            }
            Op::SetTimes { path, atime, mtime } => {
                let (atime, mtime) = (Some(*atime), Some(*mtime));
                set(path, SetAttributes { atime, mtime, ..SetAttributes::default() })
            }
            Op::SetFlags { path, flags } => {
                let others = mount.symlink_metadata(self.path(path))?.flags() & !KNOWN;
                set(path, SetAttributes { flags: Some(others | flags), ..SetAttributes::default() })
            }
            Op::SetAcl { path, is_default, acl } => {
                let ino = mount.symlink_metadata(self.path(path))?.ino();
                let name = if *is_default { acl::DEFAULT } else { acl::ACCESS };
                mount.set_xattr_ino(ino, name.as_bytes(), &acl.to_bytes(), SetXattr::Any)
            }
            Op::SetXattr { path, name, len, seed, how } => {
                let ino = mount.symlink_metadata(self.path(path))?.ino();
                mount.set_xattr_ino(ino, name.as_bytes(), &data(*seed, *len), *how)
            }
            Op::RemoveXattr { path, name } => {
                mount.remove_xattr_ino(mount.symlink_metadata(self.path(path))?.ino(), name.as_bytes())
            }
            _ => unreachable!("all other operations are above"),
        }
    }
}

impl Target for LibraryTarget {
    fn apply(&mut self, op: &Op) -> std::result::Result<Answer, i32> {
        self.do_op(op).map_err(|error| {
            if matches!(error, Error::Corrupt { .. } | Error::Checksum { .. } | Error::Io { .. }) {
                eprintln!("{op:?}: {error}");
            }
            error.errno()
        })
    }

    fn look(&mut self) -> std::result::Result<Description, String> {
        let (description, errors) = oracle::describe_mount(self.mount());
        if errors.is_empty() {
            return Ok(description);
        }
        let (shown, report) = (&errors[..errors.len().min(3)], self.mount().kernel().memory_report());
        Err(format!("cannot be read: {} errors, as {shown:?}; {report:?}", errors.len()))
    }
}
