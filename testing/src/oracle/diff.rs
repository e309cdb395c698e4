//! [`diff`]: where two descriptions differ, for people.

use super::description::{Description, Entry};
use std::fmt::Write;

/// How many differences are printed in full.
const SHOWN: usize = 12;

/// Says where `found` differs from what is `expected`; `None` when it does not.
pub fn diff(expected: &Description, found: &Description) -> Option<String> {
    let mut differences = Vec::new();
    for (path, entry) in &expected.entries {
        match found.entries.get(path) {
            None => differences.push(format!("{}: missing", show(path))),
            Some(other) => compare(path, entry, other, &mut differences),
        }
    }
    for path in found.entries.keys().filter(|path| !expected.entries.contains_key(*path)) {
        differences.push(format!("{}: not expected", show(path)));
    }
    if differences.is_empty() { None } else { Some(summary(expected, &differences)) }
}

fn summary(expected: &Description, differences: &[String]) -> String {
    let mut text = format!("{} differences in {} entries\n", differences.len(), expected.entries.len());
    for line in differences.iter().take(SHOWN) {
        let _ = writeln!(text, "  {line}");
    }
    if differences.len() > SHOWN {
        let _ = writeln!(text, "  ... and {} more", differences.len() - SHOWN);
    }
    text
}

fn show(path: &[u8]) -> String {
    let text = path.escape_ascii().to_string();
    if text.len() > 120 { format!("/{}...({} bytes)", &text[..100], path.len()) } else { format!("/{text}") }
}

fn compare(path: &[u8], expected: &Entry, found: &Entry, differences: &mut Vec<String>) {
    let mut field = |name: &str, expected: String, found: String| {
        differences.push(format!("{}: {name}: expected {expected}, found {found}", show(path)));
    };
    macro_rules! always {
        ($($name:ident $format:literal),*) => {$(
            if expected.$name != found.$name {
                field(stringify!($name), format!($format, expected.$name), format!($format, found.$name));
            }
        )*};
    }
    macro_rules! if_known {
        ($($name:ident),*) => {$(
            if let (Some(e), Some(f)) = (&expected.$name, &found.$name) && e != f {
                field(stringify!($name), format!("{e:?}"), format!("{f:?}"));
            }
        )*};
    }
    always!(ino "{}", mode "{:o}", uid "{}", gid "{}", size "{}", nlink "{}", rdev "{:?}", mtime "{:?}", ctime "{:?}",
        encrypted "{}");
    if_known!(blocks, atime, crtime, generation, project, content);
    if let (Some(e), Some(f)) = (expected.flags, found.flags)
        && e != f
    {
        field("flags", format!("{e:#x}"), format!("{f:#x}"));
    }
    if let (Some(e), Some(f)) = (&expected.target, &found.target)
        && e != f
    {
        field("target", e.escape_ascii().to_string(), f.escape_ascii().to_string());
    }
    if let (Some(e), Some(f)) = (&expected.xattrs, &found.xattrs) {
        for name in e.keys().chain(f.keys().filter(|name| !e.contains_key(*name))) {
            if e.get(name) != f.get(name) {
                let name_shown = format!("xattr {}", name.escape_ascii());
                field(&name_shown, show_value(e.get(name)), show_value(f.get(name)));
            }
        }
    }
}

fn show_value(value: Option<&Vec<u8>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) if value.len() <= 40 => format!("\"{}\"", value.escape_ascii()),
        Some(value) => format!("{} bytes \"{}...\"", value.len(), value[..30].escape_ascii()),
    }
}
