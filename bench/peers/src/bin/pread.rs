//! Plain pread of the image file: what the host itself costs. It knows no file system, so it does not walk, and what it
//! reads is the first GiB of the image and not a file.

use rumpcap_bench_peers::{ImageReader, Options, Seen, Subject, run};

struct Plain(ImageReader);

impl Subject for Plain {
    fn walk(&mut self, _: &mut Seen) -> Result<(), String> {
        Err("pread knows no file system".to_owned())
    }

    fn open_big(&mut self) -> Result<u64, String> {
        Ok(self.0.len_bytes().min(1 << 30))
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), String> {
        self.0.read_at(offset, buf).map_err(|e| e.to_string())
    }

    fn image_reads(&self) -> Option<(u64, u64)> {
        self.0.image_reads()
    }
}

fn main() -> std::process::ExitCode {
    run(|options: &Options| Ok(Plain(ImageReader::open(&options.image, None)?)))
}
