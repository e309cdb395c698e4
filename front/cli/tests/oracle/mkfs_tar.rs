//! `mkfs --tar`: GNU tar's archives come out through the kernel's mount, the bytes are those of the archive alone, failures leave nothing.

use crate::fixture::{RUMPCAP, assert_same_tree, mount, mounted, rumpcap, scratch, stdout};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, output};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn check(image: &Path) {
    let result = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stdout));
}

/// An archive of `root` by GNU tar.
fn archive(root: &Path, to: &Path, options: &[&str]) {
    let mut tar = Command::new("tar");
    tar.args(options).args(["--numeric-owner", "--exclude=./dev/sock", "-cf"]).arg(to);
    assert!(tar.arg("-C").arg(root).arg(".").status().unwrap().success());
}

const PAX: &[&str] =
    &["--format=pax", "--sparse", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*", "--acls"];

/// What GNU tar extracts from an archive and what the kernel shows of the image are the same.
#[test]
fn an_archive_comes_out_as_gnu_tar_extracts_it() {
    let Some(from) = mounted("mkfs-tar") else { return };
    let directory = scratch("mkfs-tar");
    let gnu = &["--format=gnu", "--sparse"][..];
    let variants: [(&[&str], &[&str]); 4] = [
        (PAX, &["-t", "ext4", "100m"]),
        (PAX, &["-t", "ext4", "-b", "4096", "-O", "^has_journal,metadata_csum_seed"]),
        (gnu, &["-t", "ext3", "-b", "1024", "100m"]),
        (PAX, &["-t", "ext2", "-b", "2048", "-O", "^dir_index,^filetype", "100m"]),
    ];
    for (n, (format, options)) in variants.into_iter().enumerate() {
        let tar = directory.join(format!("{n}.tar"));
        archive(&from.root, &tar, format);
        let there = directory.join(format!("{n}"));
        fs::create_dir(&there).unwrap();
        let mut extract = Command::new("tar");
        extract.args(["--xattrs", "--xattrs-include=*", "--acls", "--same-owner", "-xpf"]);
        assert!(extract.arg(&tar).arg("-C").arg(&there).status().unwrap().success());
        let image = directory.join(format!("{n}.img"));
        let (size, options) = match options.split_last() {
            Some((size, rest)) if size.ends_with('m') => (Some(*size), rest),
            _ => (None, options),
        };
        let mut args = vec!["mkfs", "-q", "--tar", tar.to_str().unwrap()];
        args.extend(options);
        args.push(image.to_str().unwrap());
        args.extend(size);
        stdout(args);
        check(&image);
        let root = scratch(&format!("mkfs-tar-mnt-{n}"));
        if let Err(reason) = mount(&image, &root, "loop") {
            return skip(&reason);
        }
        let same = std::panic::catch_unwind(|| {
            // The host that tar extracts to may be unable to hold some things; the tree that was packed has them all.
            assert_same_tree(&there, &root, &["/lost+found"]);
            if format == PAX {
                assert_same_tree(&from.root, &root, &["/dev/sock"]);
            }
            assert!(fs::metadata(root.join("sparse")).unwrap().blocks() * 512 < 1 << 20, "holes are kept");
            fs::write(root.join("many/new"), vec![1; 50_000]).unwrap();
            fs::remove_dir_all(root.join("deep")).unwrap();
        });
        assert!(Command::new("umount").arg(&root).status().unwrap().success());
        same.unwrap();
        check(&image);
        // What is free takes no place on the host.
        assert!(fs::metadata(&image).unwrap().blocks() * 512 < 30 << 20);
    }
}

/// A tree that does not need root.
fn tree(directory: &Path) -> PathBuf {
    let root = directory.join("tree");
    fs::create_dir_all(root.join("a/b")).unwrap();
    for n in 0..700 {
        fs::write(root.join(format!("a/b/file {n}")), vec![n as u8; n * 29]).unwrap();
    }
    fs::hard_link(root.join("a/b/file 7"), root.join("link")).unwrap();
    root
}

/// Runs `mkfs` with all that is drawn or of the clock fixed, the archive on standard input.
fn from_pipe(tar: &Path, image: &Path, options: &[&str]) {
    let mut mkfs = Command::new(RUMPCAP);
    let seed = format!("hash_seed={UUID}");
    mkfs.args(["mkfs", "-q", "-U", UUID, "-E", &seed, "--time", "1600000000"])
        .args(options)
        .arg(image)
        .arg("40m");
    let mut cat = Command::new("cat").arg(tar).stdout(Stdio::piped()).spawn().unwrap();
    let out = mkfs.stdin(cat.stdout.take().unwrap()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(cat.wait().unwrap().success());
}

#[test]
fn one_archive_gives_the_same_bytes() {
    let directory = scratch("mkfs-tar-equal");
    let root = tree(&directory);
    let (one, both) = (directory.join("one.tar"), directory.join("both.tar"));
    archive(&root, &one, &["--format=pax"]);
    // Every member twice: what is replaced leaves nothing behind that depends on when it was written.
    let mut append = Command::new("tar");
    fs::copy(&one, &both).unwrap();
    assert!(
        append
            .args(["--format=pax", "-rf"])
            .arg(&both)
            .arg("-C")
            .arg(&root)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    for tar in [&one, &both] {
        for kind in ["ext2", "ext4"] {
            let mut first: Option<Vec<u8>> = None;
            for (n, limit) in ["512k", "1m", "64m"].into_iter().enumerate() {
                let image = directory.join("image");
                let _ = fs::remove_file(&image);
                let from = ["--tar", "-d"][n % 2];
                from_pipe(tar, &image, &["--memory-limit", limit, "-t", kind, from, "-"]);
                check(&image);
                let bytes = fs::read(&image).unwrap();
                assert!(first.get_or_insert_with(|| bytes.clone()) == &bytes, "{kind} {limit}");
            }
        }
    }
}

#[test]
fn failures_leave_no_file_system() {
    let directory = scratch("mkfs-tar-fails");
    let root = tree(&directory);
    let tar = directory.join("whole.tar");
    archive(&root, &tar, &["--format=pax"]);
    let bytes = fs::read(&tar).unwrap();
    let short = directory.join("short.tar");
    fs::write(&short, &bytes[..bytes.len() / 2 + 100]).unwrap();
    let evil = directory.join("evil.tar");
    let mut pack = Command::new("tar");
    pack.args(["-P", "--transform=s,^a/b/file 7$,../out,", "-cf"]).arg(&evil).arg("-C").arg(&root);
    assert!(pack.args(["a/b/file 7", "a/b/file 8"]).status().unwrap().success());
    let missing = directory.join("missing.tar");
    let image = directory.join("image");
    for (from, size, said) in [
        (&short, "40m", "ends in the middle"),
        (&evil, "40m", "a member of the archive failed"),
        (&missing, "40m", "No such file"),
        (&tar, "4m", "the image is full"),
    ] {
        for is_there in [false, true] {
            let _ = fs::remove_file(&image);
            if is_there {
                stdout(["mkfs", "-q", image.to_str().unwrap(), size]);
            }
            let out =
                rumpcap(["mkfs", "--force", "--tar", from.to_str().unwrap(), image.to_str().unwrap(), size]);
            let stderr = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(1), "{stderr}");
            assert!(stderr.contains(said), "{stderr}");
            assert_eq!(image.exists(), is_there);
            assert!(!is_there || !rumpcap(["info", image.to_str().unwrap()]).status.success());
        }
    }
    // Blocks that cannot be written through a mount; a size that nobody can know.
    let path = image.to_str().unwrap();
    let _ = fs::remove_file(&image);
    let out = rumpcap(["mkfs", "-b", "65536", "--tar", tar.to_str().unwrap(), path, "40m"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("cannot be filled"));
    assert_eq!(rumpcap(["mkfs", "--tar", "-", path]).status.code(), Some(2));
    assert_eq!(rumpcap(["mkfs", "--tar", "-", "-d", "x", path, "40m"]).status.code(), Some(2));
    assert!(!image.exists());
}

#[test]
fn a_size_of_its_own_choice_is_enough() {
    let directory = scratch("mkfs-size");
    let root = tree(&directory);
    for n in 0..6000 {
        fs::write(root.join(format!("{n} {}", "n".repeat(n % 250))), "").unwrap();
    }
    fs::write(root.join("large"), vec![7; 30 << 20]).unwrap();
    fs::File::create(root.join("hole")).unwrap().set_len(1 << 40).unwrap();
    let tar = directory.join("tree.tar");
    archive(&root, &tar, PAX);
    for (n, options) in [&["-b", "4096"][..], &["-b", "1024", "-t", "ext2"], &["-m", "30", "-J", "size=40"]]
        .into_iter()
        .enumerate()
    {
        for (from, what) in [("-d", &root), ("--tar", &tar)] {
            // 1 TiB of hole is more than blocks of 1 KiB reach without extents.
            if n == 1 {
                let _ = fs::remove_file(root.join("hole"));
                archive(&root, &tar, PAX);
            }
            let image = directory.join("image");
            let _ = fs::remove_file(&image);
            let mut args = vec!["mkfs", "-q", from, what.to_str().unwrap()];
            args.extend(options);
            args.push(image.to_str().unwrap());
            stdout(args);
            check(&image);
            let len = fs::metadata(&image).unwrap().len();
            assert!(len < 300 << 20, "{len}");
        }
    }
}
