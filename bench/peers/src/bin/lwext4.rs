//! lwext4 on the workloads that write, with its cache in write-back mode, and a journal where the image has one.
//! By hand: `lwext4 many disk.img`; `lwext4 tree disk.img /usr/share` copies a tree: names, content and modes, all that it can keep.
//!
//! The image is mounted before the clock starts. The clock stops when the cache is flushed and the image synced; the unmount, which lwext4 needs for a
//! clean file system, is in the time too, as it writes.

#[path = "../../../write_workload.rs"]
mod write_workload;

use ext4_lwext4::{Ext4Fs, FileBlockDevice, OpenFlags};
use std::ffi::CStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Instant;
use write_workload::{Result, Subject, work};

/// The first mount of a process, as the crate names it.
const MOUNT_POINT: &CStr = c"/mp0/";

struct Lwext4 {
    fs: Option<Ext4Fs>,
    image: std::fs::File,
}

impl Lwext4 {
    fn open(image: &Path) -> Result<Lwext4> {
        let file = std::fs::File::open(image).map_err(|e| e.to_string())?;
        let device = FileBlockDevice::open(image).map_err(|e| e.to_string())?;
        let fs = Ext4Fs::mount(device, false).map_err(|e| format!("mount: {e}"))?;
        // SAFETY: the path is that of the mount, and lives.
        let refused = unsafe { ext4_lwext4_sys::ext4_cache_write_back(MOUNT_POINT.as_ptr(), true) };
        if refused != 0 {
            return Err(format!("write-back: {refused}"));
        }
        Ok(Lwext4 { fs: Some(fs), image: file })
    }

    fn fs(&self) -> Result<&Ext4Fs> {
        self.fs.as_ref().ok_or_else(|| "unmounted".to_owned())
    }

    /// Copies what is in `from`, without access control lists, attributes, owners, times and hard links.
    fn tree(&mut self, from: &Path, to: &str) -> Result<()> {
        let told = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        for entry in std::fs::read_dir(from).map_err(|e| told(from, &e))? {
            let entry = entry.map_err(|e| told(from, &e))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(|e| told(&path, &e))?;
            let (kind, mode) = (metadata.file_type(), metadata.mode() & 0o7777);
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let name = format!("{to}/{name}");
            let fs = self.fs()?;
            if kind.is_dir() {
                fs.mkdir(&name, mode).map_err(|e| told(&path, &e))?;
                self.tree(&path, &name)?;
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&path).map_err(|e| told(&path, &e))?;
                fs.symlink(&target.to_string_lossy(), &name).map_err(|e| told(&path, &e))?;
            } else if kind.is_file() {
                let content = std::fs::read(&path).map_err(|e| told(&path, &e))?;
                self.create(&name, &content, 1)?;
                self.fs()?.set_permissions(&name, mode).map_err(|e| told(&path, &e))?;
            } else if kind.is_fifo() || kind.is_socket() {
                continue;
            }
        }
        Ok(())
    }
}

impl Subject for Lwext4 {
    fn create_dir(&mut self, path: &str) -> Result<()> {
        self.fs()?.mkdir(path, 0o755).map_err(|e| format!("{path}: {e}"))
    }

    fn create(&mut self, path: &str, content: &[u8], times: u64) -> Result<()> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mut file = self.fs()?.open(path, flags).map_err(|e| format!("{path}: {e}"))?;
        for _ in 0..times {
            let written = file.write(content).map_err(|e| format!("{path}: {e}"))?;
            if written != content.len() {
                return Err(format!("{path}: {written} bytes written"));
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        self.fs()?.remove(path).map_err(|e| format!("{path}: {e}"))
    }

    fn end(&mut self) -> Result<()> {
        if let Some(fs) = self.fs.take() {
            fs.umount().map_err(|e| format!("unmount: {e}"))?;
        }
        self.image.sync_all().map_err(|e| e.to_string())
    }
}

fn run() -> Result<f64> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (workload, image, tree) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [workload, image] => (workload, image, None),
        [workload, image, tree] => (workload, image, Some(tree)),
        _ => return Err("WORKLOAD, IMAGE and perhaps a tree wanted".to_owned()),
    };
    let mut subject = Lwext4::open(Path::new(image))?;
    let began = Instant::now();
    match tree {
        Some(tree) => subject.tree(Path::new(tree), "")?,
        None => work(workload, &mut subject)?,
    }
    subject.end()?;
    Ok(began.elapsed().as_secs_f64())
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(seconds) => {
            println!("{{\"seconds\":{seconds}}}");
            std::process::ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{{\"seconds\":0,\"error\":{why:?}}}");
            std::process::ExitCode::FAILURE
        }
    }
}
