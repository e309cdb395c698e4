//! Patterns in addresses: `disk.img:/var/log/*.log`. The shell of the host cannot expand them, since what they match is in the image.
//!
//! Who calls it: [`Session::targets`] and [`Session::all_writable`], for what must be there already. Within an image (`shell`, `batch`) words
//! are expanded before they are arguments, where quotes are still seen: `script` does that.
//!
//! What exists under the name as it is written is meant by it, pattern or not; what matches nothing means itself, and is then not found.

use super::{Session, Target};
use crate::outcome::Run;
use crate::path_pattern::{Look, PathPattern};
use rumpcap::Mount;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

impl Session {
    /// What `text` means: one path, or all that match.
    ///
    /// # Errors
    /// As [`Session::target`].
    pub fn matching(&mut self, text: &OsStr) -> Run<Vec<Target>> {
        let target = self.target(text)?;
        Ok(self.expand(target))
    }

    /// All targets that match the path of `target`.
    pub(super) fn expand(&self, target: Target) -> Vec<Target> {
        if self.within().is_some() || self.options().literal {
            return vec![target];
        }
        let path = target.path.as_os_str().as_bytes();
        let Some(pattern) = PathPattern::parse(path) else { return vec![target] };
        let look = InImage { mount: &target.mount, directory: Path::new("/") };
        if look.is_there(path) {
            return vec![target];
        }
        let paths = pattern.matches(&look);
        if paths.is_empty() {
            return vec![target];
        }
        let with = |path| Target { path: PathBuf::from(OsString::from_vec(path)), ..target.clone() };
        paths.into_iter().map(with).collect()
    }
}

/// Files of an image, from `directory` on.
pub struct InImage<'a> {
    pub mount: &'a Mount,
    pub directory: &'a Path,
}

impl InImage<'_> {
    fn at(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.directory.to_owned() } else { self.directory.join(OsStr::from_bytes(path)) }
    }
}

impl Look for InImage<'_> {
    fn names(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let Ok(entries) = self.mount.read_dir(self.at(directory)) else { return Vec::new() };
        entries.filter_map(Result::ok).map(|entry| entry.file_name().as_bytes().to_vec()).collect()
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.mount.metadata(self.at(path)).is_ok_and(|m| m.is_dir())
    }

    fn is_there(&self, path: &[u8]) -> bool {
        self.mount.symlink_metadata(self.at(path)).is_ok()
    }
}
