//! rust-fs-ext4 (before its renaming: am-fs-ext4, with the same driver sources), mounted read-only, by inode numbers.
//! `--blocks=N`: blocks of its buffer cache, instead of its default.

use fs_ext4::block_io::BlockDevice;
use fs_ext4::{Error, Filesystem};
use rumpcap_bench_peers::{BIG_FILE_PATH, Options, Seen, Subject, run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ROOT_INODE: u32 = 2;

/// Its devices must be `Sync`, and it has a cache of its own: so not the others' reader.
struct Device {
    file: File,
    len_bytes: u64,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl BlockDevice for Device {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(self.file.read_exact_at(buf, offset)?)
    }

    fn size_bytes(&self) -> u64 {
        self.len_bytes
    }
}

struct Peer {
    device: Arc<Device>,
    fs: Filesystem,
    big: u32,
}

impl Subject for Peer {
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String> {
        let mut folders = vec![ROOT_INODE];
        while let Some(folder) = folders.pop() {
            for entry in self.fs.read_dir_ino(folder).map_err(|e| e.to_string())? {
                if entry.name == b"." || entry.name == b".." {
                    continue;
                }
                let inode = self.fs.stat_ino(entry.inode).map_err(|e| e.to_string())?;
                seen.entry(&entry.name, u32::from(inode.mode), inode.uid, inode.gid, inode.size);
                if inode.is_dir() {
                    folders.push(entry.inode);
                }
            }
        }
        Ok(())
    }

    fn open_big(&mut self) -> Result<u64, String> {
        self.big = self.fs.lookup_path_bytes(BIG_FILE_PATH.as_bytes()).map_err(|e| e.to_string())?;
        Ok(self.fs.stat_ino(self.big).map_err(|e| e.to_string())?.size)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), String> {
        let n = self.fs.read_ino(self.big, offset, buf).map_err(|e| e.to_string())?;
        if n == buf.len() { Ok(()) } else { Err("short read".to_owned()) }
    }

    fn image_reads(&self) -> Option<(u64, u64)> {
        Some((self.device.reads.load(Ordering::Relaxed), self.device.bytes.load(Ordering::Relaxed)))
    }
}

fn main() -> std::process::ExitCode {
    run(|options: &Options| {
        let file = File::open(&options.image).map_err(|e| e.to_string())?;
        let len_bytes = file.metadata().map_err(|e| e.to_string())?.len();
        let device = Arc::new(Device { file, len_bytes, reads: AtomicU64::new(0), bytes: AtomicU64::new(0) });
        let blocks =
            options.value("--blocks").map(str::parse).transpose().map_err(|_| "--blocks: not a number")?;
        let fs = match blocks {
            Some(blocks) => Filesystem::mount_with_cache(device.clone(), blocks),
            None => Filesystem::mount(device.clone()),
        };
        Ok(Peer { device, fs: fs.map_err(|e| e.to_string())?, big: 0 })
    })
}
