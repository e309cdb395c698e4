//! [`Mount`]: a mounted file system, with the names of `std::fs`.
//!
//! A call that returns a name, a value or a list puts it on the caller's heap; the kernel itself allocates nothing.

use crate::age::Age;
use crate::clock::Clock;
use crate::{File, Kernel, Metadata, ReadDir, Walk};
use core::ops::ControlFlow;
use rumpcap_block::BlockDevice;
use rumpcap_ext4::Ext4;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Access, DataMode, Follow, InodeNo, Node, PATH_MAX, StatFs, Timestamp, Vfs};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a file system is mounted.
///
/// ```
/// use rumpcap::MountOptions;
/// let options = MountOptions { ignore_journal: true, ..MountOptions::default() };
/// # let _ = options;
/// ```
///
/// ```
/// use rumpcap::{Access, MountOptions, Timestamp};
/// // To be written, with all times that the kernel sets fixed, and nothing done for its age: equal changes give equal images.
/// let time = Some(Timestamp { seconds: 1_700_000_000, nanoseconds: 0 });
/// let commit_interval = Some(std::time::Duration::MAX);
/// let options = MountOptions { access: Access::Write, time, commit_interval, ..MountOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// Where temporary files (the overlay that a journal is replayed into) are made; the host's default if `None`.
    pub temporary_directory: Option<PathBuf>,
    /// Look at the file system as it is on the device, without its journal.
    pub ignore_journal: bool,
    /// Byte offset of the super block to use, for an image whose first one is lost; the first if `None`.
    pub super_block_offset: Option<u64>,
    /// What it is mounted for. A file system that can be read and not written is mounted to be read: see
    /// [`Mount::read_only_reason`].
    pub access: Access,
    /// When content is written, as against the metadata that refer to it.
    pub data: DataMode,
    /// The time of all changes; the host's clock if `None`. Ages are the host's in any case.
    pub time: Option<Timestamp>,
    /// How old changes may become before they are committed; five seconds if `None`. The longest duration means never for their age, nor in
    /// the background: then equal changes, one after the other, give equal images if `time` is fixed too.
    pub commit_interval: Option<Duration>,
}

/// What a mount says of itself: for people, in order.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
/// let info = mount.info()?;
/// println!("{} {} ({})", info.kind, info.uuid, info.features.join(" "));
/// for warning in &info.warnings {
///     eprintln!("{warning}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct FileSystemInfo {
    /// `ext2`, `ext3`, `ext4`.
    pub kind: &'static str,
    /// Volume label.
    pub label: String,
    /// UUID in its usual spelling.
    pub uuid: String,
    /// Names of the features, as the file system's own tools spell them.
    pub features: Vec<&'static str>,
    /// Everything else: names in `snake_case` and values.
    pub details: Vec<(&'static str, String)>,
    /// What the user should know: a journal that was replayed, a fast-commit area that was not, errors recorded.
    pub warnings: Vec<String>,
}

/// A mounted file system. Cheap to clone; the last clone, file or walk of it unmounts.
///
/// Paths are relative to the mount's root, whether they begin with `/` or not; `..` never leads out of it.
///
/// ```no_run
/// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
/// println!("{} blocks free", mount.stat_fs()?.blocks_free);
/// println!("{} -> {}", "/etc/mtab", mount.read_link("/etc/mtab")?.display());
/// let ino = mount.metadata("/usr/bin/ping")?.ino();
/// for (name, value) in mount.xattrs_ino(ino)? {
///     println!("{} ({} bytes)", String::from_utf8_lossy(&name), value.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Mount(Arc<Inner>);

struct Inner {
    kernel: Kernel,
    vfs: Arc<rumpcap_vfs::Mount>,
    ext4: Arc<Ext4>,
    /// If it is mounted to be written.
    changes: Option<Box<Changes>>,
}

/// What changes need.
struct Changes {
    clock: Clock,
    /// Commits what is old enough.
    age: Age,
}

impl Inner {
    fn unmount(&mut self) -> Result<()> {
        let Some(changes) = self.changes.take() else { return Ok(()) };
        let Changes { clock, age } = *changes;
        // Stopped first, so that nobody commits what is unmounted.
        drop(age);
        self.vfs.unmount(clock.now())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

impl Mount {
    pub(crate) fn new(
        kernel: Kernel,
        vfs: &Arc<Vfs>,
        device: Arc<dyn BlockDevice>,
        options: &MountOptions,
    ) -> Result<Mount> {
        let clock = Clock::new(options.time);
        let options = rumpcap_ext4::Options {
            ignore_journal: options.ignore_journal,
            temporary_directory: options.temporary_directory.clone(),
            super_block_offset: options.super_block_offset,
            access: options.access,
            data: options.data,
            commit_interval: options.commit_interval,
            now: clock.now(),
        };
        let ext4 = Arc::new(Ext4::mount(vfs.vm(), device, &options)?);
        let vfs = Arc::new(rumpcap_vfs::Mount::new(vfs.clone(), ext4.clone()));
        let changes = if vfs.is_writable() {
            Some(Box::new(Changes { clock, age: Age::start(vfs.clone(), clock)? }))
        } else {
            None
        };
        Ok(Mount(Arc::new(Inner { kernel, vfs, ext4, changes })))
    }

    /// The time of a change that is made now; of none where nothing is changed.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.changes.as_ref().map_or(Timestamp::default(), |changes| changes.clock.now())
    }

    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        self.0.vfs.is_writable()
    }

    /// Why it is only read, if it was to be written.
    pub fn read_only_reason(&self) -> Option<&'static str> {
        self.0.vfs.fs().read_only_reason()
    }

    /// Unmounts: makes everything durable and leaves the file system in order. Dropping the last handle does the same, and loses the
    /// error.
    ///
    /// # Errors
    /// `Busy` while there are other clones, files or walks of it: nothing has happened then. `Io` and others when something could not be
    /// written: it is unmounted, and needs recovery.
    pub fn unmount(self) -> Result<()> {
        match Arc::try_unwrap(self.0) {
            Ok(mut inner) => inner.unmount(),
            Err(_) => Err(Error::Busy { what: "the mount" }),
        }
    }

    /// The layer below, where every operation begins at the gate.
    pub(crate) fn vfs(&self) -> &rumpcap_vfs::Mount {
        &self.0.vfs
    }

    /// The kernel that it is mounted in.
    pub fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    fn resolve(&self, path: impl AsRef<Path>, follow: Follow) -> Result<Node> {
        let root = self.0.vfs.fs().root();
        self.0.vfs.resolve(&self.0.vfs.enter(), root, path.as_ref().as_os_str().as_bytes(), follow)
    }

    fn node(&self, ino: u64) -> Result<Node> {
        self.0.vfs.node(&self.0.vfs.enter(), InodeNo(ino))
    }

    /// Opens a file or directory, following symbolic links.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `TooManyLinks` (more than 40), `NameTooLong`, `Encrypted`, `Corrupt`, `Checksum`, `Io`.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        let (r, path) = (self.0.vfs.enter(), path.as_ref().as_os_str().as_bytes());
        let node = self.0.vfs.resolve(&r, self.0.vfs.fs().root(), path, Follow::Yes)?;
        Ok(File::new(self, self.0.vfs.open(&r, node)?))
    }

    /// Opens by inode number (as [`Metadata::ino`] gives it), without a path.
    ///
    /// # Errors
    /// `NotFound` for an inode that is free or does not exist; `Corrupt`, `Checksum`, `Io`.
    pub fn open_ino(&self, ino: u64) -> Result<File> {
        let r = self.0.vfs.enter();
        let node = self.0.vfs.node(&r, InodeNo(ino))?;
        Ok(File::new(self, self.0.vfs.open(&r, node)?))
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// As [`Mount::open`]; `NotADirectory`.
    ///
    /// ```no_run
    /// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
    /// for entry in mount.read_dir("/etc")? {
    ///     println!("{}", entry?.file_name().display());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<ReadDir> {
        ReadDir::new(self, self.resolve(path, Follow::Yes)?)
    }

    /// Attributes, following symbolic links.
    ///
    /// # Errors
    /// As [`Mount::open`].
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        Ok(Metadata(self.resolve(path, Follow::Yes)?.attributes))
    }

    /// Attributes, of the link itself where the last component is a symbolic link.
    ///
    /// # Errors
    /// As [`Mount::open`].
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        Ok(Metadata(self.resolve(path, Follow::No)?.attributes))
    }

    /// Attributes by inode number.
    ///
    /// # Errors
    /// As [`Mount::open_ino`].
    pub fn metadata_ino(&self, ino: u64) -> Result<Metadata> {
        Ok(Metadata(self.node(ino)?.attributes))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// As [`Mount::open`]; `WrongType` when it is none.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        self.link_target(&self.resolve(path, Follow::No)?)
    }

    /// The target of the symbolic link with this inode number.
    ///
    /// # Errors
    /// As [`Mount::open_ino`]; `WrongType` when it is none.
    pub fn read_link_ino(&self, ino: u64) -> Result<PathBuf> {
        self.link_target(&self.node(ino)?)
    }

    fn link_target(&self, link: &Node) -> Result<PathBuf> {
        let mut target = [0; PATH_MAX];
        let r = self.0.vfs.enter();
        let len = self.0.vfs.fs().read_link(&r, &self.0.vfs.current(&r, link)?, &mut target)?;
        let target = target.get(..len).ok_or(Error::NameTooLong)?;
        Ok(PathBuf::from(OsStr::from_bytes(target)))
    }

    /// The path with all symbolic links, `.` and `..` resolved; absolute within the mount.
    ///
    /// # Errors
    /// As [`Mount::open`].
    pub fn canonicalize(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let mut found = PathBuf::from("/");
        let mut left: Vec<OsString> = parts(path.as_ref());
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                found.pop();
                continue;
            }
            found.push(&part);
            let metadata = self.symlink_metadata(&found)?;
            if !metadata.is_symlink() {
                continue;
            }
            links += 1;
            if links > rumpcap_vfs::SYMLINKS_MAX {
                return Err(Error::TooManyLinks);
            }
            let target = self.read_link(&found)?;
            found.pop();
            if target.is_absolute() {
                found = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        Ok(found)
    }

    /// Visits everything below `path`, `path` itself first. See [`Walk`].
    ///
    /// # Errors
    /// As [`Mount::symlink_metadata`].
    pub fn walk(&self, path: impl AsRef<Path>) -> Result<Walk> {
        Walk::new(self, path.as_ref())
    }

    /// Extended attributes of an inode: full name (`user.mime`, `security.selinux`, `system.posix_acl_access` ...) and
    /// value, sorted by name.
    ///
    /// # Errors
    /// As [`Mount::open_ino`].
    pub fn xattrs_ino(&self, ino: u64) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut names = Vec::new();
        let r = self.0.vfs.enter();
        let node = self.0.vfs.node(&r, InodeNo(ino))?;
        self.0.vfs.fs().list_xattr(&r, &node, &mut |name, _| {
            names.push(name.to_vec());
            ControlFlow::Continue(())
        })?;
        drop(r);
        names.sort();
        let mut all = Vec::new();
        for name in names {
            match self.xattr_ino(ino, &name) {
                Ok(value) => all.push((name, value)),
                // Removed since it was listed.
                Err(Error::NoAttribute) if self.is_writable() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Value of one extended attribute of an inode.
    ///
    /// # Errors
    /// As [`Mount::open_ino`]; `NoAttribute`.
    pub fn xattr_ino(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        let r = self.0.vfs.enter();
        let node = self.0.vfs.node(&r, InodeNo(ino))?;
        let len = self.0.vfs.fs().get_xattr(&r, &node, name, &mut [])?;
        let mut value = vec![0; len];
        if len > 0 {
            self.0.vfs.fs().get_xattr(&r, &node, name, &mut value)?;
        }
        Ok(value)
    }

    /// Sizes and free space.
    ///
    /// # Errors
    /// `Io`, `Corrupt`, `Checksum`.
    pub fn stat_fs(&self) -> Result<StatFs> {
        self.0.vfs.stat_fs()
    }

    /// Checks the whole file system: tells `sink` of everything that is inconsistent, and how far it is. Writes nothing. A journal
    /// that was replayed at mount counts. Works in a part of the kernel's memory, in as many passes as that takes.
    ///
    /// # Errors
    /// `Io`, `ShortDevice`; `NoMemory` when the limit is too small for the file system's blocks; `Busy` of a mount that is written, which
    /// is never at rest.
    ///
    /// ```no_run
    /// # fn f(mount: &rumpcap::Mount) -> rumpcap::Result<()> {
    /// use rumpcap::check::Event;
    /// let summary = mount.check(&mut |event| {
    ///     if let Event::Finding(finding) = event {
    ///         println!("{finding}");
    ///     }
    ///     std::ops::ControlFlow::Continue(())
    /// })?;
    /// println!("{} errors", summary.errors);
    /// # Ok(()) }
    /// ```
    pub fn check(&self, sink: &mut rumpcap_ext4::check::Sink<'_>) -> Result<rumpcap_ext4::check::Summary> {
        if self.is_writable() {
            return Err(Error::Busy { what: "the file system is mounted to be written" });
        }
        self.0.ext4.check(sink)
    }

    /// What the file system says of itself.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    pub fn info(&self) -> Result<FileSystemInfo> {
        let info = self.0.ext4.info(&self.0.vfs.enter())?;
        Ok(FileSystemInfo {
            kind: info.kind,
            label: info.label,
            uuid: info.uuid,
            features: info.features,
            details: info.details,
            warnings: info.warnings,
        })
    }
}

/// The names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    let mut parts: Vec<OsString> =
        named.map(|part| part.as_os_str().as_bytes().to_vec()).map(OsString::from_vec).collect();
    parts.reverse();
    parts
}
