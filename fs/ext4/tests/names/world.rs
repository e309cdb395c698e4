//! An image that is written through [`Change`], and what others say of it: e2fsck, the kernel's loop mount.

use rumpcap_block::{BlockDevice, FileDevice};
use rumpcap_ext4::{Ext4, MAX_PINS, Options};
use rumpcap_host::Result;
use rumpcap_host::file::OpenOptions;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{Access, Change, FileSystem, Removed, StatFs, Timestamp};
use rumpcap_vm::{BootOptions, Reservation, Vm};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

/// The time of all changes.
pub const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

/// Whether mke2fs and its relatives are there; says so if not.
pub fn have_tools() -> bool {
    let there = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
    let all = there("mke2fs") && there("debugfs") && there("e2fsck");
    if !all {
        skip("e2fsprogs (mke2fs, debugfs, e2fsck) is not installed");
    }
    all
}

/// An image in a directory of its own.
pub struct Image {
    directory: TempDir,
}

impl Image {
    /// A file system of `size`, made with `arguments`.
    pub fn make(arguments: &[&str], size: &str) -> Image {
        let image = Image { directory: TempDir::new().unwrap() };
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F"]).args(arguments).arg(image.path()).arg(size);
        let output = mke2fs.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        image
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Runs one command of debugfs, with writing allowed; gives what it prints.
    pub fn debugfs(&self, command: &str) -> String {
        let output = Command::new("debugfs").args(["-w", "-R", command]).arg(self.path()).output().unwrap();
        text(&output)
    }

    pub fn has_journal(&self) -> bool {
        self.debugfs("show_super_stats -h").contains("has_journal")
    }

    /// e2fsck must have nothing to say; `arguments`: `-fn`, or others.
    pub fn check(&self, what: &str) {
        let output = Command::new("e2fsck").arg("-fn").arg(self.path()).output().unwrap();
        assert!(output.status.success(), "{what}: {}", text(&output));
    }

    /// Mounts it to be written, in a kernel with `limit_bytes`.
    pub fn mount(&self, limit_bytes: u64) -> Mounted {
        let mounted = self.try_mount(limit_bytes).unwrap();
        assert_eq!(mounted.fs.read_only_reason(), None);
        mounted
    }

    /// As [`Image::mount`]; it may be damaged.
    pub fn try_mount(&self, limit_bytes: u64) -> Result<Mounted> {
        let vm = Vm::boot(BootOptions { limit_bytes: Some(limit_bytes), ..BootOptions::default() }).unwrap();
        let how = OpenOptions { write: true, direct: false };
        let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open_with(&self.path(), how).unwrap());
        let options = Options { access: Access::Write, now: NOW, ..Options::default() };
        let fs = Ext4::mount(&vm, device, &options)?;
        Ok(Mounted { vm, fs })
    }
}

/// What a program printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A mounted image.
pub struct Mounted {
    pub vm: Arc<Vm>,
    pub fs: Ext4,
}

impl Mounted {
    pub fn r(&self) -> Reservation<'_> {
        self.vm.reserve(MAX_PINS)
    }

    pub fn stat_fs(&self) -> StatFs {
        self.fs.stat_fs(&self.r()).unwrap()
    }

    /// Deletes what lost its last name and did not go with it, as `vfs` does.
    pub fn finish<'r>(&self, removed: impl IntoIterator<Item = &'r Removed>) {
        for left in removed.into_iter().filter(|removed| removed.is_left) {
            self.fs.delete(&self.r(), left.node.attributes.ino, NOW).unwrap();
        }
    }

    pub fn unmount(self) {
        self.fs.unmount(&self.r(), NOW).unwrap();
    }
}
