//! The image of the demo: made once by the real `mke2fs -d`, from a tree of files that we write first.
//!
//! Contents: directories of 100 small files of 100 to 2,000 random bytes, and one file of 1 GiB, of which 32 MiB are
//! data and the rest is holes. Everything follows from a seed, so that the image is the same wherever it is made.
//!
//! Disk: for 200,000 files the tree takes 0.8 GB while mke2fs runs, and is removed then; the image keeps 0.9 GB. What
//! should be found in it is kept beside it, and is written last: an image without it is made anew.

use crate::{Result, setup, workspace};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Changes when the contents do, so that an old image is not taken for a new one.
const RECIPE: u32 = 1;
const FILES_PER_DIRECTORY: u64 = 100;
const SMALL_MIN_BYTES: u64 = 100;
const SMALL_MAX_BYTES: u64 = 2000;
const MIB: u64 = 1 << 20;
const BIG_BYTES: u64 = 1024 * MIB;
/// Distance from one MiB of data in the big file to the next.
const BIG_STRIDE_BYTES: u64 = 32 * MIB;

/// An image and what should be found in it.
pub(crate) struct Image {
    pub path: PathBuf,
    /// Files and directories, the root and `lost+found` included.
    pub entries: u64,
    /// Bytes of all files, holes included.
    pub bytes: u64,
    /// Sum of the CRC-32C of all files.
    pub checksum: u64,
}

/// Sums up what was written.
#[derive(Clone, Copy, Default)]
struct Written {
    bytes: u64,
    checksum: u64,
}

impl Image {
    /// The image with `files` small files below `folder`, made if it is not there yet.
    ///
    /// # Errors
    /// When a file cannot be written or mke2fs fails; nothing of the tree is left then.
    pub(crate) fn get(folder: &Path, files: u64) -> Result<Image> {
        let path = folder.join(format!("{files}-files-{RECIPE}.img"));
        if let Some(image) = Image::known(&path) {
            return Ok(image);
        }
        fs::create_dir_all(folder)?;
        let tree = folder.join("tree");
        remove_tree(&tree)?;
        let made = make(&path, &tree, files);
        remove_tree(&tree)?;
        let written = made.map_err(|why| format!("{}: {why}", path.display()))?;
        let entries = files + directories(files) + 3;
        let image = Image { path, entries, bytes: written.bytes, checksum: written.checksum };
        image.remember()?;
        Ok(image)
    }

    fn known(path: &Path) -> Option<Image> {
        path.metadata().ok()?;
        let text = fs::read_to_string(contents_of(path)).ok()?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [entries, bytes, checksum] = numbers.as_slice() else { return None };
        Some(Image { path: path.to_path_buf(), entries: *entries, bytes: *bytes, checksum: *checksum })
    }

    fn remember(&self) -> Result {
        let text = format!("entries {}\nbytes {}\nchecksum {}\n", self.entries, self.bytes, self.checksum);
        Ok(fs::write(contents_of(&self.path), text)?)
    }
}

fn contents_of(image: &Path) -> PathBuf {
    image.with_extension("contents")
}

fn directories(files: u64) -> u64 {
    files.div_ceil(FILES_PER_DIRECTORY)
}

fn remove_tree(tree: &Path) -> std::io::Result<()> {
    if tree.exists() { fs::remove_dir_all(tree) } else { Ok(()) }
}

fn make(path: &Path, tree: &Path, files: u64) -> Result<Written> {
    let _ = fs::remove_file(contents_of(path));
    let _ = fs::remove_file(path);
    let written = write_tree(tree, files)?;
    let inodes = files + directories(files) + 1024;
    // A block for each file, inodes of 256 bytes, the data of the big file, the journal; and a tenth to spare.
    let bytes = (files * 4096 + inodes * 256 + 256 * MIB) / 10 * 11;
    File::create(path)?.set_len(bytes.next_multiple_of(MIB))?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.env("PATH", setup::search_path()).args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0"]);
    mke2fs.arg("-N").arg(inodes.to_string()).arg("-d").arg(tree).arg(path);
    workspace::run(&mut mke2fs, "mke2fs")?;
    Ok(written)
}

/// Writes the tree with as many threads as there are processors: most of the time goes into the host's file system.
fn write_tree(tree: &Path, files: u64) -> Result<Written> {
    fs::create_dir_all(tree)?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(8);
    let parts = std::thread::scope(|scope| {
        let write = |first: u64| {
            move || -> std::io::Result<Written> {
                let mut sum = Written::default();
                for directory in (first..directories(files)).step_by(threads as usize) {
                    write_directory(tree, directory, files, &mut sum)?;
                }
                Ok(sum)
            }
        };
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(write(first))).collect();
        running.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut sum = write_big(&tree.join("big.bin"))?;
    for part in parts {
        let part = part.map_err(|_| "a writing thread panicked")??;
        sum = Written { bytes: sum.bytes + part.bytes, checksum: sum.checksum + part.checksum };
    }
    Ok(sum)
}

fn write_directory(tree: &Path, directory: u64, files: u64, sum: &mut Written) -> std::io::Result<()> {
    let folder = tree.join(format!("d{directory:04}"));
    fs::create_dir(&folder)?;
    let first = directory * FILES_PER_DIRECTORY;
    for number in first..files.min(first + FILES_PER_DIRECTORY) {
        let mut random = Random(number);
        let len = SMALL_MIN_BYTES + random.next() % (SMALL_MAX_BYTES - SMALL_MIN_BYTES + 1);
        let content = random.bytes(len);
        File::create(folder.join(format!("f{number:06}")))?.write_all(&content)?;
        sum.bytes += len;
        sum.checksum += u64::from(crc32c::crc32c(&content));
    }
    Ok(())
}

fn write_big(path: &Path) -> std::io::Result<Written> {
    let file = File::create(path)?;
    file.set_len(BIG_BYTES)?;
    let zeros = vec![0; MIB as usize];
    let mut crc = 0;
    for at in (0..BIG_BYTES).step_by(MIB as usize) {
        if at % BIG_STRIDE_BYTES == 0 {
            let data = Random(at).bytes(MIB);
            file.write_all_at(&data, at)?;
            crc = crc32c::crc32c_append(crc, &data);
        } else {
            crc = crc32c::crc32c_append(crc, &zeros);
        }
    }
    Ok(Written { bytes: BIG_BYTES, checksum: u64::from(crc) })
}

/// A sequence of numbers that follows from a seed.
/// Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len as usize + 8);
        while (bytes.len() as u64) < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len as usize);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inodes in use, as the real tool counts them.
    fn inodes_in_use(image: &Path) -> u64 {
        let output = Command::new("dumpe2fs").arg("-h").arg(image).env("PATH", setup::search_path()).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let number = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        number("Inode count:") - number("Free inodes:")
    }

    #[test]
    fn the_real_tools_find_in_the_image_what_is_said_to_be_in_it() {
        let folder = std::env::temp_dir().join(format!("xtask-demo-image-{}", std::process::id()));
        let image = Image::get(&folder, 250).unwrap();
        // Inodes 1 to 10 are reserved: the root is one of them, the others are in use and have no name.
        assert_eq!(inodes_in_use(&image.path), image.entries + 9);
        let check =
            Command::new("e2fsck").arg("-fn").arg(&image.path).env("PATH", setup::search_path()).output();
        assert!(check.unwrap().status.success());
        let again = Image::get(&folder, 250).unwrap();
        assert_eq!(
            (again.entries, again.bytes, again.checksum),
            (image.entries, image.bytes, image.checksum)
        );
        assert!(!folder.join("tree").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_sequence_is_that_of_the_paper() {
        // First outputs for seed 1234567, as published with many implementations of the generator.
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
