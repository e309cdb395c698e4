//! `tar` against GNU tar's extraction, and the archive's order.

use crate::fixture::{assert_same_tree, at, mounted, rumpcap, scratch};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Sockets are the one thing that an archive has no place for.
const NO_PLACE: &[&str] = &["/dev/sock"];

fn archive(options: &[&str], image: &Path, to: &Path) {
    let mut args: Vec<&OsStr> = vec!["tar".as_ref()];
    args.extend(options.iter().map(OsStr::new));
    args.extend([image.as_os_str(), "-o".as_ref(), to.as_os_str()]);
    let out = rumpcap(args);
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "rumpcap: /dev/sock: a socket has no place in an archive\n"
    );
    assert_eq!(out.status.code(), Some(1));
}

fn extract(archive: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut command = Command::new("tar");
    command.args([
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--warning=no-timestamp",
        "-xpf",
    ]);
    let out = command.arg(archive).arg("-C").arg(to).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert!(out.status.success());
}

#[test]
fn gnu_tar_extracts_the_tree() {
    let Some(m) = mounted("tar") else { return };
    let place = scratch("tar");
    for (name, options) in [("plain", &[][..]), ("sorted", &["--sorted"]), ("whole", &["--no-sparse"])] {
        let file = place.join(format!("{name}.tar"));
        archive(options, &m.image, &file);
        extract(&file, &place.join(name));
        assert_same_tree(&m.root, &place.join(name), NO_PLACE);
    }
    let size = |name: &str| std::fs::metadata(place.join(name)).unwrap().len();
    assert!(size("plain.tar") + (20 << 20) < size("whole.tar"), "holes are not stored");
}

#[test]
fn a_sorted_archive_depends_on_the_tree_alone() {
    let Some(m) = mounted("tar-order") else { return };
    let place = scratch("tar-order");
    archive(&["--sorted"], &m.image, &place.join("a"));
    archive(&["--sorted", "--memory-limit", "256k"], &m.image, &place.join("b"));
    assert!(std::fs::read(place.join("a")).unwrap() == std::fs::read(place.join("b")).unwrap());
}

#[test]
fn members_are_named_from_the_source_on() {
    let Some(m) = mounted("tar-names") else { return };
    let names = |path: &str| {
        let out = rumpcap([OsStr::new("tar"), "--sorted".as_ref(), &at(&m.image, path)]);
        assert!(out.status.success());
        let mut list =
            Command::new("tar").arg("-tf-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut list.stdin.take().unwrap(), &out.stdout).unwrap();
        String::from_utf8(list.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(names("/etc"), "etc/\netc/group\netc/numbers\netc/passwd\n");
    assert_eq!(names("/etc/group"), "group\n");
    assert!(names("/deep/a/.").starts_with("./\n./b/\n"));
}
