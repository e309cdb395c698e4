//! The kernel's own ext4, by a fresh read-only loop mount (root only). A compiled walker of getdents and fstatat.

use rumpcap_bench_peers::{Options, Seen, Subject, run};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use std::ffi::CString;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A mount that only this process has: it is detached at once, and goes with its last open file, however the process ends.
struct Mounted {
    root: OwnedFd,
    big: Option<File>,
}

impl Mounted {
    fn new(image: &Path) -> Result<Mounted, String> {
        let folder = std::env::temp_dir().join(format!("rumpcap-bench-mount-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let mounted =
            run_quietly(Command::new("mount").args(["-t", "ext4", "-o", "ro,loop"]).arg(image).arg(&folder));
        let root = mounted.and_then(|()| {
            let root = rustix::fs::open(&folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
            run_quietly(Command::new("umount").arg("--lazy").arg(&folder))?;
            root.map_err(|e| e.to_string())
        });
        // An empty folder left behind harms nobody.
        let _ = std::fs::remove_dir(&folder);
        Ok(Mounted { root: root?, big: None })
    }
}

fn run_quietly(command: &mut Command) -> Result<(), String> {
    match command.stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("{:?}: {other:?}", command.get_program())),
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
        walk_folder(&self.root, seen)
    }

    fn open_big(&mut self) -> Result<u64, String> {
        let file = rustix::fs::openat(&self.root, "big", OFlags::RDONLY, Mode::empty())
            .map_err(|e| e.to_string())?;
        let file = File::from(file);
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
