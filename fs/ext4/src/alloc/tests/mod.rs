//! Allocation on images of mke2fs; e2fsck, dumpe2fs and debugfs say whether it is right.

mod blocks;
mod damage;
mod inodes;

use crate::Ext4;
use crate::mount::Options;
use crate::transaction::Handle;
use rumpcap_block::{BlockDevice, FileDevice};
use rumpcap_host::Result;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{Access, Change, Timestamp};
use rumpcap_vm::{BootOptions, Vm};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };

/// Ways to make a file system, with its size: every kind of descriptor, checksum and placement.
pub(crate) const KINDS: &[(&str, &str)] = &[
    ("-t ext2 -b 1024", "20M"),
    ("-t ext2 -b 4096 -r 0", "40M"),
    ("-t ext2 -b 2048 -g 4096 -O ^sparse_super,^resize_inode", "33M"),
    ("-t ext3 -b 1024", "20M"),
    ("-t ext4 -b 1024", "20M"),
    ("-t ext4 -b 2048 -g 2048", "40M"),
    ("-t ext4 -b 4096 -g 2048", "97M"),
    ("-t ext4 -b 4096 -g 1024 -O ^flex_bg,^64bit", "50M"),
    ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", "33M"),
    ("-t ext4 -b 4096 -g 1024 -O ^metadata_csum,uninit_bg,^flex_bg", "40M"),
    ("-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode", "24M"),
    ("-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode,^64bit,^flex_bg", "70M"),
    ("-t ext4 -b 1024 -O sparse_super2,^resize_inode", "41M"),
    ("-t ext4 -b 4096 -g 256 -G 64 -I 1024", "33M"),
    ("-t ext4 -b 1024 -N 512 -O ^has_journal", "8193K"),
    ("-t ext4 -b 4096 -O bigalloc -C 16384", "97M"),
    ("-t ext4 -b 1024 -O bigalloc -C 8192 -g 8192", "33M"),
];

const HOST_OPTIONS: rumpcap_host::file::OpenOptions =
    rumpcap_host::file::OpenOptions { write: true, direct: false };

/// An image, in a directory of its own.
pub(crate) struct Image {
    directory: TempDir,
}

impl Image {
    /// `None`, and it is said, where there is no mke2fs.
    pub fn make((arguments, size): (&str, &str)) -> Option<Image> {
        if Command::new("mke2fs").arg("-V").output().is_err() {
            skip("e2fsprogs is not installed");
            return None;
        }
        let image = Image { directory: TempDir::new().unwrap() };
        let output = Command::new("mke2fs")
            .args(["-q", "-F", "-E", "lazy_itable_init=1"])
            .args(arguments.split(' '))
            .arg(image.path())
            .arg(size)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Some(image)
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    pub fn mount(&self) -> Mounted {
        self.try_mount().unwrap()
    }

    pub fn try_mount(&self) -> Result<Mounted> {
        let mounted = self.mount_somehow()?;
        assert_eq!(mounted.fs.read_only_reason, None);
        Ok(mounted)
    }

    /// To be written, or where that cannot be to be read.
    pub fn mount_somehow(&self) -> Result<Mounted> {
        self.mount_within(512 << 10)
    }

    /// In a memory of so many bytes.
    pub fn mount_within(&self, limit_bytes: u64) -> Result<Mounted> {
        let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open_with(&self.path(), HOST_OPTIONS)?);
        let vm = Vm::boot(BootOptions { limit_bytes: Some(limit_bytes), ..BootOptions::default() })?;
        let options = Options { access: Access::Write, now: NOW, ..Options::default() };
        let fs = Ext4::mount(&vm, device, &options)?;
        Ok(Mounted { fs, vm })
    }

    /// What dumpe2fs says, but for what every mount changes.
    pub fn dump(&self) -> String {
        let output = Command::new("dumpe2fs").arg(self.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let changes = ["Last mount", "Last write", "Mount count", "Journal", "Lifetime", "Checksum:"];
        // Flags and checksums tell what was ever used.
        let lines = text.lines().filter(|line| !changes.iter().any(|start| line.starts_with(start)));
        let lines = lines.map(|line| line.split(" csum 0x").next().unwrap_or_default());
        let lines = lines.map(|line| line.split("[").next().unwrap_or_default());
        let lines = lines.map(|line| {
            let is_unused = |part: &&str| part.ends_with("unused inodes");
            line.split(", ").filter(|part| !is_unused(part)).collect::<Vec<_>>().join(", ")
        });
        lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// The dump is as `before`.
    pub fn assert_dump(&self, before: &str, what: &str) {
        let now = self.dump();
        for (now, before) in now.lines().zip(before.lines()) {
            assert_eq!(now, before, "{what}");
        }
        assert_eq!(now.lines().count(), before.lines().count(), "{what}");
    }

    pub fn assert_clean(&self, what: &str) {
        assert_clean(&self.path(), what);
    }
}

/// e2fsck finds nothing.
pub(crate) fn assert_clean(path: &Path, what: &str) {
    let output = Command::new("e2fsck").args(["-fn"]).arg(path).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {out}\n{err}");
}

/// A mounted image.
pub(crate) struct Mounted {
    pub fs: Ext4,
    pub vm: Arc<Vm>,
}

impl Mounted {
    pub fn change<T>(&self, operate: impl FnMut(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        self.fs.change(&self.vm.reserve(crate::MAX_PINS), NOW, operate)
    }

    pub fn free(&self) -> (u64, u32) {
        let counts = self.fs.counts_now().unwrap();
        (counts.blocks_free, counts.inodes_free)
    }

    pub fn sync(&self) {
        self.fs.sync(&self.vm.reserve(crate::MAX_PINS), NOW).unwrap();
    }

    pub fn unmount(self) {
        self.fs.unmount(&self.vm.reserve(crate::MAX_PINS), NOW).unwrap();
    }
}
