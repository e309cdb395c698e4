//! [`Address`]: which image, which partition of it, which path in it.
//!
//! `IMAGE`, `IMAGE:PATH`, `IMAGE@N` or `IMAGE@N:PATH`. The image's own name may hold `:` and `@`: of all ways to read
//! an address, the one that names the longest existing file wins. `a:b` is thus the file `a:b` if there is one, else path `b`
//! in the image `a`.
//!
//! Who calls it: `session`. Whom it calls: the host's file system, to see what exists.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Which image, which partition of it, which path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The host's file or block device.
    pub image: PathBuf,
    /// Number of the partition, from 1.
    pub partition: Option<u32>,
    /// Absolute path in the file system.
    pub path: PathBuf,
}

/// Reads `text` as an address.
pub fn parse(text: &OsStr) -> Address {
    parse_with(text, &|path| path.metadata().is_ok_and(|m| !m.is_dir()))
}

fn parse_with(text: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Address {
    let bytes = text.as_bytes();
    let mut ends: Vec<usize> = (1..bytes.len()).filter(|&i| bytes[i] == b':').collect();
    ends.push(bytes.len());
    for &end in ends.iter().rev() {
        let (name, path) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        if exists(Path::new(OsStr::from_bytes(name))) {
            return address(name, None, path);
        }
        if let Some((name, number)) = split_partition(name)
            && exists(Path::new(OsStr::from_bytes(name)))
        {
            return address(name, Some(number), path);
        }
    }
    // Nothing exists: the error message shall name what the user most likely meant.
    let end = ends[0];
    let (name, path) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    match split_partition(name) {
        Some((name, number)) => address(name, Some(number), path),
        None => address(name, None, path),
    }
}

/// Splits `IMAGE@N`.
fn split_partition(name: &[u8]) -> Option<(&[u8], u32)> {
    let at = name.iter().rposition(|&b| b == b'@')?;
    let digits = name.get(at + 1..)?;
    if at == 0 || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((&name[..at], number))
}

fn address(image: &[u8], partition: Option<u32>, path: &[u8]) -> Address {
    let mut absolute = Vec::with_capacity(path.len() + 1);
    if path.first() != Some(&b'/') {
        absolute.push(b'/');
    }
    absolute.extend_from_slice(path);
    Address {
        image: PathBuf::from(OsStr::from_bytes(image)),
        partition,
        path: PathBuf::from(OsString::from_vec(absolute)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, files: &[&str]) -> (String, Option<u32>, String) {
        let a = parse_with(OsStr::new(text), &|p| files.iter().any(|f| Path::new(f) == p));
        (a.image.display().to_string(), a.partition, a.path.display().to_string())
    }

    #[test]
    fn image_partition_and_path() {
        let files = ["disk.img"];
        assert_eq!(read("disk.img", &files), ("disk.img".into(), None, "/".into()));
        assert_eq!(read("disk.img:", &files), ("disk.img".into(), None, "/".into()));
        assert_eq!(read("disk.img:/a:b", &files), ("disk.img".into(), None, "/a:b".into()));
        assert_eq!(read("disk.img:etc/x", &files), ("disk.img".into(), None, "/etc/x".into()));
        assert_eq!(read("disk.img@2:/a@3", &files), ("disk.img".into(), Some(2), "/a@3".into()));
    }

    #[test]
    fn names_with_colons_and_ats_win_when_they_exist() {
        let files = ["a:b", "a", "d@2", "d"];
        assert_eq!(read("a:b", &files), ("a:b".into(), None, "/".into()));
        assert_eq!(read("a:b:/c", &files), ("a:b".into(), None, "/c".into()));
        assert_eq!(read("a:c", &files), ("a".into(), None, "/c".into()));
        assert_eq!(read("d@2", &files), ("d@2".into(), None, "/".into()));
        assert_eq!(read("d@2@1", &files), ("d@2".into(), Some(1), "/".into()));
        assert_eq!(read("d@3", &files), ("d".into(), Some(3), "/".into()));
    }

    #[test]
    fn a_missing_image_is_named_up_to_the_first_colon() {
        assert_eq!(read("no.img@1:/a:b", &[]), ("no.img".into(), Some(1), "/a:b".into()));
        assert_eq!(read("no@x", &[]), ("no@x".into(), None, "/".into()));
        assert_eq!(read(":", &[]), (":".into(), None, "/".into()));
    }
}
