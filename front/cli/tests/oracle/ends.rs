//! How commands that write end: locks, signals, failures, scripts, a session on a terminal. Needs no root.

use crate::fixture::{RUMPCAP, at, rumpcap, scratch, stdout};
use crate::writing::{check, new_image};
use rumpcap_testing::skip::skip;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `rumpcap ARGS IMAGE...` with standard input to be written.
fn begin(args: &[&str], address: &OsStr) -> Child {
    let mut command = Command::new(RUMPCAP);
    command.args(args).arg(address).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// More than a pipe holds.
const MUCH: usize = 1 << 20;

/// A `write` that has the image, has written nearly all of [`MUCH`], and waits for more.
fn writer(image: &Path) -> Child {
    let mut child = begin(&["write", "--create"], &at(image, "/slow"));
    child.stdin.as_mut().unwrap().write_all(&[b'x'; MUCH]).unwrap();
    child
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn a_second_writer_is_told_who_has_the_image_and_a_reader_is_warned() {
    let image = new_image(&scratch("lock"), "l.img", &["-t", "ext4"]);
    let mut child = writer(&image);
    let out = rumpcap([OsStr::new("mkdir"), &at(&image, "/x")]);
    assert_eq!(out.status.code(), Some(3));
    let me = format!("in use by process {} (rumpcap)", child.id());
    assert!(said(&out).contains(&me) || said(&out).contains("in use by another process"), "{}", said(&out));
    let mkfs = rumpcap([OsStr::new("mkfs"), "--force".as_ref(), image.as_ref()]);
    assert_eq!(mkfs.status.code(), Some(3), "{}", said(&mkfs));
    let reader = rumpcap([OsStr::new("ls"), image.as_ref()]);
    assert_eq!(reader.status.code(), Some(0));
    assert!(said(&reader).contains("what is read may be torn"), "{}", said(&reader));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    check(&image);
    stdout([OsStr::new("mkdir"), &at(&image, "/x")]);
}

#[test]
fn a_signal_ends_in_order() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let image = new_image(&scratch(&format!("signal-{signal}")), "s.img", &["-t", "ext4"]);
        let mut child = writer(&image);
        // Held: the end of the input would be another end.
        let input = child.stdin.take();
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let out = child.wait_with_output().unwrap();
        drop(input);
        assert_eq!((out.status.code(), said(&out).as_str()), (Some(code), ""));
        check(&image);
        let content = stdout([OsStr::new("cat"), &at(&image, "/slow")]);
        assert!(content.len() >= MUCH / 2 && content.iter().all(|byte| *byte == b'x'), "{}", content.len());
    }
}

/// The first source is whole, the second is a pipe that has not ended: it is taken away.
#[test]
fn an_interrupted_copy_leaves_whole_files_and_says_how_many() {
    let directory = scratch("interrupted");
    let image = new_image(&directory, "i.img", &["-t", "ext4"]);
    fs::write(directory.join("whole"), "whole\n").unwrap();
    let sources = ["cp", directory.join("whole").to_str().unwrap(), "/dev/stdin"].map(str::to_owned);
    let mut child = begin(&sources.each_ref().map(String::as_str), &at(&image, "/"));
    let mut input = child.stdin.take().unwrap();
    // More than a pipe holds: who wrote it knows that it is read.
    input.write_all(&[b'x'; MUCH]).unwrap();
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(out.status.code(), Some(130));
    let said = said(&out);
    assert!(
        said.starts_with("rumpcap: cp: interrupted: 1 file done, ") && said.lines().count() == 1,
        "{said}"
    );
    check(&image);
    let found = stdout([OsStr::new("find"), &at(&image, "/"), "-type".as_ref(), "f".as_ref()]);
    assert_eq!(crate::fixture::sorted_lines(&found), ["/whole"]);
    // Undisturbed, all of the pipe is copied.
    let mut child = begin(&["cp", "/dev/stdin"], &at(&image, "/piped"));
    child.stdin.take().unwrap().write_all(&[b'y'; MUCH]).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(stdout([OsStr::new("cat"), &at(&image, "/piped")]) == [b'y'; MUCH]);
    check(&image);
}

#[test]
fn what_exits_with_what() {
    let directory = scratch("write-exits");
    let image = new_image(&directory, "e.img", &["-t", "ext4"]);
    let run = |args: &[&str]| {
        let args = args.iter().map(|arg| match arg.strip_prefix(':') {
            Some(path) => at(&image, path),
            None => arg.into(),
        });
        rumpcap(args)
    };
    for (args, code) in [
        (&["mkdir", ":/d"][..], 0),
        (&["mkdir", ":/d"], 1),
        (&["mkdir", "-p", ":/d"], 0),
        (&["mkdir", "-m", "q", ":/x"], 2),
        (&["rm", ":/d"], 1),
        (&["rm", "-r", ":/"], 1),
        (&["rm", ":/none"], 1),
        (&["rm", "-f", ":/none"], 0),
        (&["touch", ":/a", ":/no/such", ":/b"], 1),
        (&["mv", "-n", ":/a", ":/b"], 1),
        (&["mv", ":/a"], 2),
        (&["mv", ":/a", ":/b", ":/c"], 2),
        (&["mv", "--exchange", ":/a", ":/d"], 0),
        (&["ln", ":/d", ":/x"], 0),
        (&["ln", "-s", "x", ":/b"], 1),
        (&["chmod", "z", ":/b"], 2),
        (&["chown", "nobody", ":/b"], 2),
        (&["truncate", "-s", "x", ":/b"], 2),
        (&["write", "--text", "x", ":/new"], 1),
        (&["write", "--text", "x", "-c", ":/new"], 0),
        (&["fallocate", "-l", "1k", ":/new"], 0),
        (&["fallocate", "-l", "1t", ":/new"], 1),
        (&["xattr", "set", "bad", "x", ":/new"], 1),
        (&["rmdir", ":/a"], 0),
        (&["--ignore-journal", "touch", ":/b"], 2),
        (&["touch", "no.img:/x"], 1),
        (&["cp", ":/b", ":/c"], 0),
        (&["cp", ":/b", ":/b"], 1),
        (&["cp", "-r", ":/d", ":/d"], 1),
    ] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", said(&out));
        check(&image);
    }
    // What can be read and not written says why.
    let tool = rumpcap_testing::tools::output(
        rumpcap_testing::tools::command("tune2fs").args(["-O", "read-only"]).arg(&image),
    );
    assert!(tool.status.success());
    let out = run(&["touch", ":/b"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(said(&out).contains("e.img: cannot be written: "), "{}", said(&out));
    assert_eq!(run(&["ls", ":/b"]).status.code(), Some(0));
}

fn batch(args: &[&str], image: &Path, script: &str) -> Output {
    let mut child = begin(&[&["batch"], args].concat(), image.as_ref());
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn scripts_stop_where_they_fail_and_say_the_line() {
    let image = new_image(&scratch("batch"), "b.img", &["-t", "ext4"]);
    let script = "# a comment\nmkdir -p 'a b'/c # and one more\n\ncd 'a b'\npwd\nwrite -c --text \"it's\" t\nrm none\ntouch after\ncat t\n";
    let out = batch(&[], &image, script);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "/a b\n");
    assert_eq!(said(&out), "rumpcap: standard input:7: '/a b/none': no such file or directory\n");
    assert_eq!(out.status.code(), Some(1));
    let out = batch(&["--keep-going"], &image, script);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "/a b\nit's\n");
    assert_eq!(out.status.code(), Some(1));
    let found = stdout([OsStr::new("find"), &at(&image, "/a b")]);
    assert_eq!(crate::fixture::sorted_lines(&found), ["/a b", "/a b/after", "/a b/c", "/a b/t"]);
    for (line, reason) in [
        ("mkdir 'x", "a quote that does not end"),
        ("frobnicate", "frobnicate: no such command"),
        ("mkfs x 1m", "mkfs: not within an image"),
        ("ls --memory-limit 1m", "--memory-limit is for the whole session"),
        ("write -c x", "standard input is the script"),
        ("cp x y", "paths in the image begin with a colon"),
    ] {
        let out = batch(&[], &image, &format!("pwd\n{line}\ntouch never\n"));
        assert_eq!(out.status.code(), Some(1), "{line}");
        assert!(
            said(&out).starts_with("rumpcap: standard input:2: ") && said(&out).contains(reason),
            "{}",
            said(&out)
        );
    }
    let out = batch(&["--read-only"], &image, "ls\nmkdir never\n");
    assert!(said(&out).contains("open for reading"), "{}", said(&out));
    assert_eq!(rumpcap([OsStr::new("ls"), &at(&image, "/never")]).status.code(), Some(1));
    check(&image);
}

#[test]
fn equal_changes_give_equal_images() {
    let directory = scratch("reproducible");
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    fs::write(tree.join("d/file"), vec![b'x'; 10_000]).unwrap();
    fs::write(tree.join("other"), "y").unwrap();
    let make = |name: &str| {
        let image = directory.join(name);
        let mkfs = [
            "mkfs",
            "-q",
            "-U",
            "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "-E",
            "hash_seed=1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "--time",
            "5",
        ];
        stdout(mkfs.iter().map(OsStr::new).chain([image.as_os_str(), "32m".as_ref()]));
        let mut command = Command::new(RUMPCAP);
        command.args(["cp", "-r"]).arg(&tree).arg(at(&image, "/")).env("SOURCE_DATE_EPOCH", "1000000000");
        assert!(command.status().unwrap().success());
        check(&image);
        fs::read(&image).unwrap()
    };
    let first = make("a.img");
    fs::write(tree.join("other"), "y").unwrap();
    assert!(first == make("b.img"));
}

/// Pasting in brackets is switched on.
const LINE_BEGINS: &[u8] = b"\x1b[?2004h";

/// On a terminal: the prompt, Tab, and that SIGINT and the end of input are understood.
#[test]
fn a_session_on_a_terminal() {
    let image = new_image(&scratch("shell"), "t.img", &["-t", "ext4"]);
    let line = format!("{RUMPCAP} shell {}", image.display());
    let mut command = Command::new("script");
    command
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("XDG_STATE_HOME", scratch("state"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => return skip(&format!("script: {e}")),
    };
    let mut keys = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    // `mkd` and Tab; a name that begins like one that is there, and Tab; Ctrl-C on a line.
    for line in [
        "mkd\tdirectory\r",
        "cd dir\t\r",
        "write -c --text hello file\r",
        "cat fi\t\r",
        "touch never\x03",
        "pwd\r",
        "exit\r",
    ] {
        // What a terminal is told when a line begins: only then are keys taken as they are.
        let begun = shown.len();
        while !shown[begun..].windows(LINE_BEGINS.len()).any(|w| w == LINE_BEGINS) {
            let mut buffer = [0; 1024];
            let len = screen.read(&mut buffer).unwrap();
            assert!(len > 0, "{}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&buffer[..len]);
        }
        keys.write_all(line.as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(child.wait().unwrap().success(), "{shown}");
    assert!(shown.contains("hello\r\n") && shown.contains("/directory\r\n"), "{shown}");
    check(&image);
    let found = stdout([OsStr::new("find"), &at(&image, "/directory")]);
    assert_eq!(crate::fixture::sorted_lines(&found), ["/directory", "/directory/file"]);
}
