//! `top`, `--report`, `--log`. `script` gives `top` a terminal; none of these needs root.

use crate::fixture::{RUMPCAP, at, rumpcap, scratch, tool};
use rumpcap_testing::skip::skip;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Sequences that enter and leave the second screen of a terminal.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A small image with one file; a folder of the test's own around it.
fn small(name: &str) -> PathBuf {
    let directory = scratch(&format!("watching-{name}"));
    let (source, image) = (directory.join("source"), directory.join("small.img"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "content\n").unwrap();
    std::fs::File::create(&image).and_then(|f| f.set_len(4 << 20)).unwrap();
    let arguments = ["-q", "-t", "ext4", "-d"].map(OsStr::new);
    tool("mke2fs", &[&arguments[..], &[source.as_os_str(), image.as_os_str()]].concat());
    image
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn report<S: AsRef<OsStr>>(page: &Path, args: &[S]) -> Output {
    let mut all = vec![OsStr::new("--report"), page.as_os_str()];
    all.extend(args.iter().map(AsRef::as_ref));
    rumpcap(all)
}

/// What every page keeps: it names nothing outside, and its parts are whole.
fn assert_self_contained(page: &str) {
    for reference in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(reference), "{reference}");
    }
    for part in ["svg", "figure", "table", "style", "div", "dl", "ul"] {
        let (begun, ended) =
            (page.matches(&format!("<{part}")).count(), page.matches(&format!("</{part}>")).count());
        assert_eq!(begun, ended, "{part}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf "), "a number that is none");
}

#[test]
fn a_page_tells_the_run() {
    let image = small("page");
    let page = image.with_file_name("page.html");
    let out = report(&page, &[OsStr::new("cat"), &at(&image, "/file")]);
    assert_eq!(
        (out.status.code(), text(&out.stdout), text(&out.stderr)),
        (Some(0), "content\n".into(), "".into())
    );
    let written = std::fs::read_to_string(&page).unwrap();
    assert_self_contained(&written);
    // A picture at boot and one at the end, however short the run was.
    for told in
        ["<b>0</b><span>exit code", "8 MiB", "s3fifo", "<svg", "lookups", "small.img", "metadata pages"]
    {
        assert!(written.contains(told), "{told}: {written}");
    }
    let left: Vec<_> =
        std::fs::read_dir(page.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing is left beside it: {left:?}");
}

#[test]
fn a_page_is_written_when_the_command_fails() {
    let image = small("failing");
    let page = image.with_file_name("page.html");
    for (args, code, told) in [
        (vec![OsStr::new("cat"), &at(&image, "/none")], 1, "paths that failed"),
        (vec!["cat".as_ref(), "nowhere<b>.img:/x".as_ref()], 1, "nowhere&lt;b&gt;.img"),
        (
            vec!["--memory-limit".as_ref(), "10k".as_ref(), "ls".as_ref(), image.as_ref()],
            1,
            "No kernel was booted",
        ),
        (vec!["find".as_ref(), image.as_ref(), "-nonsense".as_ref()], 2, "nonsense"),
    ] {
        let _ = std::fs::remove_file(&page);
        let out = report(&page, &args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out.stderr));
        let written = std::fs::read_to_string(&page).unwrap();
        assert_self_contained(&written);
        assert!(
            written.contains(told) && written.contains(&format!("<b>{code}</b><span>exit code")),
            "{args:?}"
        );
    }
}

#[test]
fn a_page_is_not_written_over_an_image_nor_where_it_cannot_be() {
    let image = small("refused");
    let before = std::fs::read(&image).unwrap();
    let link = image.with_file_name("link.html");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    for page in [&image, &link] {
        // Opened, not opened because of the limit, not opened because of the command line.
        for args in [&["ls"][..], &["ls", "--memory-limit", "10k"], &["find", "-nonsense"]] {
            let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
            let args = [&args[..1], &[image.as_os_str()], &args[1..]].concat();
            let out = report(page, &args);
            assert_eq!(
                (out.status.code(), text(&out.stdout)),
                (Some(1), String::new()),
                "{}",
                text(&out.stderr)
            );
            assert!(
                text(&out.stderr).contains("something else than a page is there"),
                "{}",
                text(&out.stderr)
            );
            assert!(std::fs::read(&image).unwrap() == before && link.is_symlink());
        }
    }
    for page in ["/dev/null", "/nowhere/page.html", "/"] {
        let out = report(page.as_ref(), &[OsStr::new("ls"), image.as_ref()]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()), "tried before the run");
        assert!(text(&out.stderr).contains("--report"), "{}", text(&out.stderr));
    }
    let page = image.with_file_name("page.html");
    for _ in ["new", "replaced"] {
        assert!(report(&page, &[OsStr::new("ls"), image.as_ref()]).status.success());
    }
    assert!(std::fs::metadata("/dev/null").unwrap().len() == 0);
}

#[test]
fn top_needs_a_terminal_or_prints_lines() {
    let image = small("batch");
    let image = image.to_str().unwrap();
    let refused = rumpcap(["top", image, "--", "ls"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("no terminal"), "{}", text(&refused.stderr));
    let out = rumpcap(["--memory-limit", "512k", "top", "--batch", image, "--", "find"]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
    let lines: Vec<String> = text(&out.stdout).lines().map(str::to_owned).collect();
    assert!(lines.len() >= 2 && lines[0].contains("evict/s") && lines[1].contains("512K"), "{lines:?}");
    let list = format!("{image}.list");
    assert!(rumpcap(["top", "--batch", "-o", &list, image, "--", "cat", "{}:/file"]).status.success());
    assert_eq!(std::fs::read(&list).unwrap(), b"content\n");
    // An archive does not go past the output that the command was given.
    let out = rumpcap(["top", "--batch", image, "--", "tar"]);
    assert!(out.status.success() && text(&out.stdout).starts_with("    time"), "{:?}", text(&out.stdout));
    for (args, code, told) in [
        (&["cat", "{}:/none"][..], 1, "/none: no such file"),
        (&["top", "--", "ls"], 2, "another top"),
        (&["ls", "--memory-limit", "1m"], 2, "--memory-limit goes before"),
        (&["no-such-command"], 2, "no-such-command"),
    ] {
        let out = rumpcap([&["top", "--batch", image, "--"], args].concat());
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains(told), "{args:?}: {}", text(&out.stderr));
    }
}

/// Runs `line` in a terminal of 80 by 24; `None`, with the reason printed, where there is no `script`.
fn on_terminal(line: &str) -> Option<Command> {
    let mut command = Command::new("script");
    let line = format!("stty rows 24 cols 80; {line}");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).env("TERM", "xterm-256color");
    match Command::new("script").arg("--version").output() {
        Ok(_) => Some(command),
        Err(e) => {
            skip(&format!("script: {e}"));
            None
        }
    }
}

#[test]
fn top_shows_the_run_and_gives_the_terminal_back() {
    let image = small("view");
    let (image, page) = (image.display(), image.with_file_name("page.html"));
    for (command, code) in [("find", 0), ("cat {}:/none", 1)] {
        let line = format!("{RUMPCAP} --report {} top --exit {image} -- {command}", page.display());
        let Some(mut command) = on_terminal(&line) else { return };
        let out = command.stdin(Stdio::null()).output().unwrap();
        let shown = text(&out.stdout);
        assert_eq!(out.status.code(), Some(code), "{shown:?}");
        let (enter, leave) = (shown.find(ENTER).unwrap(), shown.rfind(LEAVE).unwrap());
        assert!(enter < leave && shown[enter..leave].contains("Memory"), "{shown:?}");
        assert_eq!(shown[leave..].contains("/none: no such file"), code == 1, "messages come afterwards");
        assert_self_contained(&std::fs::read_to_string(&page).unwrap());
        std::fs::remove_file(&page).unwrap();
    }
}

#[test]
fn a_signal_finds_the_terminal_given_back() {
    let image = small("signal");
    // The view stays after the command has ended; the shell shows what the terminal is like behind it.
    let line = format!("{RUMPCAP} top {} -- find; echo code $?; stty -a", image.display());
    let Some(mut command) = on_terminal(&line) else { return };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = Vec::new();
    let mut out = child.stdout.take().unwrap();
    let mut buffer = [0; 4096];
    while !text(&shown).contains("exit code 0") {
        let len = out.read(&mut buffer).unwrap();
        assert!(len > 0, "{:?}", text(&shown));
        shown.extend_from_slice(&buffer[..len]);
    }
    let pid = child_of(child.id(), "rumpcap").unwrap();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    out.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    let shown = text(&shown);
    let after = &shown[shown.rfind(LEAVE).unwrap()..];
    assert!(after.contains("code 143"), "{after:?}");
    assert!(after.contains(" echo ") && after.contains(" icanon "), "{after:?}");
}

/// The process below `parent`, at any depth, with this name.
fn child_of(parent: u32, name: &str) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().find_map(|pid| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        if comm.trim() == name { Some(pid.to_owned()) } else { child_of(pid.parse().ok()?, name) }
    })
}

#[test]
fn a_log_filter_is_checked_and_changes_no_output() {
    let image = small("log");
    let args = |filter| {
        [OsStr::new("--log"), OsStr::new(filter), "cat".as_ref(), &at(&image, "/file")].map(OsStr::to_owned)
    };
    let out = rumpcap(args("debug"));
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), "content\n".into()));
    let out = rumpcap(args("rumpcap_vm=loudly"));
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("not a filter"), "{}", text(&out.stderr));
}
