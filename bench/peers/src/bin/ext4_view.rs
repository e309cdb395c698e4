//! ext4-view. Directories are opened by their paths (there is no other way), entries give their metadata.

use ext4_view::{Ext4, Ext4Read, File, PathBuf};
use rumpcap_bench_peers::{BIG_FILE_PATH, ImageReader, Options, Seen, Subject, run};
use std::error::Error;

struct Reader(ImageReader);

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Ok(self.0.read_at(start_byte, dst)?)
    }
}

struct Peer {
    image: ImageReader,
    fs: Ext4,
    big: Option<File>,
}

fn kind_bits(kind: ext4_view::FileType) -> u32 {
    use ext4_view::FileType as T;
    match kind {
        T::BlockDevice => 0o060_000,
        T::CharacterDevice => 0o020_000,
        T::Directory => 0o040_000,
        T::Fifo => 0o010_000,
        T::Regular => 0o100_000,
        T::Socket => 0o140_000,
        T::Symlink => 0o120_000,
    }
}

impl Subject for Peer {
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String> {
        let mut folders = vec![PathBuf::new("/")];
        while let Some(folder) = folders.pop() {
            for entry in self.fs.read_dir(&folder).map_err(|e| e.to_string())? {
                let entry = entry.map_err(|e| e.to_string())?;
                let name = entry.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                let metadata = entry.metadata().map_err(|e| e.to_string())?;
                let mode = kind_bits(metadata.file_type()) | u32::from(metadata.mode());
                seen.entry(name.as_ref(), mode, metadata.uid(), metadata.gid(), metadata.len());
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        Ok(())
    }

    fn open_big(&mut self) -> Result<u64, String> {
        let file = self.fs.open(BIG_FILE_PATH).map_err(|e| e.to_string())?;
        let len_bytes = file.metadata().len();
        self.big = Some(file);
        Ok(len_bytes)
    }

    fn read_at(&mut self, offset: u64, mut buf: &mut [u8]) -> Result<(), String> {
        let file = self.big.as_mut().ok_or("not open")?;
        if file.position() != offset {
            file.seek_to(offset).map_err(|e| e.to_string())?;
        }
        while !buf.is_empty() {
            let n = file.read_bytes(buf).map_err(|e| e.to_string())?;
            if n == 0 {
                return Err("unexpected end".to_owned());
            }
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
