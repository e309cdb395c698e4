//! ext4plus, built synchronous and for one thread. Directories are opened by their inodes, without path look-ups.

use ext4plus::dir::Dir;
use ext4plus::file::File;
use ext4plus::inode::Inode;
use ext4plus::path::Path;
use ext4plus::{Ext4, Ext4Read};
use rumpcap_bench_peers::{BIG_FILE_PATH, ImageReader, Options, Seen, Subject, run};
use std::error::Error;

struct Reader(ImageReader);

impl Ext4Read for Reader {
    fn read(&self, start_byte: u64, dst: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Ok(self.0.read_at(start_byte, dst)?)
    }
}

struct Peer {
    image: ImageReader,
    fs: Ext4,
    big: Option<File>,
}

impl Subject for Peer {
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String> {
        let mut folders = vec![self.fs.read_root_inode().map_err(|e| e.to_string())?];
        while let Some(folder) = folders.pop() {
            let folder = Dir::open_inode(&self.fs, folder).map_err(|e| e.to_string())?;
            for entry in folder.read_dir().map_err(|e| e.to_string())? {
                let entry = entry.map_err(|e| e.to_string())?;
                let name = entry.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                let inode = Inode::read(&self.fs, entry.inode).map_err(|e| e.to_string())?;
                let mode = u32::from(inode.mode().bits());
                seen.entry(name.as_ref(), mode, inode.uid(), inode.gid(), inode.size_in_bytes());
                if inode.file_type().is_dir() {
                    folders.push(inode);
                }
            }
        }
        Ok(())
    }

    fn open_big(&mut self) -> Result<u64, String> {
        let path = Path::try_from(BIG_FILE_PATH).map_err(|e| format!("{e:?}"))?;
        let file = self.fs.open(path).map_err(|e| e.to_string())?;
        let len_bytes = file.inode().size_in_bytes();
        self.big = Some(file);
        Ok(len_bytes)
    }

    fn read_at(&mut self, mut offset: u64, mut buf: &mut [u8]) -> Result<(), String> {
        let file = self.big.as_mut().ok_or("not open")?;
        while !buf.is_empty() {
            let n = file.read_bytes_at(buf, offset).map_err(|e| e.to_string())?;
            if n == 0 {
                return Err("unexpected end".to_owned());
            }
            offset += n as u64;
            buf = &mut buf[n..];
        }
        Ok(())
    }

    fn image_reads(&self) -> Option<(u64, u64)> {
        self.image.image_reads()
    }
}

fn main() -> std::process::ExitCode {
    run(|options: &Options| {
        let image = ImageReader::open(&options.image, options.value("--reader"))?;
        let fs = Ext4::load(Box::new(Reader(image.clone()))).map_err(|e| e.to_string())?;
        Ok(Peer { image, fs, big: None })
    })
}
