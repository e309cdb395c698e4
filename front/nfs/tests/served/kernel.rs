//! The kernel's own client, and ordinary programs over it, where the host's kernel has one. `RUMPCAP_NFS_LONG` has more and larger files.

use crate::restart::start_at;
use crate::support::{Place, Served, options};
use rumpcap_nfs::{Options, Squash, Writes};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, exists, output, run};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An export that the kernel has mounted, until dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// `None`, with the reason told, where the kernel cannot.
    fn new(address: SocketAddr) -> Option<Mounted> {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !rustix::process::geteuid().is_root()
            || !known.lines().any(|line| line.trim_start_matches("nodev").trim() == "nfs")
        {
            skip("mounting by NFS needs root, and a kernel with an NFS client");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("rumpcap-nfs-").tempdir().unwrap();
        let port = address.port();
        let options = format!("vers=3,tcp,port={port},mountport={port},nolock,hard,noresvport,timeo=20");
        let mut mount = command("mount");
        mount.args(["-t", "nfs", "-o", &options, &format!("{}:/", address.ip())]).arg(directory.path());
        run(&mut mount);
        Some(Mounted(directory))
    }

    fn join(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let out = output(command("umount").arg("-f").arg(self.0.path()));
        if !out.status.success() {
            eprintln!("umount: {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

fn writable() -> Options {
    Options { squash: Squash::None, ..options(Writes::Served) }
}

fn factor() -> u32 {
    if std::env::var_os("RUMPCAP_NFS_LONG").is_some() { 20 } else { 1 }
}

/// A tree with all that NFSv3 can carry.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path);
    for i in 0..40 * factor() {
        std::fs::create_dir_all(at(&format!("d{}", i % 7))).unwrap();
        let content: Vec<u8> = (0..i * 1_500).map(|n| (n % 250) as u8 ^ i as u8).collect();
        let file = at(&format!("d{}/f{i}", i % 7));
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode([0o644, 0o4755, 0o600][i as usize % 3]))
            .unwrap();
        std::os::unix::fs::chown(&file, Some(i), Some(2 * i)).unwrap();
    }
    symlink("d1/f1", at("link")).unwrap();
    std::fs::hard_link(at("d2/f2"), at("d3/second")).unwrap();
    run(command("mkfifo").arg(at("pipe")));
    run(command("mknod").arg(at("null")).args(["c", "1", "3"]));
    run(command("chown").args(["-h", "12:13"]).arg(at("link")));
    tree
}

/// All attributes that a copy keeps, of everything below a directory.
fn description(root: &Path) -> String {
    let mut find = command("find");
    find.current_dir(root).args([".", "-mindepth", "1", "!", "-name", "lost+found"]);
    find.args([
        "(",
        "-type",
        "d",
        "-printf",
        "%P %M %U %G\n",
        ")",
        "-o",
        "-printf",
        "%P %M %U %G %n %s %l %T@\n",
    ]);
    let mut lines: Vec<_> = String::from_utf8(run(&mut find)).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

fn assert_same(a: &Path, b: &Path) {
    assert_eq!(description(a), description(b));
    run(command("diff")
        .args(["-r", "--no-dereference", "-x", "pipe", "-x", "null", "-x", "lost+found"])
        .args([a, b]));
}

/// Takes a tree out of an image without this project's code.
fn dumped(place: &Place, path: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    place.debugfs(&format!("rdump {path} {}", directory.path().display()));
    directory
}

#[test]
fn copies_by_cp_tar_and_rsync_are_those_of_a_local_disk() {
    let place = Place::new(64 * u64::from(factor()), &[]);
    let served = Served::start(&place, writable());
    let Some(mounted) = Mounted::new(served.address) else { return };
    let tree = tree();
    run(command("cp").arg("-a").arg(tree.path()).arg(mounted.join("cp")));
    std::fs::create_dir(mounted.join("tar")).unwrap();
    let archive = tree.path().with_extension("tar");
    run(command("tar").args(["--format=posix", "-cf"]).arg(&archive).arg("-C").arg(tree.path()).arg("."));
    run(command("tar").arg("-xpf").arg(&archive).arg("-C").arg(mounted.join("tar")));
    std::fs::remove_file(&archive).unwrap();
    let mut copies = vec!["cp", "tar"];
    if exists("rsync") {
        let from = format!("{}/", tree.path().display());
        run(command("rsync").args(["-aH", &from]).arg(mounted.join("rsync")));
        // A second time there is nothing to do.
        let again = run(command("rsync").args(["-aHi", &from]).arg(mounted.join("rsync")));
        assert_eq!(String::from_utf8_lossy(&again), "");
        copies.push("rsync");
    }
    for copy in &copies {
        assert_same(tree.path(), &mounted.join(copy));
    }
    drop(mounted);
    let mounted = Mounted::new(served.address).unwrap();
    assert_same(tree.path(), &mounted.join("cp"));
    run(command("rm").arg("-r").arg(mounted.join("tar")));
    drop(mounted);
    served.stop();
    place.fsck();
    let out = dumped(&place, "/cp");
    run(command("diff")
        .args(["-r", "--no-dereference", "-x", "pipe", "-x", "null"])
        .arg(tree.path())
        .arg(out.path().join("cp")));
}

#[test]
fn a_repository_is_cloned_and_whole() {
    let place = Place::new(64, &[]);
    let served = Served::start(&place, writable());
    let Some(mounted) = Mounted::new(served.address) else { return };
    if !exists("git") {
        return skip("git is not there");
    }
    let tree = tree();
    let git = |directory: &Path, args: &[&str]| {
        let mut git = command("git");
        git.env("HOME", tree.path()).env("GIT_CONFIG_NOSYSTEM", "1").arg("-C").arg(directory);
        run(git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "safe.directory=*"]).args(args))
    };
    std::fs::remove_file(tree.path().join("pipe")).unwrap();
    std::fs::remove_file(tree.path().join("null")).unwrap();
    git(tree.path(), &["init", "-q"]);
    git(tree.path(), &["add", "."]);
    git(tree.path(), &["commit", "-qm", "all"]);
    let clone = mounted.join("clone");
    git(tree.path(), &["clone", "-q", "--no-local", ".", clone.to_str().unwrap()]);
    git(&clone, &["fsck", "--full", "--strict"]);
    std::fs::write(clone.join("new"), "new").unwrap();
    git(&clone, &["add", "new"]);
    git(&clone, &["commit", "-qm", "new"]);
    git(&clone, &["gc", "-q"]);
    git(&clone, &["fsck", "--full"]);
    assert!(git(&clone, &["status", "--porcelain"]).is_empty());
    drop(mounted);
    served.stop();
    place.fsck();
}

#[test]
fn a_server_is_killed_and_started_again_under_its_client() {
    let place = Place::new(128, &[]);
    let (child, address) = start_at(&place, "127.0.0.1:0".parse().unwrap());
    let Some(mounted) = Mounted::new(address) else { return };
    let content: Vec<u8> = (0..40_000_000u32).map(|i| (i / 7 % 241) as u8).collect();
    let (source, path) = (place.image.with_file_name("source"), mounted.join("file"));
    std::fs::write(&source, &content).unwrap();
    // A process of its own: one that has a file of the mount open cannot start the server that its close waits for.
    let mut writer = command("dd");
    writer.arg(format!("if={}", source.display())).arg(format!("of={}", path.display()));
    let mut writer = writer.args(["bs=100k", "conv=fsync", "status=none"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    drop(child);
    std::thread::sleep(Duration::from_millis(300));
    let (child, again) = start_at(&place, address);
    assert_eq!(address, again);
    assert!(writer.wait().unwrap().success());
    assert!(std::fs::read(&path).unwrap() == content);
    drop(child);
    // What was synced is there without the client's memory, and without the server's.
    let served = Served::at(&place, writable(), address);
    drop(mounted);
    served.stop();
    place.fsck();
    assert!(place.debugfs("cat /file") == content);
}
