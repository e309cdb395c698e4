//! The images of the benchmark, made by the real mke2fs and e2fsck and kept until their recipe changes.
//!
//! Who calls it: `bench`, `bench_mount`. Whom it calls: `mke2fs`, `e2fsck`, `tune2fs`, `cp`, and `mount` where the user may.
//! Failure: an image is made under another name and renamed when it is whole, so that an interrupted run leaves
//! nothing that looks like an image. A recipe file beside each image says how it was made.

use crate::Result;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Files in `many` and in the one directory of `many1`.
const MANY_FILES: u64 = 200_000;
/// Room for the inodes of `many1` and its directory.
const MANY1_BYTES: u64 = 256 << 20;
/// Directories of `many`.
const MANY_DIRECTORIES: u64 = 2_000;
/// Length of the one file of `big`.
pub(crate) const BIG_FILE_BYTES: u64 = 1 << 30;
/// The largest file of a host ext4 is one block short of 16 TiB; the file system still has 131,072 groups.
const HUGE_BYTES: u64 = (16 << 40) - 4096;
/// Files and directories in `huge`.
const HUGE_FILES: u64 = 40_000;
const HUGE_DIRECTORIES: u64 = 400;
/// Files and directories in `million`, and its length.
const MILLION: u64 = 1_000_000;
const MILLION_DIRECTORIES: u64 = 10_000;
const MILLION_BYTES: u64 = 1 << 30;
/// `/usr` changes under the hands of a package manager; mke2fs then fails and is asked again.
const USR_ATTEMPTS: u32 = 3;

/// An image of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Image {
    /// 200,000 small files in 2,000 directories.
    Many,
    /// One directory of 200,000 entries, linear, as `mke2fs -d` would make it.
    Many1Linear,
    /// The same, indexed by `e2fsck -fyD`.
    Many1Htree,
    /// One file of 1 GiB.
    Big,
    /// This machine's /usr.
    Usr,
    /// A sparse file system of 16 TiB.
    Huge,
    /// 1,000,000 empty files in 10,000 directories.
    Million,
}

impl Image {
    /// Its name in tables and on the disk.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Image::Many => "many",
            Image::Many1Linear => "many1-linear",
            Image::Many1Htree => "many1-htree",
            Image::Big => "big",
            Image::Usr => "usr",
            Image::Huge => "huge",
            Image::Million => "million",
        }
    }

    /// How it is made; when this changes, the image is made again.
    fn recipe(self) -> String {
        let what = match self {
            Image::Many => format!("{MANY_FILES} files in {MANY_DIRECTORIES} directories, mke2fs -d"),
            Image::Many1Linear => format!("{MANY_FILES} empty files in one linear directory"),
            Image::Many1Htree => format!("{MANY_FILES} empty files in one directory, indexed by e2fsck -fyD"),
            Image::Big => format!("one file of {BIG_FILE_BYTES} random bytes, mke2fs -d"),
            Image::Usr => "/usr, mke2fs -d".to_owned(),
            Image::Huge => {
                format!("{HUGE_BYTES} bytes, {HUGE_FILES} files in {HUGE_DIRECTORIES} directories")
            }
            Image::Million => {
                format!("{MILLION} empty files in {MILLION_DIRECTORIES} directories, by the kernel's mount")
            }
        };
        format!("{}: {what}\n", self.name())
    }
}

/// The folder that holds them.
pub(crate) struct Images {
    folder: PathBuf,
}

impl Images {
    /// Images in `folder`, which is made when it does not exist.
    pub(crate) fn in_folder(folder: &Path) -> Result<Images> {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Images { folder: fs::canonicalize(folder)? })
    }

    /// Where an image is.
    pub(crate) fn path(&self, image: Image) -> PathBuf {
        self.folder.join(format!("{}.img", image.name()))
    }

    /// Makes an image unless it is there.
    pub(crate) fn make(&self, image: Image) -> Result {
        let recipe_path = self.folder.join(format!("{}.recipe", image.name()));
        let is_made = fs::read_to_string(&recipe_path).is_ok_and(|made| made == image.recipe());
        if is_made && self.path(image).exists() {
            return Ok(());
        }
        if image == Image::Many1Htree {
            self.make(Image::Many1Linear)?;
        }
        let began = Instant::now();
        eprintln!("making {} ...", image.recipe().trim_end());
        let staging = self.folder.join(format!("{}.staging", image.name()));
        let part = self.folder.join(format!("{}.part", image.name()));
        remove_if_there(&staging)?;
        remove_if_there(&part)?;
        let made = self.make_part(image, &staging, &part);
        remove_if_there(&staging)?;
        made?;
        fs::rename(&part, self.path(image))?;
        fs::write(&recipe_path, image.recipe())?;
        eprintln!("made {} in {:.0} s", image.name(), began.elapsed().as_secs_f64());
        Ok(())
    }

    fn make_part(&self, image: Image, staging: &Path, part: &Path) -> Result {
        match image {
            Image::Many => {
                stage_tree(staging, MANY_DIRECTORIES, MANY_FILES / MANY_DIRECTORIES)?;
                mke2fs(staging, part, 1 << 30, &["-N", "220000"])
            }
            Image::Many1Linear => make_linear_directory(staging, part),
            Image::Many1Htree => {
                run(
                    Command::new("cp").arg("--sparse=always").arg(self.path(Image::Many1Linear)).arg(part),
                    &[0],
                )?;
                // e2fsck exits with 1 when it has changed something: indexing is a change.
                run(Command::new("e2fsck").args(["-f", "-y", "-D"]).arg(part), &[0, 1])
            }
            Image::Big => {
                fs::create_dir(staging)?;
                write_random(&staging.join("big"), BIG_FILE_BYTES)?;
                mke2fs(staging, part, BIG_FILE_BYTES + (128 << 20), &[])
            }
            Image::Usr => make_usr(part),
            Image::Huge => {
                stage_tree(staging, HUGE_DIRECTORIES, HUGE_FILES / HUGE_DIRECTORIES)?;
                mke2fs(staging, part, HUGE_BYTES, &["-E", "lazy_itable_init=1,lazy_journal_init=1"])
            }
            Image::Million => make_million(staging, part),
        }
    }
}

/// Not by `mke2fs -d`: a million files of the host are minutes.
fn make_million(mounted: &Path, part: &Path) -> Result {
    fs::create_dir(mounted)?;
    mke2fs(mounted, part, MILLION_BYTES, &["-N", "1100000", "-E", "lazy_itable_init=0"])?;
    run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(part).arg(mounted), &[0])?;
    let files_each = MILLION / MILLION_DIRECTORIES;
    let made = (0..MILLION_DIRECTORIES)
        .try_for_each(|at| stage_flat(&mounted.join(format!("directory-{at:05}")), files_each));
    run(Command::new("umount").arg(mounted), &[0])?;
    made
}

/// `mke2fs -d` makes such a directory in half an hour: it scans all of it for each new name. The kernel makes an indexed
/// one in seconds, and e2fsck -D turns that into the linear one that mke2fs would have made (same blocks, entries by
/// inode). Who may not mount has to wait for mke2fs.
fn make_linear_directory(staging: &Path, part: &Path) -> Result {
    fs::create_dir(staging)?;
    mke2fs(staging, part, MANY1_BYTES, &["-N", "220000", "-E", "lazy_itable_init=0"])?;
    if run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(part).arg(staging), &[0]).is_err() {
        eprintln!("no right to mount: mke2fs -d will take about half an hour");
        stage_flat(&staging.join("entries"), MANY_FILES)?;
        return mke2fs(staging, part, MANY1_BYTES, &["-N", "220000"]);
    }
    let staged = stage_flat(&staging.join("entries"), MANY_FILES);
    run(Command::new("umount").arg(staging), &[0])?;
    staged?;
    run(Command::new("tune2fs").args(["-O", "^dir_index"]).arg(part), &[0])?;
    run(Command::new("e2fsck").args(["-f", "-y", "-D"]).arg(part), &[0, 1])?;
    run(Command::new("tune2fs").args(["-O", "dir_index"]).arg(part), &[0])
}

fn make_usr(part: &Path) -> Result {
    let source = Path::new("/usr");
    let mut failed = None;
    for _ in 0..USR_ATTEMPTS {
        let (inodes, bytes) = measure_tree(source)?;
        // A tenth and 512 MiB more, for directories, extents, the journal and the inode table.
        let size = bytes + bytes / 10 + inodes * 320 + (512 << 20);
        remove_if_there(part)?;
        match mke2fs(source, part, size, &["-N", &(inodes + inodes / 8 + 1000).to_string()]) {
            Ok(()) => return Ok(()),
            Err(e) => failed = Some(e),
        }
    }
    Err(failed.unwrap_or_else(|| "/usr was not tried".into()))
}

/// `directories` directories of `files_each` files of up to 2 KiB.
fn stage_tree(root: &Path, directories: u64, files_each: u64) -> Result {
    let text: Vec<u8> = (0..2048u32).map(|i| b'a' + (i % 26) as u8).collect();
    fs::create_dir(root)?;
    for d in 0..directories {
        let folder = root.join(format!("directory-{d:04}"));
        fs::create_dir(&folder)?;
        for f in 0..files_each {
            let len = ((d * 131 + f * 31) % 2048) as usize;
            fs::write(folder.join(format!("file-{f:04}.txt")), &text[..len])?;
        }
    }
    Ok(())
}

fn stage_flat(folder: &Path, files: u64) -> Result {
    fs::create_dir_all(folder)?;
    for f in 0..files {
        File::create(folder.join(format!("file-{f:06}.txt")))?;
    }
    Ok(())
}

/// Random bytes from a fixed seed (xorshift64*), so that every run reads the same.
fn write_random(path: &Path, len_bytes: u64) -> Result {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..len_bytes / 8 {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.write_all(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes())?;
    }
    out.flush()?;
    Ok(())
}

/// Inodes below `root` and the bytes of blocks of 4 KiB that they fill.
fn measure_tree(root: &Path) -> Result<(u64, u64)> {
    let (mut inodes, mut bytes) = (1, 0);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            inodes += 1;
            bytes += metadata.size().next_multiple_of(4096);
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok((inodes, bytes))
}

fn mke2fs(tree: &Path, image: &Path, size_bytes: u64, more: &[&str]) -> Result {
    File::create(image)?.set_len(size_bytes).map_err(|e| format!("{}: {e}", image.display()))?;
    let mut command = Command::new("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0"])
        .args(more)
        .arg("-d")
        .arg(tree)
        .arg(image);
    run(&mut command, &[0])
}

fn run(command: &mut Command, good: &[i32]) -> Result {
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian keeps mke2fs and e2fsck outside an ordinary user's path.
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    if output.status.code().is_some_and(|code| good.contains(&code)) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{:?} failed: {}: {}", command.get_program(), output.status, said.trim_end()).into())
}

fn remove_if_there(path: &Path) -> Result {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display()).into()),
        _ => Ok(()),
    }
}
