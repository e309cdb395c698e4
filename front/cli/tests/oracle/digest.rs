//! `sha256` against sha256sum, and `--tree` against its definition.

use crate::fixture::{at, model, mounted, sorted_lines, stdout};
use std::ffi::OsStr;

#[test]
fn digests_are_those_of_sha256sum_with_its_escapes() {
    let Some(m) = mounted("sha256") else { return };
    let ours = stdout(["sha256", m.image.to_str().unwrap()]);
    let theirs = model(&m.root, "find", &[".", "-type", "f", "-exec", "sha256sum", "{}", "+"]);
    assert_eq!(sorted_lines(&ours), sorted_lines(&theirs));
    let sorted = stdout(["sha256", "--sorted", m.image.to_str().unwrap()]);
    assert_eq!(sorted_lines(&sorted), sorted_lines(&theirs));
    let one = stdout([OsStr::new("sha256"), &at(&m.image, "/names/nl\nx")]);
    assert!(one.starts_with(b"\\") && one.ends_with(b"  /names/nl\\nx\n"));
}

/// The definition in the command's help, in another language.
const DEFINITION: &str = r#"
import hashlib, os, stat, sys
total = hashlib.sha256()
def sha(data): return hashlib.sha256(data).hexdigest()
def visit(path, name):
    s = os.lstat(path)
    kind, value = {stat.S_IFREG: 'f', stat.S_IFDIR: 'd', stat.S_IFLNK: 'l', stat.S_IFCHR: 'c', stat.S_IFBLK: 'b',
                   stat.S_IFIFO: 'p', stat.S_IFSOCK: 's'}[stat.S_IFMT(s.st_mode)], '-'
    if kind == 'f': value = sha(open(path, 'rb').read())
    if kind == 'l': value = sha(os.readlink(path))
    if kind in 'cb': value = '%d:%d' % (os.major(s.st_rdev), os.minor(s.st_rdev))
    total.update(b'%s %04o %d %d %s\0%s\0' % (kind.encode(), stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, value.encode(), name))
    for x in sorted(os.fsencode(n) for n in os.listxattr(path, follow_symlinks=False)):
        total.update(x + b'\0' + sha(os.getxattr(path, x, follow_symlinks=False)).encode() + b'\0')
    total.update(b'\n')
    if kind == 'd':
        for n in sorted(os.listdir(path)): visit(path + b'/' + n, (name + b'/' if name else b'') + n)
visit(b'.', b'')
print(total.hexdigest())
"#;

#[test]
fn the_digest_of_a_tree_is_as_defined() {
    let Some(m) = mounted("sha256-tree") else { return };
    let ours = String::from_utf8(stdout(["sha256", "--tree", m.image.to_str().unwrap()])).unwrap();
    let theirs = String::from_utf8(model(&m.root, "python3", &["-c", DEFINITION])).unwrap();
    assert_eq!(ours, format!("{}  /\n", theirs.trim()));
}
