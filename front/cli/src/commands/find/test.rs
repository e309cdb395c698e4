//! The tests of find(1): one value each.

use super::Candidate;
use crate::glob::{Case, Pattern};
use crate::modes::parse_mode;
use crate::session::Session;
use rumpcap::{FileKind, Metadata, Timestamp};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The tests that take a value.
pub const TESTS: &[&str] = &[
    "-name",
    "-iname",
    "-path",
    "-wholename",
    "-ipath",
    "-iwholename",
    "-type",
    "-size",
    "-mtime",
    "-atime",
    "-ctime",
    "-mmin",
    "-amin",
    "-cmin",
    "-uid",
    "-gid",
    "-inum",
    "-links",
    "-perm",
];

/// One test.
#[derive(Debug)]
pub enum Test {
    /// Always holds.
    True,
    /// A file without content, a directory without entries.
    Empty,
    /// The last component matches.
    Name(Pattern),
    /// The whole path matches.
    Path(Pattern),
    /// One of these types.
    Type(Vec<FileKind>),
    /// The size in units of so many bytes, rounded up.
    Size(u64, Number),
    /// The age of a time in units of so many nanoseconds, rounded down; and when now is.
    Age(Which, i128, Number, i128),
    /// The owner.
    Uid(Number),
    /// The group.
    Gid(Number),
    /// The inode number.
    Ino(Number),
    /// The hard links.
    Links(Number),
    /// The permissions.
    Perm(PermRule, u32),
}

/// `N`, `+N` or `-N`.
#[derive(Debug)]
pub struct Number {
    order: Ordering,
    value: i128,
}

/// Which time of a file.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    Accessed,
    Modified,
    Changed,
}

/// How permissions are compared.
#[derive(Debug)]
pub enum PermRule {
    Exact,
    All,
    Any,
}

const DAY_NS: i128 = 86_400 * 1_000_000_000;
const MINUTE_NS: i128 = 60 * 1_000_000_000;

/// Parses the value of test `name`.
///
/// # Errors
/// A message for the user.
pub fn parse_test(name: &str, value: &OsStr) -> Result<Test, String> {
    let pattern = |case| Pattern::new(value.as_bytes(), case);
    match name {
        "-name" => return Ok(Test::Name(pattern(Case::Sensitive))),
        "-iname" => return Ok(Test::Name(pattern(Case::Insensitive))),
        "-path" | "-wholename" => return Ok(Test::Path(pattern(Case::Sensitive))),
        "-ipath" | "-iwholename" => return Ok(Test::Path(pattern(Case::Insensitive))),
        _ => {}
    }
    let text = value.to_str().ok_or("not a value for this test")?;
    let age = |which, unit| Ok(Test::Age(which, unit, number(text)?, now_ns()));
    match name {
        "-type" => text.split(',').map(kind).collect::<Result<_, _>>().map(Test::Type),
        "-size" => size(text),
        "-mtime" => age(Which::Modified, DAY_NS),
        "-atime" => age(Which::Accessed, DAY_NS),
        "-ctime" => age(Which::Changed, DAY_NS),
        "-mmin" => age(Which::Modified, MINUTE_NS),
        "-amin" => age(Which::Accessed, MINUTE_NS),
        "-cmin" => age(Which::Changed, MINUTE_NS),
        "-uid" => number(text).map(Test::Uid),
        "-gid" => number(text).map(Test::Gid),
        "-inum" => number(text).map(Test::Ino),
        "-links" => number(text).map(Test::Links),
        "-perm" => perm(text),
        _ => Err("unknown test".to_owned()),
    }
}

fn number(text: &str) -> Result<Number, String> {
    let (order, digits) = match text.split_at_checked(1) {
        Some(("+", rest)) => (Ordering::Greater, rest),
        Some(("-", rest)) => (Ordering::Less, rest),
        _ => (Ordering::Equal, text),
    };
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let value = whole.then(|| digits.parse::<u64>().ok()).flatten();
    value
        .map(|v| Number { order, value: v.into() })
        .ok_or_else(|| "not a whole number (N, +N or -N)".to_owned())
}

fn size(text: &str) -> Result<Test, String> {
    let units = [('c', 1), ('w', 2), ('b', 512), ('k', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let unit = text.chars().last().and_then(|last| units.iter().find(|(c, _)| *c == last));
    match unit {
        Some((_, bytes)) => number(&text[..text.len() - 1]).map(|n| Test::Size(*bytes, n)),
        None => number(text).map(|n| Test::Size(512, n)),
    }
}

fn kind(letter: &str) -> Result<FileKind, String> {
    Ok(match letter {
        "f" => FileKind::Regular,
        "d" => FileKind::Directory,
        "l" => FileKind::Symlink,
        "c" => FileKind::CharDevice,
        "b" => FileKind::BlockDevice,
        "p" => FileKind::Fifo,
        "s" => FileKind::Socket,
        _ => return Err("not a type: one or more of f d l c b p s, with commas between".to_owned()),
    })
}

fn perm(text: &str) -> Result<Test, String> {
    let (rule, mode) = match text.split_at_checked(1) {
        Some(("-", rest)) => (PermRule::All, rest),
        Some(("/", rest)) => (PermRule::Any, rest),
        _ => (PermRule::Exact, text),
    };
    let mode = parse_mode(mode).ok_or("not a mode")?;
    Ok(Test::Perm(rule, mode))
}

fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX))
}

impl Number {
    fn accepts(&self, n: impl Into<i128>) -> bool {
        n.into().cmp(&self.value) == self.order
    }
}

impl Which {
    fn of(self, m: &Metadata) -> Timestamp {
        match self {
            Which::Accessed => m.accessed(),
            Which::Modified => m.modified(),
            Which::Changed => m.changed(),
        }
    }
}

impl Test {
    /// Whether the test holds. What it needs and cannot read is named and counted, and does not hold.
    pub(super) fn holds(&self, session: &mut Session, c: &Candidate<'_>) -> bool {
        let m = c.metadata;
        match self {
            Test::True => true,
            Test::Empty => is_empty(session, c),
            Test::Name(pattern) => pattern.matches(last_component(c.path.as_os_str().as_bytes())),
            Test::Path(pattern) => pattern.matches(c.path.as_os_str().as_bytes()),
            Test::Type(kinds) => kinds.contains(&m.file_type().kind()),
            Test::Size(unit, number) => number.accepts(m.len().div_ceil(*unit)),
            Test::Age(which, unit, number, now) => {
                let t = which.of(m);
                let at = i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanoseconds);
                number.accepts((now - at).div_euclid(*unit))
            }
            Test::Uid(number) => number.accepts(m.uid()),
            Test::Gid(number) => number.accepts(m.gid()),
            Test::Ino(number) => number.accepts(m.ino()),
            Test::Links(number) => number.accepts(m.nlink()),
            Test::Perm(rule, mode) => match rule {
                PermRule::Exact => m.mode() & 0o7777 == *mode,
                PermRule::All => m.mode() & *mode == *mode,
                PermRule::Any => *mode == 0 || m.mode() & *mode != 0,
            },
        }
    }
}

fn is_empty(session: &mut Session, c: &Candidate<'_>) -> bool {
    match c.metadata.file_type().kind() {
        FileKind::Regular => c.metadata.len() == 0,
        FileKind::Directory => match c.target.mount.read_dir(c.path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) => {
                session.fail(c.path, &e);
                false
            }
        },
        _ => false,
    }
}

/// The last component; of the root, `/`, as find has it.
fn last_component(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    if end == 0 {
        return &path[..path.len().min(1)];
    }
    let begin = path[..end].iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    &path[begin..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_components() {
        assert_eq!(last_component(b"/"), b"/");
        assert_eq!(last_component(b"/a/b"), b"b");
        assert_eq!(last_component(b"/a/b//"), b"b");
        assert_eq!(last_component(b""), b"");
    }
}
