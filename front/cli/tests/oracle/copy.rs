//! `cp` against the mounted tree.

use crate::fixture::{RUMPCAP, assert_same_tree, at, mounted, rumpcap, scratch, stdout};
use rumpcap_testing::skip::skip;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

fn cp(options: &str, from: &OsStr, to: &Path) {
    assert_eq!(stdout([OsStr::new("cp"), options.as_ref(), from, to.as_ref()]), b"");
}

#[test]
fn a_copied_tree_is_the_tree() {
    let Some(m) = mounted("cp") else { return };
    let to = scratch("cp");
    cp("-a", m.image.as_ref(), &to.join("new"));
    assert_same_tree(&m.root, &to.join("new"), &[]);
    // Once more, over what is there.
    cp("-r", m.image.as_ref(), &to.join("new"));
    assert_same_tree(&m.root, &to.join("new"), &[]);
    let (first, second) = (to.join("new/etc/numbers"), to.join("new/links/two"));
    assert_eq!(fs::metadata(first).unwrap().ino(), fs::metadata(second).unwrap().ino());
    let sparse = fs::metadata(to.join("new/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < 1 << 20, "holes are kept");
}

#[test]
fn destinations_as_cp_has_them() {
    let Some(m) = mounted("cp-to") else { return };
    let to = scratch("cp-to");
    fs::create_dir(to.join("there")).unwrap();
    cp("-r", &at(&m.image, "/deep"), &to.join("there"));
    assert_same_tree(&m.root.join("deep"), &to.join("there/deep"), &[]);
    cp("-r", &at(&m.image, "/deep/."), &to.join("content"));
    assert_same_tree(&m.root.join("deep"), &to.join("content"), &[]);
    cp("-r", &at(&m.image, "/etc"), &to.join("named"));
    assert_same_tree(&m.root.join("etc"), &to.join("named"), &["/numbers"]);
    cp("-p", &at(&m.image, "/pw"), &to.join("file"));
    assert_eq!(fs::read(to.join("file")).unwrap(), fs::read(m.root.join("etc/passwd")).unwrap());
    // The directory that is only written into keeps its times but for what writing does.
    let before = fs::metadata(&to).unwrap().mtime();
    assert!(before > 1_600_000_000);
}

#[test]
fn a_file_of_the_target_is_replaced_and_not_written_into() {
    let Some(m) = mounted("cp-over") else { return };
    let to = scratch("cp-over");
    fs::write(to.join("kept"), "old").unwrap();
    fs::hard_link(to.join("kept"), to.join("passwd")).unwrap();
    cp("-p", &at(&m.image, "/etc/passwd"), &to);
    assert_eq!(fs::read_to_string(to.join("kept")).unwrap(), "old");
    let refused = rumpcap([OsStr::new("cp"), "-n".as_ref(), &at(&m.image, "/etc/passwd"), to.as_ref()]);
    assert_eq!(refused.status.code(), Some(1));
    let directory = rumpcap([OsStr::new("cp"), &at(&m.image, "/etc"), to.as_ref()]);
    assert_eq!(directory.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&directory.stderr).contains("is a directory"));
}

#[test]
fn attributes_can_be_left_out() {
    let Some(m) = mounted("cp-less") else { return };
    let to = scratch("cp-less").join("new");
    let out = rumpcap([
        OsStr::new("cp"),
        "-r".as_ref(),
        "--no-preserve=owner,times,xattr,links,mode".as_ref(),
        &at(&m.image, "/"),
        to.as_ref(),
    ]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let numbers = fs::metadata(to.join("etc/numbers")).unwrap();
    assert_eq!(numbers.nlink(), 1);
    assert_eq!(fs::symlink_metadata(to.join("dangling")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(to.join("deep/a/b/c/d/file")).unwrap().mode() & 0o6000, 0);
    assert_eq!(xattr::list(to.join("etc/passwd")).unwrap().count(), 0);
}

/// As another user: what only root may keep is said, and with -p counts.
#[test]
fn who_is_not_root_is_told_what_could_not_be_kept() {
    let Some(m) = mounted("cp-user") else { return };
    let to = scratch("cp-user");
    std::os::unix::fs::chown(&to, Some(65534), Some(65534)).unwrap();
    let run = |options: &[&str], name: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", RUMPCAP, "cp"]).args(options);
        command.arg(at(&m.image, "/")).arg(to.join(name)).output().unwrap()
    };
    let plain = run(&["-r"], "plain");
    let said = String::from_utf8_lossy(&plain.stderr).into_owned();
    if (said.contains("Permission denied") || said.contains("errno 13")) && !to.join("plain").exists() {
        return skip("another user cannot reach the image");
    }
    assert_eq!(plain.status.code(), Some(1), "devices cannot be made: {said}");
    assert!(said.contains("/dev/null: not copied: Operation not permitted"), "{said}");
    assert!(said.contains("could not keep owner and group of"), "{said}");
    let expected = fs::read(m.root.join("deep/a/b/c/d/file")).unwrap();
    assert_eq!(fs::read(to.join("plain/deep/a/b/c/d/file")).unwrap(), expected);
    assert_eq!(fs::metadata(to.join("plain/locked")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(fs::metadata(to.join("plain/locked/inner")).unwrap().mode() & 0o7777, 0);
    assert_eq!(fs::metadata(to.join("plain/deep/a/b/c/d/file")).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::metadata(to.join("plain/etc")).unwrap().mtime(), 1_000_000_000);

    let file = |options: &[&str], name: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", RUMPCAP, "cp"]).args(options);
        command.arg(at(&m.image, "/etc/group")).arg(to.join(name)).output().unwrap()
    };
    assert_eq!(file(&[], "f1").status.code(), Some(0));
    assert_eq!(file(&["-p"], "f2").status.code(), Some(1));
    assert_eq!(file(&["-p", "--no-preserve=owner"], "f3").status.code(), Some(0));
}
