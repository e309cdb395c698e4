//! [`Image`]: a new file system to be mounted.

use crate::tools::{command, run, scratch};
use std::path::{Path, PathBuf};

/// An image in a directory of its own, gone when dropped.
pub struct Image {
    path: PathBuf,
    directory: tempfile::TempDir,
}

impl Image {
    /// An ext4 of `mib` MiB with blocks of 4 KiB, made by mke2fs with its own features.
    ///
    /// # Panics
    /// When mke2fs fails.
    pub fn ext4(mib: u64) -> Image {
        Image::with(mib, &["-t", "ext4", "-b", "4096"])
    }

    /// A file system of `mib` MiB, made by mke2fs with `arguments`.
    ///
    /// # Panics
    /// When mke2fs fails.
    pub fn with(mib: u64, arguments: &[&str]) -> Image {
        let directory = scratch();
        let image = Image::at(directory.path().join("image"), directory);
        run(command("mke2fs").args(["-q", "-F"]).args(arguments).arg(&image.path).arg(format!("{mib}M")));
        image
    }

    /// What `path` will hold, for as long as `directory` lives.
    fn at(path: PathBuf, directory: tempfile::TempDir) -> Image {
        Image { path, directory }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place beside it, for logs and settings.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
