//! The kernel's own ext4, by a fresh read-only loop mount (root only). A compiled walker of getdents and fstatat.

use rumpcap_bench_peers::{Options, Seen, Subject, run};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use std::ffi::CString;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

struct Mounted {
    folder: PathBuf,
    big: Option<File>,
}

impl Mounted {
    fn new(image: &std::path::Path) -> Result<Mounted, String> {
        let folder = std::env::temp_dir().join(format!("rumpcap-bench-mount-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let mounted = Mounted { folder, big: None };
        let status = Command::new("mount")
            .args(["-t", "ext4", "-o", "ro,loop"])
            .arg(image)
            .arg(&mounted.folder)
            .status();
        match status {
            Ok(status) if status.success() => Ok(mounted),
            other => Err(format!("mount: {other:?}")),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.big = None;
        // Nothing more can be done about a mount that does not go.
        let _ = Command::new("umount").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn open_folder(parent: &OwnedFd, name: &std::ffi::CStr) -> Result<OwnedFd, String> {
    rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|e| e.to_string())
}

fn walk_folder(folder: &OwnedFd, seen: &mut Seen) -> Result<(), String> {
    let mut buf = [MaybeUninit::<u8>::uninit(); 32 << 10];
    let mut entries = RawDir::new(folder, &mut buf);
    let mut below: Vec<CString> = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| e.to_string())?;
        seen.entry(name.to_bytes(), stat.st_mode, stat.st_uid, stat.st_gid, stat.st_size as u64);
        if stat.st_mode & 0o170_000 == 0o040_000 {
            below.push(name.to_owned());
        }
    }
    for name in below {
        walk_folder(&open_folder(folder, &name)?, seen)?;
    }
    Ok(())
}

impl Subject for Mounted {
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = rustix::fs::open(&self.folder, flags, Mode::empty()).map_err(|e| e.to_string())?;
        walk_folder(&root, seen)
    }

    fn open_big(&mut self) -> Result<u64, String> {
        let file = File::open(self.folder.join("big")).map_err(|e| e.to_string())?;
        let len_bytes = file.metadata().map_err(|e| e.to_string())?.len();
        self.big = Some(file);
        Ok(len_bytes)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), String> {
        self.big.as_ref().ok_or("not open")?.read_exact_at(buf, offset).map_err(|e| e.to_string())
    }

    fn image_reads(&self) -> Option<(u64, u64)> {
        None
    }
}

fn main() -> std::process::ExitCode {
    run(|options: &Options| Mounted::new(&options.image))
}
