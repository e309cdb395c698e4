//! [`compare()`]: whether what is there is what the model says.

use super::model::{Inode, InodeId, Kind, Model};
use super::permitted::KNOWN;
use crate::oracle::{Description, Entry};
use rumpcap::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many differences are told.
const TOLD: usize = 12;

/// What of the model is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// All of it.
    Everything,
    /// Not the content of files: it is looked at otherwise.
    AllButContent,
}

/// Says where `found` differs from the model; `None` when it does not.
pub fn compare(model: &Model, found: &Description, what: Compared) -> Option<String> {
    let mut differences = Vec::new();
    let mut numbers: BTreeMap<InodeId, u64> = BTreeMap::new();
    let paths: BTreeMap<String, InodeId> = model.paths().into_iter().collect();
    for (path, id) in &paths {
        let Some(entry) = found.entries.get(path.trim_start_matches('/').as_bytes()) else {
            differences.push(format!("{path}: missing"));
            continue;
        };
        let number = *numbers.entry(*id).or_insert(entry.ino);
        if number != entry.ino {
            differences.push(format!("{path}: inode {} where another of its names has {number}", entry.ino));
        }
        let found = |(name, expected, found)| format!("{path}: {name}: expected {expected}, found {found}");
        differences.extend(inode_differences(model.get(*id), entry, what).into_iter().map(found));
    }
    for path in found.entries.keys() {
        let shown = String::from_utf8_lossy(path);
        let full = if path.is_empty() { String::new() } else { format!("/{shown}") };
        if !paths.contains_key(&full) {
            differences.push(format!("{full}: not expected"));
        }
    }
    told(&differences)
}

fn told(differences: &[String]) -> Option<String> {
    if differences.is_empty() {
        return None;
    }
    let mut text = format!("{} differences\n", differences.len());
    for line in differences.iter().take(TOLD) {
        let _ = writeln!(text, "  {line}");
    }
    Some(text)
}

/// Name, expectation and finding of each field that differs.
pub fn inode_differences(
    inode: &Inode,
    entry: &Entry,
    what: Compared,
) -> Vec<(&'static str, String, String)> {
    let mut differences = Vec::new();
    let mut field = |name, expected: String, found: String| {
        if expected != found {
            differences.push((name, expected, found));
        }
    };
    let octal = |mode: u32| format!("{mode:o}");
    field("mode", octal(inode.mode | inode.type_bits()), octal(entry.mode));
    field("owner", format!("{:?}", (inode.uid, inode.gid)), format!("{:?}", (entry.uid, entry.gid)));
    field("links", inode.nlink.to_string(), entry.nlink.to_string());
    let mut time = |name, expected: Option<Timestamp>, found: (i64, u32)| {
        if let Some(expected) = expected {
            field(name, format!("{:?}", (expected.seconds, expected.nanoseconds)), format!("{found:?}"));
        }
    };
    time("mtime", inode.mtime, entry.mtime);
    time("ctime", inode.ctime, entry.ctime);
    if let Some(found) = entry.atime {
        time("atime", inode.atime, found);
    }
    if let Some(found) = &entry.xattrs {
        let expected: BTreeMap<_, _> =
            inode.xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone())).collect();
        field("xattrs", shown(&expected), shown(found));
    }
    if let (Some(found), Kind::File(_) | Kind::Directory { .. }) = (entry.flags, &inode.kind) {
        field("flags", format!("{:#x}", inode.flags), format!("{:#x}", found & KNOWN));
    }
    match &inode.kind {
        Kind::File(content) => {
            if what == Compared::Everything {
                field("size", content.len().to_string(), entry.size.to_string());
                field("content", format!("{:?}", Some(content.digest())), format!("{:?}", entry.content));
            }
        }
        Kind::Symlink(target) => {
            field("size", target.len().to_string(), entry.size.to_string());
            if let Some(found) = &entry.target {
                field("target", target.clone(), String::from_utf8_lossy(found).into_owned());
            }
        }
        Kind::Special(_, rdev) => field("device", format!("{rdev:?}"), format!("{:?}", entry.rdev)),
        Kind::Directory { .. } => {}
    }
    differences
}

/// Names of attributes, with the length and a checksum of their values.
fn shown(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let one = |(name, value): (&Vec<u8>, &Vec<u8>)| {
        format!("{} ({} bytes, {:08x})", String::from_utf8_lossy(name), value.len(), crc32c::crc32c(value))
    };
    xattrs.iter().map(one).collect::<Vec<_>>().join(", ")
}
