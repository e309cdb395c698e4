//! Exit codes, messages, and ends that are not the command's own. Needs no root.

use crate::fixture::{RUMPCAP, at, rumpcap, scratch, tool};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A small image, made by mke2fs.
pub fn small(name: &str) -> PathBuf {
    let directory = scratch(name);
    let tree = directory.join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("file"), "content\n").unwrap();
    for i in 0..2000 {
        std::fs::write(tree.join(format!("sub/entry-{i:05}-{}", "x".repeat(60))), "").unwrap();
    }
    let image = directory.join("small.img");
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    tool(
        "mke2fs",
        &[
            "-q".as_ref(),
            "-t".as_ref(),
            "ext4".as_ref(),
            "-N4000".as_ref(),
            "-d".as_ref(),
            tree.as_ref(),
            image.as_ref(),
        ],
    );
    image
}

fn code(args: &[&OsStr]) -> Option<i32> {
    rumpcap(args).status.code()
}

#[test]
fn what_exits_with_what() {
    let image = small("exits");
    let i = image.as_os_str();
    let missing = at(&image, "/no/such");
    let file = at(&image, "/file");
    let s = OsStr::new;
    for (args, expected) in [
        (vec![s("ls"), i], 0),
        (vec![s("ls"), missing.as_ref(), file.as_ref()], 1),
        (vec![s("cat"), i], 1),
        (vec![s("cat"), s("no.img:/x")], 1),
        (vec![s("readlink"), file.as_ref()], 1),
        (vec![s("find"), missing.as_ref()], 1),
        (vec![s("find"), i, s("-nosuch")], 2),
        (vec![s("find"), s("-name"), s("x")], 2),
        (vec![s("find"), i, s("-name"), s("nothing-of-that-name")], 0),
        (vec![s("du"), missing.as_ref()], 1),
        (vec![s("ls")], 2),
        (vec![s("frobnicate")], 2),
        (vec![s("ls"), s("--frobnicate"), i], 2),
        (vec![s("--memory-limit"), s("lots"), s("ls"), i], 2),
        (vec![s("--memory-limit"), s("4k"), s("ls"), i], 1),
        (vec![s("stat"), s("-c"), s("%Q"), i], 2),
        (vec![s("xattr"), s("-n"), s("user.none"), file.as_ref()], 1),
        (vec![s("--help")], 0),
        (vec![s("find"), s("--help")], 0),
        (vec![s("--version")], 0),
    ] {
        assert_eq!(code(&args), Some(expected), "{args:?}");
    }
}

#[test]
fn a_path_that_fails_is_named_and_the_rest_is_done() {
    let image = small("partial");
    let out = rumpcap([OsStr::new("cat"), &at(&image, "/none"), &at(&image, "/file"), &at(&image, "/sub")]);
    assert_eq!(out.stdout, b"content\n");
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "rumpcap: /none: no such file or directory\nrumpcap: /sub: is a directory\n"
    );
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn a_limit_below_the_smallest_says_the_number_that_would_do() {
    let image = small("limit");
    let out = rumpcap([OsStr::new("--memory-limit"), "4k".as_ref(), "ls".as_ref(), image.as_ref()]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let need: String =
        text.split("given, ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let again = rumpcap([OsStr::new("--memory-limit"), need.as_ref(), "ls".as_ref(), image.as_ref()]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let image = small("pipe");
    for args in [&["find"][..], &["ls", "-lR"], &["ls", "-UR"], &["tar"], &["find", "--json"]] {
        let mut child = Command::new(RUMPCAP)
            .args(args)
            .arg(&image)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = Vec::new();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
        reader.read_until(b'\n', &mut line).unwrap();
        drop(reader);
        let out = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{args:?}");
        assert_eq!(out.status.code(), Some(141), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_no_success() {
    let image = small("full");
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let out = Command::new(RUMPCAP).arg("find").arg(&image).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "rumpcap: write error: No space left on device\n");
}

#[test]
fn the_report_is_printed_where_it_is_asked_for() {
    let image = small("report");
    let out = rumpcap([
        OsStr::new("--memory-limit"),
        "512k".as_ref(),
        "-v".as_ref(),
        "ls".as_ref(),
        image.as_ref(),
    ]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.starts_with("rumpcap: total memory = 512 KB\n"), "{text}");
    let stats = rumpcap([OsStr::new("--stats"), "json".as_ref(), "find".as_ref(), image.as_ref()]);
    let report: serde_json::Value = serde_json::from_slice(&stats.stderr).unwrap();
    assert_eq!(report["limit_bytes"], 8 << 20);
    assert!(report["peak_bytes"].as_u64().unwrap() <= 8 << 20);
    assert_eq!(report["stuck"], 0);
    let environment = Command::new(RUMPCAP)
        .args(["-v", "find"])
        .arg(&image)
        .env("RUMPCAP_MEMLIMIT", "1m")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&environment.stderr).contains("total memory = 1024 KB"));
}

/// The command is looked at while it waits for its reader, in the middle of its work.
#[test]
fn the_process_stays_within_the_limit_and_two_mebibytes() {
    const LIMIT_KIB: u64 = 512;
    let image = small("anonymous");
    for args in [&["find"][..], &["tar"], &["ls", "-lRU"], &["du", "-a"], &["sha256"]] {
        let mut command = Command::new(RUMPCAP);
        command.args(["--memory-limit", &format!("{LIMIT_KIB}k")]).args(args).arg(&image);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
        reader.read_until(b'\n', &mut Vec::new()).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
        let anonymous_kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(anonymous_kib > 0 && anonymous_kib <= LIMIT_KIB + 2048, "{args:?}: {line}");
        drop(reader);
        child.wait().unwrap();
    }
}

#[test]
fn offsets_and_awkward_image_names() {
    let image = small("offset");
    let directory = image.parent().unwrap();
    let inside = directory.join("with:colon@1.img");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&inside, [vec![0; 1 << 20], bytes].concat()).unwrap();
    for offset in ["1m", "1024k", "2048s", "1048576"] {
        let out = rumpcap([OsStr::new("--offset"), offset.as_ref(), "cat".as_ref(), &at(&inside, "/file")]);
        assert_eq!(out.stdout, b"content\n", "{}", String::from_utf8_lossy(&out.stderr));
    }
    assert_eq!(code(&[OsStr::new("ls"), inside.as_ref()]), Some(1));
}

#[test]
fn completions_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let out = rumpcap(["completions", shell]);
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("rumpcap"));
    }
    let directory = scratch("man");
    assert!(rumpcap([OsStr::new("man"), directory.as_ref()]).status.success());
    for page in ["rumpcap.1", "rumpcap-find.1", "rumpcap-cp.1"] {
        let text = std::fs::read_to_string(directory.join(page)).unwrap();
        assert!(text.contains("Examples"), "{page}");
    }
}
