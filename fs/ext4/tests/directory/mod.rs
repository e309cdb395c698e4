//! Listings and lookups as a test sees them, and the same from debugfs.
#![allow(dead_code, clippy::unwrap_used)]

use crate::support::{Image, Mounted};
use core::ops::ControlFlow;
use rumpcap_host::Result;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{DirCookie, FileKind, FileSystem, InodeNo, Node};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An entry, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Vec<u8>,
    pub ino: u64,
    pub kind: FileKind,
    pub next: u64,
}

/// The entries of `node` from `from` on, at most `max`, and how the listing ended.
pub fn list_some(mounted: &Mounted, node: &Node, from: u64, max: usize) -> (Vec<Listed>, Result<()>) {
    let mut listed = Vec::new();
    let end = mounted.fs.read_dir(&mounted.reserve(), node, DirCookie(from), &mut |entry| {
        let (name, ino) = (entry.name.to_vec(), entry.ino.0);
        listed.push(Listed { name, ino, kind: entry.kind, next: entry.next.0 });
        if listed.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (listed, end)
}

/// All entries of `node`.
pub fn list(mounted: &Mounted, node: &Node) -> Vec<Listed> {
    let (listed, end) = list_some(mounted, node, 0, usize::MAX);
    end.expect("the directory can be listed");
    listed
}

/// All entries by name, without cookies: names must be unique.
pub fn by_name(listed: &[Listed]) -> BTreeMap<Vec<u8>, u64> {
    let map: BTreeMap<_, _> = listed.iter().map(|entry| (entry.name.clone(), entry.ino)).collect();
    assert_eq!(map.len(), listed.len(), "a name is listed twice");
    map
}

/// The inode of `name` in `node`.
pub fn lookup(mounted: &Mounted, node: &Node, name: &[u8]) -> Result<u64> {
    Ok(mounted.fs.lookup(&mounted.reserve(), node, name)?.0)
}

/// The node of a path of UTF-8 names from the root.
pub fn walk(mounted: &Mounted, path: &str) -> Node {
    let mut node = mounted.node(mounted.fs.root().0).expect("the root");
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let ino: InodeNo = mounted.fs.lookup(&mounted.reserve(), &node, name.as_bytes()).expect(path);
        node = mounted.node(ino.0).expect(path);
    }
    node
}

/// What debugfs lists in `path`: names without control characters.
pub fn debugfs_list(image: &Image, path: &str) -> BTreeMap<Vec<u8>, u64> {
    let command = format!("ls -p {path}");
    let output =
        Command::new("debugfs").arg("-R").arg(command).arg(image.path()).output().expect("debugfs runs");
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines
        .map(|line| {
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b'/').collect();
            let ino = std::str::from_utf8(fields[1]).unwrap().parse().unwrap();
            (fields[5].to_vec(), ino)
        })
        // Records not in use, and tails with checksums.
        .filter(|&(_, ino)| ino != 0)
        .collect()
}

/// Lets e2fsck make (or make anew) the trees of all directories.
pub fn index(image: &Image) {
    fsck(image, &["-fyD"]);
}

/// Runs e2fsck; mended is as good as clean.
pub fn fsck(image: &Image, arguments: &[&str]) {
    let output = Command::new("e2fsck").args(arguments).arg(image.path()).output().expect("e2fsck runs");
    let code = output.status.code().unwrap_or(8);
    assert!(code <= 1, "e2fsck: {code} {}", String::from_utf8_lossy(&output.stdout));
}

/// A directory in `tree` with a file of each name: links to one file, to be quick.
pub fn fill<N: AsRef<Path>>(tree: &Path, directory: &str, names: impl IntoIterator<Item = N>) {
    let directory = tree.join(directory);
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut first: Option<PathBuf> = None;
    for name in names {
        let path = directory.join(name);
        match &first {
            Some(first) => std::fs::hard_link(first, &path).expect("a link"),
            None => {
                std::fs::write(&path, b"content").expect("a file");
                first = Some(path);
            }
        }
    }
}

/// Everything that must hold for a directory, listed by debugfs as `expected`: the listing is the same, each name is found,
/// others are not, and a listing can be left and taken up again after any number of entries.
pub fn check_directory(mounted: &Mounted, node: &Node, expected: &BTreeMap<Vec<u8>, u64>, what: &str) {
    let listed = list(mounted, node);
    assert_eq!(&by_name(&listed), expected, "{what}");
    for (name, &ino) in expected {
        let name_text = String::from_utf8_lossy(name);
        assert_eq!(lookup(mounted, node, name), Ok(ino), "{what}: {name_text}");
        let mut other = name.clone();
        *other.first_mut().expect("names are not empty") ^= 1;
        if !expected.contains_key(&other) {
            let found = lookup(mounted, node, &other);
            assert_eq!(found, Err(rumpcap_host::Error::NotFound), "{what}: not {name_text}");
        }
    }
    for pieces in [1, 7, 100] {
        let mut again: Vec<Listed> = Vec::new();
        while again.len() < listed.len().min(pieces * 300) {
            let from = again.last().map_or(0, |entry| entry.next);
            let (more, end) = list_some(mounted, node, from, pieces);
            end.expect("the listing goes on");
            assert!(!more.is_empty(), "{what}: listing in pieces of {pieces} ended early");
            again.extend(more);
        }
        assert_eq!(again, listed[..again.len()], "{what}: in pieces of {pieces}");
    }
    let behind = listed.last().map_or(0, |entry| entry.next);
    assert_eq!(list_some(mounted, node, behind, 1), (vec![], Ok(())), "{what}: behind the end");
    assert_eq!(list_some(mounted, node, u64::MAX, 1), (vec![], Ok(())), "{what}: far behind the end");
}

/// An image, mounted by the kernel of this host for writing, until dropped.
pub struct KernelMount {
    directory: tempfile::TempDir,
}

impl KernelMount {
    /// Mounts it; says so and gives `None` where that is not allowed (it takes root and loop devices).
    pub fn new(image: &Image) -> Option<KernelMount> {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop"]).arg(image.path()).arg(directory.path());
        let output = mount.output().expect("mount runs");
        if !output.status.success() {
            skip("no loop mounts");
            return None;
        }
        Some(KernelMount { directory })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The names and inode numbers of directory `path`, `.` and `..` included.
    pub fn list(&self, path: &str) -> BTreeMap<Vec<u8>, u64> {
        use std::os::unix::ffi::OsStringExt;
        use std::os::unix::fs::{DirEntryExt, MetadataExt};
        let path = self.path().join(path);
        let entries = std::fs::read_dir(&path).expect("the kernel lists");
        let entries = entries.map(|entry| entry.expect("the kernel lists"));
        let mut list: BTreeMap<_, _> =
            entries.map(|entry| (entry.file_name().into_vec(), entry.ino())).collect();
        for dot in [".", ".."] {
            list.insert(dot.into(), path.join(dot).metadata().expect("it is there").ino());
        }
        list
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        let output = Command::new("umount").arg(self.directory.path()).output().expect("umount runs");
        if !output.status.success() {
            println!("cannot unmount: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
}
