//! The workloads of `cargo xtask bench-write`, for every subject alike that is a program of ours: the library, a directory that something is
//! mounted on, lwext4.
//!
//! Who calls it: each program includes this one file (the library's example, the peers), so that all do the same work. Whom it calls: the [`Subject`].

/// What a workload gives; a message where it fails.
pub type Result<T> = std::result::Result<T, String>;

/// Who does it.
pub trait Subject {
    fn create_dir(&mut self, path: &str) -> Result<()>;
    fn create(&mut self, path: &str, content: &[u8], times: u64) -> Result<()>;
    fn remove(&mut self, path: &str) -> Result<()>;
    /// Makes all durable.
    fn end(&mut self) -> Result<()>;
    /// More fields of the line of JSON.
    fn more(&self) -> String {
        String::new()
    }
}

const DIRECTORIES: usize = 200;
const FILES: usize = 100;

/// Bytes of file `file`: from 100 to 12,000, 3.7 KiB in the mean, as small files are distributed.
fn len_bytes(directory: usize, file: usize) -> usize {
    let mixed = (directory * FILES + file).wrapping_mul(0x9e37_79b9) >> 8;
    match mixed % 8 {
        0..=4 => 100 + mixed / 8 % 3000,
        5..=6 => 3000 + mixed / 8 % 4000,
        _ => 7000 + mixed / 8 % 5000,
    }
}

/// 20,000 files in 200 directories.
fn many(subject: &mut dyn Subject) -> Result<()> {
    let content: Vec<u8> = (0..12_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for directory in 0..DIRECTORIES {
        subject.create_dir(&format!("d{directory:03}"))?;
        for file in 0..FILES {
            let len = len_bytes(directory, file);
            subject.create(&format!("d{directory:03}/file-{file:04}"), &content[..len], 1)?;
        }
    }
    Ok(())
}

/// Every second of them.
fn delete_half(subject: &mut dyn Subject) -> Result<()> {
    for directory in 0..DIRECTORIES {
        for file in (0..FILES).step_by(2) {
            subject.remove(&format!("d{directory:03}/file-{file:04}"))?;
        }
    }
    Ok(())
}

/// One file of 256 MiB, in pieces of 1 MiB.
fn big(subject: &mut dyn Subject) -> Result<()> {
    let content: Vec<u8> = (0..1u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    subject.create("big", &content, 256)
}

/// Does the workload `name`.
pub fn work(name: &str, subject: &mut dyn Subject) -> Result<()> {
    match name {
        "many" => many(subject),
        "delete-half" => delete_half(subject),
        "big" => big(subject),
        other => Err(format!("no such workload: {other}")),
    }
}
