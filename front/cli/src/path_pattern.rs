//! [`PathPattern`]: a path with shell patterns in it, and what it matches: as pathname expansion of a POSIX shell has it, sorted by bytes.
//!
//! Who calls it: `session::patterns` for addresses, `script` for words of a line. Whom it calls: [`Pattern`] for each name; a [`Look`] at the
//! image or the host.
//!
//! A pattern matches within one directory: no `*` goes over a slash, and none matches a dot that a name begins with.
//! Memory: what matches.

use crate::glob::{Case, Pattern};
use crate::traverse::join;

/// Where a pattern is looked for. Paths are as the pattern has them: from the current directory on, which is empty, or from the root.
pub trait Look {
    /// The names in a directory; none of what cannot be read.
    fn names(&self, directory: &[u8]) -> Vec<Vec<u8>>;

    /// Whether there is a directory, behind links too.
    fn is_directory(&self, path: &[u8]) -> bool;

    /// Whether there is anything.
    fn is_there(&self, path: &[u8]) -> bool;
}

/// A path in which at least one name is a pattern.
pub struct PathPattern {
    begins_at_root: bool,
    names: Vec<Name>,
    /// It ends with a slash.
    is_directory: bool,
}

enum Name {
    Literal(Vec<u8>),
    Pattern { pattern: Pattern, begins_with_dot: bool },
}

impl PathPattern {
    /// Reads `text`, where a backslash takes a special character's meaning away; `None` where nothing in it is special.
    pub fn parse(text: &[u8]) -> Option<PathPattern> {
        if !is_special(text) {
            return None;
        }
        let parts = text.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let name = |name: &[u8]| match is_special(name) {
            true => Name::Pattern {
                pattern: Pattern::new(name, Case::Sensitive),
                begins_with_dot: name.starts_with(b".") || name.starts_with(b"\\."),
            },
            false => Name::Literal(unescape(name)),
        };
        Some(PathPattern {
            begins_at_root: text.starts_with(b"/"),
            names: parts.map(name).collect(),
            is_directory: text.ends_with(b"/"),
        })
    }

    /// All paths that match.
    pub fn matches(&self, look: &dyn Look) -> Vec<Vec<u8>> {
        let mut paths = vec![if self.begins_at_root { b"/".to_vec() } else { Vec::new() }];
        for (at, name) in self.names.iter().enumerate() {
            let is_last = at + 1 == self.names.len();
            let next = paths.iter().flat_map(|path| below(path, name, look));
            paths = next.filter(|path| is_last || look.is_directory(path)).collect();
        }
        let fits = |path: &Vec<u8>| match self.is_directory {
            true => look.is_directory(path),
            false => look.is_there(path),
        };
        paths.retain(fits);
        paths.sort_unstable();
        if self.is_directory {
            paths.iter_mut().for_each(|path| path.push(b'/'));
        }
        paths
    }
}

/// What `name` means in the directory `path`.
fn below(path: &[u8], name: &Name, look: &dyn Look) -> Vec<Vec<u8>> {
    let with = |name: &[u8]| {
        let mut path = path.to_vec();
        if path.is_empty() {
            path.extend_from_slice(name)
        } else {
            join(&mut path, name)
        }
        path
    };
    match name {
        Name::Literal(name) => vec![with(name)],
        Name::Pattern { pattern, begins_with_dot } => {
            let is_shown = |name: &[u8]| *begins_with_dot || name.first() != Some(&b'.');
            let names = look.names(path).into_iter();
            names.filter(|name| is_shown(name) && pattern.matches(name)).map(|name| with(&name)).collect()
        }
    }
}

/// Whether any character has a meaning beyond itself.
pub fn is_special(text: &[u8]) -> bool {
    let mut is_escaped = false;
    text.iter().any(|byte| {
        let special = !is_escaped && matches!(byte, b'*' | b'?' | b'[');
        is_escaped = *byte == b'\\' && !is_escaped;
        special
    })
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        out.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    out
}

/// Files of the host, from its working directory on.
pub struct OnHost;

impl Look for OnHost {
    fn names(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt;
        let path = if directory.is_empty() { as_path(b".") } else { as_path(directory) };
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        entries.filter_map(Result::ok).map(|entry| entry.file_name().into_vec()).collect()
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        as_path(path).is_dir()
    }

    fn is_there(&self, path: &[u8]) -> bool {
        as_path(path).symlink_metadata().is_ok()
    }
}

fn as_path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    struct In(Vec<u8>);

    impl In {
        fn at(&self, path: &[u8]) -> Vec<u8> {
            if path.is_empty() { self.0.clone() } else { [&self.0, b"/".as_slice(), path].concat() }
        }
    }

    impl Look for In {
        fn names(&self, directory: &[u8]) -> Vec<Vec<u8>> {
            OnHost.names(&self.at(directory))
        }

        fn is_directory(&self, path: &[u8]) -> bool {
            OnHost.is_directory(&self.at(path))
        }

        fn is_there(&self, path: &[u8]) -> bool {
            OnHost.is_there(&self.at(path))
        }
    }

    /// The oracle: the host's shell.
    #[test]
    fn paths_match_as_in_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["a", "ab/c", "ab/d", ".hidden", "b*", "x y"] {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        for file in [
            "a/one.c",
            "a/two.c",
            "a/.dot.c",
            "ab/one.c",
            "ab/c/deep.h",
            ".hidden/f",
            "b*/one.c",
            "x y/é.c",
            "[z]",
        ] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("ab", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        let look = In(std::os::unix::ffi::OsStrExt::as_bytes(dir.path().as_os_str()).to_vec());
        for pattern in [
            "*",
            "*/",
            "*/*",
            "*/*.c",
            "a*/one.c",
            "?",
            "??",
            ".*/f",
            ".h*",
            "*/.*.c",
            "link/*",
            "lin?/*",
            "*/c/*",
            "[ab]*",
            "[!a]*",
            "b\\*",
            "b\\**/*",
            "*/nothing",
            "x*/*",
            "[[]z]",
            "dang*",
            "dang*/",
            "a//*.c",
            "./*",
            "*.[ch]",
            "?*/?*/?*",
        ] {
            let script = format!("for p in {pattern}; do printf '%s\\n' \"$p\"; done");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).env("LC_ALL", "C.UTF-8").current_dir(dir.path());
            let out = String::from_utf8(shell.output().unwrap().stdout).unwrap();
            let mut expected: Vec<&str> = out.lines().collect();
            // A shell keeps what matches nothing.
            expected.retain(|path| look.is_there(path.as_bytes()));
            expected.sort_unstable();
            let Some(compiled) = PathPattern::parse(pattern.as_bytes()) else {
                assert_eq!(expected, ["b*"], "{pattern}");
                continue;
            };
            let got: Vec<String> =
                compiled.matches(&look).into_iter().map(|path| String::from_utf8(path).unwrap()).collect();
            let expected: Vec<String> = expected.iter().map(|path| path.replace("//", "/")).collect();
            assert_eq!(got, expected, "{pattern}");
        }
    }
}
