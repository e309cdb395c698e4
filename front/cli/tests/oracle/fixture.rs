//! An image with one of everything, its mount, and running the command and its models.

use rumpcap_testing::skip::skip;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};

/// The built command.
pub const RUMPCAP: &str = env!("CARGO_BIN_EXE_rumpcap");

/// Runs the command; its environment says nothing.
pub fn rumpcap<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(RUMPCAP);
    command.args(args).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env_remove("RUMPCAP_MEMLIMIT");
    command.output().unwrap()
}

/// Runs the command, which must succeed in silence, and gives what it printed.
pub fn stdout<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Vec<u8> {
    let out = rumpcap(args);
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert!(out.status.success(), "{}", out.status);
    out.stdout
}

/// `image:path`.
pub fn at(image: &Path, path: &str) -> OsString {
    let mut address = image.as_os_str().to_owned();
    address.push(":");
    address.push(path);
    address
}

/// Runs a model in `directory`; it must succeed.
pub fn model(directory: &Path, program: &str, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(args).current_dir(directory).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    let out = command.output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Runs a tool that prepares something; it must succeed.
pub fn tool(program: &str, args: &[&OsStr]) {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A directory for what tests make; new for each run.
pub fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// The image, mounted for reading by the kernel as long as this lives.
pub struct Mounted {
    pub image: PathBuf,
    pub root: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.root).status();
    }
}

/// The image with one of everything, mounted at a place of the test's own. `None`, with the reason printed, where that
/// cannot be.
pub fn mounted(test: &str) -> Option<Mounted> {
    static IMAGE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let image = match IMAGE.get_or_init(build_image) {
        Ok(image) => image.clone(),
        Err(reason) => {
            skip(reason);
            return None;
        }
    };
    let root = scratch(&format!("mnt-{test}"));
    mount(&image, &root, "ro,loop").map_err(|e| skip(&e)).ok()?;
    Some(Mounted { image, root })
}

/// Mounts `image` at `root`.
pub fn mount(image: &Path, root: &Path, options: &str) -> Result<(), String> {
    // Attaching loop devices in parallel makes losers of the race for a free one.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let out = Command::new("mount")
        .arg("-o")
        .arg(options)
        .arg(image)
        .arg(root)
        .output()
        .map_err(|e| e.to_string())?;
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()) }
}

fn build_image() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root, so no loop mount to compare with".into());
    }
    let directory = scratch("image");
    let image = directory.join("everything.img");
    fs::File::create(&image).and_then(|f| f.set_len(64 << 20)).map_err(|e| e.to_string())?;
    tool("mke2fs", &["-q".as_ref(), "-t".as_ref(), "ext4".as_ref(), image.as_os_str()]);
    let root = scratch("populate");
    mount(&image, &root, "loop")?;
    let populated = std::panic::catch_unwind(|| populate(&root));
    tool("umount", &[root.as_os_str()]);
    populated.map_err(|_| "the tree could not be made".to_owned())?;
    Ok(image)
}

/// Names that are no trouble for a file system and much for others.
pub const ODD_NAMES: &[&[u8]] = &[
    b"with space",
    b"it's",
    b"tab\there",
    b"nl\nx",
    b"\x1b[31mred",
    b"\xff\xfe",
    b"caf\xc3\xa9",
    b"back\\slash",
    b"-dash",
    b".hidden",
    b"cr\rname",
    b"...",
    b"a:b",
    b"a@2",
    b"star*",
    b"#hash",
    b"~tilde",
    b"quote\"",
];

fn populate(root: &Path) {
    let p = |name: &str| root.join(name);
    for directory in ["etc", "deep/a/b/c/d", "empty", "links", "dev", "names", "locked/inner", "many"] {
        fs::create_dir_all(p(directory)).unwrap();
    }
    fs::write(p("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
        .unwrap();
    fs::write(p("etc/group"), "root:x:0:\nalice:x:1000:\nstaff:x:50:\n").unwrap();
    let numbers: String = (1..20_000).map(|n| format!("{n}\n")).collect();
    fs::write(p("etc/numbers"), &numbers).unwrap();
    fs::write(p("big"), numbers.repeat(30)).unwrap();
    fs::write(p("deep/a/b/c/d/file"), "hi\n").unwrap();
    for i in 0..1500 {
        fs::write(p(&format!("many/entry-{i:04}-with-a-long-name-so-that-there-are-blocks")), vec![b'x'; i])
            .unwrap();
    }
    for name in ODD_NAMES.iter().copied().chain([[b'L'; 255].as_slice()]) {
        fs::write(p("names").join(OsStr::from_bytes(name)), name).unwrap();
    }
    // Deeper than the 100 bytes of a tar header's name field, and not UTF-8.
    let long = p("deep").join("x".repeat(90)).join(OsStr::from_bytes(&[0xff; 90])).join("y".repeat(90));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("file"), "far down\n").unwrap();
    fs::hard_link(long.join("file"), p("deep/far")).unwrap();
    sparse(&p("sparse"), &[(5_000_000, b"middle"), (20_000_000, b"last")], 20_971_520);
    sparse(&p("all-hole"), &[], 3_000_000);
    sparse(&p("ends-with-data"), &[(1_000_000, &[1; 70_000])], 1_070_000);
    links_and_nodes(root);
    attributes(root);
}

fn sparse(path: &Path, pieces: &[(u64, &[u8])], len_bytes: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).unwrap();
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset).unwrap();
    }
    file.set_len(len_bytes).unwrap();
}

fn links_and_nodes(root: &Path) {
    let p = |name: &str| root.join(name);
    for (to, name) in [
        ("etc/passwd", "pw"),
        ("/etc/group", "gr"),
        ("nowhere", "dangling"),
        ("../../../../../../etc/passwd", "escape"),
        ("a", "deep/to-a"),
        ("loop2", "loop1"),
        ("loop1", "loop2"),
        ("with\nnewline", "odd-target"),
    ] {
        symlink(to, p(name)).unwrap();
    }
    symlink("z".repeat(300), p("long-target")).unwrap();
    for name in ["links/one", "links/two"] {
        fs::hard_link(p("etc/numbers"), p(name)).unwrap();
    }
    fs::hard_link(p("big"), p("links/big")).unwrap();
    let node = |name: &str, kind, major, minor| {
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(CWD, p(name), kind, mode, rustix::fs::makedev(major, minor)).unwrap();
    };
    node("dev/null", FileType::CharacterDevice, 1, 3);
    node("dev/sda", FileType::BlockDevice, 8, 300);
    node("dev/fifo", FileType::Fifo, 0, 0);
    node("dev/sock", FileType::Socket, 0, 0);
}

/// An access control list that gives user 1000 what `permissions` says.
fn acl(permissions: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1, 6, u32::MAX), (2, permissions, 1000), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend([tag, 0, permissions, 0]);
        bytes.extend(u32::to_le_bytes(id));
    }
    bytes
}

fn attributes(root: &Path) {
    let p = |name: &str| root.join(name);
    for name in ODD_NAMES {
        chown(p("names").join(OsStr::from_bytes(name)), Some(1000), Some(50)).unwrap();
    }
    lchown(p("dangling"), Some(4_000_000_000), Some(70_000)).unwrap();
    let modes =
        [("empty", 0o1777), ("links", 0o2750), ("dev/fifo", 0), ("locked", 0o555), ("locked/inner", 0)];
    for (name, mode) in modes.into_iter().chain([("deep/a/b/c/d/file", 0o4711), ("etc/passwd", 0o600)]) {
        fs::set_permissions(p(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let set = |name: &str, attribute: &str, value: &[u8]| xattr::set(p(name), attribute, value).unwrap();
    set("etc/passwd", "user.comment", b"say \"hello\"\\\n");
    set("etc/passwd", "user.bin", b"\0\x01\n=\xff");
    set("etc/passwd", "user.empty", b"");
    set("etc/numbers", "user.a=b%c", b"equals");
    set("etc", "trusted.t", b"tt");
    set("etc/group", "system.posix_acl_access", &acl(4));
    set("deep", "system.posix_acl_default", &acl(6));
    set("big", "user.large", &[b'v'; 900]);
    let time = |name: &str, seconds, nanoseconds| {
        let spec = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: spec, last_modification: spec };
        rustix::fs::utimensat(CWD, p(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    time("etc/group", 987_654_321, 987_654_321);
    time("pw", 1, 2);
    time("big", -5, 3);
    time("dev/null", 5_000_000_000, 999_999_999);
    time("etc", 1_000_000_000, 1);
    time("deep", 1_100_000_000, 7);
    time("links", 1_200_000_000, 9);
}

/// All that `lstat`, `readlink`, `listxattr` and `read` say of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    links: u64,
    device: u64,
    xattrs: BTreeMap<OsString, Vec<u8>>,
    content: Vec<u8>,
}

/// Everything below `root`, by its path from there.
pub fn snapshot(root: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut nodes = BTreeMap::new();
    let mut waiting = vec![(PathBuf::from(root), Vec::new())];
    while let Some((path, name)) = waiting.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let kind = m.file_type();
        if kind.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                let entry = entry.unwrap().file_name();
                waiting.push((path.join(&entry), [name.as_slice(), b"/", entry.as_bytes()].concat()));
            }
        }
        let content = match () {
            () if kind.is_file() => fs::read(&path).unwrap(),
            () if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_vec(),
            () => Vec::new(),
        };
        let values = xattr::list(&path).unwrap();
        let xattrs = values.map(|n| (n.clone(), xattr::get(&path, &n).unwrap().unwrap())).collect();
        let device = if m.rdev() == 0 { 0 } else { m.rdev() };
        let node = Node {
            mode: m.mode(),
            owner: (m.uid(), m.gid()),
            mtime: (m.mtime(), m.mtime_nsec()),
            links: if kind.is_dir() { 0 } else { m.nlink() },
            device,
            xattrs,
            content,
        };
        nodes.insert(name, node);
    }
    nodes
}

/// Compares two trees path by path, for a message that can be read.
pub fn assert_same_tree(expected: &Path, got: &Path, except: &[&str]) {
    let (mut expected, mut got) = (snapshot(expected), snapshot(got));
    for path in except {
        expected.remove(path.as_bytes());
        got.remove(path.as_bytes());
    }
    let names = |nodes: &BTreeMap<Vec<u8>, Node>| {
        nodes.keys().map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&expected), names(&got));
    for (name, node) in &expected {
        let mut shown = got.remove(name).unwrap();
        assert!(shown.content == node.content, "content of {}", String::from_utf8_lossy(name));
        shown.content = node.content.clone();
        assert_eq!(&shown, node, "{}", String::from_utf8_lossy(name));
    }
}

/// Lines, sorted.
pub fn sorted_lines(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
