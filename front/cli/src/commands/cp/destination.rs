//! [`Destination`]: where a source goes, by the rules of cp(1).

use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::target_dir::TargetDir;
use crate::traverse::Visit;
use rumpcap::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory of the host, and the name in it that the source gets.
pub struct Destination {
    /// The directory.
    pub dir: TargetDir,
    /// The name; empty when the source's content goes into the directory itself.
    name: Vec<u8>,
}

/// Chooses where `source` goes when the user said `target`.
///
/// # Errors
/// `Usage` when one file is to take the place of several sources; `Fatal` when the host does not open or make the directory.
pub fn choose(source: &Path, m: &Metadata, target: &Path, sources: usize) -> Run<Destination> {
    let name = source_name(source);
    if target.is_dir() {
        return Ok(Destination { dir: open(target)?, name: name.unwrap_or_default() });
    }
    if sources > 1 {
        return Stop::usage(format!("cp: {}: not a directory, and there are several sources", show(target)));
    }
    if m.is_dir() && name.is_none() {
        // The content of a directory goes into a directory that is new.
        std::fs::create_dir(target).map_err(|e| refused(target, &e))?;
        return Ok(Destination { dir: open(target)?, name: Vec::new() });
    }
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let Some(name) = target.file_name() else {
        return Stop::usage(format!("cp: {}: not a name for a copy", show(target)));
    };
    if target.as_os_str().as_bytes().ends_with(b"/") && !m.is_dir() {
        return Stop::usage(format!("cp: {}: not a directory", show(target)));
    }
    Ok(Destination { dir: open(&parent)?, name: name.as_bytes().to_vec() })
}

/// The last component; none of `/`, `.../.` and `.../..`, which mean what is in them.
pub fn source_name(source: &Path) -> Option<Vec<u8>> {
    let bytes = source.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|b| *b != b'/')? + 1;
    let begin = bytes[..end].iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    match &bytes[begin..end] {
        b"." | b".." => None,
        name => Some(name.to_vec()),
    }
}

fn open(path: &Path) -> Run<TargetDir> {
    TargetDir::open(path).map_err(|e| refused(path, &e.into()))
}

fn refused(path: &Path, error: &std::io::Error) -> Stop {
    Stop::Fatal(format!("{}: {}", show(path), crate::outcome::plain(error)))
}

fn show(path: &Path) -> String {
    for_message(path.as_os_str().as_bytes())
}

impl Destination {
    /// Whether the directory stands for the source itself: its content goes straight in.
    pub fn is_source_itself(&self) -> bool {
        self.name.is_empty()
    }

    /// Where the visited path goes, relative to the directory; `None` for the directory itself.
    ///
    /// # Errors
    /// A message when the path does not consist of as many safe names as the walk has gone down: then a name in the image
    /// holds what no name may.
    pub fn relative(&self, source: &Path, visit: &Visit<'_>) -> Result<Option<Vec<u8>>, &'static str> {
        const UNSAFE: &str = "unsafe name in the image; not copied";
        let below =
            visit.path.as_os_str().as_bytes().strip_prefix(source.as_os_str().as_bytes()).ok_or(UNSAFE)?;
        let below = if below.first() == Some(&b'/') { &below[1..] } else { below };
        let mut depth = 0;
        if !below.is_empty() {
            for name in below.split(|b| *b == b'/') {
                crate::target_dir::safe_name(name)?;
                depth += 1;
            }
        }
        if depth != visit.depth {
            return Err(UNSAFE);
        }
        let both = !self.name.is_empty() && !below.is_empty();
        let relative = [self.name.as_slice(), if both { b"/" } else { b"" }, below].concat();
        Ok(if relative.is_empty() { None } else { Some(relative) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sources() {
        let name = |p: &str| source_name(Path::new(p)).map(|n| String::from_utf8(n).unwrap());
        assert_eq!(name("/etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(name("/etc/").as_deref(), Some("etc"));
        assert_eq!(name("/"), None);
        assert_eq!(name("/etc/."), None);
        assert_eq!(name("/etc/.."), None);
    }
}
