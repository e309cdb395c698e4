//! `mkfs`: what is put in comes out through the kernel's mount; equal trees give equal bytes; nothing is overwritten unasked.

use crate::fixture::{assert_same_tree, model, mount, mounted, rumpcap, scratch, stdout, tool};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, output};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// Runs `mkfs` with fixed identity; it must succeed in silence.
fn mkfs(options: &[&str], image: &Path, size: &str) {
    let mut args = vec!["mkfs", "-q", "-U", UUID, "-E", "hash_seed=01234567-89ab-cdef-0123-456789abcdef"];
    args.extend(options);
    args.push(image.to_str().unwrap());
    args.push(size);
    stdout(args);
}

fn check(image: &Path) {
    let result = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stdout));
}

/// Mounted as long as it lives.
struct At(PathBuf);

impl At {
    fn new(image: &Path, test: &str, options: &str) -> Result<At, String> {
        let root = scratch(test);
        mount(image, &root, options)?;
        Ok(At(root))
    }
}

impl Drop for At {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let Some(from) = mounted("mkfs-tree") else { return };
    let directory = scratch("mkfs-tree-images");
    let variants: [&[&str]; 7] = [
        &["-t", "ext4"],
        &["-t", "ext4", "-b", "1024", "-I", "512"],
        &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,^64bit,^flex_bg"],
        &["-t", "ext4", "-b", "4096", "-I", "1024", "-O", "^has_journal,metadata_csum_seed"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext2", "-b", "4096"],
        &["-t", "ext2", "-b", "2048", "-O", "^dir_index,^filetype"],
    ];
    for (n, variant) in variants.iter().enumerate() {
        let image = directory.join(format!("{n}.img"));
        let mut options = vec!["-d", from.root.to_str().unwrap()];
        options.extend(*variant);
        mkfs(&options, &image, "100m");
        check(&image);
        let to = match At::new(&image, &format!("mkfs-tree-{n}"), "loop") {
            Ok(to) => to,
            Err(reason) => return skip(&reason),
        };
        assert_same_tree(&from.root, &to.0, &[]);
        // And it is one to write into.
        for file in 0..100 {
            fs::write(to.0.join("many").join(format!("new {file}")), vec![1; 5000]).unwrap();
        }
        fs::remove_dir_all(to.0.join("deep")).unwrap();
        drop(to);
        check(&image);
    }
}

#[test]
fn directories_large_and_small_and_links_from_outside() {
    let from = scratch("mkfs-directories");
    let image = scratch("mkfs-directories-image").join("image");
    for count in [0, 1, 2, 90, 400, 3000, 12_000] {
        let directory = from.join(format!("{count}"));
        fs::create_dir(&directory).unwrap();
        for n in 0..count {
            fs::write(directory.join(format!("entry {n} with a name of some length")), "").unwrap();
        }
    }
    for n in 0..1500 {
        fs::create_dir_all(from.join("tree").join(format!("{}", n % 40)).join(format!("{n}"))).unwrap();
    }
    fs::create_dir(from.join("lost+found")).unwrap();
    fs::write(from.join("lost+found/#1"), "found").unwrap();
    fs::write(from.parent().unwrap().join("outside"), "three names, two inside").unwrap();
    for name in ["inside", "2/also inside"] {
        fs::hard_link(from.parent().unwrap().join("outside"), from.join(name)).unwrap();
    }
    for variant in [&["-b", "1024"][..], &["-b", "4096"], &["-t", "ext2", "-b", "1024"]] {
        let mut options = vec!["--force", "-i", "2048", "-d", from.to_str().unwrap()];
        options.extend(variant);
        mkfs(&options, &image, "150m");
        check(&image);
        let listed = stdout(["find".as_ref(), image.as_os_str(), "-name".as_ref(), "entry 11*".as_ref()]);
        let expected = model(&from, "find", &[".", "-name", "entry 11*"]);
        assert_eq!(listed.split(|b| *b == b'\n').count(), expected.split(|b| *b == b'\n').count());
        let mut address = image.clone().into_os_string();
        address.push(":/inside");
        let links = stdout(["stat".as_ref(), "-c".as_ref(), "%h".as_ref(), address.as_os_str()]);
        assert_eq!(links, b"2\n");
        // Every name is found by its hash.
        for count in [90, 3000, 12_000] {
            let last = format!("stat \"/{count}/entry {} with a name of some length\"", count - 1);
            let out = output(command("debugfs").arg("-R").arg(&last).arg(&image));
            assert!(String::from_utf8_lossy(&out.stdout).contains("Type: regular"), "{last}");
        }
    }
}

#[test]
fn equal_trees_give_equal_bytes() {
    let directory = scratch("mkfs-equal");
    let (one, two) = (directory.join("one"), directory.join("two"));
    for (tree, names) in [(&one, ["a", "b", "c"]), (&two, ["c", "a", "b"])] {
        for name in names {
            fs::create_dir_all(tree.join(name)).unwrap();
            for n in 0..200 {
                let n = if name == names[0] { n } else { 199 - n };
                fs::write(tree.join(name).join(format!("file {n}")), vec![n as u8; n * 37]).unwrap();
            }
        }
        fs::hard_link(tree.join("a/file 7"), tree.join("b/link")).unwrap();
    }
    let images = ["one.img", "two.img"].map(|name| directory.join(name));
    for kind in ["ext2", "ext4"] {
        for (tree, image) in [&one, &two].into_iter().zip(&images) {
            let _ = fs::remove_file(image);
            mkfs(&["-t", kind, "--time", "1000000000", "-d", tree.to_str().unwrap()], image, "30m");
        }
        assert!(fs::read(&images[0]).unwrap() == fs::read(&images[1]).unwrap(), "{kind}");
    }
}

#[test]
fn nothing_is_overwritten_unasked() {
    let directory = scratch("mkfs-refuse");
    let image = directory.join("image");
    fs::write(&image, b"a letter to my aunt").unwrap();
    let run = |args: &[&str]| {
        let mut all = vec!["mkfs", "-q"];
        all.extend(args);
        let out = rumpcap(all);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let path = image.to_str().unwrap();
    let (code, said) = run(&[path, "10m"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("holds data"), "{said}");
    assert_eq!(fs::read(&image).unwrap(), b"a letter to my aunt");
    mkfs(&["--force"], &image, "10m");
    check(&image);
    let before = fs::read(&image).unwrap();
    let (code, said) = run(&[path]);
    assert_eq!(code, Some(1));
    assert!(said.contains("ext4 file system"), "{said}");
    assert!(fs::read(&image).unwrap() == before);
    // Not under somebody who reads it.
    let reader = fs::File::open(&image).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).unwrap();
    assert_eq!(run(&["--force", path, "10m"]).0, Some(3));
    drop(reader);
    assert!(fs::read(&image).unwrap() == before);
    // What cannot be made leaves nothing behind.
    let new = directory.join("new");
    for args in [
        &["-b", "3000", new.to_str().unwrap(), "10m"][..],
        &["-d", "/nonexistent", new.to_str().unwrap(), "10m"],
        &["-d", directory.to_str().unwrap(), new.to_str().unwrap(), "64k"],
        &["-O", "casefold", new.to_str().unwrap(), "10m"],
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(1), "{said}");
        assert!(!new.exists(), "{args:?}");
    }
    for args in [
        &["-O", "nonsense", path, "1m"][..],
        &["-U", "x", path],
        &["-E", "x", path],
        &[new.to_str().unwrap()],
    ] {
        assert_eq!(run(args).0, Some(2), "{args:?}");
        assert!(!new.exists());
    }
    // A tree that is too large: the image that was there is none any more.
    fs::write(directory.join("large"), vec![1; 20 << 20]).unwrap();
    let (code, said) = run(&["--force", "-d", directory.to_str().unwrap(), path, "10m"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("too few blocks"), "{said}");
    assert!(!rumpcap(["info", path]).status.success());
}

#[test]
fn behind_an_offset() {
    let image = scratch("mkfs-offset").join("image");
    fs::write(&image, vec![0x5A; 12 << 20]).unwrap();
    mkfs(&["--force", "--offset", "1m"], &image, "8m");
    let bytes = fs::read(&image).unwrap();
    assert!(bytes[..1 << 20].iter().chain(&bytes[9 << 20..]).all(|byte| *byte == 0x5A));
    let part = image.with_extension("part");
    fs::write(&part, &bytes[1 << 20..9 << 20]).unwrap();
    check(&part);
    tool("debugfs", &["-R".as_ref(), "ls".as_ref(), part.as_os_str()]);
}
