//! `debugfs` as an oracle, where the host's kernel cannot mount: larger blocks, casefold, ordinary users.
//!
//! Three passes of `debugfs`: directories level by level (`ls -p`), then `stat` and `ea_list` of every inode, then
//! `rdump` for content and links, and `ea_get` for values. Inodes are named by number, so names need no quoting.
//! A journal is not replayed by it: the caller has e2fsck do that to a copy first.

use super::description::{Description, Entry, FLAG_ENCRYPTED, Time, join};
use super::digest::{Content, PAGE, PageDigest};
use crate::tools::{self, DebugfsMode};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The flags that `FS_IOC_GETFLAGS` shows; debugfs shows all.
const VISIBLE_FLAGS: u32 = 0x725b_dfff;
/// Files that are counted in file system blocks, and files in their inode, which a kernel says take space all the same.
const FLAGS_OF_OTHER_BLOCKS: u32 = 0x1004_0000;
/// What debugfs lists as an attribute and a kernel does not: the rest of inline data.
const HIDDEN: &[&str] = &["system.data"];

/// Describes `image`.
///
/// # Panics
/// When debugfs says what is not understood.
pub fn describe(image: &Path) -> Description {
    let mut description = list(image);
    let inodes: BTreeSet<u64> = description.entries.values().map(|entry| entry.ino).collect();
    let stats = stat(image, &inodes);
    let xattrs = extended_attributes(image, &inodes);
    for entry in description.entries.values_mut() {
        let (ino, mode) = (entry.ino, entry.mode);
        *entry = stats.get(&ino).unwrap_or_else(|| panic!("no stat of inode {ino}")).clone();
        (entry.ino, entry.mode) = (ino, mode);
        entry.xattrs = xattrs.get(&ino).cloned();
        if entry.encrypted {
            entry.xattrs = None;
        }
    }
    dump(image, &mut description);
    description
}

/// Runs one line per item and gives what was printed for each.
fn ask(image: &Path, lines: &[String]) -> Vec<Vec<u8>> {
    let printed = tools::debugfs(image, DebugfsMode::Read, lines);
    let mut rest = &printed[..];
    let mut answers = Vec::with_capacity(lines.len());
    let mut echoes: Vec<Vec<u8>> =
        lines.iter().map(|line| format!("debugfs: {line}\n").into_bytes()).collect();
    echoes.push(Vec::new());
    for pair in echoes.windows(2) {
        assert!(rest.starts_with(&pair[0]), "debugfs does not echo its script");
        rest = &rest[pair[0].len()..];
        let end =
            if pair[1].is_empty() { rest.len() } else { find(rest, &pair[1]).expect("the next line's echo") };
        answers.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    answers
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// All paths, with inode number and mode, level by level.
fn list(image: &Path) -> Description {
    let mut description = Description::default();
    let root = Entry { ino: 2, mode: 0o040_755, ..Entry::default() };
    description.entries.insert(Vec::new(), root);
    let mut level: Vec<(Vec<u8>, u64)> = vec![(Vec::new(), 2)];
    while !level.is_empty() {
        let lines: Vec<String> = level.iter().map(|(_, ino)| format!("ls -p <{ino}>")).collect();
        let mut next = Vec::new();
        for ((path, _), listing) in level.iter().zip(ask(image, &lines)) {
            for (name, ino, mode) in parse_listing(&listing) {
                if name == b"." && path.is_empty() {
                    description.entries.entry(Vec::new()).and_modify(|root| root.mode = mode);
                }
                if name == b"." || name == b".." {
                    continue;
                }
                let child = join(path, &name);
                if mode & 0o170_000 == 0o040_000 {
                    next.push((child.clone(), ino));
                }
                description.entries.insert(child, Entry { ino, mode, ..Entry::default() });
            }
        }
        level = next;
    }
    description
}

/// `/ino/mode/uid/gid/name/size/` and a new line: a name may hold anything but a slash.
fn parse_listing(listing: &[u8]) -> Vec<(Vec<u8>, u64, u32)> {
    let fields: Vec<&[u8]> = listing.split(|byte| *byte == b'/').collect();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut entries = Vec::new();
    for entry in fields.chunks_exact(7) {
        let ino = text(entry[1]).parse().expect("an inode number in a listing");
        let mode = u32::from_str_radix(&text(entry[2]), 8).expect("a mode in a listing");
        if ino != 0 {
            entries.push((entry[5].to_vec(), ino, mode));
        }
    }
    entries
}

fn stat(image: &Path, inodes: &BTreeSet<u64>) -> BTreeMap<u64, Entry> {
    let lines: Vec<String> = inodes.iter().map(|ino| format!("stat <{ino}>")).collect();
    let answers = ask(image, &lines);
    inodes
        .iter()
        .copied()
        .zip(answers.iter().map(|answer| parse_stat(&String::from_utf8_lossy(answer))))
        .collect()
}

fn parse_stat(text: &str) -> Entry {
    let after = |key: &str| -> Option<&str> {
        let at = text.find(key)? + key.len();
        text[at..].trim_start_matches(' ').split_whitespace().next()
    };
    let number = |key: &str| after(key).and_then(|word| word.parse::<u64>().ok());
    let signed = |key: &str| after(key).and_then(|word| word.parse::<i64>().ok());
    let flags = after("Flags: 0x").and_then(|word| u32::from_str_radix(word, 16).ok()).expect("flags");
    let time_line = |key: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(key));
    let time = |key: &str| time_line(key)?.split_whitespace().next().map(parse_time);
    Entry {
        // Printed as signed numbers.
        uid: signed("User:").expect("an owner") as u32,
        gid: signed("Group:").expect("a group") as u32,
        project: number("Project:").map(|project| project as u32),
        size: number(" Size:").expect("a size"),
        nlink: number("Links:").expect("a count of links") as u32,
        blocks: (flags & FLAGS_OF_OTHER_BLOCKS == 0).then(|| number("Blockcount:")).flatten(),
        generation: number("Generation:").map(|generation| generation as u32),
        flags: Some(flags & VISIBLE_FLAGS),
        encrypted: flags & FLAG_ENCRYPTED != 0,
        rdev: parse_device(after("major/minor number:")),
        atime: time("atime:"),
        mtime: time("mtime:").expect("mtime"),
        ctime: time("ctime:").expect("ctime"),
        crtime: Some(time("crtime:")),
        ..Entry::default()
    }
}

/// `0xSECONDS:EXTRA`: of the extra 32 bits the lower two extend the seconds, the others are nanoseconds.
fn parse_time(word: &str) -> Time {
    let mut parts = word.trim_start_matches("0x").split(':').map(|part| u32::from_str_radix(part, 16));
    let seconds = parts.next().and_then(Result::ok).expect("seconds");
    let extra = parts.next().and_then(Result::ok).unwrap_or(0);
    (i64::from(seconds as i32) + (i64::from(extra & 3) << 32), extra >> 2)
}

fn parse_device(word: Option<&str>) -> (u32, u32) {
    let mut parts = word.unwrap_or("").split(':').filter_map(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

fn extended_attributes(image: &Path, inodes: &BTreeSet<u64>) -> BTreeMap<u64, Attributes> {
    let lines: Vec<String> = inodes.iter().map(|ino| format!("ea_list <{ino}>")).collect();
    let directory = tempfile::tempdir().expect("a directory for values");
    let mut wanted = Vec::new();
    for (ino, answer) in inodes.iter().zip(ask(image, &lines)) {
        for name in parse_names(&String::from_utf8_lossy(&answer)) {
            wanted.push((*ino, name));
        }
    }
    let file = |n: usize| directory.path().join(n.to_string());
    let get = |(n, (ino, name)): (usize, &(u64, String))| {
        format!("ea_get -f {} <{ino}> \"{name}\"", file(n).display())
    };
    ask(image, &wanted.iter().enumerate().map(get).collect::<Vec<_>>());
    let mut attributes: BTreeMap<u64, Attributes> =
        inodes.iter().map(|ino| (*ino, Attributes::new())).collect();
    for (n, (ino, name)) in wanted.into_iter().enumerate() {
        let value = std::fs::read(file(n)).unwrap_or_else(|e| panic!("value of {name} of inode {ino}: {e}"));
        let value = if name.starts_with("system.posix_acl_") { with_undefined_ids(value) } else { value };
        attributes.entry(ino).or_default().insert(name.into_bytes(), value);
    }
    attributes
}

/// Entries of an access control list that name nobody (tags other than user 2 and group 8) have the id -1 in what a
/// kernel gives; debugfs leaves 0.
fn with_undefined_ids(mut list: Vec<u8>) -> Vec<u8> {
    for entry in list.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if !matches!(u16::from_le_bytes([entry[0], entry[1]]), 2 | 8) {
            entry[4..].fill(0xff);
        }
    }
    list
}

/// Lines `  name (length)` or `  name (length) = value`.
fn parse_names(text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("  ")?.split(" (").next()?.to_owned());
    text.lines()
        .filter_map(name)
        .filter(|name| name.contains('.') && !HIDDEN.contains(&name.as_str()))
        .collect()
}

fn dump(image: &Path, description: &mut Description) {
    let directory = tempfile::tempdir().expect("a directory to dump into");
    ask(image, &[format!("rdump / {}", directory.path().display())]);
    for (path, entry) in description.entries.iter_mut().filter(|(_, entry)| !entry.encrypted) {
        let dumped = directory.path().join(OsStr::from_bytes(path));
        match entry.mode & 0o170_000 {
            0o120_000 => {
                let target = std::fs::read_link(&dumped);
                entry.target = target.ok().map(|target| target.into_os_string().into_vec());
            }
            0o100_000 => entry.content = content(&dumped, entry.size),
            _ => {}
        }
    }
}

/// `None` for what was not dumped whole.
fn content(path: &Path, size: u64) -> Option<Content> {
    let bytes = std::fs::read(path).ok().filter(|bytes| bytes.len() as u64 == size)?;
    let mut digest = PageDigest::default();
    for (n, page) in bytes.chunks(PAGE).enumerate() {
        digest.add((n * PAGE) as u64, page);
    }
    Some(digest.finish())
}
