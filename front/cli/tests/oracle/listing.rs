//! `ls`, `stat`, `readlink`, `cat`, `head`, `tree`, `xattr` against coreutils and the system calls.

use crate::fixture::{ODD_NAMES, at, model, mounted, stdout};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The listing of the image in the words of one of the mount: paths from `.`, and without `..` of the root, which is another
/// directory there.
fn normal(listing: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(listing).into_owned();
    let lines = text.lines().map(|line| match line {
        "/:" | ".:" => "root:".to_owned(),
        line if line.ends_with(':') && line.starts_with('/') => line.to_owned(),
        line if line.ends_with(':') && line.starts_with("./") => line[1..].to_owned(),
        line => line.to_owned(),
    });
    lines.collect()
}

#[test]
fn long_recursive_listings_are_those_of_gnu_ls() {
    let Some(m) = mounted("ls") else { return };
    for options in
        ["-lnAR", "-lnARt", "-lnARS", "-lnAr", "-lnARi", "-lnARh", "-1A", "-RA", "-tAr", "-SA", "-ldn", "-iA"]
    {
        let time = if options.contains('l') { "--full-time" } else { "-1" };
        let ours = stdout([OsStr::new("ls"), options.as_ref(), time.as_ref(), at(&m.image, "/").as_ref()]);
        let theirs = model(
            &m.root,
            "env",
            &["LC_ALL=C", "ls", "--quoting-style=literal", "--show-control-chars", options, time, "."],
        );
        // Of the directory itself the name differs.
        let ours: Vec<String> = normal(&ours)
            .into_iter()
            .map(|l| if options == "-ldn" { l.replace(" /", " .") } else { l })
            .collect();
        assert_eq!(ours, normal(&theirs), "{options}");
    }
}

#[test]
fn dots_and_arguments_that_are_files() {
    let Some(m) = mounted("ls-args") else { return };
    let dots = String::from_utf8(stdout([OsStr::new("ls"), "-a".as_ref(), at(&m.image, "/empty").as_ref()]))
        .unwrap();
    assert_eq!(dots, ".\n..\n");
    let image = |path| at(&m.image, path);
    let out =
        stdout([OsStr::new("ls"), image("/pw").as_ref(), image("/deep/a").as_ref(), image("/etc").as_ref()]);
    assert_eq!(String::from_utf8(out).unwrap(), "/pw\n\n/deep/a:\nb\n\n/etc:\ngroup\nnumbers\npasswd\n");
}

#[test]
fn names_are_raw_in_a_pipe_and_unsorted_listings_hold_the_same() {
    let Some(m) = mounted("ls-raw") else { return };
    let out = stdout([OsStr::new("ls"), "-A".as_ref(), at(&m.image, "/names").as_ref()]);
    for name in ODD_NAMES {
        assert!(out.windows(name.len()).any(|w| w == *name), "{:?}", String::from_utf8_lossy(name));
    }
    let mut unsorted: Vec<Vec<u8>> =
        stdout([OsStr::new("ls"), "-U".as_ref(), at(&m.image, "/many").as_ref()])
            .split(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
    let mut sorted: Vec<Vec<u8>> = stdout([OsStr::new("ls"), at(&m.image, "/many").as_ref()])
        .split(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    unsorted.sort();
    sorted.sort();
    assert_eq!(unsorted, sorted);
}

#[test]
fn stat_agrees_with_gnu_stat() {
    let Some(m) = mounted("stat") else { return };
    let format = "%n|%s|%b|%B|%f|%a|%A|%F|%u|%g|%i|%h|%x|%y|%z|%X|%Y|%Z|%w|%W|%t|%T|%%";
    let names = [
        "etc",
        "etc/passwd",
        "etc/group",
        "pw",
        "long-target",
        "dev/null",
        "dev/sda",
        "dev/fifo",
        "dev/sock",
        "empty",
        "sparse",
        "big",
        "deep/a/b/c/d/file",
        "all-hole",
        "dangling",
    ];
    for name in names {
        let ours = stdout([OsStr::new("stat"), "-c".as_ref(), format.as_ref(), at(&m.image, name).as_ref()]);
        let theirs = model(&m.root, "stat", &["-c", format, name]);
        let ours = String::from_utf8(ours).unwrap();
        assert_eq!(ours.strip_prefix('/').unwrap(), String::from_utf8(theirs).unwrap());
    }
}

#[test]
fn json_of_ls_stat_and_info_is_json() {
    let Some(m) = mounted("json") else { return };
    let names = at(&m.image, "/names");
    let listed: Vec<serde_json::Value> =
        serde_json::from_slice(&stdout([OsStr::new("ls"), "-A".as_ref(), "--json".as_ref(), names.as_ref()]))
            .unwrap();
    assert_eq!(listed.len(), ODD_NAMES.len() + 1);
    let none: Vec<serde_json::Value> = serde_json::from_slice(&stdout([
        OsStr::new("ls"),
        "--json".as_ref(),
        at(&m.image, "/empty").as_ref(),
    ]))
    .unwrap();
    assert!(none.is_empty());
    let one: serde_json::Value = serde_json::from_slice(&stdout([
        OsStr::new("stat"),
        "--json".as_ref(),
        at(&m.image, "/dev/sda").as_ref(),
    ]))
    .unwrap();
    assert_eq!(one[0]["rdev"], serde_json::json!([8, 300]));
    let info: serde_json::Value =
        serde_json::from_slice(&stdout([OsStr::new("info"), "--json".as_ref(), m.image.as_ref()])).unwrap();
    assert_eq!(info["file_systems"][0]["kind"], "ext4");
    assert_eq!(info["bytes"], 64 << 20);
}

#[test]
fn content_and_links() {
    let Some(m) = mounted("cat") else { return };
    for name in ["big", "sparse", "etc/numbers", "ends-with-data", "all-hole", "pw"] {
        let ours = stdout([OsStr::new("cat"), at(&m.image, name).as_ref()]);
        assert!(ours == std::fs::read(m.root.join(name)).unwrap(), "{name}");
    }
    for (option, value) in [("-n", "3"), ("-n", "5000"), ("-c", "7"), ("-c", "200000"), ("-n", "0")] {
        let ours = stdout([
            OsStr::new("head"),
            option.as_ref(),
            value.as_ref(),
            at(&m.image, "/etc/numbers").as_ref(),
        ]);
        assert!(ours == model(&m.root, "head", &[option, value, "etc/numbers"]), "head {option} {value}");
    }
    let link = stdout([OsStr::new("readlink"), at(&m.image, "/escape").as_ref()]);
    assert_eq!(link, b"../../../../../../etc/passwd\n");
    let resolved =
        stdout([OsStr::new("readlink"), "-f".as_ref(), at(&m.image, "/deep/to-a/../../escape").as_ref()]);
    assert_eq!(resolved, b"/etc/passwd\n");
}

#[test]
fn attributes_are_those_that_the_kernel_gives() {
    let Some(m) = mounted("xattr") else { return };
    for name in xattr::list(m.root.join("etc/passwd")).unwrap() {
        let ours = stdout([
            OsStr::new("xattr"),
            "-n".as_ref(),
            &name,
            "--only-values".as_ref(),
            at(&m.image, "/etc/passwd").as_ref(),
        ]);
        assert_eq!(Some(ours), xattr::get(m.root.join("etc/passwd"), &name).unwrap());
    }
    let dump =
        String::from_utf8(stdout([OsStr::new("xattr"), "-d".as_ref(), at(&m.image, "/etc/passwd").as_ref()]))
            .unwrap();
    assert_eq!(
        dump,
        "# file: /etc/passwd\nuser.bin=0sAAEKPf8=\nuser.comment=\"say \\\"hello\\\"\\\\\\012\"\nuser.empty=\"\"\n\n"
    );
}

#[test]
fn a_tree_is_drawn() {
    let Some(m) = mounted("tree") else { return };
    let drawn = String::from_utf8(stdout([OsStr::new("tree"), at(&m.image, "/deep/a").as_ref()])).unwrap();
    assert_eq!(
        drawn.replace('\u{a0}', " "),
        "/deep/a\n└── b\n    └── c\n        └── d\n            └── file\n\n4 directories, 1 file\n"
    );
    let two = String::from_utf8(stdout([
        OsStr::new("tree"),
        "-L".as_ref(),
        "1".as_ref(),
        at(&m.image, "/dev").as_ref(),
    ]))
    .unwrap();
    assert_eq!(two, "/dev\n├── fifo\n├── null\n├── sda\n└── sock\n\n1 directory, 4 files\n");
    // Odd names are drawn in an order that does not depend on them.
    let odd = stdout([OsStr::new("tree"), "-a".as_ref(), at(&m.image, "/names").as_ref()]);
    assert!(odd.windows(2).any(|w| w == b"\xff\xfe"));
    assert!(OsStr::from_bytes(&odd).len() > 300);
}
